"""Diffs of sessions: golden cases, and the laws that hold for any two documents."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore.session.diff import FieldChange, SessionDiff, diff_documents, visible
from gitstore.session.difftext import field_lines, render, text_diff
from gitstore.session.merge import Document, merge, same
from gitstore.types import MISSING, Outcome, Revision, SessionId
from tests.strategies import NASTY, assets, json_maps, json_values

ID = SessionId("s-1")


def diff(old: Document | None, new: Document | None) -> SessionDiff:
    """Compare, and see that nothing was written to."""
    before = copy.deepcopy([old, new])
    found = diff_documents(old, new, session_id=ID)
    assert same([old, new], before)
    return found


def turn(name: str, content: str = "x", **more: Any) -> Document:
    return {"id": name, "role": "user", "content": content, **more}


def session(*turns: Document, **more: Any) -> Document:
    return {"id": "s-1", "version": 1, **more, "history": {"turns": list(turns)}}


def told(found: SessionDiff) -> list[tuple[str, Any, Any]]:
    return [(change.where, change.old, change.new) for change in found.fields]


# --- golden cases


def test_turns_are_told_apart_by_id() -> None:
    old = session(turn("a"), turn("b", "old"), turn("c"))
    new = session(turn("b", "new", tags=["t"]), turn("c"), turn("d"))
    found = diff(old, new)
    assert [(each.position, each.turn["id"]) for each in found.turns_removed] == [(0, "a")]
    assert [(each.position, each.turn["id"]) for each in found.turns_added] == [(2, "d")]
    (changed,) = found.turns_changed
    assert changed.id == "b"
    assert changed.fields == (
        FieldChange(where="content", old="old", new="new"),
        FieldChange(where="tags", old=MISSING, new=["t"]),
    )
    assert (found.turns_moved, found.fields) == ((), ())
    assert found.outcome is Outcome.UPDATED


def test_a_turn_that_moved_is_told_and_those_it_passed_are_not() -> None:
    old = session(*map(turn, "abcd"))
    new = session(*map(turn, "dabc"))
    (move,) = diff(old, new).turns_moved
    assert (move.id, move.old, move.new) == ("d", 3, 0)
    assert diff(old, session(*map(turn, "xabyc"))).turns_moved == ()


def test_turns_whose_ids_name_nothing_are_compared_by_content() -> None:
    same_id = session(turn("a", "1"), turn("a", "2"), {"content": "no id"})
    found = diff(same_id, session(turn("a", "2"), turn("a", "3"), {"content": "no id"}))
    assert [each.turn["content"] for each in found.turns_removed] == ["1"]
    assert [each.turn["content"] for each in found.turns_added] == ["3"]
    assert found.turns_changed == ()


def test_other_fields_are_named_by_their_path() -> None:
    old = session(
        project_context={"name": "n", "technologies": ["a"]},
        metadata={"k": 1, "gone": None},
        granted_commands=[{"pattern": "ls *", "kind": "OneTime"}],
    )
    new = session(
        project_context={"name": "m", "technologies": ["a", "b"]},
        metadata={"k": 1.0, "a.b": {"deep": True}},
        granted_commands=[
            {"pattern": "ls *", "kind": "Persistent"},
            {"pattern": "rm", "kind": "OneTime"},
        ],
    )
    assert told(diff(old, new)) == [
        ("project_context.name", "n", "m"),
        ("project_context.technologies", ["a"], ["a", "b"]),
        ("metadata.k", 1, 1.0),
        ("metadata.gone", None, MISSING),
        ('metadata["a.b"]', MISSING, {"deep": True}),
        ('granted_commands["ls *"].kind', "OneTime", "Persistent"),
        ("granted_commands[rm]", MISSING, {"pattern": "rm", "kind": "OneTime"}),
    ]


def test_a_map_that_is_only_not_written_when_empty_is_told_by_its_members() -> None:
    found = diff(session(), session(metadata={"k": 1}, other={"k": 1}))
    assert told(found) == [("metadata.k", MISSING, 1), ("other", MISSING, {"k": 1})]


def test_records_in_another_order_are_one_change() -> None:
    one, other = {"pattern": "a"}, {"pattern": "b"}
    found = diff(session(granted_commands=[one, other]), session(granted_commands=[other, one]))
    assert told(found) == [("granted_commands", [one, other], [other, one])]


def test_records_of_one_name_are_one_change() -> None:
    one, other = {"pattern": "a", "kind": 1}, {"pattern": "a", "kind": 2}
    found = diff(session(granted_commands=[one, other]), session(granted_commands=[other]))
    assert told(found) == [("granted_commands", [one, other], [other])]


def test_numbers_of_another_type_are_told_in_turns_too() -> None:
    (changed,) = diff(
        session(turn("a", metadata={"k": 1})), session(turn("a", metadata={"k": 1.0}))
    ).turns_changed
    assert changed.fields == (FieldChange(where="metadata.k", old=1, new=1.0),)


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        (None, session(turn("a")), Outcome.CREATED),
        (session(turn("a")), None, Outcome.DELETED),
        (None, None, Outcome.UNCHANGED),
        (session(), session(), Outcome.UNCHANGED),
    ],
)
def test_no_session_is_no_empty_session(
    old: Document | None, new: Document | None, outcome: Outcome
) -> None:
    found = diff(old, new)
    assert found.outcome is outcome
    assert found.is_empty == (outcome is Outcome.UNCHANGED)


@pytest.mark.parametrize(
    ("old", "new", "summary"),
    [
        (session(), session(), "nothing changed"),
        (None, session(), "created"),
        (None, session(turn("a"), turn("b")), "created with 2 turns"),
        (session(turn("a")), None, "deleted with 1 turn"),
        (session(updated_at="1"), session(updated_at="2"), "updated_at changed"),
        (
            session(turn("a"), turn("b"), updated_at="1"),
            session(turn("b", "y"), turn("c"), turn("d"), updated_at="2"),
            "+2 turns, -1 turn, 1 turn edited",
        ),
        (
            session(project_context={"name": "a"}, metadata={"x": 1}),
            session(project_context={"name": "b"}, metadata={"k": 1}),
            "name changed, metadata.x removed, metadata.k added",
        ),
        (
            session(),
            session(metadata=dict.fromkeys("abcdef", 1)),
            "metadata.a added, metadata.b added, metadata.c added, metadata.d added, and 2 more",
        ),
        (session(), session(**{"bell\x07\u202e": 1}), "bell\\x07\\u202e added"),
        (session(), session(**{"x" * 90: 1}), f"{'x' * 59}… added"),
    ],
)
def test_summary(old: Document | None, new: Document | None, summary: str) -> None:
    assert diff(old, new).summary == summary


@pytest.mark.parametrize(
    ("path", "old", "new", "other"),
    [
        (["project_context", "name"], "a", "b", "c"),
        (["metadata", "a.b"], "a", "b", "c"),
        (["metadata", "dé ep", 'q"'], "a", "b", "c"),
        (["preferences", "custom", "k"], "a", "b", "c"),
    ],
)
def test_places_are_spelled_as_in_conflicts(
    path: list[str], old: str, new: str, other: str
) -> None:
    def document(value: object) -> Document:
        for key in reversed(path):
            value = {key: value}
        assert isinstance(value, dict)
        return value

    base, ours, theirs = map(document, (old, new, other))
    (conflict,) = merge(base, ours, theirs, session_id=ID).conflicts
    assert [change.where for change in diff(base, ours).fields] == [conflict.where]


def test_places_in_records_are_spelled_as_in_conflicts() -> None:
    facts = ({"project_context": {"learned_facts": [{"key": "k 1", "value": v}]}} for v in "abc")
    base, ours, theirs = facts
    (conflict,) = merge(base, ours, theirs, session_id=ID).conflicts
    assert [change.where for change in diff(base, ours).fields] == [conflict.where]


# --- laws


def documents() -> st.SearchStrategy[Document]:
    """Documents that have much in common with each other, some of them odd."""
    few = st.sampled_from(["a", "b", "", "a.b"])
    values = st.sampled_from([1, 1.0, True, None, 0.0, -0.0, "x", [], {}, [1], {"k": 1}, {"k": 2}])
    turns = st.fixed_dictionaries(
        {"content": st.sampled_from("xy")},
        optional={
            "id": st.sampled_from(["a", "b", "c", "d", "e", 5]),
            "metadata": st.dictionaries(few, values, max_size=2),
        },
    )
    records = st.lists(
        st.fixed_dictionaries({"pattern": few | st.just(1)}, optional={"kind": values}), max_size=3
    )
    return st.fixed_dictionaries(
        {},
        optional={
            "metadata": st.dictionaries(few, values, max_size=3) | values,
            "granted_commands": records | values,
            "other": st.dictionaries(few, values, max_size=2),
            "history": values
            | st.fixed_dictionaries(
                {}, optional={"turns": st.lists(turns | values, max_size=6) | values, "x": values}
            ),
        },
    )


def pairs() -> st.SearchStrategy[tuple[Document, Document]]:
    real = assets(st.just("s-1")).map(lambda asset: asset.to_document())
    return st.tuples(documents(), documents()) | st.tuples(real, real)


RECORDS = {
    "project_context.learned_facts": ("key",),
    "project_context.persistent_contexts": ("id",),
    "granted_commands": ("pattern",),
    "history.compacted": ("start_time", "end_time"),
}
STEP = re.compile(r'\.?([^\s.\[\]"]+)|\[("(?:[^"\\]|\\.)*")\]|\[([^\]"\s]+)\]')


def by_name(path: str, records: list[Any]) -> dict[str, Any]:
    return {"..".join(record[name] for name in RECORDS[path]): record for record in records}


def patched(old: Document, changes: tuple[FieldChange, ...], keyed: set[str]) -> Document:
    """Make the changes, each where it says and on what it says; lists of records become maps."""
    document = copy.deepcopy(old)
    for change in changes:
        matches = list(STEP.finditer(change.where))
        assert "".join(match[0] for match in matches) == change.where
        steps = [json.loads(match[2]) if match[2] else match[1] or match[3] for match in matches]
        node, path = document, ""
        for step in steps[:-1]:
            path = f"{path}.{step}" if path else step
            inner = node.setdefault(step, {})
            if isinstance(inner, list):
                inner = node[step] = by_name(path, inner)
            if path in RECORDS:
                keyed.add(path)
            node = inner
        assert same(node.pop(steps[-1], MISSING), change.old)
        if change.new is not MISSING:
            node[steps[-1]] = change.new
    return document


def pruned(value: Any) -> Any:
    """Leave empty maps out: some are not written, and which is not what is tested here."""
    if not isinstance(value, dict):
        return value
    parts = {key: pruned(part) for key, part in value.items()}
    return {key: part for key, part in parts.items() if part != {} or isinstance(part, list)}


def turns_of(document: Document) -> list[Any] | None:
    """Take the turns out of a document; None if they are no list."""
    history = document.get("history", {})
    turns = history.get("turns", []) if isinstance(history, dict) else None
    if isinstance(turns, list) and isinstance(history, dict):
        history.pop("turns", None)
        return turns
    return None


@given(pairs())
def test_equal_documents_have_no_diff_and_others_have_one(pair: tuple[Document, Document]) -> None:
    old, new = pair
    assert diff(old, copy.deepcopy(old)).is_empty
    assert diff(old, new).is_empty == same(old, new)


@given(pairs())
def test_the_diff_the_other_way_round_is_the_mirror_image(pair: tuple[Document, Document]) -> None:
    def sides(found: SessionDiff, *, swapped: bool) -> list[Any]:
        def fields(changes: tuple[FieldChange, ...]) -> list[str]:
            told = [
                (c.where, c.new, c.old) if swapped else (c.where, c.old, c.new) for c in changes
            ]
            return sorted(map(repr, told))

        moved = [
            (m.id, m.new, m.old) if swapped else (m.id, m.old, m.new) for m in found.turns_moved
        ]
        ends = [found.turns_added, found.turns_removed]
        return [
            ends[::-1] if swapped else ends,
            sorted(map(repr, moved)),
            sorted((each.id, fields(each.fields)) for each in found.turns_changed),
            fields(found.fields),
        ]

    there, back = diff(*pair), diff(*pair[::-1])
    assert repr(sides(there, swapped=False)) == repr(sides(back, swapped=True))


@given(pairs())
def test_every_change_is_told_exactly_once_and_nothing_else(
    pair: tuple[Document, Document],
) -> None:
    """What the diff says, done to the old document, gives the new one."""
    found = diff(*pair)
    old, new = copy.deepcopy(pair)
    inner = [turns_of(copy.deepcopy(document)) for document in pair]
    if inner[0] is not None and inner[1] is not None and any(inner):
        turns_of(old), turns_of(new)
        assert_turns(inner[0], inner[1], found)
    keyed: set[str] = set()
    result = patched(old, found.fields, keyed)
    for path in keyed:
        above: Document = new
        *steps, last = path.split(".")
        for step in steps:
            above = above.get(step, {})
        if isinstance(above.get(last), list):
            above[last] = by_name(path, above[last])
    assert same(pruned(result), pruned(new))


def assert_turns(old: list[Any], new: list[Any], found: SessionDiff) -> None:
    for placed, turns in ((found.turns_removed, old), (found.turns_added, new)):
        assert all(same(turns[each.position], each.turn) for each in placed)
    removed = {each.position for each in found.turns_removed}
    added = {each.position for each in found.turns_added}
    moved = {move.old: move.new for move in found.turns_moved}
    stayed = (
        [at for at in range(len(old)) if at not in removed and at not in moved],
        [at for at in range(len(new)) if at not in added and at not in moved.values()],
    )
    edits = {change.id: change.fields for change in found.turns_changed}
    for before, after in [*moved.items(), *zip(*stayed, strict=True)]:
        one, other = old[before], new[after]
        if not same(one, other):
            assert same(pruned(patched(one, edits.pop(other["id"]), set())), pruned(other))
    assert edits == {}


@given(st.permutations(range(6)))
def test_as_few_turns_as_possible_are_called_moved(order: list[int]) -> None:
    old = session(*map(turn, "012345"))
    new = session(*(turn(str(at)) for at in order))
    found = diff(old, new)
    longest = max(
        len(run)
        for mask in range(64)
        if (run := [at for bit, at in enumerate(order) if mask >> bit & 1]) == sorted(run)
    )
    assert len(found.turns_moved) == 6 - longest
    assert_turns(old["history"]["turns"], new["history"]["turns"], found)
    back = {(move.id, move.new, move.old) for move in diff(new, old).turns_moved}
    assert {(move.id, move.old, move.new) for move in found.turns_moved} == back


# --- as text


def test_rendered() -> None:
    old = session(turn("a", "gone"), turn("b", "1\n2\n3\n4\n5\n6\n7"), metadata={"k": 1})
    new = session(
        turn("b", "1\n2\n3\n4\nfive\n6\n7"), turn("c", "x\ny", tags=["t"]), metadata={"k": "1\n2"}
    )
    found = diff_documents(
        old, new, session_id=ID, old_revision=Revision("a" * 40), new_revision=Revision("b" * 40)
    )
    assert (
        render(found)
        == """\
session s-1: aaaaaaaaaa -> bbbbbbbbbb
+1 turn, -1 turn, 1 turn edited, metadata.k changed

metadata.k:
  @@ -1 +1,2 @@
   1
  +2

turn a [0] (user) removed
  -gone

turn b edited
  content:
    @@ -2,6 +2,6 @@
     2
     3
     4
    -5
    +five
     6
     7

turn c [1] (user) added
  +x
  +y
  +tags: ["t"]
"""
    )


def test_of_a_long_line_what_surrounds_the_change_is_told() -> None:
    old, new = ("word " * 100 + middle + " word" * 100 for middle in ("one", "other"))
    text = render(diff(session(metadata={"k": old}), session(metadata={"k": new})))
    (line,) = [line for line in text.splitlines() if line.startswith("metadata.k: ")]
    assert line.count("…") == 4
    assert " one word" in line
    assert " other word" in line
    assert len(line) < 200


@given(pairs())
def test_nothing_rendered_can_act_on_a_terminal(pair: tuple[Document, Document]) -> None:
    for text in (render(diff(*pair)), diff(*pair).summary):
        assert visible(text, keep="\n\t") == text
        assert text.isascii() or "\u202e" not in text


@pytest.mark.parametrize("text", NASTY)
def test_what_cannot_be_seen_is_spelled_out(text: str) -> None:
    shown = visible(text)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\u2066-\u2069\ufeff]", shown)
    if text.isprintable():
        assert shown == text


@given(st.lists(st.sampled_from("abc"), max_size=30), st.lists(st.sampled_from("abc"), max_size=30))
def test_a_text_diff_patches_the_old_text_to_the_new(old: list[str], new: list[str]) -> None:
    one, other = "\n".join(["first", *old, "last"]), "\n".join(["first", *new, "last"])
    lines = text_diff(FieldChange(where="x", old=one, new=other))
    if lines is None:
        assert one == other
        return
    left, result = one.split("\n"), list[str]()
    at = 0
    for line in lines:
        if head := re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", line):
            start = int(head[1]) - (head[2] != "0")
            result += left[at:start]
            at = start
            assert len(result) == int(head[3]) - (head[4] != "0")
            continue
        if line[0] in " -":
            assert left[at] == line[1:]
            at += 1
        if line[0] in " +":
            result.append(line[1:])
    assert result + left[at:] == other.split("\n")


def test_text_made_to_take_hours_is_told_as_replaced() -> None:
    old, new = "x\n" + "a\na\nb\n" * 3000 + "y", "x\n" + "a\nb\nb\n" * 3000 + "y"
    lines = text_diff(FieldChange(where="x", old=old, new=new)) or []
    assert [line for line in lines if line.startswith("@@")] == ["@@ -1,9002 +1,9002 @@"]
    signs = "".join(line[0] for line in lines[1:])
    assert re.fullmatch(r" +-+\++ +", signs)


def test_text_that_spells_a_value_is_not_that_value() -> None:
    value = ["x" * 60, "y" * 60]
    change = FieldChange(where="x", old=json.dumps(value, indent=2), new=value)
    assert text_diff(change) is None
    assert "\\n" in field_lines(change)[0]


def test_other_values_are_compared_as_indented_json() -> None:
    calls = [{"tool_name": "run", "result": "x" * 90, "n": number} for number in (1, 2)]
    lines = text_diff(FieldChange(where="x", old=calls[:1], new=calls[1:]))
    assert lines is not None
    assert [line for line in lines if line[0] in "-+"] == ['-    "n": 1', '+    "n": 2']


@given(json_values(), json_maps())
def test_any_value_can_be_rendered(value: Any, extra: Document) -> None:
    for old, new in ((MISSING, value), (value, MISSING), (extra, value)):
        change = FieldChange(where="x", old=old, new=new)
        if not same(old, new):
            found = SessionDiff(
                session_id=ID,
                old_revision=None,
                new_revision=None,
                outcome=Outcome.UPDATED,
                fields=(change,),
            )
            assert "x:" in render(found)
