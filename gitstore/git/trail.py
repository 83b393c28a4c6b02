"""One path through many commits, as quickly as can be: for walks over all of history.

Ids are the 20 bytes here, and an *entry* is what a tree holds for the path: mode, a space, and the
id. Objects are read by `Objects.glance`; what is shown to people must be read again, checked.
"""

from __future__ import annotations

from binascii import unhexlify
from typing import TYPE_CHECKING, Final, TypeAlias

from gitstore.git.trees import FOLDER, quick_locate

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitstore.git.commitgraph import CommitGraph
    from gitstore.git.objects import Objects

#: 20 bytes of a commit's id.
RawCommit: TypeAlias = bytes

ID_BYTES: Final = 20
_TREE_START: Final = len(b"tree ")
_TREE_END: Final = _TREE_START + 40
_PARENT: Final = b"\nparent "
_PARENT_START: Final = len(_PARENT)
_PARENT_BYTES: Final = _PARENT_START + 40
_COMMITTER: Final = b"\ncommitter "
_FOLDER: Final = FOLDER + b" "
_KEPT: Final = 1024
#: Commits that are read before git's commit-graph is: it is read whole, 1 ms for 10,000 commits.
_FEW: Final = 64


class Trail:
    """Follows one path. Belongs to one thread."""

    def __init__(
        self, objects: Objects, path: str, *, corrupt: Callable[[str, str], Exception]
    ) -> None:
        self._glance = objects.glance
        self._commit_graph = objects.commit_graph
        self._graph: CommitGraph | None = None
        #: When so many commits are remembered, something is done: see `_make_room`.
        self._full = _FEW
        self._parts = [part.encode() for part in path.split("/")]
        self._corrupt = corrupt
        self._seen: dict[RawCommit, tuple[tuple[RawCommit, ...], bytes | None]] = {}
        # By level: the tree that was looked into last, its entry, and the bytes up to the end of
        # that. Next to each other in history, commits differ in few trees, and those in few places.
        self._last: list[tuple[bytes, bytes | None, bytes]] = [
            (b"", None, b"") for _ in self._parts
        ]

    def look(self, commit: RawCommit) -> tuple[tuple[RawCommit, ...], bytes | None]:
        """Return the parents of a commit, and its entry for the path.

        In a long walk a commit that git's commit-graph covers is not read itself, as in git: then
        it is not noticed here that it is missing or damaged.

        Raises:
            CorruptRepositoryError: one of the objects that were read is missing or damaged.
        """
        found = self._seen.get(commit)
        if found is not None:
            return found
        covered = None if self._graph is None else self._graph.find(commit)
        if covered is None:
            try:
                covered = tree_and_parents(self._glance(commit, "commit"))
            except ValueError as error:
                raise self._corrupt(commit.hex(), "commit") from error
        if len(self._seen) >= self._full:
            self._make_room()
        found = self._seen[commit] = covered[1], self._entry(covered[0])
        return found

    def time(self, commit: RawCommit) -> int:
        """Return when a commit was made; seconds since 1970, 0 if it does not say."""
        return time_of(self._glance(commit, "commit"))

    def _make_room(self) -> None:
        """Open the commit-graph, as the walk is long enough to gain by it; later, forget."""
        if self._full == _FEW:
            self._graph, self._full = self._commit_graph(), _KEPT
        else:
            self._seen.clear()

    def _entry(self, tree: bytes) -> bytes | None:
        """Return the entry below a root tree; a tree that was met before is not read again."""
        entry: bytes | None = None
        for level, part in enumerate(self._parts):
            known, entry, begins = self._last[level]
            if known != tree:
                try:
                    data = self._glance(tree, "tree")
                    # What begins as the last one, up to where its entry ends, has that entry too.
                    if entry is None or not data.startswith(begins):
                        entry, end = quick_locate(data, part)
                        begins = data[:end]
                except ValueError as error:
                    raise self._corrupt(tree.hex(), "tree") from error
                self._last[level] = tree, entry, begins
            if entry is None:
                return None
            tree = entry[-ID_BYTES:]
            if entry[:-ID_BYTES] != _FOLDER and level + 1 < len(self._parts):
                return None
        return entry


def tree_and_parents(commit: bytes) -> tuple[bytes, tuple[RawCommit, ...]]:
    """Return what the first lines of a commit's data name.

    Raises:
        ValueError: the bytes are no commit.
    """
    if not commit.startswith(b"tree ") or len(commit) < _TREE_END:
        raise ValueError("a commit begins with its tree")
    tree = unhexlify(commit[_TREE_START:_TREE_END])
    parents: tuple[RawCommit, ...] = ()
    at = _TREE_END
    while commit.startswith(_PARENT, at):
        end = at + _PARENT_BYTES
        parents += (unhexlify(commit[at + _PARENT_START : end]),)
        at = end
    return tree, parents


def time_of(commit: bytes) -> int:
    """Return when the data of a commit says it was made; seconds since 1970, 0 if it does not."""
    end = commit.find(b"\n\n")
    start = commit.find(_COMMITTER, 0, None if end < 0 else end + 1)
    if start < 0:
        return 0
    line = commit[start + len(_COMMITTER) :].partition(b"\n")[0]
    seconds = line.rpartition(b"> ")[2].partition(b" ")[0]
    return int(seconds) if seconds.lstrip(b"-").isdigit() else 0
