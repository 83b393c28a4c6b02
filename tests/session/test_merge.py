"""Merging by meaning: golden cases, and the laws that hold for any three documents."""

from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gitstore.session.merge import Document, Merged, merge, same
from gitstore.types import MISSING, SessionId

FIXTURES = Path(__file__).parents[2] / "fixtures" / "merge"
ID = SessionId("s-1")


def merged(base: Document | None, ours: Document, theirs: Document) -> Merged:
    """Merge, and see that nothing was written to."""
    before = copy.deepcopy((base, ours, theirs))
    result = merge(base, ours, theirs, session_id=ID)
    assert same([base, ours, theirs], list(before))
    return result


def places(result: Merged) -> list[str]:
    return [conflict.where for conflict in result.conflicts]


# --- golden cases


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else None


@pytest.mark.parametrize("case", sorted(FIXTURES.iterdir()), ids=lambda path: path.name)
def test_golden(case: Path) -> None:
    base, ours, theirs, expected = (
        read(case / f"{name}.yaml") for name in ("base", "ours", "theirs", "merged")
    )
    result = merged(base, ours, theirs)
    # As text, so that the order of keys counts, and 1 is not 1.0.
    assert json.dumps(result.document, indent=1) == json.dumps(expected, indent=1)
    listed = case / "conflicts.txt"
    assert places(result) == (listed.read_text().splitlines() if listed.exists() else [])
    assert all(conflict.session_id == ID for conflict in result.conflicts)


def test_a_conflict_tells_all_three_values() -> None:
    result = merged({"a": {"x": 1}}, {"a": {"x": 2}}, {"a": {}})
    (conflict,) = result.conflicts
    assert (conflict.where, conflict.base, conflict.ours) == ("a.x", 1, 2)
    assert conflict.theirs is MISSING
    assert result.document == {"a": {"x": 2}}


def test_history_and_turns_stay_last() -> None:
    base = {"id": "s-1", "history": {"turns": [{"id": "a"}]}}
    ours = {"id": "s-1", "x": 1, "history": {"turns": [{"id": "a"}, {"id": "b"}]}}
    theirs = {"id": "s-1", "y": 1, "history": {"max_turns": 5, "turns": [{"id": "a"}]}}
    result = merged(base, ours, theirs).document
    assert list(result) == ["id", "x", "y", "history"]
    assert list(result["history"]) == ["max_turns", "turns"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (0, False),
        (0.0, -0.0),
        ("1", 1),
        (None, MISSING),
        ([], {}),
        ([1], [1.0]),
    ],
)
def test_values_of_different_types_differ(one: Any, other: Any) -> None:
    assert not same(one, other)
    assert not same({"a": [one]}, {"a": [other]})
    assert same(one, copy.copy(one))
    if other is not MISSING:
        assert same(merged({"a": one}, {"a": one}, {"a": other, "b": 1}).document["a"], other)
        assert places(merged({"a": "x"}, {"a": one}, {"a": other})) == ["a"]


def test_same_does_not_mind_the_order_of_keys() -> None:
    assert same({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert not same({"a": 1}, {"a": 1, "b": 2})
    assert not same({"a": 1}, {"b": 1})
    assert same(float("nan"), float("nan"))


def test_places_that_are_no_plain_names_are_quoted() -> None:
    base: Document = {
        "metadata": {"a.b": 1, "c]": {"": 1}},
        "granted_commands": [{"pattern": "git push", "kind": 1}],
    }
    ours: Document = {
        "metadata": {"a.b": 2, "c]": {"": 2}},
        "granted_commands": [{"pattern": "git push", "kind": 2}],
    }
    theirs: Document = {
        "metadata": {"a.b": 3, "c]": {"": 3}},
        "granted_commands": [{"pattern": "git push", "kind": 3}],
    }
    assert places(merged(base, ours, theirs)) == [
        'metadata["a.b"]',
        'metadata["c]"][""]',
        'granted_commands["git push"].kind',
    ]


def test_equal_times_give_one_order_on_both_sides() -> None:
    def document(*ids: str) -> Document:
        return {"history": {"turns": [{"id": i, "timestamp": "2026"} for i in ids]}}

    base, ours, theirs = document("a"), document("a", "z", "y"), document("a", "x")
    here, there = merged(base, ours, theirs), merged(base, theirs, ours)
    assert same(here.document, there.document)
    assert [turn["id"] for turn in here.document["history"]["turns"]] == ["a", "x", "z", "y"]


def test_emptied_containers_are_left_out_as_on_the_side_that_emptied_them() -> None:
    base: Document = {"project_context": {"key_files": ["a", "b"]}, "metadata": {"a": 1, "b": 2}}
    ours: Document = {"project_context": {"key_files": ["b"]}, "metadata": {"b": 2}}
    assert merged(base, ours, {"x": 1}).document == {"x": 1}
    assert merged(base, {"x": 1}, ours).document == {"x": 1}


def test_ten_thousand_turns_are_merged_without_recursion() -> None:
    turns = [{"id": str(n), "timestamp": f"{n:06}", "content": "x"} for n in range(10_000)]
    base: Document = {"history": {"turns": turns[:5_000]}}
    ours: Document = {"history": {"turns": turns[:7_500]}}
    theirs: Document = {"history": {"turns": [*turns[1_000:5_000], *turns[7_500:]]}}
    assert merge(base, ours, theirs, session_id=ID).document["history"]["turns"] == turns[1_000:]


def test_an_id_cannot_pass_for_the_content_of_another_turn() -> None:
    nameless = {"content": "x"}
    cunning = {"id": '\0{"content": "x"}\0' + "0"}
    ours: Document = {"history": {"turns": [nameless, cunning]}}
    theirs: Document = {"history": {"turns": [nameless, {"id": "b"}]}}
    result = merged(None, ours, theirs)
    assert result.document["history"]["turns"] == [nameless, cunning, {"id": "b"}]


# --- laws

TIMES = [f"2026-01-01T0{hour}:00:00.000Z" for hour in range(8)]
scalars = st.sampled_from([0, 1, 1.0, True, None, "", "a"])
junk = st.sampled_from([None, 1, "text", [], {}, [1], {"a": 1}, [["a"], ["a"], {"id": 1}]])
flat = scalars | st.lists(scalars, max_size=1)
free = flat | st.dictionaries(
    st.sampled_from("ab"),
    flat | st.dictionaries(st.sampled_from("ab"), flat, max_size=2),
    max_size=2,
)
maps = st.dictionaries(st.sampled_from("abc"), free, max_size=3)
sets = st.lists(st.sampled_from("abcd"), unique=True, max_size=4)


def fields(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[Document]:
    return st.fixed_dictionaries(required, optional=optional)


def records(name: str, names: str, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Return lists of records, each name at most once, in the order of the names."""
    one = {key: fields({name: st.just(key)}, more) for key in names}
    chosen = st.lists(st.sampled_from(names), unique=True, max_size=4).map(sorted)
    return chosen.flatmap(lambda keys: st.tuples(*(one[key] for key in keys)).map(list))


@st.composite
def turn_lists(draw: st.DrawFn) -> list[Any]:
    """Draw turns sorted by time, each id with its own time."""
    turns = draw(records("id", "0123456", content=st.sampled_from("xy"), tags=sets, metadata=maps))
    return [{"timestamp": TIMES[int(turn["id"])], **turn} for turn in turns]


nameless = st.lists(
    fields({}, {"id": st.sampled_from(["0", "1", "", 3]), "content": st.sampled_from("xy")}),
    max_size=4,
)
anonymous = st.lists(
    fields({}, {"id": st.sampled_from(["", 3]), "content": st.sampled_from("xy")}), max_size=4
)
good = {
    "project_context": fields(
        {},
        {
            "name": scalars,
            "technologies": sets,
            "learned_facts": records("key", "fgh", value=scalars, confidence=scalars),
            "persistent_contexts": records("id", "cd", content=scalars),
        },
    ),
    "skill_configs": st.dictionaries(
        st.sampled_from("st"), fields({"enabled": st.booleans()}, {"params": maps}), max_size=2
    ),
    "component_snapshots": st.dictionaries(
        st.sampled_from("st"), fields({"version": st.just(1)}, {"state": free}), max_size=2
    ),
    "granted_commands": records("pattern", "ls", kind=st.sampled_from(["OneTime", "Persistent"])),
    "metadata": maps,
    "unknown": free,
}
TIMED = {"created_at": st.sampled_from(TIMES[:3]), "updated_at": st.sampled_from(TIMES[3:])}
HEAD = {"id": st.just("s-1"), "version": st.just(1), **TIMED}
history = fields({}, {"max_turns": st.integers(1, 3), "turns": turn_lists()})
tidy = fields(HEAD, {**good, "history": history})
wild = fields(
    HEAD,
    {key: part | junk for key, part in good.items()}
    | {
        "history": fields(
            {}, {"turns": turn_lists() | nameless | junk, "compacted": nameless | junk}
        )
        | junk
    },
)
documents = tidy | wild


def untimed(document: Document) -> Document:
    """Return the document with fixed times, which are merged by no three-way rule."""
    return {**document, "created_at": TIMES[0], "updated_at": TIMES[7]}


def with_news(document: Document) -> Document:
    """Return the document with a field that no other has, so that no shortcut can be taken."""
    return {**document, "aside": {"news": 1}}


@given(documents, documents)
def test_a_side_that_changed_nothing_gives_way(base: Document, other: Document) -> None:
    for result in (
        merged(base, other, base),
        merged(base, base, other),
        merged(base, other, other),
    ):
        assert same(result.document, other)
        assert result.conflicts == ()


@given(documents.map(untimed), documents.map(untimed))
def test_a_change_elsewhere_changes_nothing_here(base: Document, other: Document) -> None:
    """Part by part: what one side did stays exactly, whatever the other did elsewhere."""
    for ours, theirs in (
        (other, with_news(base)),
        (with_news(base), other),
        (other, with_news(other)),
        (with_news(other), other),
    ):
        result = merged(base, ours, theirs)
        assert same(result.document, with_news(other))
        assert result.conflicts == ()


@given(documents | st.none(), documents, documents)
def test_conflicts_are_the_same_from_both_sides(
    base: Document | None, ours: Document, theirs: Document
) -> None:
    here, there = merged(base, ours, theirs), merged(base, theirs, ours)
    assert Counter(places(here)) == Counter(places(there))
    by_place = {conflict.where: conflict for conflict in there.conflicts}
    assert len(by_place) == len(there.conflicts), "two conflicts at one place"
    for conflict in here.conflicts:
        mirror = by_place[conflict.where]
        assert same(conflict.ours, mirror.theirs)
        assert same(conflict.theirs, mirror.ours)
        assert same(conflict.base, mirror.base)
        assert not same(conflict.ours, conflict.theirs)


NAMES = {
    "turns": "id",
    "learned_facts": "key",
    "persistent_contexts": "id",
    "granted_commands": "pattern",
}
SETS = {"technologies", "tags"}


def leaves(value: Any, where: str = "", name: str = "") -> dict[str, Any]:
    """Return what a tidy document says, by place: the oracle, which knows nothing of the merge."""
    found: dict[str, Any] = {}
    if isinstance(value, dict):
        for key, part in value.items():
            found |= leaves(part, f"{where}.{key}" if where else key, key)
    elif isinstance(value, list) and name in NAMES:
        for item in value:
            found |= leaves(item, f"{where}[{item[NAMES[name]]}]")
    elif isinstance(value, list) and name in SETS:
        found = {f"{where}<{item}>": True for item in value}
    else:
        found[where] = value
    return found


@given(tidy | st.none(), tidy, tidy)
def test_nothing_vanishes_in_silence(
    base: Document | None, ours: Document, theirs: Document
) -> None:
    result = merged(base, ours, theirs)
    old, new = leaves(base or {}), leaves(result.document)
    told = tuple(places(result))
    for side in (ours, theirs):
        for where, value in leaves(side).items():
            changed = not same(old.get(where, MISSING), value)
            if changed and where not in {"created_at", "updated_at"} and not where.startswith(told):
                assert same(new.get(where, MISSING), value), where
    for where, value in new.items():
        sources = (leaves(ours).get(where, MISSING), leaves(theirs).get(where, MISSING))
        assert any(same(value, source) for source in sources), "it was made up"
    if base is not None and (same(base, ours) or same(base, theirs)):
        return  # then the other side is the answer, whatever its times
    assert result.document["created_at"] == min(ours["created_at"], theirs["created_at"])
    assert result.document["updated_at"] == max(ours["updated_at"], theirs["updated_at"])


@given(tidy, tidy, tidy)
def test_turns_come_in_time_order(base: Document, ours: Document, theirs: Document) -> None:
    result = merged(base, ours, theirs).document
    ids = [turn["id"] for turn in result.get("history", {}).get("turns", [])]
    assert ids == sorted(set(ids))


@given(st.lists(anonymous, min_size=3, max_size=3))
def test_no_nameless_turn_is_dropped(lists: list[list[Any]]) -> None:
    """Of equal turns, too, none is missing but those that the other side deleted."""
    base, ours, theirs = ({"history": {"turns": turns}} for turns in lists)
    result = merged(base, ours, theirs).document["history"]["turns"]
    old, one, two, new = (
        Counter(json.dumps(turn, sort_keys=True) for turn in turns) for turns in (*lists, result)
    )
    for side, other in ((one, two), (two, one)):
        for turn, count in side.items():
            assert new[turn] >= count - max(0, old[turn] - other[turn])


@given(st.permutations("abcdef"), st.permutations("abcdef"), st.permutations("abcdef"))
def test_no_order_loses_or_doubles_a_turn(
    base: list[str], ours: list[str], theirs: list[str]
) -> None:
    def document(ids: list[str]) -> Document:
        return {"history": {"turns": [{"id": i, "timestamp": i} for i in ids]}}

    result = merged(document(base[:4]), document(ours[:5]), document(theirs[:5]))
    ids = [turn["id"] for turn in result.document["history"]["turns"]]
    gone = set(base[:4]) - (set(ours[:5]) & set(theirs[:5]))
    assert sorted(ids) == sorted({*ours[:5], *theirs[:5]} - gone)


@given(st.permutations("ABCxyz"), st.permutations("ABCuvw"), st.permutations("stuvwxyzABC"))
def test_each_side_keeps_its_order(ours: list[str], theirs: list[str], times: list[str]) -> None:
    """Also where its own times do not ascend; but not where the sides moved turns against each other."""
    spine = [turn for turn in ours if turn in "ABC"]
    theirs = [spine.pop(0) if turn in "ABC" else turn for turn in theirs]

    def document(ids: list[str]) -> Document:
        turns = [{"id": i, "timestamp": f"{times.index(i):02}"} for i in ids]
        return {"history": {"turns": turns}}

    base = document([turn for turn in ours if turn in "ABC"])
    result = merged(base, document(ours), document(theirs)).document
    ids = [turn["id"] for turn in result["history"]["turns"]]
    assert [turn for turn in ids if turn in ours] == ours
    assert [turn for turn in ids if turn in theirs] == theirs
