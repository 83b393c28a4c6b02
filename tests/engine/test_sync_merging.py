"""Merging whole sets of sessions: a pure function, and the laws that hold for any three sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore.engine.sync.merging import Plan, merge_sets
from gitstore.engine.sync.otherfiles import Node, Nodes, merge_files
from gitstore.errors import SerializationError
from gitstore.git.objects import object_id
from gitstore.session import codec
from gitstore.session.merge import Document, same
from gitstore.session.model import SessionAsset
from gitstore.types import MISSING, Conflict, Decision, Revision, SessionId, Use

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitstore.engine.sync.merging import Choose

#: What a side holds: the bytes of each session.
Side = dict[SessionId, bytes]
A, B = SessionId("a"), SessionId("b")


def document(session_id: SessionId, **fields: Any) -> Document:
    asset = SessionAsset.new(id=session_id).to_document()
    times = {"created_at": "2026-01-01T00:00:00.000Z", "updated_at": "2026-01-01T00:00:00.000Z"}
    return asset | times | fields


def data(session_id: SessionId, *, comment: str = "", **fields: Any) -> bytes:
    return comment.encode() + codec.encode(document(session_id, **fields))


def undecided(_: Conflict) -> Decision | None:
    return None


def merged(base: Side, ours: Side, theirs: Side, choose: Choose = undecided) -> tuple[Side, Plan]:
    """Merge three sets; return what our side becomes."""
    stored: dict[Revision, bytes] = {}
    sides: list[Mapping[SessionId, Revision]] = []
    for side in (base, ours, theirs):
        names = {name: Revision(object_id("blob", each)) for name, each in side.items()}
        stored |= {names[name]: each for name, each in side.items()}
        sides.append(names)
    plan = merge_sets(*sides, read=stored.__getitem__, choose=choose)
    after = dict(ours)
    for name, content in plan.files.items():
        if content is None:
            del after[name]
        else:
            after[name] = content if isinstance(content, bytes) else stored[content]
    return after, plan


def plain(side: Side) -> dict[SessionId, Document]:
    return {name: codec.decode(each) for name, each in side.items()}


# --- laws

values = st.sampled_from([0, 1, "x", None])
fields = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.dictionaries(st.sampled_from("kl"), values, min_size=1, max_size=2),
        "note": values,
        "updated_at": st.sampled_from([f"2026-01-01T00:00:0{n}.000Z" for n in range(3)]),
    },
)
comments = st.sampled_from(["", "", "# by hand\n"])
names = st.sampled_from([A, B, SessionId("c")])


@st.composite
def sides(draw: st.DrawFn) -> Side:
    chosen = draw(st.lists(names, unique=True, max_size=3))
    return {
        name: data(name, comment=draw(comments), **draw(fields))
        if draw(st.integers(0, 5))
        else b"["
        for name in chosen
    }


@given(sides(), sides())
def test_a_side_that_changed_nothing_gives_way(base: Side, other: Side) -> None:
    for ours, theirs in ((other, base), (base, other), (other, other)):
        after, plan = merged(base, ours, theirs)
        assert after == other
        assert plan.conflicts == ()
        assert plan.merged == plan.revived == ()


@given(sides(), sides(), sides(), st.sampled_from(["ours", "theirs"]))
def test_the_sides_can_be_exchanged(base: Side, ours: Side, theirs: Side, side: str) -> None:
    other = {"ours": "theirs", "theirs": "ours"}[side]
    here, plan = merged(base, ours, theirs, lambda _: side)  # type: ignore[arg-type,return-value]  # a side
    there, mirror = merged(base, theirs, ours, lambda _: other)  # type: ignore[arg-type,return-value]  # a side
    for name in {**here, **there}:
        if b"[" in (here.get(name), there.get(name)):
            assert here[name] == there[name]
        else:
            assert same(codec.decode(here[name]), codec.decode(there[name]))
    assert (plan.merged, plan.revived) == (mirror.merged, mirror.revived)
    assert {(c.session_id, c.where) for c, _ in plan.decided} == {
        (c.session_id, c.where) for c, _ in mirror.decided
    }


@given(sides(), sides(), sides())
def test_nothing_vanishes_that_nobody_deleted(base: Side, ours: Side, theirs: Side) -> None:
    after, plan = merged(base, ours, theirs)
    told = {conflict.session_id for conflict in plan.conflicts}
    for side, other in ((ours, theirs), (theirs, ours)):
        for name, each in side.items():
            if each != base.get(name) or name in other:
                assert name in after, "an edit, or what both have, is gone"
            if each != base.get(name) and other.get(name) in (base.get(name), None):
                assert after[name] == each, "an edit that nobody disputes is another"
    assert {name for name in told if after.get(name) != ours[name]} == set()
    listed = {*plan.new, *plan.updated, *plan.deleted, *plan.merged, *plan.revived}
    assert set(plan.files) <= listed
    for name in after.keys() ^ ours.keys():
        assert name in {*plan.new, *plan.deleted, *plan.revived}


@given(sides(), sides(), sides())
def test_what_was_merged_is_taken_as_it_is_by_the_other_side(
    base: Side, ours: Side, theirs: Side
) -> None:
    """They pull what we merged: they get our bytes, and nothing has to be merged again."""
    after, plan = merged(base, ours, theirs, lambda _: "ours")
    again, second = merged(theirs, theirs, after)
    assert again == after
    assert (second.merged, second.conflicts) == ((), ())
    assert plan.conflicts == ()


# --- cases


def test_comments_are_kept_whichever_side_has_them() -> None:
    base, edited = data(A), data(A, note=1)
    commented = data(A, comment="# by hand\n", metadata={"k": 1})
    for ours, theirs in ((edited, commented), (commented, edited)):
        after, _ = merged({A: base}, {A: ours}, {A: theirs})
        assert after[A].startswith(b"# by hand\n")
        assert same(codec.decode(after[A]), codec.decode(data(A, note=1, metadata={"k": 1})))


def test_a_comment_against_an_edit_keeps_both() -> None:
    base, edited, commented = data(A), data(A, note=1), data(A, comment="# by hand\n")
    for ours, theirs in ((edited, commented), (commented, edited)):
        after, plan = merged({A: base}, {A: ours}, {A: theirs})
        assert (after[A], plan.conflicts) == (b"# by hand\n" + edited, ())


def test_the_newest_is_the_side_that_was_updated_last_and_ours_when_equal() -> None:
    def at(second: int, note: str) -> bytes:
        return data(A, note=note, updated_at=f"2026-01-01T00:00:0{second}.000Z")

    for one, other, wanted in ((1, 2, "theirs"), (2, 1, "ours"), (1, 1, "ours")):
        sides = {A: data(A)}, {A: at(one, "ours")}, {A: at(other, "theirs")}
        after, _ = merged(*sides, lambda _: "newest")
        assert codec.decode(after[A])["note"] == wanted


@pytest.mark.parametrize(
    ("decision", "wanted"),
    [
        ("ours", b"["),
        ("theirs", data(A, note=2)),
        ("base", data(A)),
        ("newest", data(A, note=2)),
        (Use(value=document(A, note=3)), data(A, note=3)),
        (Use(value=MISSING), None),
    ],
)
def test_a_session_that_cannot_be_read_is_decided_as_a_whole(
    decision: Decision, wanted: bytes | None
) -> None:
    sides = {A: data(A)}, {A: b"["}, {A: data(A, note=2)}
    _, plan = merged(*sides)
    (conflict,) = plan.conflicts
    assert (conflict.where, conflict.ours) == ("", "[")
    assert same(conflict.theirs, document(A, note=2))
    after, plan = merged(*sides, lambda _: decision)
    assert after.get(A) == wanted
    assert [each for _, each in plan.decided] == [decision]


def test_a_decision_that_makes_no_session_is_refused() -> None:
    sides = {A: data(A)}, {A: data(A, metadata={"k": 1})}, {A: data(A, metadata={"k": 2})}
    assert merged(*sides, lambda _: Use(value=3))[0] == {A: data(A, metadata={"k": 3})}
    sides = {A: data(A)}, {A: b"["}, {A: data(A, metadata={"k": 2})}
    for value in ("text", {"id": "another"}):
        with pytest.raises(SerializationError):
            merged(*sides, lambda _, value=value: Use(value=value))  # type: ignore[misc]  # bound


# --- files that are no sessions

FILE, FOLDER = b"100644", b"40000"
ONE, TWO, THREE = (Node(FILE, str(n) * 40) for n in (1, 2, 3))


@pytest.mark.parametrize(
    ("nodes", "files", "clashes"),
    [
        (Nodes(ONE, ONE, TWO), {"x": TWO}, ()),
        (Nodes(ONE, TWO, ONE), {}, ()),
        (Nodes(ONE, TWO, TWO), {}, ()),
        (Nodes(None, None, ONE), {"x": ONE}, ()),
        (Nodes(ONE, ONE, None), {"x": None}, ()),
        (Nodes(ONE, TWO, THREE), {}, ("x",)),
        (Nodes(ONE, TWO, None), {}, ("x",)),
        (Nodes(ONE, None, TWO), {}, ("x",)),
        (Nodes(None, ONE, TWO), {}, ("x",)),
        (Nodes(ONE, ONE, ONE._replace(mode=b"100755")), {"x": ONE._replace(mode=b"100755")}, ()),
    ],
)
def test_a_file_is_one_value(
    nodes: Nodes, files: dict[str, Node | None], clashes: tuple[str, ...]
) -> None:
    def nothing(_: str) -> Node | None:
        return None

    assert merge_files({"x": nodes}, ours_at=nothing, prefer=None) == (files, clashes)
    ours = merge_files({"x": nodes}, ours_at=nothing, prefer="ours")
    theirs = merge_files({"x": nodes}, ours_at=nothing, prefer="theirs")
    assert ours == (files, ())
    assert theirs == ({"x": nodes.theirs} if clashes else files, ())


def test_a_file_never_takes_the_place_of_a_folder_or_the_other_way_round() -> None:
    come = Nodes(None, None, ONE)
    folder = Node(FOLDER, "4" * 40)
    prefers: tuple[Literal["theirs"] | None, ...] = (None, "theirs")
    for path, there in (("a/b/c", {"a": folder, "a/b": ONE}), ("a", {"a": folder})):
        for prefer in prefers:
            plan = merge_files({path: come}, ours_at=there.get, prefer=prefer)
            assert plan.clashes == (path,)
    assert merge_files({"a/b": come}, ours_at={"a": folder}.get, prefer=None).clashes == ()
