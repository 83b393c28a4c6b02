"""Loose objects: one file each.

Written here, not by dulwich: its temporary name blocks the object for ever after a crash, and
nothing is synced (reference: git's own ``tmp_obj_*`` files, which `git prune` removes).
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from hashlib import sha1
from typing import TYPE_CHECKING, NamedTuple

from gitstore.errors import CorruptRepositoryError
from gitstore.git.barrier import Barrier
from gitstore.git.deflate import configured_level, deflate
from gitstore.git.files import discard
from gitstore.git.staged import framed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gitstore.git.config import Config
    from gitstore.git.files import Disk
    from gitstore.git.staged import StagedObject
    from gitstore.types import Runtime

_HEADER_BYTES_MAX = 64
_ATTEMPTS = 5
#: The folder that stands for all 256 when loose objects are counted, as `git gc` does it.
_SAMPLE = "17"
_FOLDERS = 256


class LooseFile(NamedTuple):
    """An object that is to be put in place."""

    name: str
    #: The framed bytes.
    whole: bytes
    #: Where its file is; None if the object was there already.
    temporary: str | None


class LooseObjects:
    """The loose objects of one folder of objects. Safe to share between threads."""

    def __init__(
        self, common: str, *, disk: Disk, runtime: Runtime, config: Config, bytes_max: int
    ) -> None:
        self._repository = common
        self._folder = os.path.join(common, "objects")
        self._disk = disk
        self._runtime = runtime
        self._config = config
        self._bytes_max = bytes_max
        #: When the folder had last changed, and what was in it.
        self._listed: tuple[int, frozenset[str]] = (-1, frozenset())

    def path(self, name: str) -> str:
        """Return where an object is, if it is loose."""
        return f"{self._folder}/{name[:2]}/{name[2:]}"

    def estimate(self) -> int:
        """Return about how many there are."""
        try:
            return _FOLDERS * len(os.listdir(os.path.join(self._folder, _SAMPLE)))
        except OSError:
            return 0

    def read(self, name: str) -> tuple[str, bytes] | None:
        """Return kind and data of an object, or None if there is no such file.

        Raises:
            CorruptRepositoryError: it is damaged or too large.
        """
        try:
            with open(self.path(name), "rb") as file:
                packed = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        inflater = zlib.decompressobj()
        try:
            whole = inflater.decompress(packed, self._bytes_max + _HEADER_BYTES_MAX)
        except zlib.error as error:
            raise self._corrupt(name, f"cannot be inflated ({error})") from error
        if inflater.unconsumed_tail:
            raise self._corrupt(name, f"is larger than {self._bytes_max} bytes")
        if not inflater.eof:
            raise self._corrupt(name, "ends too early")
        if sha1(whole, usedforsecurity=False).hexdigest() != name:
            raise self._corrupt(name, "is not what its name says")
        head, _, data = whole.partition(b"\0")
        return head.partition(b" ")[0].decode(), data

    def write(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Write objects, given as ids and framed bytes, and make them durable."""
        with Barrier(self._disk) as barrier:
            waiting = self.stage(items, barrier)
            barrier.sync()
            self.place(waiting, barrier)
            barrier.sync()

    def stage(self, items: Iterable[tuple[str, bytes]], barrier: Barrier) -> list[LooseFile]:
        """Write the files of objects; to be put in `place` behind the barrier, or discarded."""
        waiting: list[LooseFile] = []
        try:
            for name, whole in items:
                waiting.append(LooseFile(name, whole, self._stage(name, whole, barrier)))
        except BaseException:
            discard_all(waiting)
            raise
        return waiting

    def place(self, waiting: Collection[LooseFile], barrier: Barrier) -> None:
        """Give the files of objects their names, which are durable behind the next barrier."""
        try:
            for name, whole, temporary in waiting:
                path = self.path(name)
                self._rename(name, whole, temporary, path)
                barrier.add_folder(os.path.dirname(path))
        except BaseException:
            discard_all(waiting)
            raise
        if waiting:
            # The folders' own names too: who made them may have died before syncing that.
            barrier.add_folder(self._folder)

    def mend(self, objects: Collection[StagedObject]) -> None:
        """Write those objects again that are there and damaged: `git fsck` would go on about them."""
        # Where all is in packs most of the folders are not there.
        folders = self._folders()
        broken = [
            (each.name, framed(each.kind, each.data))
            for each in objects
            if each.name[:2] in folders
            and os.path.exists(self.path(each.name))
            and not self._is_whole(each.name)
        ]
        self.write(broken)

    def _folders(self) -> frozenset[str]:
        """Return what is in the folder of objects, listed again when that has changed."""
        stamp = os.stat(self._folder).st_mtime_ns
        if stamp != self._listed[0]:
            self._listed = stamp, frozenset(os.listdir(self._folder))
        return self._listed[1]

    def _is_whole(self, name: str) -> bool:
        try:
            return self.read(name) is not None
        except CorruptRepositoryError:
            return False

    def _stage(self, name: str, whole: bytes, barrier: Barrier) -> str | None:
        """Write one object aside and return where; None if it is there already."""
        path = self.path(name)
        if self._freshened(name, path, barrier):
            return None
        folder = os.path.dirname(path)
        temporary = os.path.join(folder, "tmp_obj_" + self._runtime.token())
        data = deflate(whole, configured_level(self._config, "core", "loosecompression"))
        for left in reversed(range(_ATTEMPTS)):
            with suppress(FileExistsError):
                os.mkdir(folder)
            try:
                barrier.write_new(temporary, data, mode=0o444)
            except FileNotFoundError:
                # A `git gc` took the empty folder away.
                if not left:
                    raise
            else:
                break
        return temporary

    def _rename(self, name: str, whole: bytes, temporary: str | None, path: str) -> None:
        for left in reversed(range(_ATTEMPTS)):
            if temporary is None:
                return
            try:
                os.rename(temporary, path)
            except FileNotFoundError:
                # A `git gc --prune=now` took the file away.
                if not left:
                    raise
                with Barrier(self._disk) as barrier:
                    temporary = self._stage(name, whole, barrier)
                    barrier.sync()
            else:
                return

    def _freshened(self, name: str, path: str, barrier: Barrier) -> bool:
        """Whether the object is there already: then it is kept from `git prune`, and is to be synced.

        Another writer may have written it and not synced it yet. A damaged file is no object, nor is
        one that a power cut left without content: it is written again.
        """
        if not self._is_whole(name):
            return False
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        barrier.add(descriptor)
        os.utime(descriptor)
        return True

    def _corrupt(self, name: str, problem: str) -> CorruptRepositoryError:
        return corrupt(self._repository, name, problem)


def discard_all(waiting: Iterable[LooseFile]) -> None:
    """Remove the files that are not in place."""
    for each in waiting:
        if each.temporary is not None:
            discard(each.temporary)


def corrupt(repository: str, name: str, problem: str) -> CorruptRepositoryError:
    """Return the error about an object that cannot be used."""
    message = f"object {name} {problem}; `git fsck` lists all damage, a clone may still have it"
    return CorruptRepositoryError(message, path=repository, object_id=name)
