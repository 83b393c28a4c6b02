"""Git's index, changed one entry at a time.

The index is kept as runs of entry bytes, one run for each shard of the sessions folder, so that a
change touches one small run however many sessions there are. Format: git's ``gitformat-index``,
versions 2 and 3; version 4 is read and written back as 2 or 3. Extensions that a change makes stale
(all but resolve-undo) are left out: git makes them again.

Racy entries. git compares modification times in whole seconds and trusts an entry that is older than
the index. An entry as old as the index could hide an edit made later in that same second, so when
the index is written again such entries are compared with their files, and their size is set to 0 if
the file has changed: git then looks at the content. The index gets the time at which this comparing
began, so that an edit made in between is not hidden either.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from hashlib import sha1
from typing import TYPE_CHECKING

from gitstore.errors import CorruptRepositoryError, UnsupportedRepositoryError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNATURE = b"DIRC"
_HEADER = struct.Struct(">4sLL")
_ENTRY = struct.Struct(">LLLLLLLLLL20sH")
CHECKSUM_BYTES = 20
_SIZE_OFFSET = 36
_EXTENDED = 0x4000
_STAGE = 0x3000
_NAME_MAX = 0xFFF
_VERSIONS = (2, 3, 4)
_KEPT_EXTENSIONS = (b"REUC",)
_REFUSED_EXTENSIONS = {b"link": "a split index", b"sdir": "a sparse index"}
_SECOND_NS = 1_000_000_000
_LOW = 0xFFFFFFFF
#: "sessions/" and the two digits of the shard and a slash: the entries of one run begin alike.
_RUN_PREFIX = b"sessions/"
_RUN_KEY_BYTES = len(_RUN_PREFIX) + 3
_AFTER = b"\xff"


@dataclass(frozen=True, slots=True)
class Cached:
    """What the index says of one file."""

    id: str
    size: int
    ctime: tuple[int, int]
    mtime: tuple[int, int]
    inode: int
    stage: int


class Index:
    """The content of one index file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._extended = False
        self._runs: dict[bytes, bytes] = {}
        self._count = 0
        self._kept = b""
        #: Entries that may hide an edit, because they are not older than the index.
        self._racy: set[bytes] = set()

    @classmethod
    def read(cls, path: str) -> Index:
        """Read an index; one that is not there is empty.

        Raises:
            CorruptRepositoryError: the file is damaged.
            UnsupportedRepositoryError: it is split or sparse, or of an unknown version.
        """
        index = cls(path)
        try:
            with open(path, "rb") as file:
                modified = os.fstat(file.fileno()).st_mtime_ns // _SECOND_NS
                data = file.read()
        except FileNotFoundError:
            return index
        try:
            index._parse(data, modified)
        except (ValueError, IndexError, struct.error) as error:
            message = f"the index is damaged ({error}); remove it and run `git reset`"
            raise CorruptRepositoryError(message, path=path) from error
        return index

    @staticmethod
    def checksum_of(path: str) -> bytes | None:
        """Return the checksum at the end of an index file, which tells any two contents apart."""
        try:
            with open(path, "rb") as file:
                file.seek(-CHECKSUM_BYTES, os.SEEK_END)
                return file.read()
        except OSError:
            return None

    def get(self, name: bytes) -> tuple[Cached, ...]:
        """Return the entries of a file: none, one, or the stages of an unfinished merge."""
        run = self._runs.get(_run_key(name), b"")
        return tuple(_cached(run, start) for start, _, other in _entries(run) if other == name)

    def items(self) -> Iterator[tuple[bytes, Cached]]:
        """Return every entry, in order."""
        for key in sorted(self._runs):
            run = self._runs[key]
            for start, _, name in _entries(run):
                yield name, _cached(run, start)

    def put(
        self,
        name: bytes,
        object_id: str,
        status: os.stat_result,
        *,
        trusted: bool,
        is_executable: bool = False,
    ) -> None:
        """Set the entry of a file.

        `trusted` says that the file with this status holds the object; else git is made to look.
        """
        size = status.st_size & _LOW if trusted else 0
        entry = _ENTRY.pack(
            *_split(status.st_ctime_ns),
            *_split(status.st_mtime_ns),
            status.st_dev & _LOW,
            status.st_ino & _LOW,
            stat.S_IFREG | (0o755 if is_executable else 0o644),
            status.st_uid & _LOW,
            status.st_gid & _LOW,
            size,
            bytes.fromhex(object_id),
            min(len(name), _NAME_MAX),
        )
        self._replace(name, _padded(entry + name))
        self._racy.add(name)

    def remove(self, name: bytes) -> None:
        """Remove the entries of a file."""
        self._replace(name, b"")
        self._racy.discard(name)

    def encode(self, root: str, *, began_ns: int) -> bytes:
        """Return the bytes of the index file; racy entries are compared with the files below `root`.

        `began_ns` must be no later than now: the caller gives the file this modification time.
        """
        self._smudge(os.fsencode(root), began_ns // _SECOND_NS)
        version = 3 if self._extended else 2
        body = b"".join(
            [
                _HEADER.pack(_SIGNATURE, version, self._count),
                *(self._runs[key] for key in sorted(self._runs)),
                self._kept,
            ]
        )
        return body + sha1(body, usedforsecurity=False).digest()

    def _smudge(self, root: bytes, began: int) -> None:
        racy, self._racy = self._racy, set()
        for key in {_run_key(name) for name in racy}:
            run = bytearray(self._runs.get(key, b""))
            for start, _, name in _entries(bytes(run)):
                if name not in racy:
                    continue
                if not _unchanged(run, start, os.path.join(root, name)):
                    run[start + _SIZE_OFFSET : start + _SIZE_OFFSET + 4] = bytes(4)
                if _mtime(run, start)[0] >= began:
                    self._racy.add(name)
            self._runs[key] = bytes(run)

    def _replace(self, name: bytes, entry: bytes) -> None:
        key = _run_key(name)
        run = self._runs.get(key, b"")
        first = last = None
        for start, end, other in _entries(run):
            if other == name:
                first = start if first is None else first
                last = end
                self._count -= 1
            elif other > name:
                first = start if first is None else first
                break
        first = len(run) if first is None else first
        self._runs[key] = run[:first] + entry + run[first if last is None else last :]
        self._count += bool(entry)

    def _parse(self, data: bytes, modified: int) -> None:
        signature, version, count = _HEADER.unpack_from(data)
        if signature != _SIGNATURE:
            raise ValueError("it does not begin with DIRC")
        if version not in _VERSIONS:
            raise self._unsupported(f"index version {version}")
        body, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
        if checksum.strip(b"\0") and sha1(body, usedforsecurity=False).digest() != checksum:
            raise ValueError("its checksum is wrong")
        self._kept = b""
        if version == 4:  # noqa: PLR2004 -- the one with compressed names
            body = _without_compression(body, count)
        offset = self._parse_entries(body, count, modified)
        while offset < len(body):
            kind, size = struct.unpack_from(">4sL", body, offset)
            if kind in _REFUSED_EXTENSIONS:
                raise self._unsupported(_REFUSED_EXTENSIONS[kind])
            if kind in _KEPT_EXTENSIONS:
                self._kept += body[offset : offset + 8 + size]
            offset += 8 + size

    def _parse_entries(self, body: bytes, count: int, modified: int) -> int:
        start = run_start = _HEADER.size
        run_key: bytes | None = None
        for _ in range(count):
            end, name = _entry_end(body, start)
            key = _run_key(name)
            if key != run_key:
                if run_key is not None:
                    self._runs[run_key] = body[run_start:start]
                run_key, run_start = key, start
            if _mtime(body, start)[0] >= modified:
                self._racy.add(name)
            if body[start + 60] & (_EXTENDED >> 8):
                self._extended = True
            start = end
        if run_key is not None:
            self._runs[run_key] = body[run_start:start]
        self._count = count
        return start

    def _unsupported(self, feature: str) -> UnsupportedRepositoryError:
        return UnsupportedRepositoryError(
            path=self._path,
            feature=feature,
            advice="turn it off with `git update-index --no-split-index` or "
            "`git sparse-checkout disable`, or use a bare repository",
        )


def _run_key(name: bytes) -> bytes:
    if name.startswith(_RUN_PREFIX):
        return name[:_RUN_KEY_BYTES]
    return b"" if name < _RUN_PREFIX else _AFTER


def _entries(run: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Return start, end and name of each entry."""
    start = 0
    while start < len(run):
        end, name = _entry_end(run, start)
        yield start, end, name
        start = end


def _entry_end(data: bytes, start: int) -> tuple[int, bytes]:
    """Return where the entry at `start` ends, and its name."""
    name_start = start + (64 if data[start + 60] & (_EXTENDED >> 8) else 62)
    null = data.index(b"\0", name_start)
    return start + ((null - start) // 8 + 1) * 8, data[name_start:null]


def _padded(entry: bytes) -> bytes:
    return entry + bytes(8 - len(entry) % 8)


def _mtime(data: bytes | bytearray, start: int) -> tuple[int, int]:
    seconds, nanoseconds = struct.unpack_from(">LL", data, start + 8)
    return seconds, nanoseconds


def _cached(data: bytes | bytearray, start: int) -> Cached:
    fields = _ENTRY.unpack_from(data, start)
    return Cached(
        id=fields[10].hex(),
        size=fields[9],
        ctime=(fields[0], fields[1]),
        mtime=(fields[2], fields[3]),
        inode=fields[5],
        stage=(fields[11] & _STAGE) >> 12,
    )


def _unchanged(run: bytes | bytearray, start: int, path: bytes) -> bool:
    """Whether the file is still in the state that the entry was made from."""
    cached = _cached(run, start)
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return (
        cached.mtime == _split(status.st_mtime_ns)
        and cached.ctime == _split(status.st_ctime_ns)
        and cached.size == status.st_size & _LOW
        and cached.inode == status.st_ino & _LOW
    )


def _split(nanoseconds: int) -> tuple[int, int]:
    """Return a time as the index has it."""
    return nanoseconds // _SECOND_NS & _LOW, nanoseconds % _SECOND_NS


def _without_compression(body: bytes, count: int) -> bytes:
    """Return the body of a version 4 index with its names written out, as versions 2 and 3 do."""
    parts = [body[: _HEADER.size]]
    start, previous = _HEADER.size, b""
    for _ in range(count):
        fixed = 64 if body[start + 60] & (_EXTENDED >> 8) else 62
        strip, offset = _varint(body, start + fixed)
        null = body.index(b"\0", offset)
        previous = previous[: len(previous) - strip] + body[offset:null]
        parts.append(_padded(body[start : start + fixed] + previous))
        start = null + 1
    return b"".join([*parts, body[start:]])


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return a number in git's offset encoding, and where it ends."""
    value = data[offset] & 0x7F
    while data[offset] & 0x80:
        offset += 1
        value = ((value + 1) << 7) | (data[offset] & 0x7F)
    return value, offset + 1
