"""The entries of an index file: where they begin and end, and what they say.

Format: git's ``gitformat-index``, versions 2 and 3; of version 4 the names are written out first.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE: Final = b"DIRC"
HEADER: Final = struct.Struct(">4sLL")
CHECKSUM_BYTES: Final = 20
#: Where the size, and the flags, which end with the length of the name, and the name are in an entry.
SIZE_OFFSET: Final = 36
FLAGS_OFFSET: Final = 60
NAME_OFFSET: Final = 62
EXTENDED: Final = 0x4000
_ENTRY: Final = struct.Struct(">LLLLLLLLLL20sH")
_EXTENDED_BYTES: Final = 2
_EXTENSION_HEAD_BYTES: Final = 8
_STAGE: Final = 0x3000
_NAME_MAX: Final = 0xFFF
#: Lengths of names that are quickly found: of all sessions in their folders, but for the longest.
_QUICK_NAME_MIN: Final = 16
_QUICK_NAME_MAX: Final = 256
_SECOND_NS: Final = 1_000_000_000
_LOW: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Cached:
    """What the index says of one file."""

    id: str
    size: int
    ctime: tuple[int, int]
    mtime: tuple[int, int]
    inode: int
    stage: int


class State(NamedTuple):
    """What a file was like when its entry was made, as far as an entry can say."""

    mtime: tuple[int, int]
    ctime: tuple[int, int]
    size: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> State:
        """Return the state in `status`."""
        return cls(
            _split(status.st_mtime_ns),
            _split(status.st_ctime_ns),
            status.st_size & _LOW,
            status.st_ino & _LOW,
        )

    @classmethod
    def of_file(cls, path: bytes) -> State | None:
        """Return the state of a file; None if there is none to be had."""
        try:
            return cls.of(os.lstat(path))
        except OSError:
            return None

    @classmethod
    def of_entry(cls, entry: Cached) -> State:
        """Return the state in an entry."""
        return cls(entry.mtime, entry.ctime, entry.size, entry.inode)


def encoded(
    name: bytes, object_id: str, status: os.stat_result, *, trusted: bool, is_executable: bool
) -> bytes:
    """Return an entry; if it is not to be `trusted`, one that makes git look at the file."""
    entry = _ENTRY.pack(
        *_split(status.st_ctime_ns),
        *_split(status.st_mtime_ns),
        status.st_dev & _LOW,
        status.st_ino & _LOW,
        stat.S_IFREG | (0o755 if is_executable else 0o644),
        status.st_uid & _LOW,
        status.st_gid & _LOW,
        status.st_size & _LOW if trusted else 0,
        bytes.fromhex(object_id),
        min(len(name), _NAME_MAX),
    )
    return _padded(entry + name)


def entries(run: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Return start, end and name of each entry."""
    start = 0
    while start < len(run):
        end, name = entry_end(run, start)
        yield start, end, name
        start = end


def extensions(body: bytes, start: int) -> Iterator[tuple[bytes, bytes]]:
    """Return kind and content of each extension from `start` on."""
    while start < len(body):
        kind, size = struct.unpack_from(">4sL", body, start)
        start += _EXTENSION_HEAD_BYTES
        yield kind, body[start : start + size]
        start += size


def entry_end(data: bytes, start: int) -> tuple[int, bytes]:
    """Return where the entry at `start` ends, and its name."""
    name_start = start + _fixed_bytes(data, start)
    null = data.index(b"\0", name_start)
    return start + ((null - start) // 8 + 1) * 8, data[name_start:null]


def seconds(data: bytes, start: int) -> int:
    """Return the modification time of an entry, in whole seconds."""
    return int.from_bytes(data[start + 8 : start + 12], "big")


def stage(data: bytes, start: int) -> int:
    """Return the stage of an entry: 0, but in an unfinished merge."""
    return (data[start + FLAGS_OFFSET] << 8 & _STAGE) >> 12


def cached(data: bytes, start: int) -> Cached:
    """Return what an entry says."""
    fields = _ENTRY.unpack_from(data, start)
    return Cached(
        id=fields[10].hex(),
        size=fields[9],
        ctime=(fields[0], fields[1]),
        mtime=(fields[2], fields[3]),
        inode=fields[5],
        stage=(fields[11] & _STAGE) >> 12,
    )


def quick_start(run: bytes, name: bytes) -> int:
    """Return where the plain entry of a file begins; -1 if there is none, or it must be looked for.

    The flags of a plain entry begin with a NUL, so that no longer name can hold them and this one, and
    a name that is long enough is not met by chance in what is in front of a name.
    """
    if _QUICK_NAME_MIN <= len(name) < _QUICK_NAME_MAX:
        found = run.find(len(name).to_bytes(2, "big") + name + b"\0")
        return found - FLAGS_OFFSET if found >= 0 else -1
    return -1


def ranks(run: bytes, name: bytes) -> list[int]:
    """Return which entries of a run are those of a file: none, one, or the stages of a merge."""
    end = quick_start(run, name)
    if end >= 0:
        start = rank = 0
        while start < end:
            start, _ = entry_end(run, start)
            rank += 1
        return [rank]
    return [at for at, (_, _, other) in enumerate(entries(run)) if other == name]


def extension(kind: bytes, content: bytes) -> bytes:
    """Return an extension."""
    return struct.pack(">4sL", kind, len(content)) + content


def named(entry: bytes, name: bytes) -> bytes:
    """Return an entry with another name; it may be empty, as in a split index."""
    (flags,) = struct.unpack_from(">H", entry, FLAGS_OFFSET)
    flags = (flags & ~_NAME_MAX) | min(len(name), _NAME_MAX)
    fixed = entry[FLAGS_OFFSET + 2 : _fixed_bytes(entry, 0)]
    return _padded(entry[:FLAGS_OFFSET] + struct.pack(">H", flags) + fixed + name)


def without_compression(body: bytes, count: int) -> bytes:
    """Return the body of a version 4 index with its names written out, as versions 2 and 3 do."""
    parts = [body[: HEADER.size]]
    start, previous = HEADER.size, b""
    for _ in range(count):
        fixed = _fixed_bytes(body, start)
        strip, offset = _varint(body, start + fixed)
        null = body.index(b"\0", offset)
        previous = previous[: len(previous) - strip] + body[offset:null]
        parts.append(_padded(body[start : start + fixed] + previous))
        start = null + 1
    return b"".join([*parts, body[start:]])


def _fixed_bytes(data: bytes, start: int) -> int:
    """Return how many bytes are in front of the name of an entry."""
    extended = data[start + FLAGS_OFFSET] & (EXTENDED >> 8)
    return NAME_OFFSET + (_EXTENDED_BYTES if extended else 0)


def _padded(entry: bytes) -> bytes:
    return entry + bytes(8 - len(entry) % 8)


def _split(nanoseconds: int) -> tuple[int, int]:
    """Return a time as the index has it."""
    return nanoseconds // _SECOND_NS & _LOW, nanoseconds % _SECOND_NS


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return a number in git's offset encoding, and where it ends."""
    value = data[offset] & 0x7F
    while data[offset] & 0x80:
        offset += 1
        value = ((value + 1) << 7) | (data[offset] & 0x7F)
    return value, offset + 1
