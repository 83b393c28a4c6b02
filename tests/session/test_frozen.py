"""A frozen document is what `to_document` gave at that moment, whatever is in the session."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore.errors import SerializationError, UnsupportedVersionError
from gitstore.session import codec
from gitstore.session.codec.writer import encode_text
from gitstore.session.frozen import FrozenDocument, freeze, freeze_turn, thaw_turn, thawed
from gitstore.session.model import ConversationTurn, SessionAsset, ToolCallRecord
from gitstore.session.parts import Part
from tests.strategies import assets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


class Text(str):
    """`marshal` refuses it; the document has its value."""

    __slots__ = ()


class Turn(ConversationTurn):
    """Somebody's own kind of turn."""

    mood: str = "good"


def talk() -> SessionAsset:
    """Return a session with a turn of each usual kind."""
    asset = SessionAsset.new(id="s-1", now=NOON)
    call = ToolCallRecord(tool_name="shell", args={"b": 1, "a": [1.0]}, result="ok", duration_ms=5)
    asset.history.turns = [
        ConversationTurn.user("hi", id="t0", now=NOON),
        ConversationTurn(
            **{"id": "t1", "timestamp": NOON, "role": "assistant", "content": "ho\n"}
            | {"tool_calls": [call, ToolCallRecord(tool_name="x")], "tags": ["a"]}
            | {"metadata": {"z": 1, "a": {"y": None, "b": True}}}
        ),
    ]
    return asset


def places(value: Any) -> Iterator[dict[Any, Any] | list[Any]]:
    """Give every dict and list in a session, the fields of its parts too, that holds something."""
    if isinstance(value, Part):
        yield from places(vars(value))
        yield from places(value.__pydantic_extra__)
    elif isinstance(value, dict | list):
        if value:
            yield value
        for each in value.values() if isinstance(value, dict) else value:
            yield from places(each)


def outcome(act: Callable[[], bytes]) -> bytes | tuple[str, str]:
    """Return the bytes, or what is said against them."""
    try:
        return act()
    except SerializationError as error:
        return error.where, error.problem


def check(asset: SessionAsset) -> bytes | tuple[str, str]:
    """Compare with the slow way; return what comes of it."""
    expected = outcome(lambda: encode_text(asset.to_document(), session_id=asset.id).encode())
    for _ in range(2):
        assert outcome(lambda: codec.encode(freeze(asset), session_id=asset.id)) == expected
    return expected


@given(assets())
def test_is_the_document_of_the_session(asset: SessionAsset) -> None:
    document = asset.to_document()
    frozen = freeze(asset)
    assert isinstance(frozen, FrozenDocument) == bool(asset.history.turns)
    # By their text: 1 == True, and the order of keys counts.
    assert repr(thawed(frozen)) == repr(document)
    assert codec.encode(frozen) == encode_text(document).encode()


STRANGE = st.sampled_from(
    [
        *(True, 1, 1.0, "1", None, [], {}, "x\n\n", -0.0, 0.0, 0, -1, 2**64, float("nan")),
        *(
            Text("x"),
            (1, 2),
            [(1, [2])],
            Decimal(1),
            b"x",
            {5: 1},
            {Text("k"): Text("v")},
            ["x", 5],
        ),
        *(OrderedDict(b=1, a=2), {"b": (), "a": Text("y")}, "\ud800", 10**5000, {1}, NOON),
        NOON.replace(tzinfo=None),
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
        Turn(id="t", timestamp=NOON, role="r", content="c", mood="bad"),
        ToolCallRecord.model_validate({"tool_name": "x", "later": 1}),
    ]
)


@given(assets() | st.builds(talk), st.integers(0, 10_000), STRANGE, st.data())
def test_a_change_anywhere_is_written_or_refused_as_ever(
    asset: SessionAsset, number: int, value: Any, data: st.DataObject
) -> None:
    check(asset)  # its turns are known from now on
    found = [place for place in places(asset) if place is not vars(asset)]
    place: Any = found[number % len(found)]
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    key = data.draw(st.sampled_from(keys))
    if isinstance(place, dict) and data.draw(st.booleans()):
        del place[key]
    else:
        place[key] = value
    check(asset)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("role", 5, "must be text"),
        ("timestamp", NOON.replace(tzinfo=None), "time zone"),
        ("tags", ["a", 5], "must be text"),
        ("tags", ("a",), "must be a list"),
        ("metadata", {5: 1}, "text as keys"),
        ("metadata", [], "must be a map"),
        ("tool_calls", [{}], "must be a ToolCallRecord"),
        ("tool_calls", {}, "must be a list"),
    ],
)
def test_a_turn_is_checked_though_its_bytes_are_known(field: str, value: Any, problem: str) -> None:
    """The codec writes documents of any kind, and remembers them."""
    asset = talk()
    turn = asset.history.turns[1]
    document = asset.to_document()
    document["history"]["turns"][1][field] = value
    outcome(lambda: codec.encode(document))
    vars(turn)[field] = value
    found = check(asset)
    assert isinstance(found, tuple)
    assert found[0].startswith(f"history.turns[1].{field}")
    assert problem in found[1]


@pytest.mark.parametrize(("field", "value"), [("duration_ms", 2**64), ("success", 1)])
def test_a_call_is_checked_though_its_bytes_are_known(field: str, value: Any) -> None:
    asset = talk()
    document = asset.to_document()
    document["history"]["turns"][1]["tool_calls"][0][field] = value
    codec.encode(document)
    vars(asset.history.turns[1].tool_calls[0])[field] = value
    assert check(asset)[0] == f"history.turns[1].tool_calls[0].{field}"


@pytest.mark.parametrize(
    "value", [None, 1, True, 1.0, b"x", Text("x"), (), [], {}, "", "\u00e9", "\ud800"]
)
def test_a_frozen_turn_says_all_of_it(value: Any) -> None:
    """Also one that lacks fields, has them in another order, or has others in their place."""
    full: dict[str, Any] = dict.fromkeys(["id", "timestamp", "role", "content"], "x")
    full |= {"tool_calls": [{}], "tags": ["x"], "metadata": {"x": 1}}
    for name in [*full, "more"]:
        without = {each: full[each] for each in full if each != name}
        for turn in (full | {name: value}, without | {name: value}, without):
            if type(value) is Text and turn is not without:
                with pytest.raises(ValueError, match="unmarshallable"):
                    freeze_turn(turn)
            else:
                assert repr(thaw_turn(freeze_turn(turn))) == repr(turn)


def test_a_usual_turn_is_frozen_alike_as_a_part_and_as_a_plain_value() -> None:
    """What a save looks up is what a load has put in."""
    asset = talk()
    asset.history.turns[0].content = "h\u00e9"
    frozen = freeze(asset)
    assert isinstance(frozen, FrozenDocument)
    assert frozen.turns == [freeze_turn(turn) for turn in asset.to_document()["history"]["turns"]]
    assert [type(turn) for turn in frozen.turns] == [tuple, tuple]
    usual = frozen.turns[1]
    assert usual[3] is asset.history.turns[1].content  # not copied


def test_what_is_changed_later_is_not_in_it() -> None:
    asset = talk()
    expected = repr(asset.to_document())
    frozen = freeze(asset)
    assert isinstance(frozen, FrozenDocument)
    for place in list(places(asset)):
        place.clear()
    assert repr(frozen.thaw()) == expected
    frozen.thaw()["history"]["turns"][1]["metadata"]["a"]["b"] = "changed"
    assert repr(frozen.thaw()) == expected


def test_a_session_of_another_version_is_refused_as_ever() -> None:
    asset = talk()
    vars(asset)["version"] = 2
    with pytest.raises(UnsupportedVersionError):
        asset.to_document()
    with pytest.raises(UnsupportedVersionError):
        freeze(asset)


def test_equal_times_of_another_zone_are_told_apart() -> None:
    """Of two times in the hour that comes twice, Python says that they are equal."""
    hours: list[bytes | tuple[str, str]] = []
    for fold in (0, 1):
        asset = talk()
        moment = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold)
        vars(asset.history.turns[0])["timestamp"] = moment
        hours.append(check(asset))
    assert hours[0] != hours[1]


def test_unknown_fields_of_turns_and_calls_are_kept() -> None:
    asset = talk()
    asset.history.turns[0] = ConversationTurn.model_validate(
        vars(asset.history.turns[0]) | {"later": {"b": 1, "a": 2}}
    )
    asset.history.turns[1].tool_calls[0] = ToolCallRecord.model_validate(
        {"tool_name": "x", "sooner": [1]}
    )
    frozen = freeze(asset)
    assert isinstance(frozen, FrozenDocument)
    first, second = frozen.thaw()["history"]["turns"]
    assert repr(first["later"]) == "{'b': 1, 'a': 2}"
    assert second["tool_calls"][0]["sooner"] == [1]
    check(asset)


@pytest.mark.parametrize("leaf", ["x", ()])
@pytest.mark.parametrize("depth", [95, 96, 97, 126, 127, 130, 1900, 2100])
def test_what_is_too_deep_is_refused_like_everything_else(depth: int, leaf: object) -> None:
    nested = leaf
    for _ in range(depth):
        nested = [nested]
    asset = talk()
    asset.history.turns[1].metadata["deep"] = nested
    expected = outcome(lambda: encode_text(asset.to_document()).encode())
    found = outcome(lambda: codec.encode(freeze(asset)))
    if isinstance(expected, bytes):
        assert found == expected
    else:
        assert isinstance(found, tuple)
        assert found[0].startswith("history.turns[1].metadata.deep")
