"""A pack as a whole, to be put into another one byte for byte: what it holds is not looked at."""

from __future__ import annotations

import mmap
import zlib
from hashlib import sha1
from operator import attrgetter
from typing import TYPE_CHECKING

from gitstore.git.maintain.packindex import PackIndex
from gitstore.git.maintain.sources import (
    FAILURES,
    TRAILER_BYTES,
    UnreadableError,
    entry_head,
    id_of,
)
from gitstore.git.packformat import pack_header

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class WholePack:
    """One pack, all of it, as its checksums say it was written."""

    def __init__(self, base: str) -> None:
        """Read a pack by its path without suffix.

        Raises:
            UnreadableError: it is gone, damaged, or of another version.
        """
        self._where = base + ".pack"
        try:
            with open(self._where, "rb") as file:
                # Mapped: what is read into memory for each round, the process never gives back.
                self._data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            self.index = PackIndex(base)
        except (OSError, *FAILURES) as error:
            raise UnreadableError(self._where, error) from error
        self.checksum = bytes(self._data[-TRAILER_BYTES:])
        header = pack_header(self.index.count)
        if (
            bytes(self._data[: len(header)]) != header
            or sha1(self._data[:-TRAILER_BYTES], usedforsecurity=False).digest() != self.checksum
            or self.index.pack_checksum != self.checksum
        ):
            raise UnreadableError(self._where, "is not as it was written")
        #: All entries, without what stands in front of and behind them.
        self.body = self._data[len(header) : -TRAILER_BYTES]

    def check(self, names: Collection[bytes], *, pause: Callable[[], None]) -> None:
        """Hash some objects, which are stored whole; errors as when it is opened."""
        rows = sorted(self.index.rows(), key=attrgetter("offset"))
        ends = [*(row.offset for row in rows[1:]), len(self._data) - TRAILER_BYTES]
        for entry, end in zip(rows, ends, strict=True):
            if entry.name in names:
                pause()
                if not _is_whole(self._data[entry.offset : end], entry.name):
                    raise UnreadableError(self._where, f"{entry.name.hex()} is another object")


def _is_whole(entry: memoryview, name: bytes) -> bool:
    """Whether an entry of a pack is that object, and no delta."""
    try:
        kind, size, start = entry_head(entry, 0)
        inflater = zlib.decompressobj()
        data = inflater.decompress(entry[start:], size + 1)
        return inflater.eof and len(data) == size and id_of(kind, data) == name
    except FAILURES:
        return False
