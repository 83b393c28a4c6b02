"""Git's index, changed one entry at a time.

The index is kept as runs of entry bytes, one run for each shard of the sessions folder, so that a
change touches one small run however many sessions there are. Format: git's ``gitformat-index``,
versions 2 and 3; version 4 is read and written back as 2 or 3. Extensions that a change makes stale
(all but resolve-undo) are left out: git makes them again.

Racy entries. git compares modification times in whole seconds and trusts an entry that is older than
the index. An entry as old as the index could hide an edit made later in that same second, so when
the index is written again such entries are compared with their files, and their size is set to 0 if
the file has changed: git then looks at the content. The index gets the time at which this comparing
began, so that an edit made in between is not hidden either. Entries of that very second stay racy:
git looks at the content of those by itself.
"""

from __future__ import annotations

import os
import stat
import struct
from bisect import bisect_left, insort
from dataclasses import dataclass
from hashlib import sha1
from typing import TYPE_CHECKING, NamedTuple

from gitstore.errors import CorruptRepositoryError, UnsupportedRepositoryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from hashlib import _Hash  # pyright: ignore[reportPrivateUsage] -- it has no public name

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
#: Where the flags, which end with the length of the name, and the name are in an entry.
_FLAGS_OFFSET = 60
_NAME_OFFSET = 62
_QUICK_NAME_MAX = 256
#: Bytes hashed between two states of the checksum that are kept for the next time.
_HASH_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Cached:
    """What the index says of one file."""

    id: str
    size: int
    ctime: tuple[int, int]
    mtime: tuple[int, int]
    inode: int
    stage: int


class _State(NamedTuple):
    """What a file was like when its entry was made, as far as an entry can say."""

    mtime: tuple[int, int]
    ctime: tuple[int, int]
    size: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> _State:
        return cls(
            _split(status.st_mtime_ns),
            _split(status.st_ctime_ns),
            status.st_size & _LOW,
            status.st_ino & _LOW,
        )

    @classmethod
    def of_file(cls, path: bytes) -> _State | None:
        try:
            return cls.of(os.lstat(path))
        except OSError:
            return None

    @classmethod
    def of_entry(cls, cached: Cached) -> _State:
        return cls(cached.mtime, cached.ctime, cached.size, cached.inode)


class Index:
    """The content of one index file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._extended = False
        self._runs: dict[bytes, bytes] = {}
        #: The keys of the runs, sorted.
        self._order: list[bytes] = []
        self._count = 0
        self._kept = b""
        #: Entries that may hide an edit, because they are not older than the index, and what their
        #: files were like.
        self._racy: dict[bytes, _State] = {}
        #: The header last encoded, and states of the checksum in front of some runs behind it.
        self._header = b""
        self._hashes: list[tuple[bytes, _Hash]] = []

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
        first, last = self._place(run, name)
        found = run[first:last]
        return tuple(_cached(found, start) for start, _, _ in _entries(found))

    def items(self) -> Iterator[tuple[bytes, Cached]]:
        """Return every entry, in order."""
        for key in self._order:
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
        self._racy[name] = _State.of(status)

    def remove(self, name: bytes) -> None:
        """Remove the entries of a file."""
        self._replace(name, b"")
        self._racy.pop(name, None)

    def body(self, root: str, *, began_ns: int) -> list[bytes]:
        """Return the parts of the index file, all but the checksum at its end.

        Racy entries are compared with the files below `root`. `began_ns` must be no later than now:
        the caller gives the file this modification time.
        """
        self._smudge(os.fsencode(root), began_ns // _SECOND_NS)
        version = 3 if self._extended else 2
        header = _HEADER.pack(_SIGNATURE, version, self._count)
        if header != self._header:
            self._header = header
            self._hashes.clear()
        return [header, *(self._runs[key] for key in self._order), self._kept]

    def checksum(self) -> bytes:
        """Return the checksum of the `body`; what is in front of the first change is not hashed again."""
        start, digest = 0, sha1(self._header, usedforsecurity=False)
        if self._hashes:
            key, state = self._hashes[-1]
            start, digest = bisect_left(self._order, key), state.copy()
        hashed = 0
        for key in self._order[start:]:
            if hashed >= _HASH_BYTES:
                self._hashes.append((key, digest.copy()))
                hashed = 0
            digest.update(self._runs[key])
            hashed += len(self._runs[key])
        digest.update(self._kept)
        return digest.digest()

    def _smudge(self, root: bytes, began: int) -> None:
        """Make git look at the files of entries that will not be racy any more, and have changed."""
        settled = [name for name, state in self._racy.items() if state.mtime[0] < began]
        for name in settled:
            state = self._racy.pop(name)
            if _State.of_file(os.path.join(root, name)) == state:
                continue
            key = _run_key(name)
            run = bytearray(self._runs.get(key, b""))
            first, last = self._place(bytes(run), name)
            for start, _, _ in _entries(bytes(run[first:last])):
                run[first + start + _SIZE_OFFSET : first + start + _SIZE_OFFSET + 4] = bytes(4)
            self._set_run(key, bytes(run))

    def _replace(self, name: bytes, entry: bytes) -> None:
        key = _run_key(name)
        run = self._runs.get(key, b"")
        first, last = self._place(run, name)
        self._count += bool(entry) - sum(1 for _ in _entries(run[first:last]))
        self._set_run(key, run[:first] + entry + run[last:])

    def _set_run(self, key: bytes, run: bytes) -> None:
        if key not in self._runs:
            insort(self._order, key)
        self._runs[key] = run
        while self._hashes and self._hashes[-1][0] > key:
            self._hashes.pop()

    def _place(self, run: bytes, name: bytes) -> tuple[int, int]:
        """Return where the entries of a file are, or where one belongs, as a slice of its run."""
        if len(name) < _QUICK_NAME_MAX and not self._extended:
            # Such flags begin with a NUL, so that no longer name can hold them and this one.
            found = run.find(_flagged(name))
            if found >= 0:
                start = found - _FLAGS_OFFSET
                return start, _entry_end(run, start)[0]
        first = None
        for start, _, other in _entries(run):
            if other == name:
                first = start if first is None else first
            elif other > name or first is not None:
                return (start if first is None else first), start
        return (len(run) if first is None else first), len(run)

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
                    self._set_run(run_key, body[run_start:start])
                run_key, run_start = key, start
            if _seconds(body, start) >= modified:
                self._racy[name] = _State.of_entry(_cached(body, start))
            if body[start + 60] & (_EXTENDED >> 8):
                self._extended = True
            start = end
        if run_key is not None:
            self._set_run(run_key, body[run_start:start])
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
    extended = data[start + _FLAGS_OFFSET] & (_EXTENDED >> 8)
    name_start = start + _NAME_OFFSET + (2 if extended else 0)
    null = data.index(b"\0", name_start)
    return start + ((null - start) // 8 + 1) * 8, data[name_start:null]


def _padded(entry: bytes) -> bytes:
    return entry + bytes(8 - len(entry) % 8)


def _flagged(name: bytes) -> bytes:
    """Return the bytes from the flags of a plain entry to the end of its name."""
    return len(name).to_bytes(2, "big") + name + b"\0"


def _seconds(data: bytes, start: int) -> int:
    """Return the modification time of an entry, in whole seconds."""
    return int.from_bytes(data[start + 8 : start + 12], "big")


def _cached(data: bytes, start: int) -> Cached:
    fields = _ENTRY.unpack_from(data, start)
    return Cached(
        id=fields[10].hex(),
        size=fields[9],
        ctime=(fields[0], fields[1]),
        mtime=(fields[2], fields[3]),
        inode=fields[5],
        stage=(fields[11] & _STAGE) >> 12,
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
