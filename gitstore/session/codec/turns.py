r"""Turn by turn: writes and reads a session by its turns, and remembers both forms of each.

The canonical text of a session is that of its *shell*, the document with ``turns: null``, with the
texts of the turns in the place of the null: the writer writes one turn without looking at another.

    shell   id: s-1 ... history:\n  turns:      what comes before the turns
    chunk   \n  - id: t1 ... \n  - id: t2 ...   cut at each line that begins with this dash

So a file is read by reading shell and chunks. If each is canonical, so is the whole, wherever it was
cut. A chunk that a person edited is read by the full reader, when it proves that it stands alone:

1. The shell and all that is canonical closes what it opens.
2. The other lines of the chunk are empty or indented deeper than its dash, so that no document
   marker, directive, comment at the margin or key of the history is in it.
3. It has no line break or blank that parsers take differently.
4. It holds exactly one turn by itself: nothing that it opens is still open at its end.

Everything else is read as a whole, also for the error that names the place.

What is remembered is a function of the content alone: the text of a chunk, or the turn as `freeze_turn`
gives it, which tells all values and types apart that the writer can write. So it is never stale,
and no value that was handed out and can change is part of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gitstore.errors import SerializationError
from gitstore.session.codec.exact import read_exact, read_exact_turn
from gitstore.session.codec.limits import MAX_BYTES, MAX_NODES
from gitstore.session.codec.reader import read_text
from gitstore.session.codec.scalars import Unwritable
from gitstore.session.codec.writer import (
    END_MARK,
    count_nodes,
    nodes_at_most,
    render,
    turn_text,
)
from gitstore.session.frozen import FrozenDocument, FrozenTurn, freeze_turn, thaw_turn
from gitstore.session.values import is_list, is_map

if TYPE_CHECKING:
    from gitstore.session.values import Value

#: Turns whose text takes more bytes are not remembered: they cost less, byte for byte.
TURN_BYTES_MAX: Final = 4096
#: Turns of one of the two generations; at most 64 MiB are remembered, 20 MiB of usual turns.
TURNS_MAX: Final = 4096
_HISTORY: Final = b"\nhistory:\n"
_TURNS: Final = b"\n  turns:\n  - "
_NEXT_TURN: Final = b"\n  - "
_END: Final = ("\n" + END_MARK).encode()
_NO_TURNS: Final = "\n  turns: null\n"
_stands_alone = re.compile(r"  - [^\n]*+\n(?:\n|   [^\n]*+\n)*+").fullmatch
_is_odd = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]").search


#: A form of a turn, and what the nodes of its canonical text do not exceed.
_Text: TypeAlias = tuple[bytes, int]
_Value: TypeAlias = tuple[FrozenTurn, int]


class _Generation:
    """Texts and values of some turns, by one another; `edited` holds values by text only."""

    __slots__ = ("edited", "texts", "values")

    def __init__(self) -> None:
        self.texts: dict[FrozenTurn, _Text] = {}
        self.values: dict[bytes, _Value] = {}
        self.edited: dict[bytes, FrozenTurn] = {}

    def is_full(self) -> bool:
        return len(self.values) + len(self.edited) >= TURNS_MAX


class TurnMemory:
    """Canonical texts and values of turns, frozen, which the garbage collector does not walk.

    Two generations: what was not used while one filled up is forgotten. Threads share it without
    a lock, since every step is one step of a dict; a race forgets a turn, or remembers it twice.
    """

    def __init__(self) -> None:
        self._new = _Generation()
        self._old = _Generation()

    def texts(self, values: list[FrozenTurn]) -> list[_Text | None]:
        """Return the text of each turn that is known by its value."""
        found = list(map(self._new.texts.get, values))
        if None in found:
            old = self._old.texts
            for at, known in enumerate(found):
                if known is None and (known := old.get(values[at])) is not None:
                    found[at] = known
                    self.keep(values[at], *known)
        return found

    def values(self, texts: list[bytes]) -> list[_Value | None]:
        """Return the value of each turn that is known by its canonical text."""
        found = list(map(self._new.values.get, texts))
        if None in found:
            old = self._old.values
            for at, known in enumerate(found):
                if known is None and (known := old.get(texts[at])) is not None:
                    found[at] = known
                    self.keep(known[0], texts[at], known[1])
        return found

    def edited(self, text: bytes) -> FrozenTurn | None:
        """Return the value of a turn that is known by its text, which is not canonical."""
        value = self._new.edited.get(text)
        if value is None and (value := self._old.edited.get(text)) is not None:
            self.keep_edited(value, text)
        return value

    def keep(self, value: FrozenTurn, text: bytes, nodes_most: int) -> None:
        """Remember a turn and its canonical text."""
        if len(text) <= TURN_BYTES_MAX:
            new = self._room()
            new.texts[value] = text, nodes_most
            new.values[text] = value, nodes_most

    def keep_edited(self, value: FrozenTurn, text: bytes) -> None:
        """Remember a turn and a text of it that is not canonical."""
        if len(text) <= TURN_BYTES_MAX:
            self._room().edited[text] = value

    def _room(self) -> _Generation:
        if self._new.is_full():
            self._old, self._new = self._new, _Generation()
        return self._new


class _Found:
    """What stands in some bytes."""

    __slots__ = ("is_canonical", "nodes_most", "shell", "turns")

    def __init__(self, shell: dict[str, Any]) -> None:
        #: With None for the list of the turns.
        self.shell = shell
        self.turns: list[FrozenTurn] = []
        self.is_canonical = True
        #: What the nodes of the canonical ones do not exceed.
        self.nodes_most = 0

    def document(self) -> FrozenDocument:
        return FrozenDocument(self.shell, self.turns)


class TurnCodec:
    """Writes and reads sessions by their turns. Every method answers None where it cannot."""

    def __init__(self) -> None:
        self._memory = TurnMemory()

    def write(self, document: FrozenDocument) -> bytes | None:
        """Return the canonical bytes of a document."""
        if not document.turns:
            return None
        try:
            head = render(document.shell)
            if not head.endswith(_NO_TURNS):
                return None  # something comes behind the turns
            texts, nodes_most = self._texts(document.turns)
            pieces = [head[: -len(" null\n")].encode(), *texts]
            # In canonical lines only a block that keeps its last line breaks ends with an empty one.
            pieces[-1] += _END if pieces[-1].endswith(b"\n") else b"\n"
            data = _NEXT_TURN.join(pieces)
        # What has no place in a file, or is no plain value, or contains itself.
        except (Unwritable, ValueError, TypeError, RecursionError):
            return None
        if len(data) > MAX_BYTES:
            return None
        most = _nodes_most(pieces[0]) + nodes_most
        return None if most > MAX_NODES and count_nodes(document.thaw()) > MAX_NODES else data

    def read(self, data: bytes) -> tuple[FrozenDocument, bool] | None:
        """Return the document of some bytes, and whether they are canonical."""
        found = self._look(data)
        return None if found is None else (found.document(), found.is_canonical)

    def is_canonical(self, data: bytes) -> bool | None:
        """Return whether some bytes are canonical, without making the values of known turns."""
        found = self._look(data)
        return None if found is None else found.is_canonical

    def _look(self, data: bytes) -> _Found | None:
        history = data.find(_HISTORY)
        at = -1 if history < 0 else data.find(_TURNS, history + len(_HISTORY) - 1)
        if at < 0 or len(data) > MAX_BYTES or data[-1:] != b"\n":
            return None
        has_end = data.endswith(_END)
        chunks = data[at + len(_TURNS) : -len(_END) if has_end else -1].split(_NEXT_TURN)
        try:
            shell = _document_of(data[:at].decode() + _NO_TURNS)
            found = None if shell is None else self._turns(shell, chunks)
            if found is None or has_end != turn_text(thaw_turn(found.turns[-1]))[1]:
                return None
        # No UTF-8, or deeper than the interpreter reads.
        except (ValueError, RecursionError):
            return None
        # In whatever form, a node takes a byte.
        most = len(data)
        if found.is_canonical:
            most = _nodes_most(data[: at + len(_TURNS)]) + found.nodes_most
        return (
            None if most > MAX_NODES and count_nodes(found.document().thaw()) > MAX_NODES else found
        )

    def _texts(self, values: list[FrozenTurn]) -> tuple[list[bytes], int]:
        """Return the texts of some turns, and what all their nodes do not exceed."""
        result: list[bytes] = []
        nodes_most = 0
        for value, known in zip(values, self._memory.texts(values), strict=True):
            if known is None:
                # Only of plain lists and maps: in the value there are no tuples.
                text = turn_text(thaw_turn(value))[0][len("  - ") : -1].encode()
                most = _nodes_most(text)
                self._memory.keep(value, text, most)
            else:
                text, most = known
            result.append(text)
            nodes_most += most
        return result, nodes_most

    def _turns(self, shell: dict[str, Any], chunks: list[bytes]) -> _Found | None:
        found = _Found(shell)
        names: dict[str, str] = {}
        for chunk, known in zip(chunks, self._memory.values(chunks), strict=True):
            if known is not None:
                found.turns.append(known[0])
                found.nodes_most += known[1]
                continue
            text = f"  - {chunk.decode()}\n"
            turn = read_exact_turn(text, names)
            if turn is not None:
                most = _nodes_most(chunk)
                value = freeze_turn(turn)
                self._memory.keep(value, chunk, most)
                found.nodes_most += most
            else:
                found.is_canonical = False
                edited = self._edited(chunk, text)
                if edited is None:
                    return None
                value = edited
            found.turns.append(value)
        return found

    def _edited(self, chunk: bytes, text: str) -> FrozenTurn | None:
        """Return the turn in a chunk that is not canonical, if it stands alone."""
        known = self._memory.edited(chunk)
        if known is not None:
            return known
        if not _stands_alone(text) or _is_odd(text):
            return None
        try:
            turns = read_text(text)
            if not is_list(turns) or len(turns) != 1 or not is_map(turns[0]):
                return None
            turn_text(turns[0])  # not deeper than the whole may be
        except (SerializationError, Unwritable):
            return None
        value = freeze_turn(turns[0])
        self._memory.keep_edited(value, chunk)
        return value


def _document_of(shell: str) -> dict[str, Any] | None:
    """Return the document of a shell, if it is canonical and ends with its turns."""
    document = read_exact(shell)
    history: Value = document and document.get("history")
    if not document or not is_map(history) or next(reversed(document)) != "history":
        return None
    return document if history and next(reversed(history.items())) == ("turns", None) else None


def _nodes_most(text: bytes) -> int:
    """Return what the nodes in a chunk do not exceed, or those in what comes before the turns."""
    # With the line break and the dash between it and the next one.
    return nodes_at_most(text.count(b"\n") + 1, text.count(b"-") + 1)
