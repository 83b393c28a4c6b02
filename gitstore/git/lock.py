"""Locks: one writer at a time, and git's own ``*.lock`` files.

The writer lock (flock on ``.git/gitstore/lock``) keeps gitstore's writers from wasting work; the
kernel frees it on any death. It is not what keeps the branch right: the ref's own lock and
comparison are.

A git lock is taken by linking a file of our own to ``X.lock``. If we die, the inode proves that the
lock is ours, and the next writer removes it; a lock of git's is never removed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from gitstore.errors import RepositoryLockedError, UnsupportedRepositoryError
from gitstore.git import keep
from gitstore.git.barrier import Barrier
from gitstore.git.files import discard, write_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from gitstore.git.files import Disk
    from gitstore.types import Runtime

_POLL_SECONDS = 0.004
_OWN = "own-"
_TEMPORARY = "tmp-"
_SCRATCH = "in-"

#: Locks held by this process: a forked child must not keep them alive.
_held: set[int] = set()


def _forget_after_fork() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_after_fork)


@contextmanager
def not_inherited(descriptor: int) -> Generator[None]:
    """Have a child that is forked meanwhile close a file, which it would else keep locked."""
    _held.add(descriptor)
    try:
        yield
    finally:
        _held.discard(descriptor)


class Workshop:
    """The folder ``.git/gitstore``: the writer lock, our own lock files, and temporary files."""

    def __init__(
        self, common: str, *, disk: Disk, runtime: Runtime, timeout_seconds: float
    ) -> None:
        self.path = os.path.join(common, "gitstore")
        self._common = common
        self._disk = disk
        self._runtime = runtime
        self._timeout_seconds = timeout_seconds

    def temporary(self) -> str:
        """Return a new path for a file that `recover` removes if we die."""
        return os.path.join(self.path, _TEMPORARY + self._runtime.token())

    @contextmanager
    def scratch(self) -> Generator[str]:
        """Lend out a path for new files, for long work that is not done under the writer lock.

        They are in a folder of their own, which is locked as long as somebody works there, and goes
        afterwards; when we die, `recover` finds it unlocked.
        """
        self._disk.make_folder(self.path)
        while True:
            folder = os.path.join(self.path, _SCRATCH + self._runtime.token())
            os.mkdir(folder)
            descriptor = _locked_folder(folder)
            if descriptor >= 0:
                break
        _held.add(descriptor)
        try:
            yield os.path.join(folder, "pack")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _held.discard(descriptor)
            os.close(descriptor)

    @contextmanager
    def writing(self) -> Generator[None]:
        """Hold the writer lock, after removing what dead writers left.

        Raises:
            RepositoryLockedError: another process held it for the whole timeout.
        """
        name = os.path.join(self.path, "lock")
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            self._disk.make_folder(self.path)
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        _held.add(descriptor)
        try:
            self._wait(lambda: flocked(descriptor), name)
            self.recover()
            yield
        finally:
            _held.discard(descriptor)
            os.close(descriptor)

    def recover(self) -> None:
        """Remove the locks and temporary files of dead writers. Only under the writer lock."""
        for name in os.listdir(self.path):
            path = os.path.join(self.path, name)
            if name.startswith(_OWN):
                target = os.path.join(self._common, unquote(name[len(_OWN) :].partition("-")[2]))
                if _same_file(path, target + ".lock"):
                    discard(target + ".lock")
                discard(path)
            elif name.startswith(_TEMPORARY):
                discard(path)
            elif name.startswith(_SCRATCH):
                descriptor = _locked_folder(path)
                if descriptor >= 0:
                    shutil.rmtree(path, ignore_errors=True)
                    os.close(descriptor)
        keep.recover(self._common)

    def lock(self, target: str) -> GitLock:
        """Take git's lock on `target`, a path below the git directory.

        Raises:
            RepositoryLockedError: somebody else held it for the whole timeout.
            UnsupportedRepositoryError: the file system has no hard links.
        """
        relative = quote(target.removeprefix(self._common + os.sep), safe="")
        own = os.path.join(self.path, f"{_OWN}{self._runtime.token()}-{relative}")
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        lock = GitLock(target, own, descriptor, self._disk)
        try:
            self._wait(lambda: self._linked(own, target + ".lock"), target + ".lock")
        except BaseException:
            lock.release()
            raise
        return lock

    def _linked(self, own: str, lock: str) -> bool:
        try:
            os.link(own, lock)
        except FileExistsError:
            return False
        except PermissionError as error:
            if error.errno == errno.EPERM and os.access(os.path.dirname(lock), os.W_OK):
                raise UnsupportedRepositoryError(
                    path=self._common,
                    feature="a file system without hard links",
                    advice="keep the repository on a local disk",
                ) from error
            raise
        return True

    def _wait(self, attempt: Callable[[], bool], lock: str) -> None:
        deadline = self._runtime.monotonic() + self._timeout_seconds
        while not attempt():
            if self._runtime.monotonic() >= deadline:
                raise RepositoryLockedError(
                    f"{lock} was held for {self._timeout_seconds:g} s; nothing was changed. "
                    "Try again, and if no git command is running, remove it",
                    path=self._common,
                    lock=lock,
                )
            self._runtime.sleep(_POLL_SECONDS * (0.5 + self._runtime.chance()))


class GitLock:
    """A held ``X.lock``. `stage` the new content of X, then `publish` it, or `release` the lock."""

    def __init__(self, target: str, own: str, descriptor: int, disk: Disk) -> None:
        self._target = target
        self._own: str | None = own
        self._descriptor: int | None = descriptor
        self._disk = disk
        self._linked = True
        #: When the lock was made, by the file system's clock.
        self.made_ns = os.fstat(descriptor).st_mtime_ns

    def begin(self, *parts: bytes) -> None:
        """Write the beginning of what X will hold: it is on its way to the disk before the rest is known."""
        assert self._descriptor is not None
        write_parts(self._descriptor, parts)
        self._disk.write_out(self._descriptor)

    def stage(
        self, *parts: bytes, mtime_ns: int | None = None, barrier: Barrier | None = None
    ) -> None:
        """Write what X will hold, or the rest of it, with a modification time if one is named.

        It is durable behind the barrier, or at once where there is none.
        """
        assert self._descriptor is not None
        write_parts(self._descriptor, parts)
        if mtime_ns is not None:
            os.utime(self._descriptor, ns=(mtime_ns, mtime_ns))
        descriptor, self._descriptor = self._descriptor, None
        if barrier is not None:
            barrier.add(descriptor)
            return
        with Barrier(self._disk) as own:
            own.add(descriptor)
            own.sync()

    def publish(self) -> None:
        """Put the staged content in place of X. Its folder is not synced yet."""
        os.rename(self._target + ".lock", self._target)
        self._linked = False
        self.release()

    def release(self) -> None:
        """Let go of the lock, if it is still held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self._linked and self._own and _same_file(self._own, self._target + ".lock"):
            discard(self._target + ".lock")
        self._linked = False
        if self._own is not None:
            discard(self._own)
            self._own = None


def flocked(descriptor: int) -> bool:
    """Take the lock of an open file or folder, unless somebody holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locked_folder(path: str) -> int:
    """Return a descriptor of the folder that holds its lock; -1 if it is locked, or gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return -1
    # Between the two, a `recover` may have taken it for one that is left over.
    if flocked(descriptor) and os.path.isdir(path):
        return descriptor
    os.close(descriptor)
    return -1


def _same_file(first: str, second: str) -> bool:
    try:
        return os.path.samestat(os.lstat(first), os.lstat(second))
    except FileNotFoundError:
        return False
