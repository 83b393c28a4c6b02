"""One session file merged by meaning: what git's merge driver does for plain git.

Where both sides want the same field differently, the file gets the two texts, one with all of our
values and one with all of theirs, and git's markers around the lines that differ. The texts are
otherwise merged, so that whoever resolves the conflict by hand decides the fields and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final, NamedTuple

from gitstore.errors import SerializationError
from gitstore.session import codec
from gitstore.session.files import read_session
from gitstore.session.ids import session_id_of
from gitstore.session.merge import Document, merge, same

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gitstore.types import Conflict, SessionId

#: Lines of one side above which what differs is one block: comparing them costs the square.
_LINES_MAX: Final = 4000
_OURS: Final = b"<<<<<<< ours\n"
_BETWEEN: Final = b"=======\n"
_THEIRS: Final = b">>>>>>> theirs\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMerge:
    """What becomes of the file.

    With `conflicts`, or a `problem` that kept it from being merged by meaning, `data` holds both
    sides with markers.
    """

    data: bytes
    conflicts: tuple[Conflict, ...] = ()
    problem: str | None = None

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left to decide."""
        return not self.conflicts and self.problem is None


def merge_files(base: bytes, ours: bytes, theirs: bytes, *, path: str) -> FileMerge:
    """Merge two versions of the file at `path` in the repository; an empty base is none.

    Comments and formatting of a hand-edited file are kept, as a save keeps them; if both are, ours.
    """
    if ours in (theirs, base):
        return FileMerge(data=theirs)
    if theirs == base:
        return FileMerge(data=ours)
    session_id = session_id_of(path)
    if session_id is None:
        return FileMerge(data=_marked(ours, theirs), problem=f"{path} is no session's file")
    try:
        old = _Side.read(base, session_id) if base else None
        sides = _Side.read(ours, session_id), _Side.read(theirs, session_id)
        return _merged(old, *sides, session_id=session_id)
    except SerializationError as error:
        return FileMerge(data=_marked(ours, theirs), problem=str(error))


def _merged(base: _Side | None, ours: _Side, theirs: _Side, *, session_id: SessionId) -> FileMerge:
    old = None if base is None else base.document
    merged = merge(old, ours.document, theirs.document, session_id=session_id)
    # Comments and forms that a person gave a file stay: ours', unless only theirs have any.
    ours_are_plain = ours.is_plain and (base is None or base.is_plain)
    kept = theirs if ours_are_plain and not theirs.is_plain else ours
    data = kept.changed_to(merged.document, session_id)
    if not merged.conflicts:
        return FileMerge(data=data)
    other = merge(
        old,
        ours.document,
        theirs.document,
        session_id=session_id,
        decide=lambda conflict: conflict.theirs,
    )
    given_way = kept.changed_to(other.document, session_id)
    return FileMerge(data=_marked(data, given_way), conflicts=merged.conflicts)


class _Side(NamedTuple):
    """One side's file, and what it says."""

    data: bytes
    document: Document

    @classmethod
    def read(cls, data: bytes, session_id: SessionId) -> _Side:
        return cls(data, read_session(data, session_id=session_id).to_document())

    @property
    def is_plain(self) -> bool:
        """Whether nobody gave the file comments, or another form."""
        return codec.is_canonical(self.data)

    def changed_to(self, document: Document, session_id: SessionId) -> bytes:
        """Return the file with another content, and all else as it was."""
        if same(document, self.document):
            return self.data
        return codec.encode(document, previous=self.data, session_id=session_id)


def _marked(ours: bytes, theirs: bytes) -> bytes:
    """Return both texts as one, with git's markers around the lines that differ."""
    return b"".join(_lines(_split(ours), _split(theirs)))


def _split(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in (*lines, last)] if last else [line + b"\n" for line in lines]


def _lines(ours: list[bytes], theirs: list[bytes]) -> Iterator[bytes]:
    head, tail = _common(ours, theirs)
    yield from ours[:head]
    mine, other = ours[head : len(ours) - tail], theirs[head : len(theirs) - tail]
    if max(len(mine), len(other)) > _LINES_MAX:
        yield from _block(mine, other)
    else:
        pairs = SequenceMatcher(None, mine, other, autojunk=False).get_opcodes()
        for tag, start, end, other_start, other_end in pairs:
            if tag == "equal":
                yield from mine[start:end]
            else:
                yield from _block(mine[start:end], other[other_start:other_end])
    yield from ours[len(ours) - tail :]


def _common(ours: Sequence[bytes], theirs: Sequence[bytes]) -> tuple[int, int]:
    """Return how many lines both begin with, and how many of the rest both end with."""
    room = min(len(ours), len(theirs))
    head = 0
    while head < room and ours[head] == theirs[head]:
        head += 1
    tail = 0
    while tail < room - head and ours[-1 - tail] == theirs[-1 - tail]:
        tail += 1
    return head, tail


def _block(ours: Sequence[bytes], theirs: Sequence[bytes]) -> Iterator[bytes]:
    if ours or theirs:
        yield _OURS
        yield from ours
        yield _BETWEEN
        yield from theirs
        yield _THEIRS
