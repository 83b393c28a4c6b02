"""What a repacking reads: packs entry by entry, as they are stored, and loose objects.

Ids are the 20 bytes here. What is damaged, or of a version that is not known, raises `UnreadableError`:
the file is then left where it is, for `verify` to find.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections import OrderedDict
from hashlib import sha1
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from dulwich import pack as dulwich_pack
from dulwich.errors import ApplyDeltaError

from gitstore.git.maintain.packindex import ID_BYTES, PackIndex
from gitstore.git.objects import OBJECT_BYTES_MAX, framed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
KINDS: Final = {COMMIT: "commit", TREE: "tree", BLOB: "blob", TAG: "tag"}
OFS_DELTA, REF_DELTA = 6, 7
_NUMBERS: Final = {kind.encode(): number for number, kind in KINDS.items()}
TRAILER_BYTES: Final = 20
_HEADER_BYTES_MAX: Final = 64
#: Bytes of objects that deltas are made of, kept since the next ones need them again.
_CACHE_BYTES_MAX: Final = 8 << 20
FAILURES: Final = (
    *(zlib.error, struct.error, ApplyDeltaError, UnicodeDecodeError),
    *(ValueError, LookupError, OverflowError),
)

#: It is Rust where dulwich was built with it, without types.
_apply_delta: Callable[[bytes, bytes], list[bytes]] = vars(dulwich_pack)["apply_delta"]


class UnreadableError(Exception):
    """A pack or a loose object is damaged, gone, or of another version; `where` is its file."""

    def __init__(self, where: str, problem: object) -> None:
        super().__init__(f"{where}: {problem}")
        self.where = where


class Stored(NamedTuple):
    """How an object is stored; `base` is the id of what it is a delta of, in the same pack."""

    kind: int
    #: Bytes of the object, or of the delta, before compression.
    size: int
    base: bytes | None = None
    #: Deltas between it and an object that is stored whole; which one that is.
    depth: int = 0
    root: bytes | None = None
    #: Where its compressed data is in the pack.
    start: int = 0
    end: int = 0


class Source(Protocol):
    """Some objects, and how they are stored."""

    entries: dict[bytes, Stored]

    def read(self, name: bytes) -> bytes:
        """Return the data of an object."""
        ...

    def packed(self, name: bytes) -> bytes | None:
        """Return the compressed data of an entry as it is in a pack; None if it is in none."""
        ...


class PackSource:
    """One pack, open. Belongs to one thread."""

    def __init__(self, base: str) -> None:
        """Open a pack by its path without suffix.

        Raises:
            UnreadableError: it is gone, damaged, or of another version.
        """
        self.base = base
        self._cache: OrderedDict[bytes, bytes] = OrderedDict()
        self._cached = 0
        self._map: mmap.mmap | None = None
        try:
            with open(base + ".pack", "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self.entries = self._entries(self._map, PackIndex(base).places())
        except (OSError, *FAILURES) as error:
            self.close()
            raise UnreadableError(base + ".pack", error) from error

    def close(self) -> None:
        """Let go of the pack."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def packed(self, name: bytes) -> bytes:
        """Return the compressed data of an entry, of the delta if it is one."""
        assert self._map is not None
        found = self.entries[name]
        return self._map[found.start : found.end]

    def read(self, name: bytes) -> bytes:
        """Return the data of an object, hashed.

        Raises:
            UnreadableError: it is damaged.
        """
        data = self._cache.get(name)
        if data is not None:
            self._cache.move_to_end(name)
            return data
        try:
            data = self._build(name)
        except FAILURES as error:
            raise UnreadableError(self.base + ".pack", f"{name.hex()}: {error}") from error
        if id_of(self.entries[name].kind, data) != name:
            raise UnreadableError(self.base + ".pack", f"{name.hex()} is another object")
        return data

    def _build(self, name: bytes) -> bytes:
        chain: list[bytes] = []
        at = name
        while True:
            data = self._cache.get(at)
            found = self.entries[at]
            if data is not None:
                self._cache.move_to_end(at)
                break
            if found.base is None:
                data = self._inflated(at, found)
                break
            chain.append(at)
            at = found.base
        if chain:
            self._keep(at, data)
        for each in reversed(chain):
            data = b"".join(_apply_delta(data, self._inflated(each, self.entries[each])))
            if len(data) > OBJECT_BYTES_MAX:
                raise ValueError("too large")
            self._keep(each, data)
        return data

    def _inflated(self, name: bytes, found: Stored) -> bytes:
        if found.size > OBJECT_BYTES_MAX:
            raise ValueError("too large")
        inflater = zlib.decompressobj()
        data = inflater.decompress(self.packed(name), found.size + 1)
        if len(data) != found.size or not inflater.eof:
            raise ValueError("not of the size it says")
        return data

    def _keep(self, name: bytes, data: bytes) -> None:
        if name not in self._cache:
            self._cache[name] = data
            self._cached += len(data)
        while self._cached > _CACHE_BYTES_MAX and len(self._cache) > 1:
            self._cached -= len(self._cache.popitem(last=False)[1])

    def _entries(self, data: mmap.mmap, offsets: list[tuple[int, bytes]]) -> dict[bytes, Stored]:
        """Return how each object is stored, in the order of the pack."""
        ids = dict(offsets)
        ends = [offset for offset, _ in offsets[1:]] + [len(data) - TRAILER_BYTES]
        found: dict[bytes, Stored] = {}
        waiting: list[tuple[bytes, int, bytes, int, int]] = []
        for (offset, name), end in zip(offsets, ends, strict=True):
            kind, size, start = entry_head(data, offset)
            base: bytes | None = None
            if kind == REF_DELTA:
                base, start = data[start : start + ID_BYTES], start + ID_BYTES
            elif kind == OFS_DELTA:
                distance, start = _distance(data, start)
                base = ids[offset - distance]
            if base is None:
                if kind not in KINDS:
                    raise ValueError("an entry of an unknown kind")
                found[name] = Stored(kind, size, start=start, end=end)
            else:
                waiting.append((name, size, base, start, end))
        # A base stands before its deltas, except in packs that name bases by id.
        while waiting:
            later = [each for each in waiting if not self._placed(found, each)]
            if len(later) == len(waiting):
                raise ValueError("a delta without a base")
            waiting = later
        return found

    def _placed(
        self, found: dict[bytes, Stored], entry: tuple[bytes, int, bytes, int, int]
    ) -> bool:
        name, size, base, start, end = entry
        below = found.get(base)
        if below is None:
            return False
        root = below.root or base
        found[name] = Stored(below.kind, size, base, below.depth + 1, root, start, end)
        return True


class LooseSource:
    """The loose objects of a repository that can be read."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.entries: dict[bytes, Stored] = {}

    def add(self, name: bytes) -> bool:
        """Take an object in, by the header of its file; whether it has one."""
        try:
            with open(self.path(name), "rb") as file:
                head = zlib.decompressobj().decompress(file.read(256), _HEADER_BYTES_MAX)
            kind, _, size = head[: head.index(b"\0")].partition(b" ")
            self.entries[name] = Stored(_NUMBERS[kind], int(size))
        except (OSError, *FAILURES):
            return False
        return True

    def path(self, name: bytes) -> str:
        """Return where the file of an object is."""
        text = name.hex()
        return os.path.join(self._folder, text[:2], text[2:])

    def packed(self, name: bytes) -> None:
        """Return None: a loose object's kind is inside its compressed data."""

    def read(self, name: bytes) -> bytes:
        """Return the data of an object, hashed.

        Raises:
            UnreadableError: it is gone or damaged.
        """
        try:
            with open(self.path(name), "rb") as file:
                inflater = zlib.decompressobj()
                whole = inflater.decompress(file.read(), OBJECT_BYTES_MAX + _HEADER_BYTES_MAX)
        except (OSError, zlib.error) as error:
            raise UnreadableError(self.path(name), error) from error
        if not inflater.eof or sha1(whole, usedforsecurity=False).digest() != name:
            raise UnreadableError(self.path(name), "is another object")
        return whole.partition(b"\0")[2]


def loose_names(folder: str) -> Iterator[bytes]:
    """Return the id of every loose object below the folder of objects."""
    for shard in sorted(_listed(folder)):
        if len(shard) == 2:  # noqa: PLR2004 -- two hex digits
            for name in _listed(os.path.join(folder, shard)):
                if len(name) == 2 * ID_BYTES - 2:
                    try:
                        yield bytes.fromhex(shard + name)
                    except ValueError:
                        continue


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def id_of(kind: int, data: bytes) -> bytes:
    """Return the id of an object, by what it is and holds."""
    return sha1(framed(KINDS[kind], data), usedforsecurity=False).digest()


def entry_head(data: mmap.mmap | memoryview, at: int) -> tuple[int, int, int]:
    """Return kind and size of an entry, and where what follows begins."""
    byte = data[at]
    at += 1
    kind, size, shift = byte >> 4 & 7, byte & 15, 4
    while byte & 0x80:
        byte = data[at]
        at += 1
        size |= (byte & 0x7F) << shift
        shift += 7
    return kind, size, at


def _distance(data: mmap.mmap, at: int) -> tuple[int, int]:
    """Return how far before a delta its base is, and where its data begins."""
    byte = data[at]
    at += 1
    distance = byte & 0x7F
    while byte & 0x80:
        byte = data[at]
        at += 1
        distance = (distance + 1) << 7 | byte & 0x7F
    return distance, at
