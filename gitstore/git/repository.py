"""A repository and one branch of it: what is there, and how the branch moves.

Open it with `Repository.open` or make one with `Repository.create` (`gitstore.git.location` holds the
checks). A write is a `Draft` (commits in memory on top of a tip) that `publish` makes durable and
visible in the order of DESIGN section 6, or not at all.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gitstore.errors import CorruptRepositoryError, RepositoryError
from gitstore.git import trees
from gitstore.git.checkout import WorkingTree
from gitstore.git.draft import Draft
from gitstore.git.files import Disk
from gitstore.git.graph import CommitFacts
from gitstore.git.location import Location, check, check_branch, create, locate
from gitstore.git.lock import Workshop
from gitstore.git.objects import Objects, parse_commit
from gitstore.git.publish import SESSIONS, Locks, Publisher
from gitstore.git.refs import Refs
from gitstore.git.survey import Survey
from gitstore.git.trail import Trail, time_of, tree_and_parents
from gitstore.git.translate import translated
from gitstore.types import CommitId, Revision

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from gitstore.git.checkout import WorkingFile
    from gitstore.types import Author, Durability, Runtime

_COMMITS_KEPT = 4096


class Repository:
    """One branch of one repository. Safe to share between threads."""

    def __init__(
        self,
        location: Location,
        *,
        branch: str | None,
        durability: Durability,
        lock_timeout_seconds: float,
        runtime: Runtime,
    ) -> None:
        common = location.common
        disk = Disk(durability)
        workshop = Workshop(
            common, disk=disk, runtime=runtime, timeout_seconds=lock_timeout_seconds
        )
        objects = Objects(common, disk=disk, runtime=runtime, config=location.config)
        refs = Refs(location.control, common, disk=disk, workshop=workshop)
        self.path = location.path
        branch = branch or refs.head_branch()
        if branch is None:
            message = "HEAD is on no branch; run `git switch BRANCH`, or open it with branch=..."
            raise RepositoryError(message, path=location.path)
        self.branch = check_branch(branch, path=location.path)
        self.ref = f"refs/heads/{self.branch}"
        self._location = location
        self._disk = disk
        self._workshop = workshop
        self._objects = objects
        self._refs = refs
        self._publisher = Publisher(
            location, ref=self.ref, refs=refs, objects=objects, disk=disk, workshop=workshop
        )
        self._facts: dict[CommitId, CommitFacts] = {}
        self._tree_of: dict[CommitId, str] = {}

    @classmethod
    def open(
        cls,
        path: str,
        *,
        branch: str | None,
        durability: Durability,
        lock_timeout_seconds: float,
        trust_owner: bool,
        runtime: Runtime,
    ) -> Repository:
        """Open the repository at `path`; the branch is the one HEAD is on unless named.

        Raises:
            RepositoryNotFoundError: there is none.
            UntrustedOwnerError: it is another user's.
            UnsupportedRepositoryError: it uses what gitstore cannot keep right.
            UnsafePathError: its sessions folder is a symbolic link.
            CorruptRepositoryError: its config or HEAD cannot be read.
            RepositoryError: no branch is named, and HEAD is on none.
        """
        with translated(path):
            location = locate(path)
            check(location, trust_owner=trust_owner)
            return cls(
                location,
                branch=branch,
                durability=durability,
                lock_timeout_seconds=lock_timeout_seconds,
                runtime=runtime,
            )

    @staticmethod
    def create(path: str, *, bare: bool, branch: str, runtime: Runtime) -> None:
        """Make an empty repository at `path`, all at once: a crash leaves none.

        Raises:
            RepositoryError: something else is there.
        """
        with translated(path):
            create(path, bare=bare, branch=check_branch(branch, path=path), runtime=runtime)

    def close(self) -> None:
        """Close open files. Closing twice is fine."""
        self._objects.close()

    @property
    def folder(self) -> str:
        """The folder of gitstore's own files in the git directory: locks, temporaries, the cache."""
        return self._workshop.path

    def setting(self, section: str, name: str) -> str | None:
        """Return a value of the repository's own configuration; a subsection follows a dot."""
        with translated(self.path):
            return self._location.config.get(section, name)

    # --- what is there --------------------------------------------------------

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
            headers = self.commit(commit)
            found = CommitFacts(
                parents=tuple(CommitId(parent) for parent in headers.get("parent", ())),
                time=_time_of(headers["committer"][0]),
            )
            if len(self._facts) >= _COMMITS_KEPT:
                self._facts.clear()
            self._facts[commit] = found
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
            if len(self._tree_of) >= _COMMITS_KEPT:
                self._tree_of.clear()
            self._tree_of[commit] = found
        return found

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
        for part in path.split("/"):
            if tree is None:
                return None
            entry = next((e for e in self.entries(tree) if e.name == part.encode()), None)
            tree = entry.id if entry is not None and entry.is_folder else None
        return entry

    def blob_at(self, commit: CommitId | None, path: str) -> Revision | None:
        """Return the id of the file at `path` in a commit."""
        entry = self.find(self.tree(commit), path)
        return None if entry is None or entry.is_folder else Revision(entry.id)

    def read_blob(self, revision: Revision) -> bytes:
        """Return the bytes of a file."""
        with translated(self.path):
            return self._objects.read(revision, "blob")

    def kind_of(self, object_id: str) -> str | None:
        """Return what kind of object this is, or None if there is no such object."""
        with translated(self.path):
            return self._objects.kind_of(object_id)

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

    def survey(self) -> Survey:
        """Return what a check of the whole repository looks at."""
        return Survey(self._location, ref=self.ref, objects=self._objects, disk=self._disk)

    def first_parent(self, commit: bytes) -> tuple[bytes | None, int]:
        """Return the first parent and the time of a commit, by the 20 bytes of ids, quickly."""
        with translated(self.path):
            data = self._objects.glance(commit, "commit")
        try:
            parents = tree_and_parents(data)[1]
        except ValueError as error:
            raise self._malformed(commit.hex(), "commit") from error
        return parents[0] if parents else None, time_of(data)

    # --- the working tree -----------------------------------------------------

    def working_tree(self) -> WorkingTree | None:
        """Return the working tree, or None when there is none or the branch is not checked out."""
        if self._location.root is None:
            return None
        with translated(self.path):
            if self._refs.head_branch() != self.branch:
                return None
        return WorkingTree(self._location.root, disk=self._disk, workshop=self._workshop)

    def is_merging(self) -> bool:
        """Whether a merge, cherry-pick or revert waits in the working tree to be finished."""
        return self._location.is_merging

    # --- writing --------------------------------------------------------------

    @contextmanager
    def writing(self) -> Generator[None]:
        """Keep other gitstore writers out, and tidy up after dead ones.

        Raises:
            RepositoryLockedError: another process held the lock for the whole timeout.
        """
        with translated(self.path), self._workshop.writing():
            yield

    def draft(self) -> Draft:
        """Begin a chain of commits on the tip of the branch."""
        tip = self.tip()
        return Draft(
            base=tip,
            base_time=0 if tip is None else self.facts(tip).time,
            root=self.tree(tip),
            read_tree=self._objects.read_tree,
        )

    def confirm(self, tip: CommitId | None) -> None:
        """Make durable what the branch points at, before something is called stored already.

        Raises:
            RepositoryError: the disk did not confirm it.
        """
        with translated(self.path):
            self._publisher.confirm(tip)

    @contextmanager
    def holding(self, tree: WorkingTree | None) -> Generator[Locks]:
        """Keep git commands, too, from moving the branch. Only inside `writing`, and not for long.

        Raises:
            RepositoryLockedError: one of git's locks was held for the whole timeout.
        """
        with translated(self.path), self._publisher.holding(tree) as locks:
            yield locks

    def publish(
        self,
        draft: Draft,
        *,
        tree: WorkingTree | None,
        seen: Mapping[str, WorkingFile | None],
        who: Author,
        held: Locks | None = None,
    ) -> bool:
        """Make the commits of a draft durable, and move the branch to the last of them.

        `tree` is the working tree that the draft was decided on, and `seen` holds, for each changed
        path, the file that was examined there. `held` are the locks, if they were taken before the
        draft was made (`holding`). Only inside `writing`.

        Returns:
            False, with nothing changed, if the branch or one of the files has moved on.

        Raises:
            RepositoryError: nothing was changed, unless the message says that the branch moved.
        """
        with translated(self.path):
            done = self._publisher.publish(
                draft,
                tree=tree,
                seen=seen,
                who=who,
                held=held,
                committed=lambda: self._files_below(draft.base, SESSIONS),
            )
        if done:
            for name, data in draft.trees():
                self._objects.keep_tree(name, data)
        return done

    def _malformed(self, object_id: str, kind: str) -> CorruptRepositoryError:
        message = f"{kind} {object_id} is damaged; `git fsck` lists all damage"
        return CorruptRepositoryError(message, path=self.path, object_id=object_id)

    def create_branch(self, name: str, draft: Draft) -> bool:
        """Make the commits of a draft durable, and a new branch that points at the last of them.

        The store's own branch stays where it is. Only inside `writing`.

        Returns:
            False, with no branch made, if there is one of that name.
        """
        assert draft.tip is not None
        ref = f"refs/heads/{check_branch(name, path=self.path)}"
        with translated(self.path):
            self._objects.write(draft.staged)
            lock = self._refs.lock(ref)
            try:
                if self._refs.read(ref) is not None:
                    return False
                lock.stage(f"{draft.tip}\n".encode())
                lock.publish()
            finally:
                lock.release()
            self._refs.sync(ref)
        return True

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


def _time_of(signature: str) -> int:
    """Return the seconds of an author or committer line; 0 if it has none."""
    seconds = signature.rpartition("> ")[2].partition(" ")[0]
    return int(seconds) if seconds.lstrip("-").isdigit() else 0
