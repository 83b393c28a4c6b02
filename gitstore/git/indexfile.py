"""git's index on the disk: read, written under git's own lock, and split as the repository wants it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gitstore.git.files import discard
from gitstore.git.index import Index
from gitstore.git.sharedindex import outdated, shared_path

if TYPE_CHECKING:
    from gitstore.git.barrier import Barrier
    from gitstore.git.files import Disk
    from gitstore.git.location import Location
    from gitstore.git.lock import GitLock, Workshop

#: Shared indexes that stay beside the new one and the one before: a git command may have read an index
#: of earlier.
_KEPT: Final = 1


class IndexFile:
    """The index of one working tree. Used by one thread at a time, under the writer lock."""

    def __init__(self, location: Location, *, disk: Disk, workshop: Workshop) -> None:
        self.path = os.path.join(location.control, "index")
        self._location = location
        self._disk = disk
        self._workshop = workshop
        #: The index as last written by us, and the checksum it got.
        self._written: tuple[bytes, Index] | None = None
        #: What the index in place is split from.
        self._base: bytes | None = None
        #: What the index was split from when older shared indexes were removed.
        self._swept: bytes | None = None

    def lock(self) -> GitLock:
        """Take git's lock on the index; errors as `Workshop.lock`."""
        return self._workshop.lock(self.path)

    def read(self) -> tuple[Index, bool]:
        """Return the index, and whether it is as we wrote it; errors as `Index.read`. Only while it is locked."""
        written, self._written = self._written, None
        is_ours = written is not None and written[0] == Index.checksum_of(self.path)
        index = written[1] if written is not None and is_ours else Index.read(self.path)
        self._base = index.shared
        return index, is_ours

    def stage(self, index: Index, lock: GitLock, *, root: str, barrier: Barrier | None) -> None:
        """Write an index into its lock; durable behind the barrier, or at once where there is none."""
        if not self._location.splits_index(is_split=index.shared is not None):
            index.unsplit()
        elif index.is_far_from_shared:
            self._share(index)
        body = index.body(root, began_ns=lock.made_ns)
        is_whole = index.shared is None
        if is_whole:
            lock.begin(*body)  # large: it goes to the disk while it is hashed
        checksum = index.checksum(body)
        rest = () if is_whole else body
        lock.stage(*rest, checksum, mtime_ns=lock.made_ns, barrier=barrier)
        self._written = (checksum, index)
        if index.shared != self._swept:
            self._sweep(index, kept=_KEPT)

    def forget(self) -> None:
        """Read it again next time: what was staged was not put in place."""
        self._written = None

    def renew(self) -> None:
        """Leave nothing in the shared indexes that is not in the index any more.

        Raises:
            RepositoryLockedError: somebody held the lock of the index for the whole timeout.
        """
        control, root = self._location.control, self._location.root
        if root is None or not outdated(control, current=(), kept=0):
            return
        lock = self.lock()
        try:
            index, _ = self.read()
            self._sweep(index, kept=0)
            if self._base is None:
                return
            if self._location.splits_index(is_split=True):
                self._share(index)
            self.stage(index, lock, root=root, barrier=None)
            lock.publish()
            self._disk.sync_folder(control)
            if index.shared != self._base:
                discard(shared_path(control, self._base))
        finally:
            lock.release()

    def _share(self, index: Index) -> None:
        """Write a shared index of all entries, durable before anything names it."""
        parts, checksum = index.whole()
        temporary, control = self._workshop.temporary(), self._location.control
        self._disk.write_new(temporary, *parts, checksum)
        os.rename(temporary, shared_path(control, checksum))
        self._disk.sync_folder(control)
        index.split_from(checksum)

    def _sweep(self, index: Index, *, kept: int) -> None:
        """Remove shared indexes but for some latest ones. Only under the lock.

        Who else holds it may have written one that no index in place names yet.
        """
        for path in outdated(self._location.control, current={index.shared, self._base}, kept=kept):
            discard(path)
        self._swept = index.shared
