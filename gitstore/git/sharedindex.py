"""What a split index is made of: a shared index, which stays, and what differs from it.

So a change writes what differs, however many entries there are. Format: git's ``gitformat-index``,
"Split index"; its bitmaps are those of ``gitformat-bitmap``, appendix A (EWAH).
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, Final, NamedTuple

from gitstore.git.indexentries import CHECKSUM_BYTES, entries, extension, named, ranks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

LINK: Final = b"link"
#: Entries that differ before a new shared index is due. Each is 64 bytes more in every save, and a
#: whole index of 10,000 sessions is a megabyte.
DIFFERENCES_MAX: Final = 512
SHARED_PREFIX: Final = "sharedindex."
_BITMAP_HEAD: Final = struct.Struct(">LL")
_WORD_BITS: Final = 64
#: In a word that tells what follows: the value of a run, its length in words, and how many words that
#: are as they are come after it.
_RUN_MASK: Final = 0xFFFFFFFF
_LITERAL_SHIFT: Final = 33
#: Which of the words was the last to tell what follows: the only one.
_LAST: Final = struct.pack(">L", 0)
_NO_BITMAP: Final = _BITMAP_HEAD.pack(0, 1) + struct.pack(">Q", 0) + _LAST


class Link(NamedTuple):
    """What the extension of a split index says; positions are those of the shared entries."""

    deleted: list[int]
    replaced: list[int]

    @classmethod
    def decode(cls, data: bytes, count: int) -> Link:
        """Read what the extension says of so many shared entries; in front of it is their checksum.

        Raises:
            ValueError: it says nothing that could be.
        """
        if len(data) == CHECKSUM_BYTES:
            return cls([], [])
        deleted, end = _positions(data, CHECKSUM_BYTES, count)
        replaced, end = _positions(data, end, count)
        if end != len(data):
            raise ValueError("something follows the bitmaps of the split index")
        return cls(deleted, replaced)


class Positions:
    """Some of so many positions, in order, and as a bitmap, all of it in words as they are."""

    def __init__(self, count: int) -> None:
        self.sorted: list[int] = []
        words = -(-count // _WORD_BITS)
        self._head = _BITMAP_HEAD.pack(count, words + 1)
        self._head += struct.pack(">Q", words << _LITERAL_SHIFT)
        self._bits = bytearray(words * 8)

    def add(self, position: int) -> None:
        """Take in a position that is not among them."""
        insort(self.sorted, position)
        self._flip(position)

    def remove(self, position: int) -> None:
        """Leave out a position that is among them."""
        del self.sorted[bisect_left(self.sorted, position)]
        self._flip(position)

    def encode(self) -> bytes:
        """Return the bitmap."""
        return self._head + self._bits + _LAST if self.sorted else _NO_BITMAP

    def _flip(self, position: int) -> None:
        # In each word of eight bytes the highest comes first.
        self._bits[position >> 3 ^ 7] ^= 1 << (position & 7)


class Shared:
    """A shared index, and what differs from it now."""

    def __init__(
        self, checksum: bytes, runs: Mapping[bytes, bytes], counts: Mapping[bytes, int]
    ) -> None:
        """`runs` are its entries, in runs in the order of their keys; `counts` how many there are in each."""
        self.checksum = checksum
        self._runs = dict(runs)
        self._keys = sorted(runs)
        self._firsts: list[int] = []
        self.count = 0
        for key in self._keys:
            self._firsts.append(self.count)
            self.count += counts[key]
        #: By position, without their names; what is deleted is empty.
        self._changed: dict[int, bytes] = {}
        self._replaced, self._deleted = Positions(self.count), Positions(self.count)
        self._added: dict[bytes, bytes] = {}

    @property
    def differences(self) -> int:
        """How many entries are not as in the shared index."""
        return len(self._changed) + len(self._added)

    def place(self, position: int) -> tuple[bytes, int]:
        """Return the key of the run that the entry at a position is in, and which of it it is."""
        at = bisect_right(self._firsts, position) - 1
        return self._keys[at], position - self._firsts[at]

    def take(
        self, link: Link, replaced: Iterable[bytes], added: Iterable[tuple[bytes, bytes]]
    ) -> None:
        """Take note of what a split index says: entries without their names, and names and entries."""
        for position, entry in zip(link.replaced, replaced, strict=True):
            self._change(position, entry)
        for position in link.deleted:
            self._change(position, b"")
        for name, entry in added:
            self._added[name] = self._added.get(name, b"") + entry

    def note(self, key: bytes, name: bytes, now: bytes) -> None:
        """Take note of the entries that a file has now, none or one or the stages of a merge."""
        run = self._runs.get(key, b"")
        first = self._firsts[bisect_left(self._keys, key)] if run else 0
        before = [first + at for at in ranks(run, name)]
        self._added.pop(name, None)
        if len(before) == 1 and sum(1 for _ in entries(now)) == 1:
            self._change(before[0], named(now, b""))
            return
        for position in before:
            self._change(position, b"")
        if now:
            self._added[name] = now

    def content(self) -> tuple[int, bytes, bytes]:
        """Return how many entries differ, these entries, and the extension of the split index."""
        replaced = self._replaced.sorted
        added = [self._added[name] for name in sorted(self._added)]
        count = len(replaced) + sum(1 for each in added for _ in entries(each))
        differing = b"".join([*map(self._changed.__getitem__, replaced), *added])
        link = self.checksum + self._deleted.encode() + self._replaced.encode()
        return count, differing, extension(LINK, link)

    def _change(self, position: int, now: bytes) -> None:
        """Let the entry at a position be another one, or deleted."""
        before = self._changed.get(position)
        if before is None or bool(before) is not bool(now):
            if before is not None:
                (self._replaced if before else self._deleted).remove(position)
            (self._replaced if now else self._deleted).add(position)
        self._changed[position] = now


def shared_path(control: str, checksum: bytes) -> str:
    """Return where the shared index with this checksum is, beside the index in `control`."""
    return os.path.join(control, SHARED_PREFIX + checksum.hex())


def outdated(control: str, *, current: Collection[bytes | None], kept: int) -> list[str]:
    """Return the paths of the shared indexes in a folder, but for the current and some latest ones."""
    used = {shared_path(control, checksum) for checksum in current if checksum is not None}
    with os.scandir(control) as items:
        found = [
            (item.stat().st_mtime_ns, item.path)
            for item in items
            if item.name.startswith(SHARED_PREFIX) and item.path not in used
        ]
    return [path for _, path in sorted(found, reverse=True)[kept:]]


def _positions(data: bytes, start: int, count: int) -> tuple[list[int], int]:
    """Return the positions in a bitmap of so many bits at most, and where it ends."""
    _, size = _BITMAP_HEAD.unpack_from(data, start)
    start += _BITMAP_HEAD.size
    words = struct.unpack_from(f">{size}Q", data, start)
    end = start + size * 8 + len(_LAST)
    if end > len(data):
        raise ValueError("a bitmap of the split index ends early")
    found: list[int] = []
    at = position = 0
    while at < size:
        marker = words[at]
        run = ((marker >> 1) & _RUN_MASK) * _WORD_BITS
        literals = words[at + 1 : at + 1 + (marker >> _LITERAL_SHIFT)]
        if marker & 1:
            # Bounded: no more is made of it than there are entries, and one for the error.
            found += range(position, min(position + run, count + 1))
        position += run
        for word in literals:
            if word:
                found += [position + bit for bit in range(_WORD_BITS) if word >> bit & 1]
            position += _WORD_BITS
        at += 1 + len(literals)
    if found and found[-1] >= count:
        raise ValueError("the split index changes an entry that the shared one does not have")
    return found, end
