"""How the index of a pack is read: gitformat-pack(5), version 2."""

from __future__ import annotations

import struct
from hashlib import sha1
from typing import TYPE_CHECKING, Final

from gitstore.git.packformat import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator

ID_BYTES: Final = 20
_MAGIC: Final = b"\xfftOc\0\0\0\x02"
_FAN_START: Final = 8
_FAN: Final = 256
_NAMES_START: Final = _FAN_START + 4 * _FAN
_FAR: Final = 0x80000000
_CHECKSUM_BYTES: Final = 20


class PackIndex:
    """The index of one pack, in memory."""

    def __init__(self, base: str) -> None:
        """Read it, by the path of the pack without suffix.

        Raises:
            ValueError: it is damaged, or of another version.
            OSError: it cannot be read.
        """
        with open(base + ".idx", "rb") as file:
            self._data = file.read()
        if not self._data.startswith(_MAGIC):
            raise ValueError("an index of another version")
        end = self._data[-_CHECKSUM_BYTES:]
        if sha1(self._data[:-_CHECKSUM_BYTES], usedforsecurity=False).digest() != end:
            raise ValueError("the index is damaged")
        if len(self._data) < _NAMES_START + 2 * _CHECKSUM_BYTES:
            raise ValueError("the index ends too early")
        self._fan = struct.unpack_from(f">{_FAN}I", self._data, _FAN_START)
        self.count = self._fan[-1]
        self._sums_at = _NAMES_START + ID_BYTES * self.count
        self._places_at = self._sums_at + 4 * self.count
        if len(self._data) < self._places_at + 4 * self.count + 2 * _CHECKSUM_BYTES:
            raise ValueError("the index ends too early")

    @property
    def pack_checksum(self) -> bytes:
        """The checksum of the pack; with more in front of it if some objects are far behind in the pack."""
        return self._data[self._places_at + 4 * self.count : -_CHECKSUM_BYTES]

    def names(self) -> Iterator[bytes]:
        """Return the id of each object, in their order."""
        return self._names(0, self.count)

    def places(self) -> list[tuple[int, bytes]]:
        """Return place and id of each object, in the order of the pack."""
        near = struct.unpack_from(f">{self.count}I", self._data, self._places_at)
        far = self._places_at + 4 * self.count
        offsets = (
            struct.unpack_from(">Q", self._data, far + 8 * (each & ~_FAR))[0]
            if each & _FAR
            else each
            for each in near
        )
        return sorted(zip(offsets, self.names(), strict=True))

    def rows(self, first: int = 0, end: int = _FAN, *, moved: int = 0) -> Iterator[Entry]:
        """Return what it says, were all objects so many bytes further on, and none of them far.

        Of those whose ids begin with a byte from `first` on, and lower than `end`.
        """
        low, high = self._fan[first - 1] if first else 0, self._fan[min(end, _FAN) - 1]
        sums = struct.unpack_from(f">{high - low}I", self._data, self._sums_at + 4 * low)
        places = struct.unpack_from(f">{high - low}I", self._data, self._places_at + 4 * low)
        return map(Entry, self._names(low, high), sums, (place + moved for place in places))

    def _names(self, low: int, high: int) -> Iterator[bytes]:
        starts = range(_NAMES_START + ID_BYTES * low, _NAMES_START + ID_BYTES * high, ID_BYTES)
        return (self._data[at : at + ID_BYTES] for at in starts)
