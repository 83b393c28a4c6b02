"""What a repository holds: its configuration, refs, commits, trees and files, read and checked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from gitstore.errors import CorruptRepositoryError
from gitstore.git import trees
from gitstore.git.graph import CommitFacts
from gitstore.git.objects import parse_commit
from gitstore.git.trail import Trail, time_of, tree_and_parents
from gitstore.git.translate import translated
from gitstore.types import CommitId, Revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gitstore.git.location import Location
    from gitstore.git.objects import Objects
    from gitstore.git.refs import Refs

_COMMITS_KEPT = 4096
_T = TypeVar("_T")


class Contents:
    """The reading half of a repository. Safe to share between threads."""

    def __init__(self, location: Location, *, branch: str, refs: Refs, objects: Objects) -> None:
        self.path = location.path
        self.branch = branch
        self.ref = f"refs/heads/{branch}"
        self._location = location
        self._objects = objects
        self._refs = refs
        self._facts: dict[CommitId, CommitFacts] = {}
        self._tree_of: dict[CommitId, str] = {}

    def setting(self, section: str, name: str) -> str | None:
        """Return a value of the repository's own configuration; a subsection follows a dot."""
        with translated(self.path):
            return self._location.config.get(section, name)

    def tip(self) -> CommitId | None:
        """Return the commit the branch points at; None before the first one."""
        with translated(self.path):
            return self._refs.read(self.ref)

    def ref_tip(self, name: str) -> CommitId | None:
        """Return what a ref such as ``refs/remotes/origin/main`` points at."""
        with translated(self.path):
            return self._refs.read(name)

    def last_moved(self, name: str) -> int | None:
        """Return when a ref last moved, if its reflog says so: seconds since 1970."""
        with translated(self.path):
            return self._refs.last_logged(name)

    def facts(self, commit: CommitId) -> CommitFacts:
        """Return parents and committer time of a commit."""
        found = self._facts.get(commit)
        if found is None:
            parents, time = self._glanced(bytes.fromhex(commit))
            found = CommitFacts(
                parents=tuple(CommitId(parent.hex()) for parent in parents), time=time
            )
            _keep(self._facts, commit, found)
        return found

    def commit_data(self, commit: CommitId) -> bytes:
        """Return the bytes of a commit: what its signature is of, and the signature."""
        with translated(self.path):
            return self._objects.read(commit, "commit")

    def commit(self, commit: CommitId) -> Mapping[str, list[str]]:
        """Return the headers of a commit by name; its message is under ``""``."""
        headers = parse_commit(self.commit_data(commit))
        if "tree" not in headers or "committer" not in headers:
            message = f"commit {commit} has no tree or committer; `git fsck` lists all damage"
            raise CorruptRepositoryError(message, path=self.path, object_id=commit)
        return headers

    def tree(self, commit: CommitId | None) -> str | None:
        """Return the id of the root tree of a commit."""
        if commit is None:
            return None
        found = self._tree_of.get(commit)
        if found is None:
            found = self.commit(commit)["tree"][0]
            _keep(self._tree_of, commit, found)
        return found

    def keep_commit(self, commit: CommitId, facts: CommitFacts, *, tree: str) -> None:
        """Remember what a commit that was just made holds: it will be read again soon."""
        _keep(self._facts, commit, facts)
        _keep(self._tree_of, commit, tree)

    def entries(self, tree: str) -> list[trees.Entry]:
        """Return the entries of a tree."""
        with translated(self.path):
            data = self._objects.read_tree(tree)
            try:
                return list(trees.entries(data))
            except ValueError as error:
                message = f"tree {tree} is damaged ({error}); `git fsck` lists all damage"
                raise CorruptRepositoryError(message, path=self.path, object_id=tree) from error

    def raw_entries(self, tree: str) -> dict[bytes, bytes]:
        """Return mode, a space, and the 20 bytes of id of every entry of a tree, by name."""
        with translated(self.path):
            try:
                return trees.raw_entries(self._objects.read_tree(tree))
            except ValueError as error:
                raise self._malformed(tree, "tree") from error

    def find(self, tree: str | None, path: str) -> trees.Entry | None:
        """Return what is at `path` below a root tree."""
        entry: trees.Entry | None = None
        with translated(self.path):
            for part in path.split("/"):
                if tree is None:
                    return None
                try:
                    entry = trees.find(self._objects.read_tree(tree), part.encode())
                except ValueError as error:
                    raise self._malformed(tree, "tree") from error
                tree = entry.id if entry is not None and entry.is_folder else None
        return entry

    def blob_at(self, commit: CommitId | None, path: str) -> Revision | None:
        """Return the id of the file at `path` in a commit."""
        entry = self.find(self.tree(commit), path)
        return None if entry is None or entry.is_folder else Revision(entry.id)

    def changes_between(
        self, old: str | None, new: str | None
    ) -> dict[str, tuple[trees.Entry | None, trees.Entry | None]]:
        """Return what differs between two root trees: by path, the old entry and the new one.

        The cost follows what differs: what is the same on both sides is not read.

        Raises:
            CorruptRepositoryError: a name in one of them is not UTF-8.
        """
        found: dict[str, tuple[trees.Entry | None, trees.Entry | None]] = {}
        todo = [("", old, new)]
        while todo:
            prefix, one, other = todo.pop()
            if one == other:
                continue
            before, after = (
                {} if each is None else self.raw_entries(each) for each in (one, other)
            )
            for name in dict(before.items() ^ after.items()):
                mine, theirs = (
                    trees.entry_of(name, side[name]) if name in side else None
                    for side in (before, after)
                )
                path = prefix + self._text(name, tree=one or other or "")
                below = [each.id if each and each.is_folder else None for each in (mine, theirs)]
                if any(below):
                    todo.append((path + "/", below[0], below[1]))
                files = [None if each and each.is_folder else each for each in (mine, theirs)]
                if any(files):
                    found[path] = (files[0], files[1])
        return found

    def _text(self, name: bytes, *, tree: str) -> str:
        try:
            return name.decode()
        except UnicodeDecodeError as error:
            message = f"tree {tree} holds the name {name!a}, which is not UTF-8; rename it"
            raise CorruptRepositoryError(message, path=self.path, object_id=tree) from error

    def read_blob(self, revision: Revision) -> bytes:
        """Return the bytes of a file."""
        with translated(self.path):
            return self._objects.read(revision, "blob")

    def by_place(self, revisions: Iterable[Revision]) -> list[Revision]:
        """Return revisions in the order in which they are read quickest, one after the other.

        In another order, of more than 64 MB of sessions, the bases of deltas are read again and again.
        """
        return [Revision(name) for name in self._objects.by_place(revisions)]

    def kind_of(self, object_id: str) -> str | None:
        """Return what kind of object this is, or None if there is no such object."""
        with translated(self.path):
            return self._objects.kind_of(object_id)

    def stored_blob(self, revision: Revision) -> bytes | None:
        """Return the bytes of a file, or None if there is no such revision."""
        with translated(self.path):
            found = self._objects.lookup(revision)
        return found[1] if found is not None and found[0] == "blob" else None

    def target_of_tag(self, object_id: str) -> str:
        """Return what an annotated tag points at."""
        with translated(self.path):
            return parse_commit(self._objects.read(object_id, "tag"))["object"][0]

    def matching(self, prefix: str, *, limit: int) -> list[str]:
        """Return up to `limit` object ids that begin with `prefix`, in order."""
        with translated(self.path):
            return self._objects.matching(prefix, limit)

    def trail(self, path: str) -> Trail:
        """Return what follows one path through history; for one thread."""
        return Trail(self._objects, path, corrupt=self._malformed)

    def first_parent(self, commit: bytes) -> tuple[bytes | None, int]:
        """Return the first parent and the time of a commit, by the 20 bytes of ids, quickly."""
        parents, time = self._glanced(commit)
        return parents[0] if parents else None, time

    def _glanced(self, commit: bytes) -> tuple[tuple[bytes, ...], int]:
        """Return parents and time of a commit, for walks: what is packed is not hashed."""
        with translated(self.path):
            data = self._objects.glance(commit, "commit")
        try:
            return tree_and_parents(data)[1], time_of(data)
        except ValueError as error:
            raise self._malformed(commit.hex(), "commit") from error

    def _files_below(self, commit: CommitId | None, folder: str) -> dict[str, str]:
        """Return path and id of the files two levels below a folder of a commit."""
        top = self.find(self.tree(commit), folder)
        found: dict[str, str] = {}
        for shard in [] if top is None or not top.is_folder else self.entries(top.id):
            if shard.is_folder:
                above = f"{folder}/{os.fsdecode(shard.name)}"
                for entry in self.entries(shard.id):
                    found[f"{above}/{os.fsdecode(entry.name)}"] = entry.id
        return found

    def _malformed(self, object_id: str, kind: str) -> CorruptRepositoryError:
        message = f"{kind} {object_id} is damaged; `git fsck` lists all damage"
        return CorruptRepositoryError(message, path=self.path, object_id=object_id)


def _keep(memory: dict[CommitId, _T], commit: CommitId, value: _T) -> None:
    if len(memory) >= _COMMITS_KEPT:
        memory.clear()
    memory[commit] = value
