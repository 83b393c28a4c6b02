"""One maintenance at a time: among gitstore's processes, and between them and `git gc`."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from gitstore.errors import RepositoryLockedError
from gitstore.git.files import Disk, discard, write_all
from gitstore.git.lock import flocked, not_inherited

if TYPE_CHECKING:
    from collections.abc import Generator

    from gitstore.git.location import Location
    from gitstore.types import Runtime

_FOLDER: Final = "maintenance"
_GC_PID: Final = "gc.pid"
#: Linked to git's lock: the inode proves whose it was.
_OWN: Final = "gc.own"
#: As git: an older ``gc.pid`` is of a process that is long dead.
_GC_SECONDS_MAX: Final = 12 * 3600
#: How long a purge waits for maintenance that goes on.
_PATIENCE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.02


@contextmanager
def kept_out(location: Location, *, runtime: Runtime) -> Generator[None]:
    """Keep gitstore's own maintenance out of a repository; what goes on ends first.

    Raises:
        RepositoryLockedError: it went on for too long.
    """
    lock = MaintenanceLock(location.common, runtime=runtime, timeout_seconds=_PATIENCE_SECONDS)
    with lock.kept_out():
        yield


class MaintenanceLock:
    """The lock of the folder ``.git/gitstore/maintenance``, where packs are made."""

    def __init__(self, common: str, *, runtime: Runtime, timeout_seconds: float) -> None:
        self.folder = os.path.join(common, "gitstore", _FOLDER)
        self._common = common
        self._disk = Disk("full")
        self._runtime = runtime
        self._timeout_seconds = timeout_seconds
        self._own = os.path.join(self.folder, _OWN)

    @contextmanager
    def held(self) -> Generator[None]:
        """Keep other maintenance out, also `git gc`.

        Raises:
            RepositoryLockedError: other maintenance went on for the whole timeout, or git's does.
        """
        with self.kept_out():
            self._take_gc_pid()
            try:
                yield
            finally:
                if self._gc_pid() == self._mine():
                    discard(os.path.join(self._common, _GC_PID))

    @contextmanager
    def kept_out(self) -> Generator[None]:
        """Keep gitstore's own maintenance out, and remove what a dead one left.

        Raises:
            RepositoryLockedError: it went on for the whole timeout.
        """
        for folder in (os.path.dirname(self.folder), self.folder):
            self._disk.make_folder(folder)
        name = os.path.join(self.folder, "lock")
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            deadline = self._runtime.monotonic() + self._timeout_seconds
            while not flocked(descriptor):
                if self._runtime.monotonic() >= deadline:
                    raise self._busy("gitstore's own maintenance", name)
                self._runtime.sleep(_POLL_SECONDS)
            with not_inherited(descriptor):
                self._recover()
                try:
                    yield
                finally:
                    # Not only closed: a program that is being started has the file open until it runs.
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    def temporary(self) -> str:
        """Return a path without suffix for a new pack; what is left there the next run removes."""
        return os.path.join(self.folder, "new-" + self._runtime.token())

    def _recover(self) -> None:
        """Remove what a maintenance that died left here, and its lock of git's, if it is its own."""
        lock = os.path.join(self._common, _GC_PID + ".lock")
        with suppress(FileNotFoundError):
            if os.path.samestat(os.lstat(self._own), os.lstat(lock)):
                discard(lock)
        for name in os.listdir(self.folder):
            if name == _OWN or name.endswith((".pack", ".idx", ".new")):
                discard(os.path.join(self.folder, name))

    def _take_gc_pid(self) -> None:
        """Write git's note of who collects garbage, as `git gc` does (builtin/gc.c).

        Nothing of it is synced: it says nothing to anybody once this process is gone.
        """
        path = os.path.join(self._common, _GC_PID)
        descriptor = os.open(self._own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            write_all(descriptor, self._mine())
        finally:
            os.close(descriptor)
        try:
            try:
                os.link(self._own, path + ".lock")
            except FileExistsError:
                raise self._busy("`git gc`", path + ".lock") from None
            if self._is_git_at_work(path):
                discard(path + ".lock")
                raise self._busy("`git gc`", path)
            os.rename(path + ".lock", path)
        finally:
            discard(self._own)

    def _is_git_at_work(self, path: str) -> bool:
        try:
            age = self._runtime.clock() - os.stat(path).st_mtime
        except FileNotFoundError:
            return False
        pid, _, host = self._gc_pid().decode(errors="replace").partition(" ")
        if age > _GC_SECONDS_MAX or not pid.isdigit():
            return False
        if host.strip() != os.uname().nodename:
            return True
        # With our own number: ours, of a run that was broken off, or a dead process' by chance.
        return int(pid) != os.getpid() and _is_alive(int(pid))

    def _gc_pid(self) -> bytes:
        try:
            with open(os.path.join(self._common, _GC_PID), "rb") as file:
                return file.read(1024)
        except FileNotFoundError:
            return b""

    def _mine(self) -> bytes:
        return f"{os.getpid()} {os.uname().nodename}".encode()

    def _busy(self, what: str, lock: str) -> RepositoryLockedError:
        return RepositoryLockedError(
            f"{what} is going on; nothing was changed, try again later",
            path=self._common,
            lock=lock,
        )


def _is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError, OverflowError):
        try:
            os.kill(pid, 0)
        except PermissionError:
            return True
        return True
    return False
