"""ORCS JSON: real files and made ones come back whole, and its reader's limits hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore.errors import SerializationError, UnsupportedVersionError
from gitstore.session.model import ConversationTurn, GrantKind, OnLLMPreRequest, SessionAsset
from tests import strategies as make

FIXTURES = Path(__file__).parents[2] / "fixtures" / "orcs"
#: A file beside it, NAME.written.json, says what is written when that is not what was read.
READ = sorted(path for path in FIXTURES.glob("*.json") if ".written" not in path.name)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def typed(value: Any) -> Any:
    """Make 1, 1.0 and True differ, and -0.0 and 0.0; the order of keys does not count."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value).__name__, repr(value)


def minimal() -> dict[str, Any]:
    value: dict[str, Any] = json.loads((FIXTURES / "minimal.json").read_text("utf-8"))
    return value


def full() -> dict[str, Any]:
    value: dict[str, Any] = json.loads((FIXTURES / "unknown-fields.json").read_text("utf-8"))
    return value


# --- round trips ---------------------------------------------------------


def test_there_are_files_to_read() -> None:
    assert {"full.json", "minimal.json", "numbers.json"} <= {path.name for path in READ}


@pytest.mark.parametrize("path", READ, ids=lambda path: path.stem)
def test_a_file_comes_back_whole(path: Path) -> None:
    written = path.with_suffix(".written.json")
    expected = json.loads((written if written.exists() else path).read_bytes())
    asset = SessionAsset.from_orcs_json(path.read_bytes())
    assert typed(json.loads(asset.to_orcs_json())) == typed(expected)
    # ... also by way of the document, which leaves out what ORCS always writes
    again = SessionAsset.from_document(asset.to_document())
    assert again.to_orcs_json() == asset.to_orcs_json()
    assert SessionAsset.from_orcs_json(path.read_text("utf-8")) == asset


@given(asset=make.assets())
def test_a_session_comes_back_whole(asset: SessionAsset) -> None:
    text = asset.to_orcs_json()
    again = SessionAsset.from_orcs_json(text)
    assert again == asset
    assert repr(again.to_document()) == repr(asset.to_document())
    assert again.to_orcs_json() == text


def test_fields_have_their_names_and_types() -> None:
    asset = SessionAsset.from_orcs_json((FIXTURES / "full.json").read_bytes())
    assert asset.created_at == datetime(2026, 11, 23, 11, 55, 32, 428_000, tzinfo=UTC)
    assert asset.history.turns[0].metadata["k"]["big"] == 2**64 - 1
    assert asset.granted_commands[1].kind is GrantKind.ONE_TIME
    assert asset.skill_configs["lint"].auto_trigger.triggers[1] == OnLLMPreRequest()
    assert asset.history.turns[1].tool_calls[0].duration_ms == 12
    assert "created_at_ms" not in asset.to_document()


def test_text_is_written_as_it_is() -> None:
    asset = SessionAsset.new(id="x", now=NOON)
    asset.add_turn(ConversationTurn.user("é 😀 \u2028 \x07", id="t", now=NOON), NOON)
    text = asset.to_orcs_json()
    assert "é 😀 \u2028 \\u0007" in text
    assert text.startswith('{\n  "id": "x",\n  "version": 1,\n  "created_at_ms": 1795435200000,')


def test_the_order_of_keys_does_not_count() -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(item) for item in value] if isinstance(value, list) else value

    asset = SessionAsset.from_orcs_json(json.dumps(full()))
    assert SessionAsset.from_orcs_json(json.dumps(turned(full()))) == asset


@pytest.mark.parametrize(
    ("digits", "value"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551616", 1.8446744073709552e19),
        ("-9223372036854775809", -9.223372036854775808e18),
        ("9" * 5000 + "e-4999", 1.0e1),
        ("1e3", 1000.0),
        ("1.0", 1.0),
        ("1", 1),
        ("-0", -0.0),
        ("-0.0", -0.0),
        ("5e-324", 5e-324),
    ],
)
def test_numbers_are_read_as_orcs_reads_them(digits: str, value: float) -> None:
    text = json.dumps(minimal()).replace('"metadata": {}', f'"metadata": {{"n": {digits}}}')
    read = SessionAsset.from_orcs_json(text).metadata["n"]
    assert (type(read), repr(read)) == (type(value), repr(value))


# --- limits --------------------------------------------------------------


def nested(levels: int) -> str:
    """Return a minimal session that is nested so deep, itself and its metadata included."""
    deep = "[" * (levels - 2) + "]" * (levels - 2)
    return json.dumps(minimal()).replace('"metadata": {}', f'"metadata": {{"n": {deep}}}')


def test_127_levels_are_read_and_written_and_128_are_not() -> None:
    asset = SessionAsset.from_orcs_json(nested(127))
    assert SessionAsset.from_orcs_json(asset.to_orcs_json()) == asset
    asset.metadata["n"] = [asset.metadata["n"]]
    with pytest.raises(SerializationError, match="deeper than 127"):
        asset.to_orcs_json()
    for levels in (128, 129, 2_000, 200_000):
        with pytest.raises(SerializationError, match="deeper than 127") as caught:
            SessionAsset.from_orcs_json(nested(levels))
        assert len(caught.value.where) < 80


SMALL = '{"id": "x",\n "version": 1, "é": '


@pytest.mark.parametrize(
    ("text", "problem", "line", "column"),
    [
        ("", "is no JSON", 1, 1),
        ("   ", "is no JSON", 1, 4),
        (SMALL + "}", "is no JSON", 2, 21),
        (SMALL + "1}}", "is no JSON: Extra data", 2, 23),
        (SMALL + "01}", "is no JSON", 2, 22),
        (SMALL + "'a'}", "is no JSON", 2, 21),
        (SMALL + '"a\nb"}', "is no JSON", 2, 23),
        (SMALL + "1", "is no JSON", 2, 22),
        (SMALL + "1,}", "is no JSON", 2, None),
        ("\ufeff{}", "byte order mark", 1, 1),
        (b"\xef\xbb\xbf{}", "byte order mark", 1, 1),
        (SMALL.encode() + b'"\xff"}', "not UTF-8", 2, 22),
        (SMALL.encode() + b'"\xed\xa0\x80"}', "not UTF-8", 2, 22),
        ('{"id": "x"}'.encode("utf-16-le"), "is no JSON", 1, None),
    ],
)
def test_what_is_no_json_is_refused_with_line_and_column(
    text: str | bytes, problem: str, line: int, column: int | None
) -> None:
    with pytest.raises(SerializationError, match=problem) as caught:
        SessionAsset.from_orcs_json(text)
    assert caught.value.where == "json"
    assert caught.value.line == line
    assert column is None or caught.value.column == column


@pytest.mark.parametrize(
    ("value", "where", "problem"),
    [
        ("NaN", "metadata.a[0]", "finite"),
        ("Infinity", "metadata.a[0]", "finite"),
        ("-Infinity", "metadata.a[0]", "finite"),
        ("1e400", "metadata.a[0]", "finite"),
        ("9" * 400, "metadata.a[0]", "finite"),
        ("9" * 5000, "metadata.a[0]", "finite"),  # more digits than int() takes
        (r'"\ud800"', "metadata.a[0]", "lone surrogate at character 1"),
        (r'"x\udc00\ud800"', "metadata.a[0]", "lone surrogate at character 2"),
        ('"\ud800"', "metadata.a[0]", "lone surrogate"),
        (r'{"\ud800": 1}', "metadata.a[0].", "lone surrogate"),
        ('{"k": 1, "j": 2, "k": 1}', "metadata.a[0].k", "stands twice"),
    ],
)
def test_values_that_orcs_cannot_read_are_refused_with_their_path(
    value: str, where: str, problem: str
) -> None:
    text = json.dumps(minimal()).replace('"metadata": {}', f'"metadata": {{"a": [{value}]}}')
    with pytest.raises(SerializationError, match=problem) as caught:
        SessionAsset.from_orcs_json(text)
    assert caught.value.where.startswith(where)
    str(caught.value).encode()  # the message itself can be printed


def test_a_field_that_stands_twice_is_refused() -> None:
    text = json.dumps(minimal()).replace('"id": "x"', '"id": "x", "id": "y"')
    with pytest.raises(SerializationError, match="stands twice") as caught:
        SessionAsset.from_orcs_json(text)
    assert caught.value.where == "id"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        (2**64, "from -2"),
        (-(2**63) - 1, "from -2"),
        ("\ud800", "lone surrogate"),
        ({"\udfff": 1}, "lone surrogate"),
        ({5: 1}, "text as keys"),
        (NOON, "not datetime"),
        (b"x", "not bytes"),
        ({1}, "not set"),
    ],
)
def test_values_that_orcs_cannot_read_are_not_written(value: Any, problem: str) -> None:
    asset = SessionAsset.new(id="x", now=NOON)
    asset.metadata["a"] = [value]
    with pytest.raises(SerializationError, match=problem) as caught:
        asset.to_orcs_json()
    assert caught.value.where.startswith("metadata.a[0]")
    assert caught.value.session_id == "x"


def test_times_that_orcs_cannot_say_are_not_written() -> None:
    asset = SessionAsset.new(id="x", now=datetime(1969, 12, 31, tzinfo=UTC))
    assert asset.to_document()["created_at"] == "1969-12-31T00:00:00.000Z"
    with pytest.raises(SerializationError, match="before 1970") as caught:
        asset.to_orcs_json()
    assert caught.value.where == "created_at_ms"


# --- required and refused fields -----------------------------------------

#: Where each structure stands in the file that has them all, and what it may do without.
STRUCTURES: list[tuple[tuple[str | int, ...], set[str]]] = [
    ((), {"component_snapshots", "granted_commands"}),
    (("history",), {"max_turns"}),
    (("history", "turns", 0), set()),
    (("history", "turns", 1, "tool_calls", 0), {"result"}),
    (("history", "compacted", 0), set()),
    (("preferences",), set()),
    (
        ("preferences", "coding_style"),
        {"indent", "indent_size", "naming_convention", "comment_style"},
    ),
    (
        ("preferences", "communication"),
        {"verbosity", "language", "formality", "include_examples"},
    ),
    (("project_context",), {"root_path", "name"}),
    (("project_context", "learned_facts", 0), set()),
    (("project_context", "persistent_contexts", 0), set()),
    (("skill_configs", "lint"), set()),
    (("skill_configs", "lint", "auto_trigger"), set()),
    (("skill_configs", "lint", "auto_trigger", "triggers", 0, "OnFileEdit"), set()),
    (("component_snapshots", "skill::x"), set()),
    (("granted_commands", 0), set()),
]
UNKNOWN = {"added_later", "Neu-er Schlüssel"}


def at(value: Any, steps: tuple[str | int, ...]) -> Any:
    for step in steps:
        value = value[step]
    return value


@pytest.mark.parametrize(("steps", "optional"), STRUCTURES)
def test_required_fields_are_required_and_named(
    steps: tuple[str | int, ...], optional: set[str]
) -> None:
    for name in at(full(), steps):
        value = full()
        del at(value, steps)[name]
        if name in optional | UNKNOWN:
            SessionAsset.from_orcs_json(json.dumps(value))
            continue
        with pytest.raises(SerializationError, match="is missing") as caught:
            SessionAsset.from_orcs_json(json.dumps(value))
        assert caught.value.where.endswith(name)


@pytest.mark.parametrize(
    ("steps", "new", "where", "problem"),
    [
        (("created_at_ms",), 1.0, "created_at_ms", "not float"),
        (("created_at_ms",), -1, "created_at_ms", "milliseconds"),
        (("created_at_ms",), "1", "created_at_ms", "not str"),
        (("created_at_ms",), True, "created_at_ms", "not bool"),
        (("created_at_ms",), 2**64 - 1, "created_at_ms", "year 10000"),
        (("created_at",), 1, "created_at", "unknown field"),
        (("history", "turns", 0, "timestamp_ms"), None, "history.turns[0].timestamp_ms", "None"),
        (("history", "turns", 0, "role"), 5, "history.turns[0].role", "not int"),
        (("history", "turns", 0), [], "history.turns[0]", "not list"),
        (("history", "turns"), {}, "history.turns", "not dict"),
        (("history", "max_turns"), None, "history.max_turns", "NoneType"),
        (("history",), [], "history", "not list"),
        (("component_snapshots",), None, "component_snapshots", "NoneType"),
        (("granted_commands",), None, "granted_commands", "NoneType"),
        (("granted_commands", 0), ["ls"], "granted_commands[0]", "list of pattern and kind"),
        (("granted_commands", 0), ["ls", "ONETIME"], "granted_commands[0].kind", "'OneTime'"),
        (("preferences", "coding_style", "indent_size"), 256, "preferences.", "less than"),
        (("preferences", "coding_style", "indent_size"), 4.0, "preferences.", "not float"),
        (("project_context", "learned_facts", 0, "confidence"), None, "project_context", "None"),
        (("skill_configs", "lint", "auto_trigger", "triggers", 0), "Odd", "skill_", "OnLLM"),
        (("skill_configs", "lint"), 5, "skill_configs.lint", "not int"),
    ],
)
def test_what_orcs_refuses_is_refused(
    steps: tuple[str | int, ...], new: Any, where: str, problem: str
) -> None:
    value = full()
    at(value, steps[:-1])[steps[-1]] = new
    with pytest.raises(SerializationError, match=problem) as caught:
        SessionAsset.from_orcs_json(json.dumps(value))
    assert caught.value.where.startswith(where)


def test_an_unknown_field_must_not_take_the_name_of_a_written_one() -> None:
    asset = SessionAsset.new(id="x", now=NOON)
    asset.created_at_ms = 5  # type: ignore[attr-defined] # unknown field
    assert asset.to_document()["created_at_ms"] == 5
    with pytest.raises(SerializationError, match="name of a known one") as caught:
        asset.to_orcs_json()
    assert caught.value.where == "created_at_ms"


@pytest.mark.parametrize("text", ["null", "[]", "5", '"x"', "true"])
def test_other_json_is_no_session(text: str) -> None:
    with pytest.raises(SerializationError, match="must be a map"):
        SessionAsset.from_orcs_json(text)


def test_another_version_is_refused() -> None:
    with pytest.raises(UnsupportedVersionError):
        SessionAsset.from_orcs_json(json.dumps({**minimal(), "version": 99}))


ALPHABET = st.sampled_from(["{", "}", "[", "]", ",", ":", '"', "\\", "id", "1", "-", "e", " ", "é"])


@given(text=st.lists(ALPHABET, max_size=30).map("".join) | st.text() | st.binary())
def test_any_other_text_raises_one_kind_of_error(text: str | bytes) -> None:
    with pytest.raises(SerializationError):
        SessionAsset.from_orcs_json(text)


@given(data=st.data())
def test_a_spoilt_file_raises_one_kind_of_error(data: st.DataObject) -> None:
    good = (FIXTURES / "full.json").read_bytes()
    start = data.draw(st.integers(0, len(good) - 1))
    end = data.draw(st.integers(start, min(len(good), start + 40)))
    spoilt = good[:start] + data.draw(st.binary(max_size=4)) + good[end:]
    try:
        asset = SessionAsset.from_orcs_json(spoilt)
    except SerializationError:
        return
    assert SessionAsset.from_orcs_json(asset.to_orcs_json()) == asset
