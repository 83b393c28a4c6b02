"""How packs and their indexes are written: gitformat-pack(5), version 2 of both."""

from __future__ import annotations

import struct
from hashlib import sha1
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import adler32

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

OFS_DELTA: Final = 6
_PACK_HEADER: Final = struct.Struct(">4sLL")
#: The two bytes of zlib's header, the mark of a last block that is stored, its size twice.
_STORED: Final = struct.Struct("<2sBHH")
_ZLIB_HEADER: Final = b"\x78\x01"
#: Bytes of the largest block that is stored.
STORED_MAX: Final = 0xFFFF
_CHECKSUM: Final = struct.Struct(">L")
_INDEX_HEADER: Final = b"\xfftOc\0\0\0\x02"
_VERSION: Final = 2
_FAN: Final = 256
#: From here on a place does not fit into the table of short ones.
_FAR: Final = 0x80000000


class Entry(NamedTuple):
    """Where an object is in a pack: the 20 bytes of its id, the checksum of its bytes, its place."""

    name: bytes
    crc: int
    offset: int


def pack_header(count: int) -> bytes:
    """Return how a pack of so many objects begins."""
    return _PACK_HEADER.pack(b"PACK", _VERSION, count)


def entry_header(kind: int, size: int) -> bytes:
    """Return kind and size of an entry: four bits of size, then seven a byte, the lowest first."""
    first, size = kind << 4 | size & 15, size >> 4
    parts = bytearray()
    while size:
        parts.append(first | 0x80)
        first, size = size & 0x7F, size >> 7
    parts.append(first)
    return bytes(parts)


def stored(data: bytes) -> bytes:
    """Return up to `STORED_MAX` bytes as a zlib stream without compression (RFC 1950, RFC 1951 section 3.2.4).

    For what is so short, or so random, that compression would take time and save no room.
    """
    size = len(data)
    return _STORED.pack(_ZLIB_HEADER, 1, size, size ^ 0xFFFF) + data + _CHECKSUM.pack(adler32(data))


def distance(value: int) -> bytes:
    """Return how far before a delta its base is: seven bits a byte, the highest first."""
    parts = [value & 0x7F]
    while value := value >> 7:
        value -= 1
        parts.append(value & 0x7F | 0x80)
    return bytes(reversed(parts))


def index(entries: Iterable[Entry], checksum: bytes) -> bytes:
    """Return the index of a pack that ends with this checksum."""
    return index_of_parts([sorted(entries)], checksum)


def index_of_parts(parts: Iterable[Sequence[Entry]], checksum: bytes) -> bytes:
    """Return the same of entries in the order of their ids, in parts, of which one at a time is in memory."""
    firsts: list[int] = []
    far: list[int] = []
    names, sums, near = bytearray(), bytearray(), bytearray()
    for rows in parts:
        firsts += [row.name[0] for row in rows]
        names += b"".join([row.name for row in rows])
        sums += struct.pack(f">{len(rows)}L", *(row.crc for row in rows))
        near += struct.pack(f">{len(rows)}L", *_short(rows, far))
    body = b"".join(
        [
            *(_INDEX_HEADER, *_fan(firsts)),
            *(names, sums, near, struct.pack(f">{len(far)}Q", *far)),
            checksum,
        ]
    )
    return body + sha1(body, usedforsecurity=False).digest()


def _fan(firsts: list[int]) -> Iterator[bytes]:
    """Return, in parts, how many names begin with each byte or a lower one, by the bytes they begin with."""
    below = 0
    for count, first in enumerate(firsts):
        yield struct.pack(">L", count) * (first - below)
        below = first
    yield struct.pack(">L", len(firsts)) * (_FAN - below)


def _short(rows: Iterable[Entry], far: list[int]) -> Iterator[int]:
    """Return the table of short places; one that is far is told by its number among those, and added to them."""
    for row in rows:
        if row.offset < _FAR:
            yield row.offset
        else:
            yield _FAR | len(far)
            far.append(row.offset)
