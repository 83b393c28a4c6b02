from __future__ import annotations

import enum
import io
import math
import re
import sys
from typing import Any

import fast_yaml
import pytest
import yaml as pyyaml
from hypothesis import given
from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

from gitstore.errors import SerializationError
from gitstore.session import codec
from gitstore.session.codec import writer
from gitstore.session.codec.scalars import float_text, one_line, string
from tests.session.codec_cases import (
    HOSTILE,
    HOSTILE_KEYS,
    NUMBERS,
    Document,
    documents,
    is_same,
)


class Reference(RoundTripRepresenter):
    """Our choice of style for each scalar; everything else is ruamel's."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_key(self, data: Any) -> Any:
        return self.text(data, one_line(data))

    def text(self, value: str, spelled: str) -> Any:
        style = spelled[0] if spelled[0] in "|'\"" else ""
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    def of_str(self, value: str) -> Any:
        return self.text(value, string(value, ""))

    def of_none(self, value: None) -> Any:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")

    def of_float(self, value: float) -> Any:
        return self.represent_scalar("tag:yaml.org,2002:float", float_text(value))


Reference.add_representer(str, Reference.of_str)
Reference.add_representer(type(None), Reference.of_none)
Reference.add_representer(float, Reference.of_float)


def reference(document: Document) -> bytes:
    yaml = YAML()
    yaml.Representer = Reference
    yaml.width = sys.maxsize
    yaml.default_flow_style = False
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue().encode()


def plain(value: Any) -> Any:
    """Turn ruamel's round-trip types into plain ones."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return str(value)
    return int(value) if isinstance(value, int) else float(value)


READERS: dict[str, Any] = {
    "ruamel safe": lambda text: YAML(typ="safe", pure=True).load(text),
    "ruamel rt": lambda text: plain(YAML().load(text)),
    "PyYAML": lambda text: pyyaml.load(text, pyyaml.SafeLoader),
    "PyYAML with libyaml": lambda text: pyyaml.load(text, pyyaml.CSafeLoader),
}


def assert_read_alike(document: Document) -> None:
    data = codec.encode(document)
    for name, read in READERS.items():
        assert is_same(read(data.decode()), document), name


@given(documents)
def test_writes_the_bytes_that_ruamel_writes(document: Document) -> None:
    assert codec.encode(document) == reference(document)


@given(documents)
def test_all_readers_agree(document: Document) -> None:
    assert_read_alike(document)


@given(documents)
def test_decode_gives_back_what_was_encoded(document: Document) -> None:
    data = codec.encode(document)
    assert is_same(codec.decode(data), document)
    assert list(codec.decode(data)) == list(document)
    assert codec.is_canonical(data)


def test_every_hostile_text_in_every_place() -> None:
    document: Document = {
        "values": {f"v{i}": text for i, text in enumerate(HOSTILE)},
        "items": [*HOSTILE],
        "nested": [[text] for text in HOSTILE],
        "maps": [{"k": {"deep": text}, "l": 1} for text in HOSTILE],
        "keys": dict.fromkeys(HOSTILE_KEYS, "x"),
        "keys of maps": {key: {"a": 1, "b\n": [1]} for key in HOSTILE_KEYS},
        "keys of lists": {key: [1, [2], {"k": 3}] for key in HOSTILE_KEYS},
        "keys of blocks": [{key: "a\nb\n"} for key in HOSTILE_KEYS],
        "numbers": NUMBERS,
        "empty": [{}, [], None, True, False, [[]], [{}], {"k": {}}, {"k": []}],
    }
    data = codec.encode(document)
    assert data == reference(document)
    assert_read_alike(document)
    assert is_same(codec.decode(data), document)


def test_a_rust_reader_agrees() -> None:
    texts = [text for text in HOSTILE if "\0" not in text]
    document: Document = {"values": texts, "keys": dict.fromkeys(texts, 1), "n": [1, -5, 1.5, 1e17]}
    assert is_same(fast_yaml.safe_load(codec.encode(document).decode()), document)


@pytest.mark.parametrize("ending", ["a\nb\n\n", "a\n\n"])
def test_a_document_that_ends_with_kept_breaks_says_where_it_ends(ending: str) -> None:
    for document in ({"k": ending}, {"k": [ending]}, {"k": [[{"x |+": ending}]]}):
        data = codec.encode(document)
        assert data.endswith(b"\n...\n")
        assert data == reference(document)
        assert is_same(codec.decode(data), document)


def test_a_line_that_only_looks_like_an_open_block_does_not() -> None:
    for document in ({"k": "x |+"}, {"a |+": 1}, {"a |+": "b\nc"}):
        assert codec.encode(document) == reference(document)


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    ONE = 1


class Key(str, enum.Enum):  # noqa: UP042 - a StrEnum has the hash of its text
    A = "a"

    __hash__ = enum.Enum.__hash__


class Loud(str):
    def __str__(self) -> str:
        return "LOUD"


class Half(float):
    def __repr__(self) -> str:
        return "half"


def test_keys_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "KEYS_MAX", 10)
    document = {f"{kind}{number}": number for number in range(50) for kind in ("k", "'", "\n")}
    for _ in range(2):
        assert codec.encode(document) == reference(document)
        assert len(writer.HEADS) <= 10


def test_subclasses_are_written_by_their_plain_value() -> None:
    document: Document = {
        "colour": Colour.RED,
        Loud("key"): Loud("value"),
        "number": Size.ONE,
        "float": [Half(0.5), Half(-0.0)],
    }
    expected = {"colour": "red", "key": "value", "number": 1, "float": [0.5, -0.0]}
    assert codec.encode(document) == codec.encode(expected)


def looped() -> Document:
    inner: Document = {}
    inner["again"] = [inner]
    return {"a": inner}


def nested(depth: int) -> Document:
    value: Any = {}
    for level in range(depth - 1):
        value = [value] if level % 2 else {"k": value}
    return {"v": value} if depth else {}


BAD: list[tuple[Any, str, str]] = [
    ({"metadata": {"k": [1, 2, math.nan]}}, "metadata.k[2]", "infinities and NaN"),
    ({"a": [{"b": math.inf}]}, "a[0].b", "infinities and NaN"),
    ({"a": -math.inf}, "a", "infinities and NaN"),
    ({"a": {"b": "x\ud800y"}}, "a.b", "surrogate"),
    ({"a": "x\n\udfff"}, "a", "surrogate"),
    ({"a": {"\ud800": 1}}, "a", "surrogate"),
    ({"a": {1: 2}}, "a", "keys must be text, not int"),
    ({"a": [{None: 2}]}, "a[0]", "keys must be text, not NoneType"),
    ({1: 2}, "document", "keys must be text"),
    ({"a": {Key.A: 1, "a": 2}}, "a", "two keys"),
    ({"a": [b"x"]}, "a[0]", "a bytes is not supported"),
    ({"a": (1,)}, "a", "a tuple is not supported"),
    ({"a": {1, 2}}, "a", "a set is not supported"),
    ({"a": object()}, "a", "a object is not supported"),
    ({"a": 10**4300}, "a", "4300 digits"),
    ({"a": -(10**4300)}, "a", "4300 digits"),
    (looped(), "a.again[0]", "contains itself"),
    (nested(101), ".k[0]", "deeper than 100"),
]


@pytest.mark.parametrize(("document", "where", "problem"), BAD)
def test_what_cannot_be_kept_is_refused_by_its_place(
    document: Any, where: str, problem: str
) -> None:
    with pytest.raises(SerializationError, match=re.escape(problem)) as caught:
        codec.encode(document, session_id="s-1")
    assert where in caught.value.where
    assert caught.value.session_id == "s-1"
    assert caught.value.line is None
    if where != ".k[0]":
        assert caught.value.where == where


def test_the_limits_themselves_are_kept() -> None:
    for document in ({"a": 10**4300 - 1}, {"a": 1 - 10**4300}, nested(100)):
        assert is_same(codec.decode(codec.encode(document)), document)


@pytest.mark.parametrize(
    ("limit", "number"), [(0, 10**4300), (640, 10**700)], ids=["no limit", "less"]
)
def test_integers_have_a_limit_whatever_the_interpreter_is_told(limit: int, number: int) -> None:
    before = sys.get_int_max_str_digits()
    try:
        sys.set_int_max_str_digits(limit)
        with pytest.raises(SerializationError, match="4300 digits") as caught:
            codec.encode({"a": [number]})
    finally:
        sys.set_int_max_str_digits(before)
    assert caught.value.where == "a[0]"


def test_too_many_values_and_too_many_bytes_are_refused() -> None:
    with pytest.raises(SerializationError, match="more than 500000 values") as caught:
        codec.encode({"a": [0] * codec.MAX_NODES})
    assert caught.value.where == "document"
    with pytest.raises(SerializationError, match="larger than 16 MiB"):
        codec.encode({"a": "x" * codec.MAX_BYTES})


def test_shared_values_are_written_twice() -> None:
    shared = {"k": [1]}
    data = codec.encode({"a": shared, "b": [shared, shared]})
    assert b"&" not in data
    assert codec.decode(data) == {"a": shared, "b": [shared, shared]}
