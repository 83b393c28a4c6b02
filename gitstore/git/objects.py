"""Git objects: read back checked, written so that they survive.

A publication is written as one small pack (`packwrite`), or loose where there are too many packs
(`loose`). Packs are read by `packread`, and where it has no answer by dulwich, which knows
alternates too.
"""

from __future__ import annotations

import os
import struct
import threading
import traceback
import weakref
import zlib
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dulwich.errors import ApplyDeltaError, ChecksumMismatch
from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID
from dulwich.pack import PackFileDisappeared, UnresolvedDeltas

from gitstore.errors import CorruptRepositoryError
from gitstore.git.barrier import Barrier
from gitstore.git.commitgraph import CommitGraphs
from gitstore.git.config import TRUE
from gitstore.git.loose import LooseObjects, corrupt, discard_all
from gitstore.git.packread import QuickPacks
from gitstore.git.packwrite import PackWriter
from gitstore.git.staged import KINDS, NUMBERS, Staged, framed, object_id

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from gitstore.git.commitgraph import CommitGraph
    from gitstore.git.config import Config
    from gitstore.git.files import Disk
    from gitstore.git.loose import LooseFile
    from gitstore.git.packwrite import Written
    from gitstore.types import Runtime

__all__ = [
    "OBJECT_BYTES_MAX",
    "Objects",
    "Staged",
    "framed",
    "object_id",
    "parse_commit",
]

#: An object of a session store larger than this is refused before it fills the memory.
OBJECT_BYTES_MAX = 64 << 20
_TREES_KEPT = 2048
_STORES_KEPT = 4
#: What dulwich raises over a pack that is damaged, or that a `git gc` replaced while it was open.
_PACK_TROUBLE = (
    ApplyDeltaError,
    AssertionError,
    BufferError,
    ChecksumMismatch,
    IndexError,
    OverflowError,
    PackFileDisappeared,
    UnresolvedDeltas,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Objects whose files are written, but not in place."""

    pack: Written | None
    loose: list[LooseFile]
    #: Whether all packs were known before.
    is_current: bool = False

    def discard(self) -> None:
        """Remove the files that are not in place."""
        if self.pack is not None:
            self.pack.discard()
        discard_all(self.loose)


class Objects:
    """The objects of one repository. Safe to share between threads."""

    def __init__(self, common: str, *, disk: Disk, runtime: Runtime, config: Config) -> None:
        self._repository = common
        self._folder = os.path.join(common, "objects")
        self._config = config
        self._disk = disk
        #: dulwich's stores that nobody uses now.
        self._stores: list[DiskObjectStore] = []
        weakref.finalize(self, _close, self._stores)
        self._mutex = threading.Lock()
        self._trees: OrderedDict[str, bytes] = OrderedDict()
        self._quick = QuickPacks(self._folder, bytes_max=OBJECT_BYTES_MAX)
        self._graphs = CommitGraphs(self._folder)
        self._loose = LooseObjects(
            common, disk=disk, runtime=runtime, config=config, bytes_max=OBJECT_BYTES_MAX
        )
        self._packing = PackWriter(common, disk=disk, runtime=runtime, config=config)

    def close(self) -> None:
        """Close the packs that are open."""
        self._quick.close()
        self._graphs.close()
        with self._mutex:
            _close(self._stores)

    def read(self, name: str, kind: str) -> bytes:
        """Return the data of an object.

        Raises:
            CorruptRepositoryError: it is missing, damaged, too large, or not of this kind.
        """
        found = self.lookup(name)
        if found is None:
            raise self._missing(name)
        if found[0] != kind:
            raise self._corrupt(name, f"is a {found[0]}, not a {kind}")
        return found[1]

    def glance(self, name: bytes, kind: str) -> bytes:
        """Return the data of an object by the 20 bytes of its id, as quickly as can be.

        A packed object is not hashed: like git, this trusts the checksums of the compression. For
        walks over all of history; what is shown or built on must be `read`.

        Raises:
            CorruptRepositoryError: as `read`.
        """
        found = self._quick.read(name)
        if found is not None and found[0] == NUMBERS[kind]:
            return found[1]
        return self.read(name.hex(), kind)

    def by_place(self, names: Iterable[str]) -> list[str]:
        """Return ids in the order in which their objects are read quickest, one after the other."""
        return [name.hex() for name in self._quick.by_place(map(bytes.fromhex, names))]

    def commit_graph(self) -> CommitGraph | None:
        """Return git's commit-graph, if there is one that can be used, and git is to use it."""
        wanted = self._config.get("core", "commitgraph")
        return self._graphs.opened() if wanted is None or wanted.lower() in TRUE else None

    def read_tree(self, name: str) -> bytes:
        """Return the data of a tree. Trees never change, so the last ones are kept in memory."""
        with self._mutex:
            data = self._trees.get(name)
            if data is not None:
                self._trees.move_to_end(name)
                return data
        data = self.read(name, "tree")
        self.keep_tree(name, data)
        return data

    def keep_tree(self, name: str, data: bytes) -> None:
        """Remember a tree that will be read again soon."""
        with self._mutex:
            self._trees[name] = data
            if len(self._trees) > _TREES_KEPT:
                self._trees.popitem(last=False)

    def lookup(self, name: str) -> tuple[str, bytes] | None:
        """Return kind and data of an object, or None if there is no such object.

        Raises:
            CorruptRepositoryError: it is damaged or too large.
        """
        return self._read_quick(name) or self._loose.read(name) or self._read_packed(name)

    def kind_of(self, name: str) -> str | None:
        """Return what kind of object this is, or None if there is no such object."""
        found = self.lookup(name)
        return None if found is None else found[0]

    def check_loose(self, name: str) -> None:
        """Read the loose file of an object, even where a pack holds a good one.

        Raises:
            CorruptRepositoryError: it is damaged.
        """
        self._loose.read(name)

    def matching(self, prefix: str, limit: int) -> list[str]:
        """Return up to `limit` ids that begin with `prefix`, in order."""
        found: set[str] = set()
        with self._packs() as store:
            try:
                for name in store.iter_prefix(prefix.encode()):
                    found.add(name.decode())
                    if len(found) >= limit:
                        break
            except _PACK_TROUBLE as error:
                raise self._corrupt(prefix, f"cannot be looked for ({error})") from error
        return sorted(found)

    def write(self, staged: Staged) -> None:
        """Write objects and make them durable; to be followed by `release`."""
        with Barrier(self._disk) as barrier:
            waiting = self.stage(staged, barrier)
            try:
                barrier.sync()
                self.place(waiting, barrier)
            except BaseException:
                waiting.discard()
                raise
            barrier.sync()

    def stage(self, staged: Staged, barrier: Barrier) -> Waiting:
        """Write the files of objects: a pack, or loose objects where packs abound.

        All of them, also what is there already: that may be damaged, or not be durable yet. They are
        to be put in `place` behind the barrier, or discarded; then comes `release`.
        """
        if self._packing.is_crowded():
            staged.pack = None
            return Waiting(None, self._loose.stage(staged.items(), barrier))
        self._loose.mend(staged.objects())
        is_current = self._quick.is_current()
        pack = self._packing.stage(staged.objects(), barrier)
        staged.pack = pack.path
        return Waiting(pack, [], is_current=is_current)

    def place(self, waiting: Waiting, barrier: Barrier) -> None:
        """Make objects readable; they are durable behind the next barrier."""
        pack = waiting.pack
        if pack is None:
            self._loose.place(waiting.loose, barrier)
            return
        self._packing.place(pack, barrier)
        self._quick.add(pack.path, pack.index_data, pack.parts, is_current=waiting.is_current)

    def release(self, staged: Staged) -> None:
        """Leave what was written to git, which drops what no ref names by now."""
        if staged.pack is not None:
            is_current = self._quick.is_current()
            self._packing.release(staged.pack)
            if is_current:
                self._quick.look_away()

    def put_back(self, staged: Staged) -> None:
        """Write again whatever a `git gc --prune=now` took away before a ref named it."""
        if staged.pack is not None:
            if not all(os.path.exists(staged.pack + suffix) for suffix in (".pack", ".idx")):
                self.write(staged)
            return
        lost = [item for item in staged.items() if not os.path.exists(self._loose.path(item[0]))]
        self._loose.write([item for item in lost if self._read_packed(item[0]) is None])

    def pressure(self) -> tuple[int, int]:
        """Return how many packs there are, and about how many loose objects: what piles up.

        Cheap enough to be asked after every save. Packs that somebody keeps as they are (``.keep``)
        do not count. Loose objects are estimated from one folder of 256, as `git gc` does it.
        """
        return self._packing.census().total, self._loose.estimate()

    def _read_quick(self, name: str, *, again: bool = False) -> tuple[str, bytes] | None:
        """Return an object if the packs that are open hold it, whole; `again` asks the new ones."""
        self._quick.refresh()
        for number, data in self._quick.copies(bytes.fromhex(name), again=again):
            kind = KINDS.get(number)
            if kind is not None and object_id(kind, data) == name:
                return kind, data
        return None

    def _read_packed(self, name: str) -> tuple[str, bytes] | None:
        found = self._read_quick(name, again=True)
        if found is not None:
            return found
        try:
            found = self._read_pack(name)
        except _PACK_TROUBLE:
            # Perhaps a `git gc` replaced the packs that this store had open: a new one looks again.
            with self._mutex:
                _close(self._stores)
            try:
                found = self._read_pack(name)
            except _PACK_TROUBLE as error:
                raise self._corrupt(name, f"cannot be read from its pack ({error})") from error
        if found is not None and object_id(*found) != name:
            raise self._corrupt(name, "is not what its name says")
        return found

    def _read_pack(self, name: str) -> tuple[str, bytes] | None:
        with self._packs() as store:
            try:
                kind, data = store.get_raw(ObjectID(name.encode()))
            except KeyError:
                return None
        return KINDS[kind], data

    @contextmanager
    def _packs(self) -> Generator[DiskObjectStore]:
        """Lend out a store of dulwich's to one thread: sharing one is not safe."""
        with self._mutex:
            store = self._stores.pop() if self._stores else None
        if store is None:
            store = DiskObjectStore.from_config(self._folder, self._config.file())
        try:
            yield store
        except BaseException as error:
            # Frames of the traceback hold views of its packs, which then cannot be closed.
            traceback.clear_frames(error.__traceback__)
            store.close()
            raise
        with self._mutex:
            if len(self._stores) < _STORES_KEPT:
                self._stores.append(store)
                return
        store.close()

    def _missing(self, name: str) -> CorruptRepositoryError:
        if os.path.exists(os.path.join(self._repository, "shallow")):
            message = f"object {name} is not in this shallow clone; run `git fetch --unshallow`"
            return CorruptRepositoryError(message, path=self._repository, object_id=name)
        return self._corrupt(name, "is missing")

    def _corrupt(self, name: str, problem: str) -> CorruptRepositoryError:
        return corrupt(self._repository, name, problem)


def _close(stores: list[DiskObjectStore]) -> None:
    while stores:
        stores.pop().close()


def parse_commit(data: bytes) -> Mapping[str, list[str]]:
    """Return the headers of a commit, and its message under ``""``."""
    head, _, message = data.partition(b"\n\n")
    headers: dict[str, list[str]] = {"": [message.decode(errors="replace")]}
    for line in head.decode(errors="replace").split("\n"):
        if not line.startswith(" "):
            key, _, value = line.partition(" ")
            headers.setdefault(key, []).append(value)
    return headers
