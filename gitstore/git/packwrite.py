"""Packs: what a publication writes, as one small pack with its index.

Format: gitformat-pack(5), version 2 of both files. The pack is written in one pass and not read
back; its index comes into place after it, and is what makes it visible. Temporary files have the
names that git's have, so that `git prune` removes what a crash leaves.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha1
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from gitstore.git import keep, packformat, replaced
from gitstore.git.barrier import Barrier
from gitstore.git.deflate import LEVEL_DEFAULT, configured_level, deflate
from gitstore.git.deltas import splice
from gitstore.git.files import discard
from gitstore.git.staged import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Collection

    from gitstore.git.config import Config
    from gitstore.git.files import Disk
    from gitstore.git.staged import StagedObject
    from gitstore.types import Runtime

#: Small packs at which a publication writes loose objects instead: readers look into every pack.
SMALL_PACKS_MAX: Final = 20
#: Packs of any size at which it does so, with those that were replaced and stay for a moment: from 50
#: on git's own maintenance would begin (``gc.autoPackLimit``).
PACKS_MAX: Final = 45
#: Bytes; smaller packs are small.
SMALL_PACK_BYTES: Final = 1 << 20
#: Deltas on top of each other (git's ``pack.depth``).
_DEPTH_MAX: Final = 50
#: Bytes of a tree below which it is not worth a delta.
_DELTA_BYTES_MIN: Final = 256
#: Bytes; a shorter delta is little more than ids, in which there is nothing to compress.
_SHORT: Final = 64
_ATTEMPTS: Final = 5
#: Stands for the last change of a folder that is not there, and for one that was not seen.
_NONE: Final = -1
_UNKNOWN: Final = -2


class Written(NamedTuple):
    """A pack that is written: its path without suffix, and the bytes of both its files."""

    path: str
    index_data: bytes
    parts: list[bytes]
    #: The names that its files have until they are put in place: pack and index.
    temporary: tuple[str, str]
    #: How many packs there were before.
    before: Census

    def discard(self) -> None:
        """Remove the files that are not in place."""
        for path in self.temporary:
            discard(path)


class Census(NamedTuple):
    """How many packs there are, and when the folder had last changed."""

    stamp: int
    small: int
    total: int


class PackWriter:
    """Writes packs into one folder of objects. Used by one thread at a time, under the writer lock."""

    def __init__(self, common: str, *, disk: Disk, runtime: Runtime, config: Config) -> None:
        self._common = common
        self._folder = os.path.join(common, "objects", "pack")
        self._disk = disk
        self._runtime = runtime
        self._config = config
        self._census = Census(_NONE, 0, 0)
        #: Bytes of the packs that were counted: the name of a pack says what is in it.
        self._sizes: dict[str, int] = {}

    def census(self) -> Census:
        """Return how many packs there are: listed once, then counted as they are written."""
        if self._census.stamp != _stamp(self._folder):
            self._census = self._count()
        return self._census

    def is_crowded(self) -> bool:
        """Whether there are so many packs that another one would slow down every reader."""
        if not _is_crowded(self.census()):
            return False
        # Others write and replace packs as well: what was counted may be wrong by theirs.
        self._census = self._count()
        return _is_crowded(self._census)

    def stage(self, objects: Collection[StagedObject], barrier: Barrier) -> Written:
        """Write the files of a pack; to be put in `place` behind the barrier, or discarded.

        git keeps it until its `release`.
        """
        level = configured_level(self._config, "pack", "compression")
        parts, entries = _pack(objects, level)
        base = os.path.join(self._folder, "pack-" + parts[-1].hex())
        token = self._runtime.token()
        pack, index = (
            os.path.join(self._folder, f"tmp_{kind}_{token}") for kind in ("pack", "idx")
        )
        before = self.census()
        if before.stamp == _NONE:
            self._disk.make_folder(self._folder)
        # Before it is there: who drops packs must not have seen it without.
        keep.keep(self._common, base, disk=self._disk)
        index_data = packformat.index(entries, parts[-1])
        written = Written(base, index_data, parts, (pack, index), before)
        try:
            self._write_files(written, barrier)
        except BaseException:
            written.discard()
            raise
        return written._replace(before=before._replace(stamp=_stamp(self._folder)))

    def place(self, written: Written, barrier: Barrier) -> None:
        """Give the files of a pack their names, which are durable behind the next barrier."""
        # What came and went since it was staged is not counted in yet.
        is_current = written.before.stamp == _stamp(self._folder)
        for left in reversed(range(_ATTEMPTS)):
            try:
                self._rename(written)
            except FileNotFoundError:
                # A `git gc --prune=now` took a temporary file away.
                if not left:
                    raise
                written.discard()
                with Barrier(self._disk) as another:
                    self._write_files(written, another)
                    another.sync()
            else:
                break
        barrier.add_folder(self._folder)
        size = sum(map(len, written.parts))
        self._sizes[os.path.basename(written.path)] = size
        small = written.before.small + (size < SMALL_PACK_BYTES)
        stamp = _stamp(self._folder) if is_current else _UNKNOWN
        self._census = Census(stamp, small, written.before.total + 1)

    def release(self, base: str) -> None:
        """Leave a pack to git again: a ref names what is in it, or nobody will."""
        is_current = self._census.stamp == _stamp(self._folder)
        keep.release(self._common, base)
        if is_current:
            self._census = self._census._replace(stamp=_stamp(self._folder))

    def _count(self) -> Census:
        """Count the packs, but not those that somebody keeps; what goes soon is not one of the small."""
        stamp = _stamp(self._folder)
        gone = replaced.read(self._common)
        try:
            names = set(os.listdir(self._folder))
        except FileNotFoundError:
            names = set[str]()
        sizes: dict[str, int] = {}
        for name in names:
            base = name.removesuffix(".pack")
            if base != name and base + ".keep" not in names:
                # Some may go meanwhile.
                with suppress(FileNotFoundError):
                    sizes[base] = self._sizes.get(base) or os.stat(f"{self._folder}/{name}").st_size
        self._sizes = sizes
        small = sum(size < SMALL_PACK_BYTES and base not in gone for base, size in sizes.items())
        return Census(stamp, small, len(sizes))

    def _write_files(self, written: Written, barrier: Barrier) -> None:
        pack, index = written.temporary
        barrier.write_new(pack, *written.parts, mode=0o444)
        barrier.write_new(index, written.index_data, mode=0o444)

    def _rename(self, written: Written) -> None:
        pack, index = written.temporary
        try:
            os.rename(pack, written.path + ".pack")
            os.rename(index, written.path + ".idx")
        except BaseException:
            if not os.path.exists(written.path + ".idx"):
                discard(written.path + ".pack")
            raise


def _pack(
    objects: Collection[StagedObject], level: int
) -> tuple[list[bytes], list[packformat.Entry]]:
    """Return the parts of a pack, its checksum last, and its entries."""
    parts = [packformat.pack_header(len(objects))]
    digest = sha1(parts[0], usedforsecurity=False)
    entries: list[packformat.Entry] = []
    offset = len(parts[0])
    #: Where the objects that deltas can be made against are, how deep, and how large.
    bases: dict[str, tuple[int, int, int]] = {}
    for name, kind, data, like in objects:
        base = None if like is None or len(data) < _DELTA_BYTES_MIN else bases.get(like.name)
        if like is not None and base is not None and base[1] < _DEPTH_MAX:
            depth = base[1] + 1
            delta = splice(base[2], data, like.head, like.tail)
            number, size = packformat.OFS_DELTA, len(delta)
            packed = packformat.stored(delta) if size < _SHORT else deflate(delta, level)
            body = packformat.distance(offset - base[0]) + packed
        else:
            depth = 0
            number, size = NUMBERS[kind], len(data)
            body = _compressed(kind, data, level)
        part = packformat.entry_header(number, size) + body
        if kind == "tree":
            bases[name] = offset, depth, len(data)
        entries.append(packformat.Entry(bytes.fromhex(name), crc32(part), offset))
        digest.update(part)
        parts.append(part)
        offset += len(part)
    parts.append(digest.digest())
    return parts, entries


def _compressed(kind: str, data: bytes, level: int) -> bytes:
    """Return an object as a zlib stream; what is no file as it is, unless more than haste is asked for.

    Two thirds of a tree are ids, in which there is nothing to compress, and a commit is short.
    """
    is_plain = kind != "blob" and level == LEVEL_DEFAULT and len(data) <= packformat.STORED_MAX
    return packformat.stored(data) if is_plain else deflate(data, level)


def _is_crowded(census: Census) -> bool:
    return census.small >= SMALL_PACKS_MAX or census.total >= PACKS_MAX


def _stamp(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return _NONE
