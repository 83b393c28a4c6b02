"""How a draft becomes the branch: the order that survives crashes, full disks and rivals.

1. Objects and new working files are written, durable, and not in place yet: the first barrier.
2. Objects come into place. ``index.lock`` is taken, then the lock of the branch. Branch, HEAD and files
   are compared again.
3. Working files are swapped in. A crash from here on looks like a hand edit. What index and branch
   will hold is written into their locks. All of it is durable behind the second barrier.
4. The index moves, then the branch. From here on the save is in history, and durable behind the third.

Until the branch moves every step can be undone, and is, when a later one fails.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitstore.errors import ConcurrentUpdateError, DirtyWorkingTreeError, RepositoryError
from gitstore.git import trees
from gitstore.git.barrier import Barrier
from gitstore.git.draft import identity
from gitstore.git.files import Signature, discard
from gitstore.git.freeing import Freeing
from gitstore.git.indexfile import IndexFile
from gitstore.git.location import elsewhere
from gitstore.git.objects import OBJECT_BYTES_MAX, object_id
from gitstore.git.refs import ref_change

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gitstore.git.checkout import Replacement, WorkingFile, WorkingTree
    from gitstore.git.draft import Draft, File
    from gitstore.git.files import Disk
    from gitstore.git.index import Index
    from gitstore.git.location import Location
    from gitstore.git.lock import GitLock, Workshop
    from gitstore.git.objects import Objects
    from gitstore.git.refs import Refs
    from gitstore.types import Author, CommitId


#: The folder whose index entries are ours.
SESSIONS = "sessions"
#: What is put into working trees. Links are not: what is behind one is not ours to write.
_CHECKED_OUT = (trees.FILE, trees.EXECUTABLE)


@dataclass(frozen=True, slots=True)
class Locks:
    """git's own locks: whoever holds them keeps every git command from moving the branch."""

    ref: GitLock
    #: None when there is no working tree to keep in step.
    index: GitLock | None

    def release(self) -> None:
        """Let go of what was not published. Releasing twice is fine."""
        try:
            self.ref.release()
        finally:
            if self.index is not None:
                self.index.release()


@dataclass(frozen=True, slots=True)
class _CheckIn:
    """The working tree's part of a move: new files, not in place yet, and the index, locked."""

    tree: WorkingTree
    changes: list[Replacement]
    lock: GitLock
    #: A second name that the old index gets until the branch has moved.
    old_index: str

    def keep(self, freeing: Freeing) -> None:
        """Forget the old files and the old index."""
        for change in self.changes:
            change.keep()
        freeing.discard(self.old_index)


class Publisher:
    """Moves one branch. Used by one thread at a time, under the writer lock."""

    def __init__(
        self,
        location: Location,
        *,
        ref: str,
        refs: Refs,
        objects: Objects,
        disk: Disk,
        workshop: Workshop,
    ) -> None:
        self._location = location
        self._ref = ref
        self._refs = refs
        self._objects = objects
        self._disk = disk
        self._workshop = workshop
        self._index = IndexFile(location, disk=disk, workshop=workshop)
        #: The tip that was last known to be durable.
        self._confirmed: CommitId | None = None
        self._freeing = Freeing()

    def close(self) -> None:
        """Wait until what was replaced is gone. Closing twice is fine."""
        self._freeing.close()

    def confirm(self, tip: CommitId | None) -> None:
        """Make a tip durable that somebody else moved the branch to, and may not have synced."""
        if tip is not None and tip != self._confirmed:
            self._refs.sync(self._ref)
            self._confirmed = tip

    def publish(
        self,
        draft: Draft,
        *,
        tree: WorkingTree | None,
        seen: Mapping[str, WorkingFile | None],
        who: Author,
        committed: Callable[[], Mapping[str, str]],
        held: Locks | None,
    ) -> bool:
        """Publish a draft; return False, with nothing changed, if something moved on.

        `held` are the locks, if the caller took them before making the draft. `committed` returns the
        session files of the draft's base; it is asked only when somebody else has written the index.
        """
        if tree is None:
            self._check_elsewhere()
        try:
            with Barrier(self._disk) as barrier:
                return self._move(
                    draft, barrier, tree=tree, seen=seen, who=who, committed=committed, held=held
                )
        finally:
            self._objects.release(draft.staged)

    def _move(
        self,
        draft: Draft,
        barrier: Barrier,
        *,
        tree: WorkingTree | None,
        seen: Mapping[str, WorkingFile | None],
        who: Author,
        committed: Callable[[], Mapping[str, str]],
        held: Locks | None,
    ) -> bool:
        assert draft.tip is not None
        with ExitStack() as undo:
            waiting = self._objects.stage(draft.staged, barrier)
            undo.callback(waiting.discard)
            changes = [] if tree is None else self._replacements(tree, draft, seen, barrier, undo)
            barrier.sync()
            self._objects.place(waiting, barrier)
            locks = held
            if locks is None:
                locks = self.lock(tree)
                undo.callback(locks.release)
            if self._refs.read(self._ref) != draft.base or self._is_checked_out() is (tree is None):
                return False
            self._objects.put_back(draft.staged)
            locks.ref.stage(f"{draft.tip}\n".encode(), barrier=barrier)
            check_in: _CheckIn | None = None
            if tree is not None and locks.index is not None:
                check_in = _CheckIn(tree, changes, locks.index, self._workshop.temporary())
                if not self._apply(check_in, draft, barrier, committed):
                    return False
            barrier.sync()
            if check_in is not None:
                self._move_index(check_in, draft, undo)
            try:
                locks.ref.publish()
            except BaseException:
                # Interrupted, perhaps when it was done: the files must not go back then. What is left
                # of the lock, `recover` removes.
                if self._refs.read(self._ref) == draft.tip:
                    undo.pop_all()
                raise
            undo.pop_all()
        if check_in is not None:
            check_in.keep(self._freeing)
        self._confirm(draft, who)
        return True

    def _replacements(
        self,
        tree: WorkingTree,
        draft: Draft,
        seen: Mapping[str, WorkingFile | None],
        barrier: Barrier,
        undo: ExitStack,
    ) -> list[Replacement]:
        """Write the new working files, aside: those that are stored already in the order of the packs."""
        files = draft.files
        stored = {
            file.id
            for file in files.values()
            if file is not None and draft.staged.get(file.id) is None
        }
        place = {name: number for number, name in enumerate(self._objects.by_place(stored))}
        changes: dict[str, Replacement] = {}
        for path in sorted(files, key=lambda path: place.get(_id(files[path]), -1)):
            file = files[path]
            if file is not None and file.mode not in _CHECKED_OUT:
                message = f"{path} is no regular file; nothing was moved. Use `git pull` for it"
                raise RepositoryError(message, path=tree.root)
            data = None if file is None else file.read()
            change = tree.replace(
                path, data, seen=seen[path], barrier=barrier, is_executable=_is_executable(file)
            )
            undo.callback(change.undo)
            changes[path] = change
        return [changes[path] for path in files]

    def lock(self, tree: WorkingTree | None) -> Locks:
        """Take git's locks of index and branch, to be released."""
        index = None if tree is None else self._index.lock()
        try:
            return Locks(self._refs.lock(self._ref), index)
        except BaseException:
            if index is not None:
                index.release()
            raise

    def _apply(
        self,
        check_in: _CheckIn,
        draft: Draft,
        barrier: Barrier,
        committed: Callable[[], Mapping[str, str]],
    ) -> bool:
        """Put working files in place and stage the index; return False if a file was edited meanwhile."""
        tree, lock = check_in.tree, check_in.lock
        index, is_ours = self._index.read()
        if not is_ours and not self._location.is_merging:
            _catch_up(index, tree, committed())
        _check_staged(index, draft, path=self._location.path)
        for change in check_in.changes:
            if any(entry.stage for entry in index.get(change.path.encode())):
                message = (
                    f"{change.path} has a merge conflict in the working tree; nothing was saved. "
                    "Finish that merge with `git commit`, or `git merge --abort`, and save again"
                )
                raise ConcurrentUpdateError(message, path=self._location.path)
        for change in check_in.changes:
            signature = change.new_signature()
            if not change.apply():
                return False
            file = draft.files[change.path]
            _enter(
                index,
                tree,
                change.path,
                None if file is None else file.id,
                signature,
                is_executable=_is_executable(file),
            )
            barrier.add_folder(tree.folder(change.path))
        self._index.stage(index, lock, root=tree.root, barrier=barrier)
        return True

    def _move_index(self, check_in: _CheckIn, draft: Draft, undo: ExitStack) -> None:
        """Put the staged index in place, so that it can be taken back."""
        if os.path.exists(self._index.path):
            os.link(self._index.path, check_in.old_index)
        undo.callback(self._restore_index, check_in.old_index)
        check_in.lock.publish()
        if len(draft.files) > 1 or None in draft.files.values():
            self._disk.sync_folder(self._location.control)

    def _restore_index(self, backup: str) -> None:
        """Put back the index of before; there was none if it has no second name."""
        self._index.forget()
        if os.path.exists(backup):
            os.rename(backup, self._index.path)
        else:
            discard(self._index.path)

    def _confirm(self, draft: Draft, who: Author) -> None:
        """Make the move of the branch durable, and write it into the reflog."""
        assert draft.tip is not None
        try:
            self.confirm(draft.tip)
            self._objects.put_back(draft.staged)
        except OSError as error:
            message = (
                f"the branch moved to {draft.tip}, but the disk did not confirm it ({error}); "
                "it may not survive a power cut: check the disk, then save again"
            )
            raise RepositoryError(message, path=self._location.path) from error
        line = ref_change(
            draft.base, draft.tip, who=identity(who, draft.time), message=draft.subject
        )
        try:
            self._refs.log(self._ref, line, create=self._location.logs_refs)
        except OSError:
            # The save is done, and git works without a reflog: no reason to call it failed.
            return

    def _check_elsewhere(self) -> None:
        """Refuse to move a branch below another working tree, as git does.

        The files there would look like edits that take back what was saved.
        """
        branch = self._ref.removeprefix("refs/heads/")
        root = elsewhere(self._location, branch)
        if root is not None:
            message = f"{branch} is checked out in {root}; nothing was moved. Open the store there"
            raise RepositoryError(message, path=self._location.path)

    def _is_checked_out(self) -> bool:
        """Whether HEAD is on the branch, in a repository with a working tree."""
        if self._location.root is None:
            return False
        return self._refs.head_branch() == self._ref.removeprefix("refs/heads/")


def _id(file: File | None) -> str:
    return "" if file is None else file.id


def _is_executable(file: File | None) -> bool:
    return file is not None and file.mode == trees.EXECUTABLE


def _check_staged(index: Index, draft: Draft, *, path: str) -> None:
    """Refuse to replace what a person staged and did not commit."""
    staged: list[str] = []
    for name, before in draft.before.items():
        held = {entry.id for entry in index.get(os.fsencode(name))}
        file = draft.files[name]
        if not any(
            held == ({wanted} if wanted else set()) for wanted in (before, file and file.id)
        ):
            staged.append(name)
    if staged:
        raise DirtyWorkingTreeError(path=path, paths=tuple(sorted(staged)))


def _catch_up(index: Index, tree: WorkingTree, committed: Mapping[str, str]) -> None:
    """Bring the session entries of an index that somebody else wrote up to the branch.

    `git commit` reads the index before it takes the lock, so it can write back one from before a
    save of ours; that would look like a staged change that takes the save back. An entry is caught
    up only when the working file says so too: what a person staged stays staged.
    """
    staged = {
        os.fsdecode(name): entry.id
        for name, entry in index.items()
        if name.startswith(SESSIONS.encode() + b"/") and not entry.stage
    }
    for path in staged.keys() | committed.keys():
        wanted = committed.get(path)
        if staged.get(path) == wanted:
            continue
        file = tree.read(path, limit=OBJECT_BYTES_MAX)
        if file is None and wanted is None:
            index.remove(os.fsencode(path))
        elif file is not None and object_id("blob", file.data) == wanted:
            _enter(index, tree, path, wanted, file.signature)


def _enter(
    index: Index,
    tree: WorkingTree,
    path: str,
    blob: str | None,
    written: Signature | None,
    *,
    is_executable: bool = False,
) -> None:
    """Set the index entry of a file that was just put in place; without a blob there is none."""
    name = os.fsencode(path)
    if blob is None:
        index.remove(name)
        return
    status = tree.status(path)
    # Edited since it was put in place: git must look at the content.
    trusted = Signature.of(status) == written
    index.put(name, blob, status, trusted=trusted, is_executable=is_executable)
