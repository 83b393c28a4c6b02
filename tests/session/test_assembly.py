"""What is made of a frozen document is what `SessionAsset.from_document` makes of the document."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore.errors import SerializationError
from gitstore.session import codec
from gitstore.session.assembly import assemble
from gitstore.session.frozen import FrozenDocument, freeze_document
from gitstore.session.model import ConversationTurn, SessionAsset, ToolCallRecord
from gitstore.session.parts import Part
from tests.session.test_frozen import NOON, talk
from tests.strategies import assets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.session.codec_cases import Document

#: What people and other programs may write into a file.
STRANGE: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(True, False, 1, 1.0, "1", None, [], {}, "x\n\n", -0.0, 0, -1, 2**64, 2**64 - 1, "\u00e9"),
        *([{}], {"tool_name": "x"}, [{"tool_name": "x", "success": True}], ["x"], ["x", 5]),
        *([{"success": True, "tool_name": "x"}], {"k": {"deep": [1, None]}}, {"b": 1, "a": 2}),
        *("2026-11-23T11:29:27.990Z", "2026-11-23t13:29:27.9901+02:00", "2026-02-30T00:00:00Z"),
    ]
)


def frozen(document: Document) -> FrozenDocument:
    found = freeze_document(document)
    assert found is not None
    return found


def changeable(value: Any) -> Iterator[Any]:
    """Give everything inside a session that can be changed."""
    if isinstance(value, Part):
        yield from (value, value.__pydantic_fields_set__)
        for each in (*vars(value).values(), value.__pydantic_extra__):
            yield from changeable(each)
    elif isinstance(value, dict | list):
        yield value
        for each in value.values() if isinstance(value, dict) else value:
            yield from changeable(each)


def given_fields(value: Any) -> list[set[str]]:
    return [part.model_fields_set for part in changeable(value) if isinstance(part, Part)]


def places(value: Any) -> Iterator[Any]:
    """Give the maps and lists in a document that hold something, turns and calls more than once."""
    if isinstance(value, dict | list) and value:
        yield value
        for each in value.values() if isinstance(value, dict) else value:
            yield from places(each)


def outcome(make: Callable[[], SessionAsset]) -> Any:
    """Return all there is of a session, or what is said against it."""
    try:
        asset = make()
    except SerializationError as error:
        return error.where, error.problem, error.session_id
    # By their text: 1 == True.
    return repr(asset), given_fields(asset), asset.revision


def check(document: Document, session_id: str | None = None) -> Any:
    found = outcome(lambda: assemble(frozen(document), session_id=session_id))
    assert found == outcome(lambda: SessionAsset.from_document(document, session_id=session_id))
    return found


def talked() -> Document:
    """Return a document with turns of each usual kind."""
    asset = talk()
    asset.history.turns[0].content = "h\u00e9"
    call = ToolCallRecord(tool_name="", success=False)
    asset.history.turns.append(
        ConversationTurn(id="t2", timestamp=NOON, role="r", content="", tool_calls=[call])
    )
    return asset.to_document()


@given(assets())
def test_is_what_the_model_makes_and_shares_nothing(asset: SessionAsset) -> None:
    document = asset.to_document()
    check(document)
    source = frozen(document)
    one, other = assemble(source), assemble(source)
    assert one == other == asset
    assert codec.encode(one.to_document()) == codec.encode(document)
    everything = [id(part) for each in (one, other, source.shell) for part in changeable(each)]
    assert len(everything) == len(set(everything)), "two of them share a part"


def test_usual_turns_are_made_without_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be no quicker, and nothing here would test it."""
    source, wanted = frozen(talked()), SessionAsset.from_document(talked())
    monkeypatch.setattr(ConversationTurn, "model_validate", None)
    monkeypatch.setattr(FrozenDocument, "thaw", None)
    assert assemble(source) == wanted


@given(assets().map(SessionAsset.to_document) | st.builds(talked), st.data())
def test_a_change_anywhere_is_taken_or_refused_as_ever(
    document: Document, data: st.DataObject
) -> None:
    found = list(places(document))
    place = found[data.draw(st.integers(0, len(found) - 1))]
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    key = data.draw(st.sampled_from(keys))
    change = data.draw(st.sampled_from(["delete", "replace", "add", "turn around"]))
    if change == "delete":
        del place[key]
    elif change == "replace":
        place[key] = data.draw(STRANGE)
    elif isinstance(place, list):
        place.append(data.draw(STRANGE))
    elif change == "add":
        names = ["tool_calls", "tags", "metadata", "args", "result", "duration_ms", "later"]
        place[data.draw(st.sampled_from(names))] = data.draw(STRANGE)
    else:
        items = list(place.items())
        place.clear()
        place.update(reversed(items))
    check(document)


@pytest.mark.parametrize(
    ("place", "field", "value", "problem"),
    [
        ((1,), "timestamp", "2026-02-30T00:00:00Z", "names no instant"),
        ((1,), "tags", ["a", 5], "must be a valid string"),
        ((1, "tool_calls", 0), "duration_ms", 2**64, "must be less than"),
        ((1, "tool_calls", 0), "success", 1, "must be a valid boolean"),
    ],
)
def test_what_is_wrong_in_a_turn_is_said_as_ever(
    place: tuple[str | int, ...], field: str, value: object, problem: str
) -> None:
    document = talked()
    del document["created_at"]  # and that is counted
    inside: Any = document["history"]["turns"]
    for step in place:
        inside = inside[step]
    inside[field] = value
    where, said, name = check(document)
    assert (where, name) == ("created_at", "s-1")
    assert said == "is missing (and 1 more)"
    document["created_at"] = document["updated_at"]
    where, said, name = check(document)
    assert where.startswith("history.turns[1].")
    assert problem in said


def test_the_id_is_the_one_that_is_asked_for() -> None:
    assert check(talked(), "s-1")
    assert check(talked(), "s-2")[0] == "id"
    assert check({**talked(), "version": 2})[0] == "version"


def test_a_session_without_turns_is_made_too() -> None:
    document = SessionAsset.new(id="s-1", now=NOON).to_document()
    histories: list[Any] = [{}, {"turns": []}, {"max_turns": 5}, {"turns": None}, None, []]
    for history in histories:
        check({**document, "history": history})
    check(document)


def test_a_document_that_was_read_as_a_whole_is_made_too() -> None:
    wanted = SessionAsset.from_document(talked())
    assert repr(assemble(FrozenDocument(talked(), []))) == repr(wanted)


def test_what_was_made_is_checked_like_any_other() -> None:
    asset = assemble(frozen(talked()))
    call = asset.history.turns[1].tool_calls[0]
    for part, field, value in ((call, "success", "yes"), (asset.history.turns[0], "role", 5)):
        with pytest.raises(SerializationError, match="must be"):
            setattr(part, field, value)
    call.success = False
    call.args = None
    assert asset.to_document()["history"]["turns"][1]["tool_calls"][0]["success"] is False
    assert asset.model_copy(deep=True) == asset


def test_every_fixture_is_made_alike() -> None:
    paths = list((Path(__file__).parents[2] / "fixtures/sessions").glob("*.yaml"))
    assert paths
    for path in paths:
        check(codec.decode(path.read_bytes()))
