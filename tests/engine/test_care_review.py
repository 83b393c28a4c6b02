"""What interrupts, exhausted threads and dead maintenance must not do to a save or a purge."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from gitstore import BlockingSessionStore, ConversationTurn, Expect, SessionAsset
from gitstore.blocking import system_runtime
from gitstore.engine.turns import Turns
from gitstore.git.maintain.lock import MaintenanceLock
from tests.engine.test_group_commit import request, settle
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.faults

_SECONDS_MAX = 20
#: Dies in the middle of maintenance; the child, which knows nothing of it, lives on.
_MAINTAIN_AND_FORK = """
import os, sys, time
from gitstore.blocking import system_runtime
from gitstore.git.maintain.lock import MaintenanceLock
with MaintenanceLock(sys.argv[1], runtime=system_runtime(), timeout_seconds=0).held():
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    os._exit(1)
"""


class Interrupting:
    """A mutex: when the leader gives it back for the `when`-th time, Ctrl-C arrives."""

    def __init__(self, when: int) -> None:
        self.all_queued = threading.Event()
        self._lock = threading.Lock()
        self._when = when
        self._entered = 0

    def __enter__(self) -> None:
        if threading.current_thread().name == "leader":
            self._entered += 1
            if self._entered == 2:
                # Those who come meanwhile are in the group that it takes now.
                assert self.all_queued.wait(_SECONDS_MAX)
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if threading.current_thread().name == "leader" and self._entered == self._when:
            self._when = 0
            raise KeyboardInterrupt


@pytest.mark.parametrize("when", [1, 2, 3])
def test_nobody_waits_for_ever_whenever_who_leads_is_interrupted(when: int) -> None:
    """When it has queued its request, when it has taken the group, and when it has served it."""
    line = Turns(settle, sleep=time.sleep)
    mutex = Interrupting(when)
    line._mutex = mutex  # type: ignore[assignment] # it locks as a real one does
    interrupted: list[bool] = []
    requests = [request(number) for number in range(4)]

    def lead() -> None:
        try:
            line.run(requests[:1])
        except KeyboardInterrupt:
            interrupted.append(True)

    leader = threading.Thread(target=lead, name="leader", daemon=True)
    followers = [
        threading.Thread(target=line.run, args=([each],), daemon=True) for each in requests[1:]
    ]
    for thread in (leader, *followers):
        thread.start()
    while when > 1 and len(line._queue) < len(requests):
        os.sched_yield()
    mutex.all_queued.set()
    for thread in (leader, *followers):
        thread.join(_SECONDS_MAX)
        assert not thread.is_alive(), "it waits for ever"
    assert interrupted == [True]
    assert all(each.is_settled for each in requests[1:])
    assert not line.waiting


@pytest.mark.parametrize("bare", [True, False])
def test_an_interrupt_when_the_branch_has_moved_takes_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare: bool
) -> None:
    path = tmp_path / "store"
    real = os.rename
    interrupted: list[str] = []

    def rename(source: str, target: str, **folders: int) -> None:
        real(source, target, **folders)
        if str(target).endswith("refs/heads/main") and not interrupted:
            interrupted.append(str(target))
            raise KeyboardInterrupt

    with BlockingSessionStore.open(path, create=True, bare=bare) as store:
        asset = SessionAsset.new(id="s")
        store.save(asset)
        before = run_git(path, "rev-list", "--count", "main")
        asset.history.turns.append(ConversationTurn.user("new"))
        monkeypatch.setattr(os, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            store.save(asset)
        monkeypatch.undo()
        assert len(store.load("s").history.turns) == 1
    assert int(run_git(path, "rev-list", "--count", "main")) == int(before) + 1
    assert_git_is_content(path)


def test_others_of_a_group_are_told_what_was_done_though_its_leader_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    real = os.rename
    blocked, go_on = threading.Event(), threading.Event()
    moves: list[str] = []

    def rename(source: str, target: str, **folders: int) -> None:
        real(source, target, **folders)
        if str(target).endswith("refs/heads/main"):
            moves.append(str(target))
            if len(moves) == 1:
                blocked.set()
                assert go_on.wait(_SECONDS_MAX)
            elif len(moves) == 2:
                raise KeyboardInterrupt

    results: dict[str, Any] = {}

    def save(name: str) -> None:
        try:
            results[name] = store.save(SessionAsset.new(id=name), expected=Expect.ABSENT)
        except BaseException as error:  # noqa: BLE001 -- told below, in the thread of the test
            results[name] = error

    with BlockingSessionStore.open(path, create=True, bare=True) as store:
        monkeypatch.setattr(os, "rename", rename)
        threads = [threading.Thread(target=save, args=(f"s{n}",)) for n in range(5)]
        threads[0].start()
        assert blocked.wait(_SECONDS_MAX)
        for thread in threads[1:]:
            thread.start()
        while store._writer.waiting < 4:
            os.sched_yield()
        go_on.set()
        for thread in threads:
            thread.join(_SECONDS_MAX)
        monkeypatch.undo()
        assert len(moves) == 2
        raised = [each for each in results.values() if isinstance(each, BaseException)]
        assert [type(each) for each in raised] == [KeyboardInterrupt]
        assert len(store.list()) == 5


def test_a_save_that_is_done_does_not_fail_for_want_of_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with BlockingSessionStore.open(tmp_path / "s", create=True, bare=True) as store:
        monkeypatch.setattr(threading.Thread, "start", start)
        for number in range(20):
            store.save(SessionAsset.new(id=f"s{number}"))
        monkeypatch.undo()
        assert len(store.list()) == 20


def test_a_purge_leaves_no_copy_in_what_a_dead_maintenance_left(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with BlockingSessionStore.open(path, create=True, bare=True, auto_maintain=False) as store:
        store.save(SessionAsset.new(id="secret"))
        store.save(SessionAsset.new(id="other"))
        store.maintain()
        (pack,) = (path / "objects/pack").glob("*.pack")
        left = path / "gitstore/maintenance/new-0123456789abcdef.pack"
        left.write_bytes(pack.read_bytes())
        store.purge("secret", confirm="secret")
        assert not left.exists()
        assert store.load("other").id == "other"


def test_a_child_does_not_keep_the_maintenance_of_a_dead_parent_locked(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with BlockingSessionStore.open(path, create=True, bare=True, auto_maintain=False) as store:
        store.save(SessionAsset.new(id="s"))
    parent = subprocess.Popen(
        [sys.executable, "-c", _MAINTAIN_AND_FORK, str(path)], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        assert parent.wait(_SECONDS_MAX) == 1
        # The child lets go when it first runs, which may be after its parent's end.
        lock = MaintenanceLock(str(path), runtime=system_runtime(), timeout_seconds=5)
        with lock.held():
            os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdout.close()
