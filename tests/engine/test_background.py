"""Sync in the background: when it comes, what it does about failures, and how it ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from gitstore.blocking import system_runtime
from gitstore.engine.sync.background import LOOK_SECONDS, AutoSync, Schedule
from gitstore.errors import MergeConflictError, RemoteUnavailableError
from gitstore.types import CommitId, Conflict, Runtime, SessionId, SyncReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitstore.git.remote.cancellation import Cancellation

ONE, TWO = CommitId("1" * 40), CommitId("2" * 40)
_PATIENCE_SECONDS = 20
_NEVER_SECONDS = 3600.0


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.chance = 0.0

    def runtime(self) -> Runtime:
        return Runtime(
            clock=lambda: self.now,
            monotonic=lambda: self.now,
            sleep=lambda _: None,
            token=lambda: "0",
            chance=lambda: self.chance,
        )


# --- when ---------------------------------------------------------------------------


def due_after(schedule: Schedule, clock: Clock, tip: CommitId | None) -> float:
    """Return the seconds until a round is due while the branch stays at `tip`."""
    start = clock.now
    while not schedule.is_due(tip):
        pause = schedule.pause()
        assert 0 < pause <= LOOK_SECONDS
        clock.now += pause
    return clock.now - start


def test_the_first_round_is_due_at_once_and_the_next_after_the_interval() -> None:
    clock = Clock()
    schedule = Schedule(interval_seconds=60, runtime=clock.runtime())
    assert schedule.is_due(ONE)
    schedule.done(ONE)
    assert due_after(schedule, clock, ONE) == 60
    clock.chance = 0.5
    schedule.done(ONE)
    assert due_after(schedule, clock, ONE) == pytest.approx(63)


def test_a_local_commit_is_synced_when_no_other_followed_for_a_look() -> None:
    clock = Clock()
    schedule = Schedule(interval_seconds=60, runtime=clock.runtime())
    schedule.done(ONE)
    tips = [CommitId(f"{number:040x}") for number in range(5)]
    assert [schedule.is_due(tip) for tip in (ONE, *tips)] == [False] * 6
    assert schedule.is_due(tips[-1])
    schedule.done(tips[-1])
    assert not schedule.is_due(tips[-1])
    assert not schedule.is_due(tips[-1])


def test_what_was_saved_during_a_round_is_synced_soon() -> None:
    clock = Clock()
    schedule = Schedule(interval_seconds=60, runtime=clock.runtime())
    schedule.done(ONE)  # what the remote got; TWO came meanwhile
    assert due_after(schedule, clock, TWO) == LOOK_SECONDS


def test_pauses_double_while_the_remote_is_out_of_reach() -> None:
    clock = Clock()
    schedule = Schedule(interval_seconds=60, runtime=clock.runtime())
    pauses: list[float] = []
    for _ in range(7):
        schedule.failed(ONE)
        # A save is no reason to try earlier.
        pauses.append(due_after(schedule, clock, TWO))
    assert pauses == [60, 120, 240, 480, 900, 900, 900]
    schedule.done(TWO)
    assert due_after(schedule, clock, TWO) == 60
    for _ in range(2000):
        schedule.failed(ONE)


# --- the thread -----------------------------------------------------------------------


class Remote:
    """What a round does: the next of some outcomes, or the last one again."""

    def __init__(self, *outcomes: Callable[[], SyncReport]) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()

    def __call__(self, cancellation: Cancellation) -> SyncReport:
        self.calls += 1
        self.inside.set()
        with cancellation.closing(self.gate.set):
            assert self.gate.wait(_PATIENCE_SECONDS)
        cancellation.check()
        return (self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0])()


def fine() -> SyncReport:
    return SyncReport(local=ONE, remote=ONE)


def unreachable() -> SyncReport:
    raise RemoteUnavailableError("no route to host", remote="origin")


def conflicting() -> SyncReport:
    conflict = Conflict(session_id=SessionId("s"), where="x", base=0, ours=1, theirs=2)
    raise MergeConflictError(remote="origin", conflicts=(conflict,))


def wrong() -> SyncReport:
    raise ZeroDivisionError


def begun(remote: Remote, interval_seconds: float = _NEVER_SECONDS) -> AutoSync:
    auto = AutoSync(
        remote, tip=lambda: ONE, interval_seconds=interval_seconds, runtime=system_runtime()
    )
    auto.start()
    return auto


def _problem(auto: AutoSync) -> object:
    return auto.problem


def _report(auto: AutoSync) -> object:
    return auto.last_report


def wait_for_rounds(auto: AutoSync, rounds: int) -> None:
    with auto._changed:
        assert auto._changed.wait_for(lambda: auto.rounds >= rounds, _PATIENCE_SECONDS)


def test_the_last_problem_is_told_until_a_round_works() -> None:
    auto = begun(Remote(unreachable, conflicting, fine))
    try:
        wait_for_rounds(auto, 1)
        assert isinstance(_problem(auto), RemoteUnavailableError)
        assert _report(auto) is None
        auto.sync_now()  # not in an hour, and not after the backoff
        wait_for_rounds(auto, 2)
        assert isinstance(_problem(auto), MergeConflictError)
        auto.sync_now()
        wait_for_rounds(auto, 3)
        assert _report(auto) == fine()
        assert not _problem(auto)
    finally:
        auto.stop()
    assert auto.rounds == 3


def test_rounds_come_by_themselves() -> None:
    auto = begun(Remote(unreachable, fine), interval_seconds=0.001)
    wait_for_rounds(auto, 3)
    auto.stop()


def test_however_often_it_is_asked_during_a_round_one_more_follows() -> None:
    remote = Remote(fine)
    remote.gate.clear()
    auto = begun(remote)
    assert remote.inside.wait(_PATIENCE_SECONDS)
    for _ in range(10):
        auto.sync_now()
    remote.gate.set()
    wait_for_rounds(auto, 2)
    auto.stop()
    assert remote.calls == 2


def test_stopping_breaks_off_a_network_wait() -> None:
    remote = Remote(fine)
    remote.gate.clear()
    auto = begun(remote)
    assert remote.inside.wait(_PATIENCE_SECONDS)
    auto.stop()
    assert not auto._thread.is_alive()
    assert (auto.rounds, auto.problem, auto.last_report) == (0, None, None)


def test_a_mistake_in_a_program_is_raised_where_it_is_stopped() -> None:
    auto = begun(Remote(wrong))
    auto._thread.join(_PATIENCE_SECONDS)
    with pytest.raises(ZeroDivisionError):
        auto.stop()
