"""What a push sends: the objects that the remote lacks, found without walking what both have.

Objects are found by comparing a commit's folders with those of its parents, by ids: what a parent
has in the same place the remote has, or gets with the parent. A file that comes back from further
ago is sent again. Deltas are not made.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from dulwich.pack import UnpackedObject

from gitstore.errors import CorruptRepositoryError
from gitstore.git.trail import ID_BYTES, time_of, tree_and_parents
from gitstore.git.transfer.hygiene import GITLINK
from gitstore.git.transfer.landing import entry_header
from gitstore.git.transfer.packscan import KINDS, NUMBERS
from gitstore.git.transfer.reach import commits_beyond
from gitstore.git.trees import FOLDER, raw_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from gitstore.git.objects import Objects
    from gitstore.types import CommitId

_FOLDER: Final = FOLDER + b" "
_GITLINK: Final = GITLINK + b" "
#: Folders whose entries are kept while their commits are compared.
_KEPT: Final = 64
_ROWS_KEPT_MAX: Final = 1024


class Outgoing:
    """Objects in the order they are to be sent, and how many."""

    def __init__(self, objects: Objects, ids: bytes, kinds: bytes, *, level: int) -> None:
        self.count = len(kinds)
        self._objects = objects
        self._ids = ids
        self._kinds = kinds
        self._level = level

    @property
    def records(self) -> Iterator[UnpackedObject]:
        """The objects as dulwich's client wants them: read, hashed and compressed one by one.

        Raises:
            CorruptRepositoryError: one is missing or damaged.
        """
        for number, kind in enumerate(self._kinds):
            name = self._ids[number * ID_BYTES : (number + 1) * ID_BYTES]
            data = self._objects.read(name.hex(), KINDS[kind])
            record = UnpackedObject(kind, decomp_chunks=[data], sha=name)
            # In one piece: each piece is sent on its own.
            entry = entry_header(kind, len(data)) + zlib.compress(data, self._level)
            record.comp_chunks = [entry]
            yield record


def outgoing(
    objects: Objects,
    new: CommitId,
    known: Collection[str],
    *,
    corrupt: Callable[[str, str], Exception],
    level: int,
) -> Outgoing:
    """Return what a remote lacks of a commit when it has the commits `known`.

    Costs what is new, not what is shared; takes some 150 bytes of memory for each object. Ids that
    we do not have may be among `known`. `level` is zlib's, of the compression. `corrupt` makes the
    error about an object, named by id and kind, that is malformed.

    Raises:
        CorruptRepositoryError: a commit or folder is missing or damaged.
    """
    walk = _Walk(objects, corrupt)
    tip = bytes.fromhex(new)
    remote = {bytes.fromhex(each) for each in known}
    # Parents come first, and must: a folder is added but for what its predecessor has.
    for commit in commits_beyond(tip, remote, walk.look, missing=walk.missing):
        walk.add_commit(commit)
    return Outgoing(objects, bytes(walk.ids), bytes(walk.kinds), level=level)


def compression_level(setting: str | None) -> int:
    """Return zlib's level for git's ``pack.compression``: -1, its default, unless it is a level."""
    return int(setting) if setting is not None and setting in set("0123456789") else -1


class _Walk:
    """Collects objects, each once."""

    def __init__(self, objects: Objects, corrupt: Callable[[str, str], Exception]) -> None:
        self.ids = bytearray()
        self.kinds = bytearray()
        self._objects = objects
        self._corrupt = corrupt
        self._seen: set[bytes] = set()
        self._rows_of: dict[bytes, dict[bytes, bytes]] = {}

    def look(self, commit: bytes) -> tuple[tuple[bytes, ...], int] | None:
        """Return parents and time of a commit; None if we do not have it."""
        try:
            data = self._objects.glance(commit, "commit")
            return tree_and_parents(data)[1], time_of(data)
        except (CorruptRepositoryError, ValueError):
            return None

    def missing(self, commit: bytes) -> Exception:
        """Return the error that says what is wrong with a commit that could not be looked up."""
        try:
            self._objects.read(commit.hex(), "commit")
        except CorruptRepositoryError as error:
            return error
        return self._corrupt(commit.hex(), "commit")

    def add_commit(self, commit: bytes) -> None:
        """Add a commit, and all of it that its parents do not have."""
        self._add(commit, "commit")
        tree, parents = self._tree_and_parents(commit)
        before = [self._tree_and_parents(parent)[0] for parent in parents]
        if tree not in before:
            self._add_folder(tree, before)

    def _tree_and_parents(self, commit: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        return tree_and_parents(self._objects.glance(commit, "commit"))

    def _add_folder(self, tree: bytes, before: list[bytes]) -> None:
        todo = [(tree, before)]
        while todo:
            tree, before = todo.pop()
            if tree in self._seen:
                continue
            self._add(tree, "tree")
            fresh = set(self._rows(tree).items())
            others = [self._rows(each) for each in before]
            for other in others:
                fresh.difference_update(other.items())
            for name, entry in fresh:
                target = entry[-ID_BYTES:]
                if entry.startswith(_FOLDER):
                    old = [other[name] for other in others if name in other]
                    folders = [each[-ID_BYTES:] for each in old if each.startswith(_FOLDER)]
                    todo.append((target, folders))
                elif not entry.startswith(_GITLINK):
                    self._add(target, "blob")

    def _add(self, name: bytes, kind: str) -> None:
        if name not in self._seen:
            self._seen.add(name)
            self.ids += name
            self.kinds.append(NUMBERS[kind])

    def _rows(self, tree: bytes) -> dict[bytes, bytes]:
        rows = self._rows_of.get(tree)
        if rows is None:
            try:
                rows = raw_entries(self._objects.glance(tree, "tree"))
            except ValueError as error:
                raise self._corrupt(tree.hex(), "tree") from error
            if len(rows) > _ROWS_KEPT_MAX:
                return rows
            if len(self._rows_of) >= _KEPT:
                del self._rows_of[next(iter(self._rows_of))]
            self._rows_of[tree] = rows
        return rows
