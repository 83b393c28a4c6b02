"""Git objects: made in memory, read back checked, written so that they survive.

Loose objects are written here, not by dulwich: its temporary name blocks the object for ever after a
crash, and nothing is synced (reference: git's own ``tmp_obj_*`` files, which `git prune` removes).
Packs are read by `packread`, and where it has no answer by dulwich, which knows alternates too.
"""

from __future__ import annotations

import os
import struct
import threading
import traceback
import weakref
import zlib
from collections import OrderedDict
from contextlib import contextmanager, suppress
from hashlib import sha1
from typing import TYPE_CHECKING

from dulwich.errors import ApplyDeltaError, ChecksumMismatch
from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID
from dulwich.pack import PackFileDisappeared, UnresolvedDeltas

from gitstore.errors import CorruptRepositoryError
from gitstore.git.commitgraph import CommitGraphs
from gitstore.git.config import TRUE
from gitstore.git.files import discard, write_all
from gitstore.git.packread import QuickPacks

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from gitstore.git.commitgraph import CommitGraph
    from gitstore.git.config import Config
    from gitstore.git.files import Disk
    from gitstore.types import Runtime

#: An object of a session store larger than this is refused before it fills the memory.
OBJECT_BYTES_MAX = 64 << 20
#: zlib's fastest level: the default makes a large save ten times slower for 12 % of the space.
_LEVEL = 1
_HEADER_BYTES_MAX = 64
_TREES_KEPT = 2048
_STORES_KEPT = 4
_ATTEMPTS = 5
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
_KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}


def framed(kind: str, data: bytes) -> bytes:
    """Return the bytes an object's id is the SHA-1 of."""
    return b"%s %d\0%s" % (kind.encode(), len(data), data)


def object_id(kind: str, data: bytes) -> str:
    """Return the id that git gives to an object: 40 hex digits."""
    return sha1(framed(kind, data), usedforsecurity=False).hexdigest()


class Staged:
    """Objects that exist in memory and are not written yet."""

    def __init__(self) -> None:
        self._framed: dict[str, bytes] = {}
        self._data: dict[str, bytes] = {}

    def add(self, kind: str, data: bytes) -> str:
        """Take an object in and return its id."""
        whole = framed(kind, data)
        name = sha1(whole, usedforsecurity=False).hexdigest()
        self._framed[name] = whole
        self._data[name] = data
        return name

    def get(self, name: str) -> bytes | None:
        """Return the data of a staged object."""
        return self._data.get(name)

    def items(self) -> Iterable[tuple[str, bytes]]:
        """Return ids and framed bytes, in the order of `add`: what is named comes first."""
        return self._framed.items()


class Objects:
    """The objects of one repository. Safe to share between threads."""

    def __init__(self, common: str, *, disk: Disk, runtime: Runtime, config: Config) -> None:
        self._repository = common
        self._folder = os.path.join(common, "objects")
        self._disk = disk
        self._runtime = runtime
        self._config = config
        #: dulwich's stores that nobody uses now.
        self._stores: list[DiskObjectStore] = []
        weakref.finalize(self, _close, self._stores)
        self._mutex = threading.Lock()
        self._trees: OrderedDict[str, bytes] = OrderedDict()
        self._quick = QuickPacks(self._folder, bytes_max=OBJECT_BYTES_MAX)
        self._graphs = CommitGraphs(self._folder)

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
        found = self._read_quick(name) or self._read_loose(name) or self._read_packed(name)
        if found is None:
            raise self._corrupt(name, "is missing")
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
        if found is not None and found[0] == _NUMBERS[kind]:
            return found[1]
        return self.read(name.hex(), kind)

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

    def kind_of(self, name: str) -> str | None:
        """Return what kind of object this is, or None if there is no such object."""
        found = self._read_quick(name) or self._read_loose(name) or self._read_packed(name)
        return None if found is None else found[0]

    def check_loose(self, name: str) -> None:
        """Read the loose file of an object, even where a pack holds a good one.

        Raises:
            CorruptRepositoryError: it is damaged.
        """
        self._read_loose(name)

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
        """Write objects, loose, and make them durable: one barrier for all of them."""
        self._write_all(staged.items())

    def put_back(self, staged: Staged) -> None:
        """Write again whatever a `git gc --prune=now` took away before a ref named it."""
        lost = [item for item in staged.items() if not os.path.exists(self._path(item[0]))]
        lost = [item for item in lost if self._read_packed(item[0]) is None]
        self._write_all(lost)

    def _write_all(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Write objects, and begin again when a `git gc` takes a file or an empty folder away."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                folders = {self._write_loose(name, whole) for name, whole in items}
                # The folders' own names too: who made them may have died before syncing that.
                self._disk.sync_folders([*sorted(folders), self._folder] if folders else ())
            except FileNotFoundError:
                if not left:
                    raise
            else:
                return

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name[:2], name[2:])

    def _write_loose(self, name: str, whole: bytes) -> str:
        """Write one object, or make the one that is there durable; return its folder."""
        path = self._path(name)
        folder = os.path.dirname(path)
        if self._freshened(name, path):
            return folder
        temporary = os.path.join(folder, "tmp_obj_" + self._runtime.token())
        with suppress(FileExistsError):
            os.mkdir(folder)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        try:
            try:
                write_all(descriptor, zlib.compress(whole, _LEVEL))
                self._disk.sync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary, path)
        except BaseException:
            discard(temporary)
            raise
        return folder

    def _freshened(self, name: str, path: str) -> bool:
        """Whether the object is there already: then it is kept from `git prune`, and synced.

        Another writer may have written it and not synced it yet. A damaged file is no object, nor is
        one that a power cut left without content: it is written again.
        """
        try:
            if self._read_loose(name) is None:
                return False
        except CorruptRepositoryError:
            return False
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            os.utime(descriptor)
            self._disk.sync(descriptor)
        finally:
            os.close(descriptor)
        return True

    def _read_loose(self, name: str) -> tuple[str, bytes] | None:
        try:
            with open(self._path(name), "rb") as file:
                packed = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        inflater = zlib.decompressobj()
        try:
            whole = inflater.decompress(packed, OBJECT_BYTES_MAX + _HEADER_BYTES_MAX)
        except zlib.error as error:
            raise self._corrupt(name, f"cannot be inflated ({error})") from error
        if inflater.unconsumed_tail:
            raise self._corrupt(name, f"is larger than {OBJECT_BYTES_MAX} bytes")
        if not inflater.eof:
            raise self._corrupt(name, "ends too early")
        if sha1(whole, usedforsecurity=False).hexdigest() != name:
            raise self._corrupt(name, "is not what its name says")
        header, _, data = whole.partition(b"\0")
        return header.partition(b" ")[0].decode(), data

    def _read_quick(self, name: str, *, again: bool = False) -> tuple[str, bytes] | None:
        """Return an object if the packs that are open hold it, whole; `again` asks the new ones."""
        self._quick.refresh()
        found = self._quick.read(bytes.fromhex(name), again=again)
        kind = None if found is None else _KINDS.get(found[0])
        if found is None or kind is None or object_id(kind, found[1]) != name:
            return None
        return kind, found[1]

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
        return _KINDS[kind], data

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

    def _corrupt(self, name: str, problem: str) -> CorruptRepositoryError:
        message = f"object {name} {problem}; `git fsck` lists all damage, a clone may still have it"
        return CorruptRepositoryError(message, path=self._repository, object_id=name)


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
