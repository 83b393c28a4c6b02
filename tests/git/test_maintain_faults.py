"""Maintenance that dies, loses power, or works beside readers and writers: nothing is ever missing."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from gitstore import BlockingSessionStore
from gitstore.git import replaced
from gitstore.git.maintain import choice
from gitstore.git.maintain import maintenance as maintain
from tests.engine.faults import At, Report, Tap, When, changes, count_calls, in_child, kill_me
from tests.engine.powercut import Disk, Model, Recorder, Step, lay_out
from tests.engine.scenes import arena
from tests.git.test_maintain import contents, explode, fill, loose, objects, packs, run, work
from tests.gitcommand import assert_git_is_content, environment, run_git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.faults

_ROOT = str(__file__).rsplit("/tests/", 1)[0]


def template(folder: Path) -> Path:
    """Make a small store with loose objects and packs, one of which is kept for a while."""
    path = folder / "template"
    fill(path, saves=2)
    explode(path)
    fill(path, saves=4, first=2)
    return path


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.deep)])
@pytest.mark.parametrize(("large", "hastily"), [(1, False), (8192, False), (8192, True)])
def test_kill_at_every_call(
    step: int, large: int, hastily: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With packs that go at once, and with packs that go later.
    monkeypatch.setattr(maintain, "_LARGE", large)
    monkeypatch.setattr(choice, "LOOSE_MAX", 0)
    with arena() as folder:
        source = template(folder)
        before = contents(source)
        path = folder / "work" / "store"

        def act() -> None:
            maintenance = work(path, automatic=True)
            if hastily:
                maintenance.put_together()
            else:
                maintenance.run()

        def lay() -> None:
            shutil.rmtree(path.parent, ignore_errors=True)
            shutil.copytree(source, path)

        lay()
        calls = count_calls(str(path), act)
        when: tuple[When, When] = ("before", "after")
        every = [(number, each) for number in range(len(calls)) for each in when]
        # Some, and all around git's own lock.
        locks = [point for point in every if calls[point[0]].target.endswith("gc.pid.lock")]
        points = sorted({*every[::step], *locks})
        for number, each in points:
            lay()

            def die(report: Report, number: int = number, each: When = each) -> None:
                Tap(str(path), At(number, each, kill_me, accepts=changes)).install()
                act()
                report("done")

            _, killed_by = in_child(die)
            assert killed_by == signal.SIGKILL
            note = f"killed {each} call {number}: {calls[number]}"
            assert contents(path) == before, note
            # git may collect garbage as soon as our process is dead, and so may we.
            assert run(path).unreadable == (), note
            assert not (path / "gc.pid.lock").exists(), note
            left = {item.name for item in (path / "gitstore/maintenance").iterdir()}
            assert left <= {"lock", "retired"}, note
            assert contents(path) == before, note
        run_git(path, "gc", "-q")
        assert_git_is_content(path)
    print(f"{len(points)} of {2 * len(calls)} points")


@pytest.mark.parametrize("hastily", [False, True])
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.deep)])
def test_power_loss_after_every_call(
    step: int, hastily: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "LOOSE_MAX", 0)
    with arena() as folder:
        source = template(folder)
        before = objects(source)
        path = folder / "work"
        shutil.copytree(source, path)

        def record(report: Report) -> None:
            recorder = Recorder(str(path))
            Tap(str(path), recorder).install()
            if hastily:
                work(path, automatic=True).put_together()
                # Later, when what was replaced goes.
                replaced.write(str(path), dict.fromkeys(replaced.read(str(path)), 0))
                work(path, automatic=True).drop_replaced()
            else:
                run(path)
            report(recorder.steps)

        reports, _ = in_child(record)
        steps: list[Step] = reports[0]
        models: tuple[Model, ...] = ("all", "synced", "names")
        disk, met, examined = Disk(source), set[int](), 0
        for number in range(len(steps) + 1):
            trees = [disk.after_cut(model) for model in models]
            # Worse than any order: what was removed is gone, and of the rest only what was synced there.
            trees.append({name: held for name, held in trees[1].items() if name in trees[0]})
            for tree in [*trees, *disk.after_cut_with_one_rename()]:
                key = hash((*sorted(tree.items()),))
                if key in met:
                    continue
                met.add(key)
                if len(met) % step:
                    continue
                examined += 1
                cut = folder / "cut"
                shutil.rmtree(cut, ignore_errors=True)
                lay_out(tree, cut)
                # What was not synced may be an index of nothing: git then says so and goes on.
                assert objects(cut) == before, f"{number} of {len(steps)} calls done"
            if number < len(steps):
                disk.apply(steps[number])
    assert examined > 5
    print(f"{examined} of {len(met)} states")


#: However slow the machine is.
_ROUNDS = 3

# --- beside readers -----------------------------------------------------------------

_READ_WITH_GITSTORE = """
import os, sys
from gitstore import BlockingSessionStore
rounds = 0
with BlockingSessionStore.open(sys.argv[1], auto_maintain=False) as store:
    while not rounds or not os.path.exists(sys.argv[2]):
        for row in store.list():
            for change in store.history(row.id, limit=12):
                store.load(row.id, at=change.commit)
        rounds += 1
print(rounds)
"""


_READ_WITH_DULWICH = """
import os, sys
from contextlib import closing
from dulwich.repo import Repo
rounds = 0
while rounds < 3 or not os.path.exists(sys.argv[2]):
    with closing(Repo(sys.argv[1])) as repository:
        for each in repository.get_walker(max_entries=40):
            tree = repository.object_store[each.commit.tree]
            assert tree.id == each.commit.tree
        head = repository.head()
        for _ in range(50):
            assert repository.object_store.get_raw(head)
    rounds += 1
print(rounds)
"""


def _read_with_git(path: Path) -> None:
    run_git(path, "log", "--stat", "-20")
    run_git(path, "cat-file", "--batch-check", "--batch-all-objects")
    names = run_git(path, "rev-list", "--objects", "--all").encode()
    told = run_git(
        path,
        "cat-file",
        "--batch",
        given=b"".join(line.split()[0] + b"\n" for line in names.splitlines()),
    )
    assert " missing" not in told


def _clone(path: Path) -> None:
    copy = path.with_name("copy")
    run_git(path.parent, "clone", "-q", "--bare", "--no-local", str(path), str(copy))
    # Not of the store itself: beside a writer alone, too, `git fsck` takes what is new for missing.
    assert_git_is_content(copy)
    shutil.rmtree(copy)


@pytest.mark.parametrize("seconds", [1.0, pytest.param(60.0, marks=pytest.mark.deep)])
def test_readers_and_writers_notice_nothing(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "store"
    fill(path, saves=30)
    acts: list[Callable[[Path], None]] = [_read_with_git, _clone]
    until, stop = time.monotonic() + seconds, tmp_path / "stop"
    errors: list[BaseException] = []
    rounds = dict.fromkeys((each.__name__ for each in acts), 0)

    def repeat(act: Callable[[Path], None]) -> None:
        try:
            while not stop.exists():
                act(path)
                rounds[act.__name__] += 1
        except BaseException as error:  # noqa: BLE001 -- the test fails with it
            errors.append(error)

    # Processes of their own: here each call would wait for the interpreter's lock as well.
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), str(stop)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**environment(), "PYTHONPATH": _ROOT},
        )
        for program in (_READ_WITH_GITSTORE, _READ_WITH_DULWICH)
    ]  # fmt: skip
    threads = [threading.Thread(target=repeat, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    maintained = saves = 0
    while not errors and (
        time.monotonic() < until or maintained < _ROUNDS or min(rounds.values()) < _ROUNDS
    ):
        fill(path, saves=3, first=30 + saves)
        saves += 3
        maintained += (
            work(path, automatic=maintained % 2 == 0).run(full=maintained % 5 == 4).repacked > 0
        )
    stop.touch()
    for thread in threads:
        thread.join()
    ends = [reader.communicate() for reader in readers]
    assert errors == []
    assert [(reader.returncode, err) for reader, (_, err) in zip(readers, ends, strict=True)] == [
        (0, b"")
    ] * 2
    read = [int(out) for out, _ in ends]
    assert min(read) > 0
    assert run_git(path, "rev-list", "--count", "main").strip() == str(31 + saves)
    assert_git_is_content(path)
    print(f"{maintained} maintenances, {saves} saves, read {rounds}, {read} by others")


def test_a_store_that_is_open_reads_what_was_moved(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=10)
    with BlockingSessionStore.open(path, auto_maintain=False) as store:
        versions = {each.commit: store.load("s1", at=each.commit) for each in store.history("s1")}
        run(path)
        assert len(packs(path)) == 1
        assert not loose(path)
        for commit, asset in versions.items():
            assert store.load("s1", at=commit).to_document() == asset.to_document()
        assert store.verify().is_clean
