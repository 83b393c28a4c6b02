"""Sync in the background: one thread, which pulls and pushes now and then until it is stopped."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from gitstore.errors import MergeConflictError, StorageError
from gitstore.git.remote.cancellation import Cancellation, Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitstore.types import CommitId, Runtime, SyncReport

#: Between two attempts, however often the remote could not be reached.
BACKOFF_SECONDS_MAX: Final = 15 * 60.0
#: How often the branch is looked at for local commits. One is synced when it is the last one for
#: a whole such time: a burst of saves makes one push.
LOOK_SECONDS: Final = 1.0
#: By how much each pause is stretched at most, so that many machines do not come at once.
_JITTER: Final = 0.1


class Schedule:
    """When to sync next. No clock and no thread: both are asked from outside."""

    def __init__(self, *, interval_seconds: float, runtime: Runtime) -> None:
        self._interval_seconds = interval_seconds
        self._runtime = runtime
        self._failures = 0
        self._due = runtime.monotonic()
        self._synced: CommitId | None = None
        self._seen: CommitId | None = None

    def done(self, tip: CommitId | None) -> None:
        """Note a round that reached the remote, which now has the branch up to `tip`."""
        self._failures = 0
        self._rest(tip, self._interval_seconds)

    def failed(self, tip: CommitId | None) -> None:
        """Note a round that did not reach it: the pauses double up to a quarter of an hour."""
        # Doubled a bounded number of times, so that the number stays one.
        doubled = self._interval_seconds * 2 ** min(self._failures, 32)
        self._failures += 1
        self._rest(tip, min(doubled, max(BACKOFF_SECONDS_MAX, self._interval_seconds)))

    def is_due(self, tip: CommitId | None) -> bool:
        """Whether it is time. To be asked every `LOOK_SECONDS`, with the branch as it is then."""
        if self._runtime.monotonic() >= self._due:
            return True
        settled = tip == self._seen
        self._seen = tip
        # Out of reach, it waits its time: every save would be one more attempt.
        return settled and tip != self._synced and not self._failures

    def pause(self) -> float:
        """Return the seconds until `is_due` should be asked again."""
        return min(LOOK_SECONDS, max(0.0, self._due - self._runtime.monotonic()))

    def _rest(self, tip: CommitId | None, seconds: float) -> None:
        self._synced = self._seen = tip
        stretched = seconds * (1 + _JITTER * self._runtime.chance())
        self._due = self._runtime.monotonic() + stretched


class AutoSync:
    """A store that is kept in sync while it is open. Any thread may ask it; none is kept waiting.

    It syncs at once, then at intervals, soon after a local commit, and when `sync_now` asks. While
    the remote is out of reach the pauses grow. What fails is tried again, and is `problem` until
    something works; a conflict moves nothing and waits for `resolve`.
    """

    def __init__(
        self,
        exchange: Callable[[Cancellation], SyncReport],
        *,
        tip: Callable[[], CommitId | None],
        interval_seconds: float,
        runtime: Runtime,
    ) -> None:
        self._exchange = exchange
        self._tip = tip
        self._schedule = Schedule(interval_seconds=interval_seconds, runtime=runtime)
        self._cancellation = Cancellation()
        self._changed = threading.Condition()
        self._is_asked = False
        self._is_stopping = False
        self._rounds = 0
        self._problem: StorageError | None = None
        self._last_report: SyncReport | None = None
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="gitstore-sync", daemon=True)

    @property
    def problem(self) -> StorageError | None:
        """Why the last round failed; None if it did not, or there was none yet."""
        return self._problem

    @property
    def rounds(self) -> int:
        """How many rounds ended, well or not."""
        return self._rounds

    @property
    def last_report(self) -> SyncReport | None:
        """What the last round that went well did."""
        return self._last_report

    def sync_now(self) -> None:
        """Ask for a round at once, also when the remote was out of reach; does not wait for it.

        While a round runs, one more follows it, however often it is asked for.
        """
        with self._changed:
            self._is_asked = True
            self._changed.notify_all()

    def start(self) -> None:
        """Begin, with a first round."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the end: a network wait is broken off, a commit that began is finished.

        Raises:
            BaseException: what ended the thread, if it was no `StorageError`: a mistake in a
                program, such as in a callable that decides conflicts.
        """
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._cancellation.cancel()
        if self._thread.ident is not None:  # it was started
            self._thread.join()
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                self._round()
                self._rest()
        except Cancelled:
            return
        except BaseException as error:  # noqa: BLE001 -- told by `stop`, in the caller's thread
            self._fault = error

    def _round(self) -> None:
        self._is_asked = False
        tip: CommitId | None = None
        try:
            tip = self._tip()
            report = self._last_report = self._exchange(self._cancellation)
            self._problem = None
            self._schedule.done(report.remote or tip)
        except MergeConflictError as error:
            self._problem = error
            self._schedule.done(tip)
        except StorageError as error:
            self._problem = error
            self._schedule.failed(tip)
        with self._changed:
            self._rounds += 1
            self._changed.notify_all()

    def _rest(self) -> None:
        """Wait until it is time, or somebody asks."""
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._is_asked or self._is_stopping, timeout=self._schedule.pause()
                )
                if self._is_asked or self._is_stopping:
                    return
            try:
                tip = self._tip()
            except StorageError:
                tip = None  # as if it had moved: the next round meets this too, and tells
            if self._schedule.is_due(tip):
                return
