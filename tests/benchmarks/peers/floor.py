"""What a save of gitstore's asks of the disk and nothing else: the same files, fsyncs and barriers, no thought.

Nothing that keeps its promises in the same files can be quicker, in whatever language.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from functools import partial
from hashlib import sha1
from typing import TYPE_CHECKING
from zlib import compress, crc32

from gitstore.git.barrier import Barrier
from gitstore.git.deflate import deflate
from gitstore.git.files import Disk
from tests.benchmarks.peers.subject import Subject

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.measure import Act

FLOOR = "gitstore's files and fsyncs alone"
GROUP = "gitstore's bytes and fsyncs alone"
#: Bytes of the root tree, the shard and the commit of a save, compressed; of a pack's index.
_TREES_BYTES = 6 << 10
_PACK_INDEX_BYTES = 1212
#: Bytes of git's index, split, half-way to a new shared one, and of its bitmap for each session.
_INDEX_BYTES = 16 << 10
_BITMAP_BYTES = 1 / 8
_FOLDERS = ("pack", "refs", "aside", "sessions")
#: Bytes of what else a save of one among 10,000 sessions hashes: shard, folder of the shards, root, commit.
_HASHED = (1900, 8448, 37, 240)
#: Bytes of the same as they are packed: the folder of the shards is a delta.
_PACKED = (1911, 70, 48, 251)


class Calls:
    """Makes the calls of `gitstore.git.publish`, with content that means nothing."""

    def __init__(self, folder: Path, *, index_bytes: int) -> None:
        """Without bytes of an index there is no working tree."""
        self._folder = folder
        self._index_bytes = index_bytes
        self._disk = Disk("full")
        self._count = 0
        for name in _FOLDERS:
            (folder / name).mkdir()

    def write(self, name: str, path: str, data: bytes) -> Act:
        """Return the calls of one save."""
        del path
        self._count += 1
        chance = random.Random(self._count)
        pack = compress(data, 1) + chance.randbytes(_TREES_BYTES)
        index = chance.randbytes(self._index_bytes)
        return partial(self._save, f"{self._count}", name, data, pack, index)

    def _save(self, number: str, name: str, data: bytes, pack: bytes, index: bytes) -> None:
        path = partial(os.path.join, self._folder)
        with Barrier(self._disk) as barrier:
            barrier.write_new(path("pack", "tmp-pack"), pack)
            barrier.write_new(path("pack", "tmp-idx"), pack[-_PACK_INDEX_BYTES:])
            if index:
                barrier.write_new(path("aside", "file"), data)
            barrier.sync()
            for kind in ("pack", "idx"):
                os.rename(path("pack", "tmp-" + kind), path("pack", f"{number}.{kind}"))
            barrier.add_folder(path("pack"))
            if index:
                os.rename(path("aside", "file"), path("sessions", name))
                barrier.add_folder(path("sessions"))
                barrier.write_new(path("index.lock"), index)
            barrier.write_new(path("refs", "main.lock"), data[:41])
            barrier.sync()
            if index:
                os.rename(path("index.lock"), path("index"))
            os.rename(path("refs", "main.lock"), path("refs", "main"))
            barrier.add_folder(path("refs"))
            barrier.sync()

    def group(self, contents: list[bytes]) -> Act:
        """Return what a group of saves hashes, compresses, checks and writes, as one pack."""
        self._count += 1
        chance = random.Random(self._count)
        hashed = [list(map(chance.randbytes, _HASHED)) for _ in contents]
        packed = [list(map(chance.randbytes, _PACKED)) for _ in contents]
        return partial(self._save_group, f"{self._count}", contents, hashed, packed)

    def _save_group(
        self,
        number: str,
        contents: list[bytes],
        hashed: list[list[bytes]],
        packed: list[list[bytes]],
    ) -> None:
        parts: list[bytes] = []
        whole = sha1()
        for data, trees, bodies in zip(contents, hashed, packed, strict=True):
            for each in (data, *trees):
                sha1(each).digest()
            for part in (deflate(data, 1), *bodies):
                crc32(part)
                whole.update(part)
                parts.append(part)
        self._save(number, "", contents[0], b"".join(parts), b"")

    def delete(self, name: str, path: str) -> Act:
        """Not measured (`Subject.deletes`)."""
        raise NotImplementedError(name, path)

    def close(self) -> None:
        """Nothing is open."""


def subjects(*, bare: bool, sessions: int) -> list[Subject]:
    """Return the floor for a repository of so many sessions."""
    return [
        Subject(
            name=FLOOR,
            durability="survives power loss",
            bare=None,
            layout="none",
            open=partial(
                Calls, index_bytes=0 if bare else _INDEX_BYTES + int(sessions * _BITMAP_BYTES)
            ),
            notes="what no implementation with these files can be below",
            deletes=False,
        )
    ]


def group() -> Subject:
    """Return the floor for saves that are made together, in a bare repository of 10,000 sessions."""
    [lone] = subjects(bare=True, sessions=0)
    return replace(lone, name=GROUP)
