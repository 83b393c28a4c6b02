"""Pairs of revisions of one session, read no further than they differ.

A canonical file is its head and its turns, one after the other: each part is canonical by itself,
and the text of a turn says no more and no less than the turn. So the turns that two files have in
common at both ends need no parsing, if one of the two files is known to be canonical, and what is
left of the other one is. Anything else is parsed in full.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from gitstore.session import codec
from gitstore.session.files import read_session

if TYPE_CHECKING:
    from gitstore.git.repository import Repository
    from gitstore.session.merge import Document
    from gitstore.types import Revision, SessionId

_HISTORY: Final = b"\nhistory:\n"
_TURNS: Final = b"\n  turns:\n"
_TURN: Final = b"\n  - id: "
#: Ends a file whose last value is open: its parts could not be put together in another order.
_END_MARK: Final = b"\n...\n"
_at_margin: Final = re.compile(rb"\n[^ \n]").search
_BLOCK: Final = 1 << 16
_FILES_KEPT: Final = 4
_DOCUMENTS_KEPT: Final = 64


class _File(NamedTuple):
    """The bytes of a revision, and where its turns begin; -1 when that is not clear."""

    data: bytes
    turns: int


class Versions:
    """The revisions of one session. Belongs to one thread."""

    def __init__(self, repository: Repository, session_id: SessionId) -> None:
        self._repository = repository
        self._session_id = session_id
        self._files: OrderedDict[Revision, _File] = OrderedDict()
        self._documents: OrderedDict[bytes, Document] = OrderedDict()
        self._canonical: set[Revision] = set()

    def document(self, revision: Revision | None) -> Document | None:
        """Return a revision as `SessionAsset.to_document` would; None for no session.

        Raises:
            SerializationError: it is no session.
        """
        return None if revision is None else self._decoded(self._file(revision).data)

    def pair(
        self, old: Revision | None, new: Revision | None
    ) -> tuple[Document | None, Document | None]:
        """Return two revisions; turns that are alike in both may be missing in both.

        Raises:
            SerializationError: one of them is no session.
        """
        if old is None or new is None or old == new:
            return self.document(old), self.document(new)
        trimmed = self._trimmed(old, new)
        if trimmed is None:
            return self.document(old), self.document(new)
        return self._decoded(trimmed[0]), self._decoded(trimmed[1])

    def _trimmed(self, old: Revision, new: Revision) -> tuple[bytes, bytes] | None:
        """Return two files without the turns they share at both ends, if that is known to be exact."""
        one, two = self._file(old), self._file(new)
        if one.turns < 0 or two.turns < 0:
            return None
        # Knowing one of the two is enough, and a walk through history knows one of them.
        if old not in self._canonical and new not in self._canonical:
            if not codec.is_canonical(two.data):
                return None
            self._canonical.add(new)
        first, second = _without_common_turns(one, two)
        for revision, rest in ((old, first), (new, second)):
            if revision not in self._canonical:
                if not codec.is_canonical(rest):
                    return None
                self._canonical.add(revision)
        return first, second

    def _file(self, revision: Revision) -> _File:
        found = self._files.get(revision)
        if found is None:
            data = self._repository.read_blob(revision)
            found = self._files[revision] = _File(data, _find_turns(data))
            if len(self._files) > _FILES_KEPT:
                self._files.popitem(last=False)
        return found

    def _decoded(self, data: bytes) -> Document:
        found = self._documents.get(data)
        if found is None:
            asset = read_session(data, session_id=self._session_id)
            found = self._documents[data] = asset.to_document()
            if len(self._documents) > _DOCUMENTS_KEPT:
                self._documents.popitem(last=False)
        return found


def _find_turns(data: bytes) -> int:
    """Return where the first turn begins, or -1; right if the bytes are canonical."""
    history = data.find(_HISTORY)
    turns = data.find(_TURNS, history + len(_HISTORY) - 1) if history >= 0 else -1
    start = turns + len(_TURNS)
    if turns < 0 or not data.startswith(_TURN[1:], start) or _END_MARK in data:
        return -1
    # Something else than the history may have a list of that name.
    return -1 if _at_margin(data, history + len(_HISTORY) - 1, start) else start


def _without_common_turns(one: _File, two: _File) -> tuple[bytes, bytes]:
    """Return both files without the whole turns they begin and end with, but for one.

    One is left, since a list without turns is not written.
    """
    # What comes behind the last turn looks like another one: all turns then end alike.
    first, second = one.data + _TURN[1:], two.data + _TURN[1:]
    same = _common_start(first, one.turns, second, two.turns)
    # Back to the last turn that begins inside of what is common, and to the one before it.
    last = first.rfind(_TURN, one.turns - 1, one.turns + same)
    before = first.rfind(_TURN, one.turns - 1, last) if last > one.turns else -1
    skipped = max(last + 1 - one.turns, 0)
    kept = max(before + 1 - one.turns, 0)
    start, other = one.turns + skipped, two.turns + skipped
    left = _common_end(first, start, second, other)
    # On to the first turn that begins inside of what is common at the end. There always is one, and
    # always a line break in front of what is compared.
    end = first.index(_TURN, len(first) - left - 1) + 1
    other_end = len(second) - (len(first) - end)
    # Where nothing is left out in front, one turn is left at the end.
    if skipped == kept and end < len(one.data):
        following = first.index(_TURN, end) + 1
        other_end += following - end
        end = following
    return (
        first[: one.turns] + first[one.turns + kept : end],
        second[: two.turns] + second[two.turns + kept : other_end],
    )


def _common_start(one: bytes, at: int, two: bytes, other: int) -> int:
    """Return how many bytes are the same from two places on."""
    limit = min(len(one) - at, len(two) - other)
    done = 0
    while done < limit:
        size = min(_BLOCK, limit - done)
        if one[at + done : at + done + size] == two[other + done : other + done + size]:
            done += size
            continue
        low, high = 0, size
        while low < high:
            middle = (low + high + 1) // 2
            if one[at + done : at + done + middle] == two[other + done : other + done + middle]:
                low = middle
            else:
                high = middle - 1
        return done + low
    return limit


def _common_end(one: bytes, at: int, two: bytes, other: int) -> int:
    """Return how many bytes are the same before the two ends, not further than two places."""
    limit = min(len(one) - at, len(two) - other)
    done = 0
    while done < limit:
        size = min(_BLOCK, limit - done)
        end, other_end = len(one) - done, len(two) - done
        if one[end - size : end] == two[other_end - size : other_end]:
            done += size
            continue
        low, high = 0, size
        while low < high:
            middle = (low + high + 1) // 2
            if one[end - middle : end] == two[other_end - middle : other_end]:
                low = middle
            else:
                high = middle - 1
        return done + low
    return limit
