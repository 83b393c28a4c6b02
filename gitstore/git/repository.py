"""A repository and one branch of it: what is there, and how the branch moves.

Open it with `Repository.open` or make one with `Repository.create` (`gitstore.git.location` holds the
checks). A write is a `Draft` (commits in memory on top of a tip) that `publish` makes durable and
visible in the order of DESIGN section 6, or not at all.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gitstore.errors import RepositoryError
from gitstore.git.checkout import WorkingTree
from gitstore.git.draft import Draft, identity
from gitstore.git.files import Disk
from gitstore.git.graph import CommitFacts
from gitstore.git.indexstates import indexed_files
from gitstore.git.location import Location, check, check_branch, create, locate
from gitstore.git.lock import Workshop
from gitstore.git.notes import Note
from gitstore.git.objects import Objects
from gitstore.git.publish import SESSIONS, Locks, Publisher
from gitstore.git.refs import Refs, ref_change
from gitstore.git.remote.remotes import Remotes
from gitstore.git.transfer.traffic import Traffic
from gitstore.git.translate import translated

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from gitstore.git.checkout import WorkingFile
    from gitstore.git.indexstates import IndexedFile
    from gitstore.types import Author, CommitId, Durability, Runtime


class Repository(Traffic):
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
        branch = branch or refs.head_branch()
        if branch is None:
            message = "HEAD is on no branch; run `git switch BRANCH`, or open it with branch=..."
            raise RepositoryError(message, path=location.path)
        branch = check_branch(branch, path=location.path)
        super().__init__(
            location, branch=branch, refs=refs, objects=objects, disk=disk, workshop=workshop
        )
        self._runtime = runtime
        self._publisher = Publisher(
            location, ref=self.ref, refs=refs, objects=objects, disk=disk, workshop=workshop
        )

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
        self._publisher.close()

    @property
    def folder(self) -> str:
        """The folder of gitstore's own files in the git directory: locks, temporaries, the cache."""
        return self._workshop.path

    def note(self, name: str) -> Note:
        """Return a small file of gitstore's own in `folder`."""
        return Note(name, disk=self._disk, workshop=self._workshop)

    def remotes(self) -> Remotes:
        """Return the remotes of the repository's configuration."""
        return Remotes(self._location, branch=self.branch, disk=self._disk, workshop=self._workshop)

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

    def indexed_files(self, folder: str) -> dict[str, IndexedFile]:
        """Return the working files below a folder that git's index vouches for, by path."""
        return indexed_files(os.path.join(self._location.control, "index"), folder)

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
        with translated(self.path):
            locks = self._publisher.lock(tree)
            try:
                yield locks
            finally:
                locks.release()

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
            for made in draft.commits:
                facts = CommitFacts(parents=made.parents, time=made.time)
                self.keep_commit(made.id, facts, tree=made.tree)
        return done

    def pressure(self) -> tuple[int, int]:
        """Return how many packs there are, and about how many loose objects: what piles up."""
        with translated(self.path):
            return self._objects.pressure()

    def track(
        self, name: str, new: CommitId, *, old: CommitId | None, who: Author, message: str
    ) -> bool:
        """Move a ref such as ``refs/remotes/origin/main``; `message` goes into its reflog.

        Durable when it returns; what `new` names must be so already. Only inside `writing`.

        Returns:
            False, with nothing changed, if the ref is not at `old`.
        """
        with translated(self.path):
            lock = self._refs.lock(name)
            try:
                if self._refs.read(name) != old:
                    return False
                lock.stage(f"{new}\n".encode())
                lock.publish()
            finally:
                lock.release()
            self._refs.sync(name)
            now = identity(who, int(self._runtime.clock()))
            line = ref_change(old, new, who=now, message=message)
            self._refs.log(name, line, create=self._location.logs_refs)
        return True

    def create_branch(self, name: str, draft: Draft) -> bool:
        """Make the commits of a draft durable, and a new branch that points at the last of them.

        The store's own branch stays where it is. Only inside `writing`.

        Returns:
            False, with no branch made, if there is one of that name.
        """
        assert draft.tip is not None
        ref = f"refs/heads/{check_branch(name, path=self.path)}"
        with translated(self.path):
            try:
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
            finally:
                self._objects.release(draft.staged)
        return True
