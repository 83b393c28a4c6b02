from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.resolver import VersionedResolver

from gitstore.errors import SerializationError
from gitstore.session import codec
from gitstore.session.codec import reader
from gitstore.session.codec.exact import read_exact
from gitstore.session.codec.reader import read_text
from tests.session.codec_cases import HOSTILE, Document, documents, is_same, sessions

FIXTURES = Path(__file__).parents[2] / "fixtures"
GOLDEN = sorted((FIXTURES / "sessions").glob("*.yaml"))
INVALID = sorted((FIXTURES / "invalid").glob("*.yaml"))


class JsonResolver(VersionedResolver):
    """ruamel's rules for YAML 1.2, without dates, merge keys and the value key."""

    @property
    def versioned_resolver(self) -> Any:
        dropped = tuple(f"tag:yaml.org,2002:{name}" for name in ("timestamp", "merge", "value"))
        return {
            start: [rule for rule in rules if str(rule[0]) not in dropped]
            for start, rules in super().versioned_resolver.items()
        }


class LimitedComposer(Composer):
    """ruamel's composer, which refuses what a session may not use."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent) or event.anchor is not None or event.ctag is not None:
            raise YAMLError("refused")
        return super().compose_node(parent, index)


def reference(text: str) -> Any:
    """Return what ruamel's own loader reads.

    Raises:
        ValueError: It refuses the text.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = LimitedComposer
    yaml.Resolver = JsonResolver
    try:
        return yaml.load(text)
    except (YAMLError, ValueError, IndexError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError from error


HAND_EDITED = [
    (
        "# note\n"
        "id: a # b\n"
        "version: 1\n"
        "\n"
        "metadata: {a: [1, 2.5, x], 'b': null}\n"
        "history:\n"
        "    turns:\n"
        "    - id: t1\n"
        "      content: >-\n"
        "        folded\n"
        "        text\n"
        "\n"
        "        more\n"
        "    -   id: t2\n"
    ),
    (
        "a: plain\n"
        "  goes on\n"
        "b: 'single\n"
        "\n"
        "  quoted'\n"
        'c: "double\\\n'
        '  quoted \\u00e9\\x41\\/"\n'
        "? d\n"
        ": - - 1\n"
        "    - 2\n"
        "  -\n"
        "    x: |2-\n"
        "       y\n"
        "    z: ~\n"
        "e:\n"
        "f: [a, b, {c: d, e}, ]\n"
    ),
    (
        "---\n"
        "a: 0x1F\n"
        "b: 0o17\n"
        "c: 017\n"
        "d: 0b11\n"
        "e: 1_000\n"
        "f: +1\n"
        "g: -0\n"
        "h: 1e3\n"
        "i: 1.\n"
        "j: .5\n"
        "k: 1_0.5e-2\n"
        "l: 2026-01-01\n"
        "m: 12:30\n"
        "n: yes\n"
        "o: NO\n"
        "p: Null\n"
        "q: TRUE\n"
        "r: =\n"
        "s: '<<'\n"
        "t: _1\n"
        "u: +.5\n"
        "...\n"
        "# end\n"
    ),
    (
        "a: |+\n"
        "  x\n"
        "\n"
        "\n"
        "b: >\n"
        "  y\n"
        "    z\n"
        "  w\n"
        "# c\n"
        "c: |1\n"
        " x\n"
        "d: 'it''s'\n"
        'e: "tab\\t"\n'
        '"f g": h#i\n'
    ),
]


def mutate(text: str, chance: random.Random) -> str:
    """Change a text a little: characters, pieces or lines."""
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        at = chance.randrange(len(text) + 1)
        end = min(len(text), at + chance.choice([0, 0, 1, 1, 2, 5]))
        piece = chance.choice([*"\n :-#'\"|>[]{},?&*!%\t.~+0_e=<", "\n  ", ": ", " #", "- ", "|\n", "''", "---\n", "\r\n", "\x85", "\ufeff", "...\n", "\\", "1_0", ".5"])  # fmt: skip
        if chance.random() < 0.15:
            lines = text.splitlines(keepends=True)
            i = chance.randrange(len(lines) + 1)
            lines.insert(i, " " * chance.randrange(5) + chance.choice(lines or [""]).lstrip())
            text = "".join(lines)
        else:
            text = text[:at] + (piece if chance.random() < 0.8 else "") + text[end:]
    return text


def test_agrees_with_ruamel_on_mutants() -> None:
    chance = random.Random(7)
    sources = [*HAND_EDITED, *(path.read_text() for path in GOLDEN if path.stat().st_size < 1500)]
    both = 0
    for _ in range(500):
        text = mutate(chance.choice(sources), chance)
        try:
            ours = codec.decode(text.encode())
        except SerializationError:
            continue
        try:
            theirs = reference(text)
        except ValueError:
            continue
        both += 1
        assert is_same(ours, theirs), text
    assert both > 100


@pytest.mark.parametrize("text", HAND_EDITED)
def test_reads_what_people_write_as_ruamel_does(text: str) -> None:
    assert is_same(codec.decode(text.encode()), reference(text))


@given(documents)
def test_the_full_reader_agrees_with_the_exact_one(document: Document) -> None:
    text = codec.encode(document).decode()
    assert is_same(read_exact(text), document)
    assert is_same(read_text(text), document)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_the_exact_reader_gives_up_or_is_right_on_hand_made_lines(hostile: str) -> None:
    for text in (
        f"k: {hostile}\n",
        f"k:\n- {hostile}\n",
        f"{hostile}: 1\n",
        f"k: |\n  {hostile}\n",
    ):
        value = read_exact(text)
        if value is not None:
            assert codec.encode(value).decode() == text
            assert is_same(value, reference(text))


@given(sessions, st.integers())
def test_the_exact_reader_is_never_wrong_on_mutants(document: Document, seed: int) -> None:
    chance = random.Random(seed)
    text = codec.encode(document).decode()
    for _ in range(10):
        changed = mutate(text, chance)
        value = read_exact(changed)
        if value is not None:
            assert codec.encode(value).decode() == changed
            assert is_same(value, read_text(changed))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        assert isinstance(codec.decode(data), dict)
    except SerializationError as error:
        refusal = error
    else:
        return
    assert refusal.where
    assert "\n" not in refusal.problem


@given(
    st.text(st.sampled_from(list("ab01:-?|>'\"[]{},#&*!%@~ \n\t.\r\x85\u2028\ufeff")), max_size=40)
)
def test_any_text_like_yaml_is_read_or_refused(text: str) -> None:
    try:
        value = codec.decode(text.encode())
    except SerializationError:
        return
    assert is_same(codec.decode(codec.encode(value)), value)


def test_a_fuzzed_file_is_read_or_refused() -> None:
    chance = random.Random(3)
    source = bytearray(GOLDEN[0].read_bytes())
    for _ in range(300):
        data = bytearray(source)
        for _ in range(chance.choice([1, 2, 8])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            codec.decode(bytes(data))
        except SerializationError:
            continue


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_files_are_canonical(path: Path) -> None:
    data = path.read_bytes()
    assert codec.encode(codec.decode(data)) == data
    assert codec.is_canonical(data)
    assert is_same(codec.decode(data), reference(data.decode()))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_decoding_tells_the_form_that_asking_tells(path: Path) -> None:
    data = path.read_bytes()
    forms = (data, b"\xef\xbb\xbf" + data, data.replace(b"\n", b"\r\n"), b"# mine\n" + data)
    told = [codec.decode_frozen(each)[1] for each in forms]
    assert told == [codec.is_canonical(each) for each in forms]
    assert told == [True, False, False, False]


def test_there_are_golden_and_invalid_files() -> None:
    assert len(GOLDEN) >= 8
    assert len(INVALID) >= 40


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid_files_are_refused_by_place(path: Path) -> None:
    with pytest.raises(SerializationError) as caught:
        codec.decode(path.read_bytes(), session_id="s-1")
    error = caught.value
    assert f"{error.where}: {error.problem}\n" == path.with_suffix(".txt").read_text()
    assert error.session_id == "s-1"
    assert not codec.is_canonical(path.read_bytes())


def test_values_are_counted_as_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_NODES", 50)
    codec.decode(b"a: [" + b"1," * 47 + b"]\n")
    with pytest.raises(SerializationError, match="more than") as caught:
        codec.decode(b"a: [" + b"1," * 48 + b"]\n")
    assert caught.value.where == "a[47]"


@pytest.fixture
def no_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ruamel.yaml.clib is not installed."""
    monkeypatch.setattr(reader, "_libyaml", None)


@pytest.mark.usefixtures("no_libyaml")
@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid_files_are_refused_alike_without_libyaml(path: Path) -> None:
    with pytest.raises(SerializationError) as caught:
        codec.decode(path.read_bytes())
    error = caught.value
    assert f"{error.where}: {error.problem}\n" == path.with_suffix(".txt").read_text()


@pytest.mark.usefixtures("no_libyaml")
@pytest.mark.parametrize("text", HAND_EDITED)
def test_edited_files_are_read_and_kept_alike_without_libyaml(text: str) -> None:
    document = codec.decode(text.encode())
    assert is_same(document, reference(text))
    document["added"] = "x"
    data = codec.encode(document, previous=text.encode())
    assert is_same(codec.decode(data), document)
    assert data != codec.encode(document)


@pytest.mark.parametrize(
    ("text", "where", "line", "column"),
    [
        ("a: 1\nb:\n  c: [1, {d: &x 2}]\n", "b.c[1].d", 3, 14),
        ("a: 1\nb:\n- x\n- y: 1\n  y: 2\n", "b[1].y", 5, 3),
        ("a: 1\nb: .nan\n", "b", 2, 4),
        ("a:\n  - [1, 2\nb: 1\n", "a[0][2]", 3, 2),
        ("a: 1\n é: \x07\n", "document", 2, 5),
    ],
)
def test_an_error_names_path_line_and_column(text: str, where: str, line: int, column: int) -> None:
    with pytest.raises(SerializationError) as caught:
        codec.decode(text.encode())
    if where != "document":
        assert caught.value.where == where
    assert (caught.value.line, caught.value.column) == (line, column)
    assert f"line {line}, column {column}" in str(caught.value)


def test_line_breaks_and_byte_order_mark_of_other_systems_are_read() -> None:
    expected = {"a": "x\ny\n", "b": 2}
    assert codec.decode(b"a: |\r\n  x\r\n  y\r\nb: 2\r\n") == expected
    assert codec.decode(b"\xef\xbb\xbfa: |\n  x\n  y\nb: 2\n") == expected
    assert codec.decode(b"a: |\r  x\r  y\rb: 2\r") == expected


HARD: list[tuple[str, bytes, str | None]] = [
    ("flow depth", b"a: " + b"[" * 100_000, "deeper than 100"),
    ("closed flow depth", b"a: " + b"[" * 50_000 + b"]" * 50_000, "deeper than 100"),
    ("flow map depth", b"{a: " * 50_000, "deeper than 100"),
    ("block depth", b"".join(b" " * i + b"a:\n" for i in range(1200)), "deeper than 100"),
    ("dash depth", b"a:\n" + b"- " * 100_000, "deeper than 100"),
    ("question depth", b"? " * 20_000, "keys must be text"),
    ("long comment", b"a: 1 # " + b"x" * 1_000_000 + b"\n", None),
    ("long key", b"k" * 1_000_000 + b": 1\n", "not valid YAML"),
    ("digits", b"a: " + b"1" * 1_000_000 + b"\n", "4300 digits"),
    ("hex digits", b"a: 0x" + b"f" * 1_000_000 + b"\n", "4300 digits"),
    ("float digits", b"a: 1." + b"3" * 1_000_000 + b"\n", None),
    ("many values", b"a: [" + b"1," * 600_000 + b"]\n", "more than 500000 values"),
    ("many values, odd breaks", b"a: [" + b"1,\r" * 150_000 + b"]\n", "more than"),
    ("anchors", b"a:\n" + b"".join(b"- &a%d 1\n" % i for i in range(100_000)), "anchors"),
    ("no end of a quote", b'a: "' + b"x\n " * 300_000, "not valid YAML"),
    ("conflict openers", b"a: 1\n" + b"<<<<<<< x\n" * 200_000, "not valid YAML"),
    ("questions", b"? a\n" * 100_000, "twice"),
    ("too large", b"a: " + b"x" * (16 << 20), "16 MiB"),
    ("large, odd breaks", b"a: x\r\n" + b"# y\r" * 2_000_000, "too large to be read in this form"),
    ("large, broken", b"a: x\n" * 2 + b"b: [\n" + b"c\n" * 3_000_000, "twice"),
]  # fmt: skip


SLOWEST = {"many values", "many values, odd breaks", "no end of a quote", "long key"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(data, problem, id=name, marks=[pytest.mark.deep] if name in SLOWEST else [])
        for name, data, problem in HARD
    ],
)
def test_no_small_file_is_slow(data: bytes, problem: str | None) -> None:
    started = time.process_time()
    if problem is None:
        codec.decode(data)
    else:
        with pytest.raises(SerializationError, match=re.escape(problem)):
            codec.decode(data)
    assert time.process_time() - started < 5
