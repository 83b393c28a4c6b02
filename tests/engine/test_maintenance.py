"""Maintenance that comes by itself, and what a store tells about its size."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gitstore import BlockingSessionStore, ConversationTurn, GitSessionStore, SessionAsset
from gitstore.blocking import system_runtime
from gitstore.blocking_care import BlockingCare
from gitstore.engine import maintenance
from gitstore.git import replaced
from gitstore.git.location import locate
from gitstore.git.maintain.lock import kept_out
from gitstore.git.maintain.maintenance import Maintenance
from gitstore.store_care import Care
from tests.git.test_maintain import contents, fill, git_folder, loose, packs
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from pathlib import Path

_ROOT = str(__file__).rsplit("/tests/", 1)[0]
_SAVE = """
import sys
from gitstore import BlockingSessionStore, ConversationTurn
store = BlockingSessionStore.open(sys.argv[1], durability="process")
with store.edit("s0") as asset:
    asset.history.turns.append(ConversationTurn.user("one more"))
"""


def opened(path: Path, *, auto_maintain: bool = True) -> BlockingSessionStore:
    return BlockingSessionStore.open(
        path, create=True, bare=True, durability="process", auto_maintain=auto_maintain
    )


def save_often(store: BlockingSessionStore, saves: int) -> None:
    asset = SessionAsset.new(id="s0") if not store.exists("s0") else store.load("s0")
    for number in range(saves):
        asset.history.turns.append(ConversationTurn.user(f"turn {number}"))
        store.save(asset)


def settle(store: BlockingSessionStore) -> None:
    """Wait until the store's thread has done its work."""
    maintainer = store._maintainer
    assert maintainer is not None
    if maintainer._thread is not None:
        maintainer._thread.join()


# --- by itself ----------------------------------------------------------------------


def test_what_piles_up_is_packed_while_saves_go_on(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with opened(path) as store:
        save_often(store, 80)
        settle(store)
        # Writers stop at 20 small ones; what these are rolled up into comes on top.
        assert len(packs(path) - {*replaced.read(str(path))}) <= 22
        assert len(store.history("s0")) == 80
    assert run_git(path, "rev-list", "--count", "main").strip() == "81"
    assert_git_is_content(path)


def test_loose_objects_are_packed_by_themselves_too(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=2)
    names = [f"object {number}" for number in range(700)]
    for name in names:
        (tmp_path / name).write_text(name)
    run_git(tmp_path, "--git-dir", str(path), "hash-object", "-w", *names)
    before = contents(path)
    with opened(path) as store:
        save_often(store, 1)
        settle(store)
    assert len(loose(path)) == 0
    assert len(contents(path)) > len(before)


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=15)
    with opened(path, auto_maintain=False) as store:
        save_often(store, 1)
    run_git(path, "config", "gc.auto", "0")
    with opened(path) as store:
        save_often(store, 1)
        settle(store)
    assert len(packs(path)) == 18
    run_git(path, "config", "--unset", "gc.auto")
    with opened(path) as store:
        save_often(store, 1)
        settle(store)
    assert len(packs(path)) == 1


@pytest.mark.parametrize("ending", ["store.close()", ""])
def test_a_process_that_saves_once_does_its_part(tmp_path: Path, ending: str) -> None:
    """Whether it closes the store, or just ends: then at least what is there is whole."""
    path = tmp_path / "store"
    fill(path, saves=9)
    subprocess.run(
        [sys.executable, "-W", "error", "-c", _SAVE + ending, str(path)],
        check=True,
        env={"PYTHONPATH": _ROOT, "PATH": os.environ["PATH"]},
    )
    if ending:
        # Readers may still be at what was replaced: the next one removes it.
        listed = replaced.read(str(path))
        assert len(packs(path) - set(listed)) == 1
        replaced.write(str(path), dict.fromkeys(listed, 0))
        with opened(path) as store:
            save_often(store, 1)
            settle(store)
        assert len(packs(path)) == 2
    assert run_git(path, "rev-list", "--count", "main").strip() == ("12" if ending else "11")
    assert_git_is_content(path)


def test_a_save_waits_for_no_maintenance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that never ends, as far as the saves can tell."""
    path = tmp_path / "store"
    fill(path, saves=15)
    go_on, begun = threading.Event(), threading.Event()
    pause = Maintenance._pause

    def slow(self: Maintenance) -> None:
        begun.set()
        assert go_on.wait(60)
        pause(self)

    monkeypatch.setattr(Maintenance, "_pause", slow)
    with opened(path) as store:
        save_often(store, 1)
        assert begun.wait(60)
        save_often(store, 20)
        assert len(store.history("s0")) > 20
        go_on.set()
    assert_git_is_content(path)


def test_closing_ends_a_run_that_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    fill(path, saves=15)
    monkeypatch.setattr(maintenance, "CLOSE_SECONDS", 0.05)
    runtime = replace(system_runtime(), sleep=lambda _: time.sleep(0.5))
    # A long rest after each object: it would take half a minute.
    monkeypatch.setattr("gitstore.git.maintain.maintenance._WORK_SECONDS", -1.0)
    before = contents(path)
    store = BlockingSessionStore.open(path, runtime=runtime)
    save_often(store, 1)
    maintainer = store._maintainer
    assert maintainer is not None
    assert maintainer._thread is not None
    began = time.monotonic()
    store.close()
    assert not maintainer._thread.is_alive()
    assert time.monotonic() - began < 10
    assert len(packs(path)) >= 16
    assert set(before.split()) <= set(contents(path).split())
    assert not (path / "gc.pid").exists()
    store.close()


def test_closing_waits_for_no_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store"
    fill(path, saves=15)
    monkeypatch.setattr(maintenance, "CLOSE_SECONDS", 30.0)
    # For readers no time goes by.
    store = BlockingSessionStore.open(path, runtime=replace(system_runtime(), clock=lambda: 1000.0))
    save_often(store, 1)
    began = time.monotonic()
    store.close()
    assert time.monotonic() - began < 20
    # None had stayed for long enough.
    assert len(replaced.read(str(path))) == 17


def test_one_process_works_and_the_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=15)
    with kept_out(locate(str(path)), runtime=system_runtime()), opened(path) as store:
        save_often(store, 1)
        settle(store)
        assert len(packs(path)) == 17
        assert store.stats().last_problem is None


def test_what_goes_wrong_fails_no_save_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=15)
    full = OSError(28, "No space left on device")

    def fail(*_: object) -> str:
        raise full

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gitstore.git.maintain.pack.PackStream.finish", fail)
        with opened(path) as store:
            save_often(store, 1)
            settle(store)
    with opened(path) as other:
        problem = other.stats().last_problem
        assert problem is not None
        assert "No space left" in problem
        assert other.verify().is_clean
        other.maintain()
        assert other.stats().last_problem is None


def test_what_is_purged_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=8)
    blob = run_git(path, "rev-parse", "main:" + _path_of(path, "s1")).strip()
    threads: list[threading.Thread] = []
    with opened(path, auto_maintain=False) as store:

        def purge(*_: int) -> None:
            if not threads:
                threads.append(
                    threading.Thread(target=store.purge, args=("s1",), kwargs={"confirm": "s1"})
                )
                threads[0].start()
                # Long enough for a purge, were it not kept waiting.
                threads[0].join(0.7)

        # It has read what it will write before anything is purged.
        store.maintain(progress=purge)
        threads[0].join()
        assert not store.exists("s1")
        assert len(store.history("s0")) == 4
    assert blob not in run_git(path, "cat-file", "--batch-check", "--batch-all-objects")
    assert_git_is_content(path)


def test_a_purge_leaves_the_other_versions_small(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=60)
    with opened(path, auto_maintain=False) as store:
        before = store.maintain().bytes_after
        store.purge("s1", confirm="s1")
        assert store.stats().pack_bytes < before + 8192
        assert len(store.history("s0")) == 30
    assert_git_is_content(path)


# --- when asked ---------------------------------------------------------------------


def test_the_report_and_the_stats_say_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=21)
    lying = len(loose(path))
    with opened(path, auto_maintain=False) as store:
        told: list[tuple[int, int]] = []
        before = store.stats()
        report = store.maintain(progress=lambda done, of: told.append((done, of)))
        after = store.stats()
        assert (report.packs_before, report.packs_after) == (before.packs, after.packs)
        assert (before.loose, report.loose_before, report.loose_after) == (lying, lying, 0)
        assert report.bytes_before == before.pack_bytes + before.loose_bytes
        assert report.bytes_after == after.pack_bytes + after.loose_bytes < report.bytes_before
        assert report.repacked == int(run_git(path, "rev-list", "--objects", "--all", "--count"))
        assert told == sorted(told)
        assert all(done <= of for done, of in told)
        sizes = {
            name: int(run_git(path, "cat-file", "-s", f"main:{at}"))
            for name in ("s0", "s1")
            for at in run_git(path, "ls-tree", "-r", "--name-only", "main").split()
            if at.endswith(f"/{name}.yaml")
        }
        assert {each.session_id: each.bytes for each in after.largest} == sizes
        assert [each.bytes for each in after.largest] == sorted(sizes.values(), reverse=True)
        assert after.session_bytes == sum(sizes.values()) == before.session_bytes
        assert (after.sessions, after.commits) == (2, 22)
        assert (after.growth.commits, after.growth.bytes) == (22, after.session_bytes)


def test_growth_is_that_of_the_last_thirty_days(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=4)
    then = run_git(path, "cat-file", "-s", "main:" + _path_of(path, "s0")).strip()
    month = 31 * 24 * 3600
    later = replace(system_runtime(), clock=lambda: time.time() + month)
    with BlockingSessionStore.open(path, runtime=later) as store:
        save_often(store, 3)
        stats = store.stats()
        now = run_git(path, "cat-file", "-s", "main:" + _path_of(path, "s0")).strip()
        assert (stats.growth.commits, stats.growth.bytes) == (3, int(now) - int(then))
        assert stats.commits == 8


def test_what_crashes_leave_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with opened(path) as store:
        assert store.stats().sessions == 0
        for name in ("objects/pack/tmp_pack_1", "gitstore/tmp-2"):
            (git_folder(path) / name).write_bytes(b"x" * 5000)
        stats = store.stats()
        assert (stats.garbage, stats.garbage_bytes > 0) == (2, True)


def _path_of(path: Path, name: str) -> str:
    listed = run_git(path, "ls-tree", "-r", "--name-only", "main").split()
    return next(each for each in listed if each.endswith(f"/{name}.yaml"))


@pytest.mark.parametrize("name", ["maintain", "stats"])
def test_the_twins_of_care_are_alike(name: str) -> None:
    one, two = getattr(BlockingCare, name), getattr(Care, name)
    assert inspect.signature(one) == inspect.signature(two)
    assert inspect.getdoc(one) == inspect.getdoc(two)
    assert inspect.iscoroutinefunction(two)


@pytest.mark.anyio
async def test_it_never_runs_in_the_event_loop(tmp_path: Path) -> None:
    """`no_blocking_in_the_loop` watches; the store is closed, and its thread ended, by the block."""
    async with await GitSessionStore.open(tmp_path / "store", create=True) as store:
        asset = SessionAsset.new()
        for number in range(16):
            asset.history.turns.append(ConversationTurn.user(f"turn {number}"))
            await store.save(asset)
        assert (await store.maintain(full=True)).packs_after == 1
        assert (await store.stats()).sessions == 1
    assert "gitstore-maintenance" not in {each.name for each in threading.enumerate()}
