from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore.errors import SerializationError
from gitstore.session import codec
from gitstore.session.codec import head
from gitstore.session.meta import SessionMeta
from gitstore.session.model import FORMAT_VERSION
from gitstore.session.times import parse_time
from gitstore.types import Revision, SessionId, SyncState
from tests.session.codec_cases import Document, sessions
from tests.session.test_codec_reader import GOLDEN, INVALID, mutate

ID = SessionId("s-1")
REVISION = Revision("0" * 40)
TIME = "2026-11-23T11:29:27.990Z"
HEAD = f"id: s-1\nversion: 1\ncreated_at: '{TIME}'\nupdated_at: '{TIME}'\n"
TURNS = HEAD + "history:\n  turns:\n  - id: t1\n    content: hello\n  - id: t2\n"
TEXT = b"".join(
    b"  - id: t%d\n    role: user\n    content: |-\n      a line of code: \"x\n      def f(x): [1, {\n%s" % (i, b"      # and more: it's\n" * 45)
    for i in range(1000)
)  # fmt: skip


def read(data: bytes) -> SessionMeta:
    return codec.read_meta(data, session_id=ID, revision=REVISION)


def is_fast(data: bytes) -> bool:
    """Whether the turns are only counted."""
    seen: list[int] = []

    def decode(part: bytes, **_: object) -> dict[str, Any]:
        seen.append(len(part))
        return codec.decode(part)

    head.read_meta(
        data, session_id=ID, revision=REVISION, state=SyncState.LOCAL_ONLY, decode=decode
    )
    return sum(seen) < len(data)


def expected(document: Document) -> SessionMeta:
    """Return the row by the rules, from a full decode; SerializationError where there is a problem."""
    project, history = document.get("project_context", {}), document.get("history", {})
    texts = [project.get("name"), project.get("root_path")]
    if (
        document["id"] != ID
        or type(document["version"]) is not int
        or document["version"] != 1
        or not isinstance(history.get("turns", []), list)
        or not all(text is None or isinstance(text, str) for text in texts)
    ):
        raise ValueError
    return SessionMeta(
        id=ID,
        name=texts[0],
        created_at=parse_time(document["created_at"]),
        updated_at=parse_time(document["updated_at"]),
        project_path=texts[1],
        turn_count=len(history.get("turns", [])),
        revision=REVISION,
    )


def assert_agrees(data: bytes) -> None:
    row = read(data)
    try:
        wanted = expected(codec.decode(data))
    except SerializationError:
        return
    except (ValueError, KeyError, AttributeError, TypeError):
        assert row.problem is not None, data
        return
    assert row == wanted, data


@given(sessions)
def test_a_canonical_file_is_read_without_decoding_it(document: Document) -> None:
    data = codec.encode(document)
    assert read(data) == expected(document)


@given(sessions)
def test_the_turns_of_a_canonical_file_are_not_decoded(document: Document) -> None:
    # Free-form maps may hold keys and lists that the quick look does not know.
    document.pop("metadata", None)
    for turn in document.get("history", {}).get("turns", []):
        turn.pop("metadata", None)
        turn.pop("tool_calls", None)
    data = codec.encode(document)
    assert is_fast(data) == bool(document.get("history", {}).get("turns")), data.decode()


#: A session as they usually are, and what may go wrong where in it.
USUAL = TURNS.replace(
    "content: hello",
    """content: |
      hello 'x' "y"
      - id: z
    tool_calls:
    - tool_name: shell
      args:
        command: grep -n 1 data.csv
      result:
      - '1: 0'
      - total
      success: true
    metadata:
      stop: end""",
)
ODDITIES = [
    "'", '"', "'x'", "'x", "''", "'\n", "'a' ", "\n    'y'", "\n      'z", "k: 'a'", "k: a 'b", '"x"', '"x\n',
    "|", "|\n     x: '", ">", "[", "]", "{", "}", "?", ": ", "- ", " #c", "&a ", "*a", "\t", "\n", "  ", "a",
    "\n    ", "\n      ", "\n  - id: f\n", "\n  x: ", "\n...\n", "\n---\n", "\r", "\x85", "\u2028",
]  # fmt: skip


def test_the_usual_file_is_not_decoded_at_all() -> None:
    def decode(part: bytes, **_: object) -> dict[str, Any]:
        raise AssertionError(part)

    row = head.read_meta(
        USUAL.encode(), session_id=ID, revision=REVISION, state=SyncState.LOCAL_ONLY, decode=decode
    )
    assert row == expected(codec.decode(USUAL.encode()))


@given(st.lists(st.tuples(st.integers(0, len(USUAL)), st.sampled_from(ODDITIES)), max_size=3))
def test_agrees_with_a_full_decode_whatever_is_put_in(put_in: list[tuple[int, str]]) -> None:
    text = USUAL
    for place, oddity in put_in:
        text = text[:place] + oddity + text[place:]
    assert_agrees(text.encode())


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_files_agree(path: Any) -> None:
    row = codec.read_meta(
        path.read_bytes(), session_id=codec.decode(path.read_bytes())["id"], revision=REVISION
    )
    assert row.problem is None
    turns = codec.decode(path.read_bytes()).get("history", {}).get("turns", [])
    assert row.turn_count == len(turns)


@given(sessions, st.integers())
def test_agrees_with_a_full_decode_on_mutants(document: Document, seed: int) -> None:
    chance = random.Random(seed)
    text = codec.encode(document).decode()
    for _ in range(5):
        assert_agrees(mutate(text, chance).encode())


SNEAKY = {
    "a quote hides a turn": TURNS.replace("hello", '"hello\n  - id: fake\n    x: y"'),
    "a single quote hides a turn": TURNS.replace("hello", "'hello\n  - id: fake\n    x: y'"),
    "a bracket hides a turn": TURNS.replace("hello", "[\n  - id: fake\n  ]"),
    "a quote behind a tab": TURNS.replace("content: hello", 'a:\t"x: y\n  - id: fake\n    z: w"'),
    "a quote behind a dash": TURNS.replace(" hello", '\n    - "x\n  - id: fake\n    z: w"'),
    "a single quote behind a dash": TURNS.replace(" hello", "\n    - 'x\n  - id: fake\n    z: w'"),
    "an item that goes on": TURNS.replace(" hello", "\n    - x\n      y\n    - '- id: z'"),
    "a quote behind dashes": TURNS.replace(" hello", '\n    - - "x\n  - id: fake\n    z: w"'),
    "a quote behind a key behind a dash": TURNS.replace(" hello", '\n    - k:\t"x: y\n  - id: fake\n    z: w"'),
    "a quote below the key": TURNS.replace(" hello", '\n      "x\n  - id: fake\n    z: w"'),
    "a key in quotes over lines": TURNS.replace("content: hello", '"a\n  - id: fake\n   ": 1'),
    "a text that ends with a quote": TURNS.replace("hello", "hello 'x'\n      'y'"),
    "a quote in a text stays open": TURNS.replace("hello", "it 's"),
    "a quote on a line of its own": TURNS.replace(" hello", "\n      'x\n  - id: fake\n    z: w'"),
    "a quote that is closed and opened": TURNS.replace("hello", "'x''y\n  - id: fake\n    z: w'"),
    "a tagless quote behind an explicit key": TURNS.replace("content", '? "a\n  - id: fake\n  "\n    : x\n    content'),
    "a literal in a list": TURNS.replace(" hello", "\n    - |\n      x\n    - y: |\n        - id: z\n"),
    "a literal indented by one": TURNS.replace("hello", '|\n     y: |\n     "open'),
    "a folded block": TURNS.replace("hello", '>\n      "open'),
    "turns indented by four": HEAD + "history:\n  turns:\n    - id: a\n    - id: b\n",
    "turns at the margin of history": HEAD + "history:\n turns:\n  - id: a\n",
    "turns in brackets": HEAD + "history:\n  turns: [{id: a}, {id: b}]\n",
    "turns in quotes": HEAD + 'history:\n  "turns":\n  - id: a\n',
    "turns explicit": HEAD + "history:\n  ? turns\n  : - id: a\n",
    "history in quotes": HEAD + '"history":\n  turns:\n  - id: a\n',
    "history explicit": HEAD + "? history\n: turns:\n  - id: a\n",
    "history in braces": HEAD + "history: {turns: [{id: a}]}\n",
    "turns elsewhere": HEAD + "history:\n  max_turns: 3\nother:\n  turns:\n  - id: a\n",
    "turns not last": HEAD + "history:\n  turns:\n  - id: a\n  max_turns: 3\nmetadata:\n  k:\n  - id: b\n",
    "id not first": HEAD + "history:\n  turns:\n  - id: a\n  - role: user\n    id: b\n",
    "dash alone": HEAD + "history:\n  turns:\n  - id: a\n  -\n    id: b\n",
    "a comment between": TURNS.replace("  - id: t2", "# c\n  - id: t2 # d\n\n  #- id: x\n  - id: t3"),
    "turns with an end": TURNS + "...\n",
    "name goes on": HEAD + "project_context:\n  name: a\n    b\nmetadata: {}\n",
    "name goes on behind a gap": HEAD + "project_context:\n  name: a\n\n    b\nmetadata: {}\n",
    "name behind a comment": HEAD + "project_context:\n  root_path: a\n# c\n  name: b\n",
    "name in a block": HEAD + "project_context:\n  x: |\n    y\n  name: b\n",
    "name in a shallow block": HEAD + "project_context:\n x: |\n  name: b\n",
    "name in quotes": HEAD + 'project_context:\n  root_path: a\n  "name": b\n',
    "name in braces": HEAD + "project_context: {name: b}\n",
    "name null": HEAD + "project_context:\n  name: null\n",
    "name empty": HEAD + "project_context:\n  name:\n",
    "name number": HEAD + "project_context:\n  name: 12\n",
    "name hidden in quotes": HEAD + "project_context:\n  root_path: /a\n  x: \"\n  name: b\n  \"\n",
    "project not first": HEAD + "metadata: {}\nproject_context:\n  name: b\n",
    "project a list": HEAD + "project_context:\n- name\n",
    "name null in a usual head": TURNS.replace("history:", "project_context:\n  name: null\nhistory:"),
    "root true in a usual head": TURNS.replace("history:", "project_context:\n  root_path: True\nhistory:"),
    "id with a comment": TURNS.replace("s-1", "s-1 # c"),
    "id quoted": TURNS.replace("s-1", "'s-1'"),
    "id escaped": TURNS.replace("s-1", '"s\\x2D1"'),
    "id another": TURNS.replace("s-1", "s-2"),
    "id a number": TURNS.replace("s-1", "12"),
    "id missing": TURNS.replace("id: s-1\n", ""),
    "version 2": TURNS.replace("version: 1", "version: 2"),
    "version true": TURNS.replace("version: 1", "version: true"),
    "version in hex": TURNS.replace("version: 1", "version: 0x1"),
    "time plain": TURNS.replace(f"'{TIME}'", TIME),
    "time impossible": TURNS.replace("11-23", "13-23"),
    "time with an offset": TURNS.replace("990Z", "990+01:00"),
    "windows": TURNS.replace("\n", "\r\n"),
    "a next line in a text": TURNS.replace("hello", 'hello\x85      "x\n  - id: fake\n   "'),
    "a lone carriage return": TURNS.replace("hello", "hello\r  - id: t9"),
    "an anchor": TURNS.replace("hello", '&a "x\n  - id: fake\n"'),
    "no end of line": TURNS[:-1],
    "history empty": HEAD + "history: {}\n",
    "turns empty": HEAD + "history:\n  turns: []\n",
    "history null": HEAD + "history:\n",
}  # fmt: skip


#: Those that are no session at all; the others have to be valid, or they would prove nothing.
REFUSED = {
    "a bracket hides a turn",
    "a key in quotes over lines",
    "a next line in a text",
    "an anchor",
}


@pytest.mark.parametrize("name", SNEAKY)
def test_agrees_with_a_full_decode_on_sneaky_files(name: str) -> None:
    data = SNEAKY[name].encode()
    if name in REFUSED:
        with pytest.raises(SerializationError):
            codec.decode(data)
        assert read(data).problem is not None
    else:
        codec.decode(data)
        assert_agrees(data)


def test_an_id_that_yaml_takes_for_something_else_has_to_be_quoted() -> None:
    for spelled, is_good in (("null", False), ("'null'", True)):
        data = TURNS.replace("id: s-1", f"id: {spelled}").encode()
        row = codec.read_meta(data, session_id=SessionId("null"), revision=REVISION)
        assert (row.problem is None) == is_good


def test_bytes_that_are_no_text_are_a_problem_in_a_turn_too() -> None:
    row = read(TURNS.replace("hello", "caf\xe9").encode("latin-1"))
    assert "not UTF-8" in str(row.problem)


def test_a_commented_file_is_still_read_quickly() -> None:
    text = TURNS.replace("  - id: t2", "\n# note\n  # mine\n  - id: t2")
    assert is_fast(text.encode())
    assert read(text.encode()).turn_count == 2


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_a_file_that_cannot_be_read_gives_a_row_with_its_problem(path: Any) -> None:
    if path.stem == "duplicate_nested":
        assert read(path.read_bytes()).turn_count == 1  # inside a turn: not looked at
        return
    with pytest.raises(SerializationError) as caught:
        codec.decode(path.read_bytes(), session_id=ID)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert read(path.read_bytes()) == SessionMeta(
        id=ID,
        name=None,
        created_at=epoch,
        updated_at=epoch,
        project_path=None,
        turn_count=0,
        revision=REVISION,
        problem=str(caught.value),
    )


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("id another", "s-1: id: the file holds another session: 's-2'"),
        ("id missing", "s-1: id: the file holds another session: 'None'"),
        ("version 2", "format version 2 is not supported (this gitstore reads 1); update gitstore"),
        ("version true", "s-1: version: must be a whole number"),
        ("time impossible", "s-1: created_at: "),
        ("name number", "s-1: project_context.name: must be text or null"),
        ("project a list", "s-1: project_context: must be a map"),
        ("history null", "s-1: history: must be a map"),
    ],
)
def test_a_problem_says_what_is_wrong(name: str, problem: str) -> None:
    row = read(SNEAKY[name].encode())
    assert row.problem is not None
    assert problem in row.problem


def test_the_version_is_the_one_of_the_model() -> None:
    assert read(TURNS.replace("version: 1", f"version: {FORMAT_VERSION}").encode()).problem is None


def test_a_large_file_is_read_in_milliseconds(capsys: pytest.CaptureFixture[str]) -> None:
    data = (HEAD + "history:\n  turns:\n").encode() + TEXT
    assert codec.is_canonical(data)
    assert is_fast(data)
    best = 9.0
    for _ in range(5):
        started = time.process_time()
        assert read(data).turn_count == 1000
        best = min(best, time.process_time() - started)
    with capsys.disabled():
        print(f"\nread_meta: {best * 1e3:.1f} ms for {len(data) / 1e6:.2f} MB, 1,000 turns")
    assert best < 0.1
