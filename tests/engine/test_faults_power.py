"""Power loss: every state that a disk may be in after any call of a save or a delete."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from gitstore.errors import SessionNotFoundError
from tests.engine.faults import Report, Tap, in_child
from tests.engine.powercut import Disk, Model, Recorder, Step, Tree, lay_out
from tests.engine.scenes import (
    PATH,
    Scene,
    arena,
    commit_by_hand,
    first_asset,
    history_holds,
    make_scene,
    stored,
    working,
)
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.faults

_MODELS: tuple[Model, ...] = ("all", "synced", "names")
_REF = "refs/heads/main"
_ARGUMENTS = ("name", "bare")
_SCENES = [
    ("first", False),
    ("update", False),
    ("edited", False),
    ("delete", False),
    ("first", True),
    ("delete", True),
]


def _record(scene: Scene, path: Path) -> list[Step]:
    """Do the operation; return the calls it made."""

    def operate(report: Report) -> None:
        recorder = Recorder(str(path))
        tap = Tap(str(path), recorder)
        with tap.paused():
            store = scene.open(path)
        tap.install()
        scene.act_in(store)
        report(recorder.steps)

    reports, _ = in_child(operate)
    steps: list[Step] = reports[0]
    return steps


def _states(template: Path, steps: list[Step]) -> Iterator[tuple[str, Tree, bool]]:
    """Return every state that differs from those before it, what it is, and whether it was acked."""
    disk, met = Disk(template), set[int]()
    for number in range(len(steps) + 1):
        acknowledged = number == len(steps)
        states = [(model, disk.after_cut(model)) for model in _MODELS]
        one = [("one rename", tree) for tree in disk.after_cut_with_one_rename()]
        for model, tree in [*states, *one]:
            key = hash((acknowledged, *sorted(tree.items())))
            if key not in met:
                met.add(key)
                yield f"{model}, {number} of {len(steps)} calls done", tree, acknowledged
        if not acknowledged:
            disk.apply(steps[number])


def _examine(scene: Scene, path: Path, *, acknowledged: bool) -> bool:
    """Fail unless the store is whole and works on; return whether `git status` was quiet at once."""
    assert _complaints(path) == []
    found = stored(path)
    assert found in ((scene.new,) if acknowledged else scene.allowed)
    quiet = scene.bare or run_git(path, "status", "--porcelain") in ("", f" M {PATH}\n")
    with scene.open(path) as store:
        try:
            store.load("s1")
        except SessionNotFoundError:
            assert None in (scene.old, scene.new)
        assert len(store.list()) in (1, 2)
    scene.act_again(path)
    assert stored(path) == scene.new
    with scene.open(path) as store:
        store.save(first_asset("s3"))
    if not scene.bare:
        assert working(path) == scene.new
        assert commit_by_hand(path)
        assert run_git(path, "status", "--porcelain") == ""
    if scene.edit is not None:
        assert history_holds(path, scene.edit), "the hand edit was lost"
    assert _complaints(path) == []
    return quiet


def _complaints(path: Path) -> list[str]:
    """Return what git fsck finds, but for objects that nothing points at."""
    text = run_git(path, "fsck", "--strict", "--no-dangling", "--full", check=False)
    return [line for line in text.splitlines() if not line.startswith("notice")]


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.deep)])
@pytest.mark.parametrize(_ARGUMENTS, _SCENES)
def test_power_loss_after_every_call(name: str, bare: bool, step: int) -> None:
    with arena() as folder:
        scene = make_scene(name, folder / "scene", bare=bare)
        assert scene.template is not None
        steps = _record(scene, scene.lay_out(folder / "work"))
        states = list(_states(scene.template, steps))
        chosen = [state for n, state in enumerate(states) if n % step == 0 or state[2]]
        noisy = 0
        for what, tree, acknowledged in chosen:
            path = folder / "cut"
            shutil.rmtree(path, ignore_errors=True)
            lay_out(tree, path)
            try:
                noisy += not _examine(scene, path, acknowledged=acknowledged)
            except Exception as error:
                error.add_note(what)
                raise
    print(
        f"{name}{' (bare)' if bare else ''}: {len(steps)} calls, {len(chosen)} of {len(states)} "
        f"states, {noisy} with a git status that the next save cleans"
    )


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.deep)])
@pytest.mark.parametrize(_ARGUMENTS, [("update", False), ("first", True)])
def test_a_save_repeated_after_a_crash_survives_power_loss(
    name: str, bare: bool, step: int
) -> None:
    with arena() as folder:
        scene = make_scene(name, folder / "scene", bare=bare)
        assert scene.template is not None
        steps = _record(scene, scene.lay_out(folder / "work"))
        # Where the branch has just moved the second save finds nothing left to do but to sync it.
        names = [(each.name, each.target.removeprefix(".git/")) for each in steps]
        moved = names.index(("rename", _REF)) + 1
        points = sorted({moved, *range(0, len(steps) + 1, step)})
        for number in points:
            disk = Disk(scene.template)
            for each in steps[:number]:
                disk.apply(each)
            path = folder / "crashed" / "repo"
            shutil.rmtree(path.parent, ignore_errors=True)
            path.parent.mkdir()
            lay_out(disk.after_cut("all"), path)
            for each in _record(scene, path):
                disk.apply(each)
            shutil.rmtree(path)
            lay_out(disk.after_cut("synced"), path)
            assert stored(path) == scene.new, f"killed after {number} of {len(steps)} calls"
            assert _complaints(path) == []
    print(f"{name}{' (bare)' if bare else ''}: {len(points)} of {len(steps) + 1} points")


@pytest.mark.parametrize("person_commits", [False, True])
@pytest.mark.parametrize("name", ["first", "update"])
def test_an_index_that_lagged_behind_at_a_power_cut_takes_nothing_back(
    name: str, person_commits: bool
) -> None:
    """A lone save leaves the name of the index to the system: it is the only thing that may be old."""
    with arena() as folder:
        scene = make_scene(name, folder / "scene")
        assert scene.template is not None
        disk = Disk(scene.template)
        for each in _record(scene, scene.lay_out(folder / "work")):
            disk.apply(each)
        path = folder / "cut"
        lay_out(disk.after_cut("synced"), path)
        assert stored(path) == working(path) == scene.new
        assert _complaints(path) == []
        staged = run_git(path, "diff", "--cached", "--name-only").split()
        assert staged == [PATH], "the index is not old: this tests nothing"
        if person_commits:
            assert commit_by_hand(path)
            assert stored(path) == scene.old
            with scene.open(path) as store:
                assert len(store.list()) == 2
            assert stored(path) == scene.new, "the working file did not bring it back"
        with scene.open(path) as store:
            store.save(first_asset("s3"))
        assert stored(path) == scene.new
        assert history_holds(path, scene.new or b"")
        assert run_git(path, "status", "--porcelain") == ""
        assert _complaints(path) == []


def test_an_index_never_lags_behind_a_delete() -> None:
    """No working file could undo a person's commit that brings the session back."""
    with arena() as folder:
        scene = make_scene("delete", folder / "scene")
        assert scene.template is not None
        disk = Disk(scene.template)
        for each in _record(scene, scene.lay_out(folder / "work")):
            disk.apply(each)
        path = folder / "cut"
        lay_out(disk.after_cut("synced"), path)
        assert stored(path) is None
        assert run_git(path, "status", "--porcelain") == ""
        assert commit_by_hand(path)
        assert stored(path) is None
