"""Laws of the merge when conflicts are decided: what was chosen stands, and sides can be exchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore.session.merge import Document, Merged, merge, same
from gitstore.types import MISSING, Conflict, SessionId
from tests.session.test_merge import NAMES, SETS, documents, leaves, tidy

ID = SessionId("s-1")
OTHER = {"base": "base", "ours": "theirs", "theirs": "ours"}


def decided(
    base: Document | None, ours: Document, theirs: Document, choose: Any
) -> tuple[Merged, list[Conflict]]:
    """Merge, with the value of every conflict chosen; return the conflicts that were asked about."""
    asked: list[Conflict] = []

    def decide(conflict: Conflict) -> object:
        asked.append(conflict)
        return choose(conflict)

    return merge(base, ours, theirs, session_id=ID, decide=decide), asked


def at(document: Any, where: str) -> object:
    """Return what is at a place of a tidy document, as the oracle of the other laws reads it."""
    found = {
        place: value
        for place, value in leaves(document).items()
        if place == where or place.startswith((f"{where}.", f"{where}[", f"{where}<"))
    }
    return found or MISSING


def in_any_order(value: Any, name: str = "") -> Any:
    """Return a document with the lists sorted whose order a merge may choose."""
    if isinstance(value, dict):
        return {key: in_any_order(part, key) for key, part in value.items()}
    if isinstance(value, list):
        items = [in_any_order(item) for item in value]
        loose = name in SETS or (name in NAMES and name != "turns")
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True)) if loose else items
    return value


@given(documents | st.none(), documents, documents)
def test_every_conflict_is_asked_about_once(
    base: Document | None, ours: Document, theirs: Document
) -> None:
    result, asked = decided(base, ours, theirs, lambda conflict: conflict.ours)
    assert result.conflicts == tuple(asked)
    plain = merge(base, ours, theirs, session_id=ID)
    assert plain.conflicts == result.conflicts
    assert same(plain.document, result.document)


@given(tidy | st.none(), tidy, tidy, st.sampled_from(sorted(OTHER)))
def test_what_was_chosen_stands(
    base: Document | None, ours: Document, theirs: Document, side: str
) -> None:
    result, asked = decided(base, ours, theirs, lambda conflict: getattr(conflict, side))
    document: Document = {"base": base or {}, "ours": ours, "theirs": theirs}[side]
    for conflict in asked:
        assert at(result.document, conflict.where) == at(document, conflict.where)


@given(tidy | st.none(), tidy, tidy)
def test_what_was_chosen_to_go_is_gone(
    base: Document | None, ours: Document, theirs: Document
) -> None:
    result, asked = decided(base, ours, theirs, lambda _: MISSING)
    for conflict in asked:
        assert at(result.document, conflict.where) is MISSING


@given(tidy | st.none(), tidy, tidy)
def test_a_value_of_neither_side_stands_where_it_was_put(
    base: Document | None, ours: Document, theirs: Document
) -> None:
    # The place of a whole record is known by its fields, and text has none.
    result, asked = decided(
        base, ours, theirs, lambda at: at.ours if at.where.endswith("]") else "a new value"
    )
    found = leaves(result.document)
    for conflict in asked:
        if not conflict.where.endswith("]"):
            assert found[conflict.where] == "a new value"


@given(tidy | st.none(), tidy, tidy, st.sampled_from(sorted(OTHER)))
def test_the_sides_can_be_exchanged(
    base: Document | None, ours: Document, theirs: Document, side: str
) -> None:
    here, _ = decided(base, ours, theirs, lambda conflict: getattr(conflict, side))
    there, _ = decided(base, theirs, ours, lambda conflict: getattr(conflict, OTHER[side]))
    assert same(in_any_order(here.document), in_any_order(there.document))


@given(tidy, tidy, tidy)
def test_what_was_merged_needs_no_merging_again(
    base: Document, ours: Document, theirs: Document
) -> None:
    """Whoever merged the same two sides before us brings no conflict, and no other result."""
    result = merge(base, ours, theirs, session_id=ID).document
    for one, other in ((ours, result), (result, ours)):
        again = merge(ours, one, other, session_id=ID)
        assert again.conflicts == ()
        assert same(again.document, result)


@pytest.mark.parametrize("kept", [{"pattern": "ls", "kind": 2}, MISSING])
def test_a_grant_taken_back_on_one_side_is_for_somebody_to_decide(kept: object) -> None:
    base: Document = {"granted_commands": [{"pattern": "ls", "kind": 1}, {"pattern": "cat"}]}
    ours: Document = {"granted_commands": [{"pattern": "cat"}]}
    theirs: Document = {"granted_commands": [{"pattern": "ls", "kind": 2}, {"pattern": "cat"}]}
    result, asked = decided(base, ours, theirs, lambda _: kept)
    assert [conflict.where for conflict in asked] == ["granted_commands[ls]"]
    rest = [] if kept is MISSING else [kept]
    assert result.document == {"granted_commands": [*rest, {"pattern": "cat"}]}
