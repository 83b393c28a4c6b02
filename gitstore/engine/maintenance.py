"""Keeping a store small: when asked, and by itself after every so many writes.

By itself, in a thread of its own: no write waits for it, and none fails by it. There is one at a
time, for all processes.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gitstore.errors import RepositoryLockedError, StorageError
from gitstore.git.location import locate
from gitstore.git.maintain.choice import LOOSE_MAX
from gitstore.git.maintain.maintenance import Maintenance, StoppedError
from gitstore.git.maintain.measure import measure

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitstore.git.repository import Repository
    from gitstore.types import Runtime

#: Writes between two looks at how much has piled up.
_WRITES: Final = 6
#: What is too much: well before readers feel it, and writers change to loose objects.
PACKS_MAX: Final = 8
#: Rounds of work after one look.
_ROUNDS: Final = 4
#: How often it looks whether the process ends while it waits for readers.
_POLL_SECONDS: Final = 0.02
#: How long `close` waits for a run that goes on, before it asks it to stop.
CLOSE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceReport:
    """What maintenance did: packs, loose objects and bytes of objects on disk, before and after.

    `repacked` objects are in a new pack, `pruned` were loose, older than two weeks and reached from
    nothing. `unreadable` files were left where they are; `verify` says what is wrong with them.
    """

    packs_before: int
    packs_after: int
    loose_before: int
    loose_after: int
    bytes_before: int
    bytes_after: int
    repacked: int = 0
    pruned: int = 0
    unreadable: tuple[str, ...] = ()


def maintain(
    repository: Repository,
    *,
    runtime: Runtime,
    lock_timeout_seconds: float,
    full: bool,
    progress: Callable[[int, int], None] | None,
) -> MaintenanceReport:
    """Pack what is new, or with `full` everything, and tell what that changed."""
    location = locate(repository.path)
    work = Maintenance(location, runtime=runtime, lock_timeout_seconds=lock_timeout_seconds)
    before = measure(location)
    done = work.run(full=full, progress=progress)
    work.note(None)
    after = measure(location)
    return MaintenanceReport(
        packs_before=before.packs,
        packs_after=after.packs,
        loose_before=before.loose,
        loose_after=after.loose,
        bytes_before=before.object_bytes,
        bytes_after=after.object_bytes,
        repacked=done.repacked,
        pruned=done.pruned,
        unreadable=done.unreadable,
    )


class Maintainer:
    """Automatic maintenance of one store. Safe to share between threads."""

    def __init__(self, repository: Repository, *, runtime: Runtime) -> None:
        self._repository = repository
        self._runtime = runtime
        self._mutex = threading.Condition()
        # The first write of a process looks too: else stores that are only opened briefly would grow.
        self._writes = _WRITES
        self._thread: threading.Thread | None = None
        self._is_closing = self._stopped = False

    def wrote(self, count: int) -> None:
        """Note some writes; now and then, look whether there is something to do. Takes no time.

        An exchange with a remote counts as many, so that each makes it look.
        """
        with self._mutex:
            self._writes += count
            if self._stopped or self._writes < _WRITES:
                return
            if self._thread is not None and self._thread.is_alive():
                self._mutex.notify()
                return
            self._writes = 0
            thread = threading.Thread(target=self._look, name="gitstore-maintenance")
            # No thread to be had, or the interpreter is ending: the write was done all the same.
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def close(self) -> None:
        """Let a run that goes on end, or after some seconds stop it; nothing is lost either way."""
        with self._mutex:
            self._is_closing = True
            self._mutex.notify()
            thread = self._thread
            if thread is None or not thread.is_alive():
                self._stopped = True
                return
        thread.join(CLOSE_SECONDS)
        with self._mutex:
            self._stopped = True
        thread.join()

    def _look(self) -> None:
        with suppress(StoppedError, StorageError):
            work = Maintenance(
                locate(self._repository.path),
                runtime=self._runtime,
                lock_timeout_seconds=0,
                automatic=True,
            )
            while self._relieve(work) and self._outwait(work):
                pass

    def _relieve(self, work: Maintenance) -> bool:
        """Work for as long as there is too much; return whether that may be done here."""
        # Again, since writers went on meanwhile; not for ever, since somebody may have to wait.
        for _ in range(_ROUNDS):
            packs, loose = work.pressure()
            if packs < PACKS_MAX and loose < LOOSE_MAX:
                break
            if not self._is_wanted():
                return False
            self._run(work)
        return True

    def _outwait(self, work: Maintenance) -> bool:
        """Wait until no reader needs what was replaced, and remove it; True if there is more to do."""
        while (left := work.grace_left()) is not None:
            if left <= 0:
                work.drop_replaced()
                continue
            until = self._runtime.monotonic() + left
            while left > 0:
                with self._mutex:
                    # Whoever works on the store next removes it.
                    if self._is_closing or self._is_stopped():
                        return False
                    if self._writes >= _WRITES:
                        self._writes = 0
                        return True
                    self._mutex.wait(min(left, _POLL_SECONDS))
                left = until - self._runtime.monotonic()
        return False

    def _run(self, work: Maintenance) -> None:
        """Do one round of work; what goes wrong is written down, for `stats` to tell."""
        try:
            if not work.put_together(is_stopped=self._is_stopped):
                work.run(is_stopped=self._is_stopped)
        except RepositoryLockedError:
            raise  # somebody is at it
        except StorageError as error:
            work.note(str(error))
            raise
        work.note(None)

    def _is_wanted(self) -> bool:
        """Whether the repository's owner lets git, too, tidy up by itself (git-gc(1), gc.auto)."""
        return (self._repository.setting("gc", "auto") or "").strip() != "0"

    def _is_stopped(self) -> bool:
        # A process that ends waits for its threads: it must not wait long.
        return self._stopped or not threading.main_thread().is_alive()
