"""Group commit: few barriers for many saves, a commit for each, and nobody waits for ever."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from gitstore import BlockingSessionStore, Expect, SessionAsset
from gitstore.engine import turns
from gitstore.engine.requests import Adopt, Request
from gitstore.engine.turns import GROUP_MAX, Turns
from gitstore.errors import SessionExistsError, StorageError
from gitstore.types import Outcome, Saved, SessionId
from tests.engine.faults import count_calls
from tests.engine.scenes import arena, make_scene
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_SAVERS = 64
_SECONDS_MAX = 20


def together(work: list[Callable[[], object]]) -> None:
    """Run each in its own thread, all at once; raise what one of them raises."""
    raised: list[BaseException] = []
    start = threading.Barrier(len(work))

    def run(each: Callable[[], object]) -> None:
        try:
            start.wait(_SECONDS_MAX)
            each()
        except BaseException as error:  # noqa: BLE001 -- raised again below, in the test's thread
            raised.append(error)

    threads = [threading.Thread(target=run, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_SECONDS_MAX)
        assert not thread.is_alive(), "it waits for ever"
    if raised:
        raise raised[0]


@pytest.mark.parametrize("bare", [True, False])
def test_many_saves_at_once_share_barriers_and_moves_of_the_branch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare: bool
) -> None:
    with BlockingSessionStore.open(tmp_path / "s", create=True, bare=bare) as store:
        assets = [SessionAsset.new(id=f"s{number}") for number in range(_SAVERS)]
        synced: list[int] = []
        moved: list[str] = []
        real_fsync, real_rename = os.fsync, os.rename

        def fsync(descriptor: int) -> None:
            synced.append(descriptor)
            real_fsync(descriptor)

        def rename(source: str, target: str, **folders: int) -> None:
            moved.append(os.path.basename(str(target)))
            real_rename(source, target, **folders)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "rename", rename)
        saved: list[Saved] = []
        together([lambda asset=asset: saved.append(store.save(asset)) for asset in assets])  # type: ignore[misc] # mypy cannot infer a lambda with a default
        monkeypatch.undo()
        groups = moved.count("main")
        # A slow machine makes small groups at the start; nothing makes it one group a save.
        assert groups <= _SAVERS // 4
        assert len(synced) <= 5 * groups if bare else len(synced) < 6 * _SAVERS
        assert {each.outcome for each in saved} == {Outcome.CREATED}
    commits = run_git(tmp_path / "s", "rev-list", "main").split()
    assert {each.commit for each in saved} < set(commits)
    assert len(commits) == _SAVERS + 1
    assert_git_is_content(tmp_path / "s")


def test_a_save_that_fails_in_a_group_fails_alone(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path / "s", create=True, bare=True) as store:
        store.save(SessionAsset.new(id="taken"))
        refused: list[str] = []

        def save(number: int) -> None:
            try:
                name = f"s{number}" if number % 4 else "taken"
                store.save(SessionAsset.new(id=name), expected=Expect.ABSENT)
            except SessionExistsError as error:
                refused.append(str(error.session_id))

        together([lambda number=number: save(number) for number in range(32)])  # type: ignore[misc] # as above
        assert refused == ["taken"] * 8
        assert len(store.list()) == 25
    assert_git_is_content(tmp_path / "s")


def test_a_lone_save_syncs_five_times_and_eight_with_a_working_tree() -> None:
    with arena() as folder:
        for bare, allowed in ((True, 5), (False, 8)):
            scene = make_scene("update", folder / f"scene-{bare}", bare=bare)
            path = scene.lay_out(folder / "work")
            store = scene.open(path)
            calls = count_calls(str(path), lambda scene=scene, store=store: scene.act_in(store))  # type: ignore[misc] # as above
            store.close()
            assert sum(call.name == "fsync" for call in calls) == allowed


def request(number: int) -> Request:
    return Adopt(session_id=SessionId(f"s{number}"), operation="adopt")


def settle(group: list[Request]) -> None:
    for each in group:
        each.saved = Saved(
            session_id=each.session_id, outcome=Outcome.UNCHANGED, revision=None, commit=None
        )


def test_requests_are_served_in_the_order_of_their_coming() -> None:
    """Who waits is passed by nobody: it is served with, or before, all that came later."""
    order: list[str] = []
    first_is_served, all_wait = threading.Event(), threading.Event()

    def serve(group: list[Request]) -> None:
        order.extend(each.session_id for each in group)
        if not first_is_served.is_set():
            first_is_served.set()
            assert all_wait.wait(_SECONDS_MAX)
        settle(group)

    line = Turns(serve, sleep=time.sleep)
    leader = threading.Thread(target=line.run, args=([request(0)],))
    leader.start()
    assert first_is_served.wait(_SECONDS_MAX)
    waiting: list[threading.Thread] = []
    for number in range(1, 3 * GROUP_MAX):
        thread = threading.Thread(target=line.run, args=([request(number)],))
        thread.start()
        waiting.append(thread)
        while line.waiting < number:
            os.sched_yield()
    all_wait.set()
    for thread in [leader, *waiting]:
        thread.join(_SECONDS_MAX)
        assert not thread.is_alive()
    assert order == [f"s{number}" for number in range(3 * GROUP_MAX)]


def test_who_leads_is_told_how_many_it_served_and_nobody_else_counts_them() -> None:
    all_wait = threading.Event()

    def serve(group: list[Request]) -> None:
        assert all_wait.wait(_SECONDS_MAX)
        settle(group)

    line = Turns(serve, sleep=time.sleep)
    assert line.run([]) == 0
    told: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: told.append(line.run([request(n)]))) for n in range(9)
    ]
    threads[0].start()
    while not line._begun:
        os.sched_yield()
    for thread in threads[1:]:
        thread.start()
    while line.waiting < len(threads) - 1:
        os.sched_yield()
    all_wait.set()
    for thread in threads:
        thread.join(_SECONDS_MAX)
    assert sorted(told) == [0] * 7 + [1, 8]


def test_who_leads_after_several_waits_as_long_as_others_come() -> None:
    """And who leads after a lone caller waits for nobody."""
    groups: list[list[str]] = []
    all_wait = threading.Event()
    coming: list[int] = []
    threads: list[threading.Thread] = []
    moments: list[float] = []

    def serve(group: list[Request]) -> None:
        groups.append([each.session_id for each in group])
        assert all_wait.wait(_SECONDS_MAX)
        settle(group)

    def come(number: int) -> None:
        before = line.waiting
        threads.append(threading.Thread(target=line.run, args=([request(number)],)))
        threads[-1].start()
        while line.waiting == before and not line._begun:
            os.sched_yield()

    def sleep(seconds: float) -> None:
        moments.append(seconds)
        if coming:
            come(coming.pop(0))

    line = Turns(serve, sleep=sleep)
    come(0)
    while not line._begun:
        os.sched_yield()
    for waiting in (1, 2):
        threads.append(threading.Thread(target=line.run, args=([request(waiting)],)))
        threads[-1].start()
        while line.waiting < waiting:
            os.sched_yield()
    all_wait.set()
    for thread in threads:
        thread.join(_SECONDS_MAX)
    assert groups == [["s0"], ["s1", "s2"]]
    assert not moments
    coming += [4, 5]
    line.run([request(3)])
    assert groups[2:] == [["s3", "s4", "s5"]]
    for thread in threads:
        thread.join(_SECONDS_MAX)
    waited = len(moments)
    line.run([request(6)])
    assert len(moments) == waited + 1, "nobody came: one moment showed it"
    line.run([request(7)])
    assert len(moments) == waited + 1
    assert groups[3:] == [["s6"], ["s7"]]


def test_who_is_interrupted_while_others_come_passes_the_lead_on() -> None:
    threads: list[threading.Thread] = []
    other = request(1)

    def sleep(_: float) -> None:
        if not threads:
            threads.append(threading.Thread(target=line.run, args=([other],)))
            threads[0].start()
            while line.waiting < 2:
                os.sched_yield()
            raise KeyboardInterrupt

    line = Turns(settle, sleep=sleep)
    line._was_shared = True
    with pytest.raises(KeyboardInterrupt):
        line.run([lost := request(0)])
    threads[0].join(_SECONDS_MAX)
    assert other.is_settled
    assert not lost.is_settled
    assert not line.waiting


@pytest.mark.faults
def test_nobody_starves_while_others_keep_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a request and its turn lie at most those that were queued, and the group before it."""
    served = 0
    passed: list[int] = []
    asked: dict[int, int] = {}

    class Queue(deque[Any]):
        """It notes, in the moment that counts, how many were served before."""

        def extend(self, new: Iterable[Any]) -> None:
            for item in new:
                asked[id(item[0])] = served
                self.append(item)

    def serve(group: list[Request]) -> None:
        nonlocal served
        passed.extend(served - asked[id(each)] for each in group)
        time.sleep(0.0005)  # the others come meanwhile
        settle(group)
        served += len(group)

    monkeypatch.setattr(turns, "GROUP_MAX", 4)
    monkeypatch.setattr(turns, "deque", Queue)
    line = Turns(serve, sleep=time.sleep)

    def keep_coming() -> None:
        for number in range(200):
            line.run([request(number)])

    together([keep_coming] * 16)
    assert len(passed) == 16 * 200
    assert 8 < max(passed) <= 15


def test_who_is_interrupted_passes_the_lead_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "GROUP_MAX", 1)
    started, go_on = threading.Event(), threading.Event()

    def serve(group: list[Request]) -> None:
        if group[0].session_id == "s0":
            started.set()
            assert go_on.wait(_SECONDS_MAX)
            raise KeyboardInterrupt
        settle(group)

    line = Turns(serve, sleep=time.sleep)
    interrupted: list[bool] = []

    def lead() -> None:
        try:
            line.run([request(0), request(1)])
        except KeyboardInterrupt:
            interrupted.append(True)

    threads = [threading.Thread(target=lead)]
    threads[0].start()
    assert started.wait(_SECONDS_MAX)
    others = [request(number) for number in range(2, 6)]
    threads += [threading.Thread(target=line.run, args=([each],)) for each in others]
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(_SECONDS_MAX)
        assert not thread.is_alive()
    assert interrupted == [True]
    assert all(each.is_settled for each in others)
    # What it had queued and nobody had begun went with it.
    assert not line.waiting
    line.run([again := request(7)])
    assert again.is_settled


def test_an_error_that_is_about_all_is_each_ones_error(tmp_path: Path) -> None:
    with BlockingSessionStore.open(
        tmp_path / "s", create=True, bare=True, lock_timeout_seconds=0.05
    ) as store:
        (tmp_path / "s/refs/heads/main.lock").touch()
        raised: list[StorageError] = []

        def save(number: int) -> None:
            try:
                store.save(SessionAsset.new(id=f"s{number}"))
            except StorageError as error:
                raised.append(error)

        together([lambda number=number: save(number) for number in range(8)])  # type: ignore[misc] # as above
        assert len(raised) == 8
        (tmp_path / "s/refs/heads/main.lock").unlink()
        store.save(SessionAsset.new(id="after"))
        assert [row.id for row in store.list()] == ["after"]
