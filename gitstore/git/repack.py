"""Packs, written so that they survive: a new history's objects, and a pack without some of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from dulwich.object_format import DEFAULT_OBJECT_FORMAT
from dulwich.objects import ObjectID
from dulwich.pack import (
    Pack,
    UnpackedObject,
    write_pack_data,
    write_pack_from_container,
    write_pack_index_v2,
)

from gitstore.errors import CorruptRepositoryError
from gitstore.git.files import discard
from gitstore.git.objects import object_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from dulwich.pack import PackedObjectContainer

    from gitstore.git.files import Disk
    from gitstore.git.lock import Workshop
    from gitstore.git.objects import Staged

_KINDS = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}


class Packs:
    """The packs of one repository. Used under the writer lock."""

    def __init__(self, common: str, *, disk: Disk, workshop: Workshop) -> None:
        self._folder = os.path.join(common, "objects", "pack")
        self._disk = disk
        self._workshop = workshop

    def write(self, staged: Staged) -> None:
        """Write objects as one pack, and make it durable."""
        records = [
            UnpackedObject(
                _KINDS[whole.partition(b" ")[0].decode()],
                decomp_chunks=[whole.partition(b"\0")[2]],
                sha=bytes.fromhex(name),
            )
            for name, whole in staged.items()
        ]
        if records:
            self._add_pack(
                lambda write: write_pack_data(
                    write,
                    iter(records),
                    DEFAULT_OBJECT_FORMAT,
                    num_records=len(records),
                )
            )

    def holding(self, doomed: set[str]) -> list[tuple[str, list[str]]]:
        """Return the packs that hold any of these, without suffix, and what else they hold."""
        found: list[tuple[str, list[str]]] = []
        for name in self._names():
            if name.endswith(".idx"):
                base = os.path.join(self._folder, name[:-4])
                with Pack(base, object_format=DEFAULT_OBJECT_FORMAT) as pack:
                    held = [each.decode() for each in pack]
                if not doomed.isdisjoint(held):
                    found.append((base, [each for each in held if each not in doomed]))
        return found

    def replace(self, base: str, kept: list[str]) -> None:
        """Write a pack again with only what is kept, then remove it."""
        if kept:
            with Pack(base, object_format=DEFAULT_OBJECT_FORMAT) as pack:
                ids = [(ObjectID(name.encode()), None) for name in kept]
                new = self._add_pack(
                    lambda write: write_pack_from_container(
                        write, cast("PackedObjectContainer", pack), ids, DEFAULT_OBJECT_FORMAT
                    )
                )
            assert new != base
        for suffix in (".idx", ".rev", ".bitmap", ".mtimes", ".pack"):
            discard(base + suffix)
        self._disk.sync_folder(self._folder)

    def _add_pack(
        self,
        fill: Callable[[Callable[[bytes], None]], tuple[dict[bytes, tuple[int, int]], bytes]],
    ) -> str:
        """Write a pack and its index, read it back, put it in place; return its path."""
        os.makedirs(self._folder, exist_ok=True)
        # Not in the packs' folder: git would read an index there that is half written.
        temporary = self._workshop.temporary()
        try:
            with open(temporary + ".pack", "xb") as file:
                entries, checksum = fill(lambda data: _write(file.write, data))
                file.flush()
                self._disk.sync(file.fileno())
            rows = sorted((name, offset, crc) for name, (offset, crc) in entries.items())
            with open(temporary + ".idx", "xb") as file:
                write_pack_index_v2(file, rows, checksum)
                file.flush()
                self._disk.sync(file.fileno())
            self._prove(temporary, len(rows))
            base = os.path.join(self._folder, "pack-" + checksum.hex())
            for suffix in (".pack", ".idx"):
                os.chmod(temporary + suffix, 0o444)
                os.rename(temporary + suffix, base + suffix)
        finally:
            discard(temporary + ".pack")
            discard(temporary + ".idx")
        self._disk.sync_folder(self._folder)
        return base

    def _prove(self, base: str, count: int) -> None:
        """Read every object of a new pack back: the old one will be gone."""
        kinds = {number: kind for kind, number in _KINDS.items()}
        with Pack(base, object_format=DEFAULT_OBJECT_FORMAT) as pack:
            names = list(pack)
            for name in names:
                kind, data = pack.get_raw(name)
                if object_id(kinds[kind], data) != name.decode() or len(names) != count:
                    message = f"the new pack is damaged at {name.decode()}; the old one was kept"
                    raise CorruptRepositoryError(message, path=self._folder)

    def forget_caches(self) -> None:
        """Remove the index over several packs, which git makes again."""
        for name in self._names():
            if name.startswith("multi-pack-index"):
                discard(os.path.join(self._folder, name))

    def _names(self) -> list[str]:
        return sorted(os.listdir(self._folder)) if os.path.isdir(self._folder) else []


def _write(write: Callable[[bytes], int], data: bytes) -> None:
    write(data)
