"""Which sessions there are at a commit, by revision: trees are read once, then known by their ids."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from gitstore.session.ids import DIRECTORY, session_id_of
from gitstore.types import Revision, SessionId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitstore.git.repository import Repository
    from gitstore.types import CommitId

K = TypeVar("K")
T = TypeVar("T")
_ENTRY_OF_FOLDER: Final = b"40000 "
#: Sessions folders of several commits, and the shards in them: bound what is kept in memory.
_FOLDERS_KEPT: Final = 4
_SHARDS_KEPT: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A folder in the sessions folder: its tree, and the sessions in it."""

    tree: str
    revisions: Mapping[SessionId, Revision]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """The sessions folder of one commit. What it holds is not to be changed."""

    revisions: Mapping[SessionId, Revision]
    shards: Mapping[bytes, Shard]

    def changed_since(self, other: Folder) -> dict[SessionId, Revision | None]:
        """Return what differs from another folder, by its revision here: None if it is not here.

        The cost follows what differs: equal shards are not looked into.
        """
        found: dict[SessionId, Revision | None] = {}
        for name in (*self.shards, *(other.shards.keys() - self.shards.keys())):
            now, then = self.shards.get(name, NO_SHARD), other.shards.get(name, NO_SHARD)
            if now.tree != then.tree:
                before, after = then.revisions, now.revisions
                if not before:
                    found.update(after)
                    continue
                found |= {each: after[each] for each in after if before.get(each) != after[each]}
                found |= {each: None for each in before if each not in after}
        return found


NO_SHARD: Final = Shard(tree="", revisions={})
NO_FOLDER: Final = Folder(revisions={}, shards={})


class Folders:
    """The sessions folders of one repository. Safe to share between threads."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._mutex = threading.Lock()
        #: By tree id; shards by their name too, since an id is only good in the folder of its hash.
        self._folders: OrderedDict[str, Folder] = OrderedDict()
        self._shards: OrderedDict[tuple[bytes, str], Shard] = OrderedDict()

    def at(self, commit: CommitId | None) -> Folder:
        """Return the folder of a commit; the same one as long as nothing in it has changed."""
        top = self._repository.find(self._repository.tree(commit), DIRECTORY)
        if top is None or not top.is_folder:
            return NO_FOLDER
        with self._mutex:
            known = self._folders.get(top.id)
            latest = next(reversed(self._folders.values()), NO_FOLDER)
        if known is not None:
            return known
        shards = {
            name: self._shard(name, entry[len(_ENTRY_OF_FOLDER) :].hex())
            for name, entry in self._repository.raw_entries(top.id).items()
            if entry.startswith(_ENTRY_OF_FOLDER)
        }
        folder = Folder(revisions=_revisions(shards, latest), shards=shards)
        with self._mutex:
            return _kept(self._folders, top.id, folder, _FOLDERS_KEPT)

    def _shard(self, name: bytes, tree: str) -> Shard:
        """Return the sessions in one folder of the sessions folder."""
        with self._mutex:
            known = self._shards.get((name, tree))
        if known is not None:
            return known
        above = f"{DIRECTORY}/{name.decode(errors='replace')}/"
        revisions = {
            session_id: Revision(entry[-20:].hex())
            for file, entry in self._repository.raw_entries(tree).items()
            if not entry.startswith(_ENTRY_OF_FOLDER)
            and (session_id := session_id_of(above + file.decode(errors="replace")))
        }
        shard = Shard(tree=tree, revisions=revisions)
        with self._mutex:
            return _kept(self._shards, (name, tree), shard, _SHARDS_KEPT)


def _revisions(shards: Mapping[bytes, Shard], other: Folder) -> dict[SessionId, Revision]:
    """Return the revisions in some shards, by changing a copy of those of another folder."""
    folder = Folder(revisions={}, shards=shards)
    found = dict(other.revisions)
    for name, revision in folder.changed_since(other).items():
        if revision is None:
            del found[name]
        else:
            found[name] = revision
    return found


def _kept(cache: OrderedDict[K, T], key: K, value: T, most: int) -> T:
    """Put a value into a cache of limited size, or return the one that came first."""
    value = cache.setdefault(key, value)
    cache.move_to_end(key)
    if len(cache) > most:
        cache.popitem(last=False)
    return value
