"""Reading and writing turn by turn gives what reading and writing the whole gives, whatever was seen."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gitstore.errors import SerializationError
from gitstore.session import codec
from gitstore.session.codec import turns
from gitstore.session.codec.exact import read_exact, read_exact_turn
from gitstore.session.codec.reader import read_text
from gitstore.session.codec.turns import TurnCodec
from gitstore.session.codec.writer import count_nodes, encode_text, turn_text
from gitstore.session.frozen import freeze_document, freeze_turn, thaw_turn
from tests.session.codec_cases import Document, is_same, sessions
from tests.session.test_codec_reader import mutate

TIME = "2026-11-23T11:29:27.990Z"
#: A file with every kind of turn that people write, and some that only look like the end of one.
EDITED = f"""\
id: s-1
version: 1
created_at: '{TIME}'
updated_at: '{TIME}'
history:
  turns:
  - id: t1
    role: user
    content: |-
      a line

      - id: no turn
    # a note
    tags: [a, "b: c"]
  - id: t2
    content: "quoted
      over lines"
    metadata: {{a: 1, b: [x, y]}}

  - id: t3
    content: plain
      goes on
  -   id: t4
      content: >+
        folded

  - id: t5
    content: 'it''s'
    args:
    - - 1
      - 2
"""
#: How a last turn can end, and whether that leaves the document open: with line breaks that are kept.
ENDINGS: dict[str, tuple[Any, bool]] = {
    "kept": ("a\n\n", True),
    "kept, and told where it begins": (" a\n\n\n", True),
    "kept in a map": ({"k": "b\n\n"}, True),
    "kept in a list": (["b\n\n"], True),
    "clipped": ("a\n", False),
    "stripped": ("a\nb", False),
    "quoted": ("\n\n", False),
    "only looking so": ("x |+", False),
    "empty": ("", False),
    "nothing": (None, False),
}
SIMPLE = f"""\
id: s-1
version: 1
created_at: '{TIME}'
updated_at: '{TIME}'
metadata:
  k: |
    text
history:
  max_turns: 5
  turns:
  - id: t1
    role: user
    content: hello
  - id: t2
    role: user
    content: |+
      one

  - id: t3
    content: "a\\tb"
    metadata:
      num: 1.5
      deep:
      - - x
        - {{}}
"""


def document_of(*contents: str) -> Document:
    listed = [{"id": f"t{i}", "role": "user", "content": text} for i, text in enumerate(contents)]
    return {"id": "s-1", "version": 1, "history": {"turns": listed}}


def write(both: TurnCodec, document: Document) -> bytes | None:
    """Return the bytes of a document, or None where it is not written turn by turn."""
    frozen = freeze_document(document)
    return None if frozen is None else both.write(frozen)


def read(both: TurnCodec, data: bytes) -> tuple[Document, bool] | None:
    """Return the document of some bytes and whether they are canonical, if it is read turn by turn."""
    found = both.read(data)
    if found is None:
        return None
    frozen, is_canonical = found
    return frozen.whole(list(map(thaw_turn, frozen.turns))), is_canonical


def whole(text: str) -> Any:
    """Return what the full reader says of a text, or None if it refuses it."""
    try:
        return read_text(text)
    except SerializationError:
        return None


def check_mutants(count: int, seed: int) -> tuple[int, int]:
    """Compare so many mutants; return how many were read by turns, and how many of them edited."""
    chance = random.Random(seed)
    sources = [EDITED, SIMPLE, SIMPLE, codec.encode(document_of("a", "b\n\n", "c: d\n")).decode()]
    warm = TurnCodec()
    accepted = edited = 0
    for _ in range(count):
        text = mutate(chance.choice(sources), chance)
        data = text.encode()
        cold = read(TurnCodec(), data)
        assert cold == read(warm, data), text
        assert warm.is_canonical(data) == (cold and cold[1]), text
        if cold is None:
            continue
        document, is_canonical = cold
        assert is_same(document, whole(text)), text
        assert is_canonical == (read_exact(text) is not None), text
        accepted += 1
        edited += not is_canonical
    return accepted, edited


def test_is_never_wrong_on_mutants() -> None:
    accepted, edited = check_mutants(3000, seed=11)
    assert accepted > 500
    assert edited > 100


@pytest.mark.deep
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("seed", range(10))
def test_is_never_wrong_on_many_mutants(seed: int) -> None:
    accepted, edited = check_mutants(30_000, seed=1000 + seed)
    assert accepted > 5000
    assert edited > 1000


def keys_of(value: Any) -> list[str]:
    """Return the keys of a value, in order, and those inside."""
    if not isinstance(value, dict):
        return []
    return [key for name, inner in value.items() for key in (name, *keys_of(inner))]


@given(sessions)
def test_writes_and_reads_what_the_whole_does(document: Document) -> None:
    both = TurnCodec()
    expected = encode_text(document).encode()
    for _ in range(2):  # with an empty memory, and with a full one
        assert write(both, document) in (expected, None)
        assert (write(both, document) is None) == (not document.get("history", {}).get("turns"))
        found = read(both, expected)
        if found is not None:
            assert is_same(found[0], document)
            assert found[1]


@pytest.mark.parametrize("text", [EDITED, SIMPLE])
def test_reads_turns_of_every_style(text: str) -> None:
    found = read(TurnCodec(), text.encode())
    assert found is not None
    assert is_same(found[0], read_text(text))


def test_a_key_is_one_text_however_often_it_is_read() -> None:
    turn: Document = {"id": "t", "metadata": {"a name": {"not a 'name'": 1, "input tokens": 2}}}
    names: dict[str, str] = {}
    turns_read = [read_exact_turn(turn_text(turn)[0], names) for _ in range(3)]
    assert turns_read == [turn] * 3
    for seen in zip(*map(keys_of, turns_read), strict=True):
        assert len(set(seen)) == 1
        assert len(set(map(id, seen))) == 1


def test_a_turn_that_ends_the_document_is_not_read_alone() -> None:
    """A carriage return hides a line from the rule about indentation."""
    text = codec.encode(document_of("a", "b")).decode()
    text = text.replace("content: a\n", "content: a\r...\r   # a note\n")
    assert whole(text) is None
    assert TurnCodec().read(text.encode()) is None


@given(sessions, st.lists(st.integers(0, 1000), min_size=1, max_size=8), st.data())
def test_a_change_anywhere_is_written(
    document: Document, path: list[int], data: st.DataObject
) -> None:
    """Whatever is changed in place, the bytes are those of the document as it is now."""
    both = TurnCodec()
    write(both, document)
    place: Any = document
    for step in path:
        inner = list(place.values()) if isinstance(place, dict) else place
        below = [each for each in inner if isinstance(each, dict | list) and each]
        if not below:
            break
        place = below[step % len(below)]
    value: Any = data.draw(
        st.sampled_from([True, 1, 1.0, "1", None, [], {}, "x\n\n", -0.0, 0.0, 0])
    )
    if isinstance(place, dict):
        place[data.draw(st.sampled_from(sorted(place)))] = value
    else:
        place[data.draw(st.integers(0, len(place) - 1))] = value
    again = write(both, document)
    assert again in (encode_text(document).encode(), None)


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), (1, 1.0), (0.0, -0.0), ("1", 1)])
def test_values_that_are_equal_and_written_differently_are_told_apart(one: Any, other: Any) -> None:
    both = TurnCodec()
    for value in (one, other, one):
        document = document_of("x")
        document["history"]["turns"][0]["metadata"] = {"value": value}
        assert write(both, document) == encode_text(document).encode()


def test_what_was_read_can_be_changed_without_harm() -> None:
    both = TurnCodec()
    first, again = read(both, SIMPLE.encode()), read(both, SIMPLE.encode())
    assert first is not None
    assert again is not None
    kept = copy.deepcopy(again)
    first[0]["history"]["turns"][2]["metadata"]["deep"][0].append("changed")
    assert again == kept
    assert read(both, SIMPLE.encode()) == kept
    assert write(both, kept[0]) == SIMPLE.encode()


class Text(str):
    """A subclass: `marshal` refuses it, the writer takes its value."""

    __slots__ = ()


@pytest.mark.parametrize("value", [b"ab", bytearray(b"ab"), (1,), {1}, 1j, ...])
def test_foreign_values_are_refused_with_a_full_memory_too(value: Any) -> None:
    document = document_of("x")
    document["history"]["turns"][0]["metadata"] = {"value": value}
    for _ in range(2):
        with pytest.raises(SerializationError) as caught:
            codec.encode(document)
        assert caught.value.where == "history.turns[0].metadata.value"


def test_subclasses_are_written_by_their_value() -> None:
    document = document_of("x", Text("y"))
    assert codec.encode(document) == codec.encode(document_of("x", "y"))


def test_limits_hold_turn_by_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    both, document = TurnCodec(), document_of("a", "b", "c")
    data = write(both, document)
    assert data is not None
    monkeypatch.setattr(turns, "MAX_NODES", 29)  # it has 30
    assert write(both, document) is None
    assert both.read(data) is None
    monkeypatch.setattr(turns, "MAX_NODES", 30)
    assert write(both, document) == data
    monkeypatch.setattr(turns, "MAX_BYTES", len(data) - 1)
    assert write(both, document) is None
    assert both.read(data) is None


LISTS = document_of("x")
LISTS["history"]["turns"][0]["metadata"] = {"deep": [[[[[[]]]], [[[1]]]], [[2]]]}


@given(sessions)
@example(LISTS)
def test_what_is_remembered_of_a_turn_bounds_its_nodes(document: Document) -> None:
    frozen, data = freeze_document(document), encode_text(document).encode()
    if frozen is None or not frozen.turns:
        return
    both = TurnCodec()
    both.write(frozen)  # from here on the turns are known, with their bounds
    texts, written = both._texts(frozen.turns)
    found = both._look(data)
    assert found is not None
    assert found.is_canonical
    before = data[: data.index(b"\n  turns:\n  - " + texts[0])] + b"\n  turns:\n"
    for most in (written, found.nodes_most):
        assert count_nodes(document) <= turns._nodes_most(before) + most


def test_a_text_is_known_to_be_canonical_without_its_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both, edited = TurnCodec(), SIMPLE.replace("role: user", "role:  user", 1)
    assert both.is_canonical(SIMPLE.encode())
    assert both.is_canonical(edited.encode()) is False
    thawed: list[bytes] = []

    def thaw(value: bytes) -> Any:
        thawed.append(value)
        return thaw_turn(value)

    monkeypatch.setattr(turns, "thaw_turn", thaw)
    assert both.is_canonical(SIMPLE.encode())
    assert len(thawed) == 1  # the last, which says how the document ends
    assert both.is_canonical(SIMPLE.encode() + b"...\n") is None


def test_a_turn_may_be_as_deep_as_in_the_whole() -> None:
    for depth in (96, 97, 98):
        nested: Any = "x"
        for _ in range(depth):
            nested = [nested]
        document = document_of("y")
        document["history"]["turns"][0]["metadata"] = nested
        canonical = "    metadata:\n    " + "- " * depth + "x\n"
        edited = codec.encode(document_of("y")).decode() + canonical + "    # a note\n"
        try:
            expected: Any = encode_text(document).encode()
        except SerializationError:
            expected = None
        assert write(TurnCodec(), document) == expected
        found = read(TurnCodec(), edited.encode())
        assert (found is not None) == (whole(edited) is not None) == (expected is not None)


def test_memory_is_bounded_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURNS_MAX", 10)
    both = TurnCodec()
    used = document_of("always")
    for number in range(100):
        document = document_of(f"text {number}")
        assert write(both, document) == encode_text(document).encode()
        assert write(both, used) == encode_text(used).encode()
        held = (both._memory._new, both._memory._old)
        assert sum(len(each.values) + len(each.edited) for each in held) <= 20
    assert both._memory.texts([freeze_turn(used["history"]["turns"][0])]) != [None]
    large = document_of("x" * (turns.TURN_BYTES_MAX + 1))
    before = len(both._memory._new.values)
    assert write(both, large) == encode_text(large).encode()
    assert len(both._memory._new.values) == before


def test_golden_files_are_read_alike() -> None:
    for path in (Path(__file__).parents[2] / "fixtures/sessions").glob("*.yaml"):
        found = read(TurnCodec(), path.read_bytes())
        if found is not None:
            assert is_same(found[0], read_text(path.read_text()))
            assert found[1]


@pytest.mark.parametrize(("ending", "is_open"), ENDINGS.values(), ids=ENDINGS)
def test_a_last_turn_that_leaves_the_document_open_is_marked(
    ending: object, *, is_open: bool
) -> None:
    last = {"id": "t2", "content": "c", "end": ending}
    document = {"id": "s", "history": {"turns": [{"id": "t1", "content": "a\n\n"}, last]}}
    frozen = freeze_document(document)
    assert frozen is not None
    data = TurnCodec().write(frozen)
    assert data == encode_text(document).encode()
    assert data.endswith(b"\n...\n") is is_open
    found = read(TurnCodec(), data)
    assert found is not None
    assert is_same(found[0], document)
