"""kill -9 before and after every call that changes something on disk."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.engine.faults import At, Report, Tap, When, changes, count_calls, in_child, kill_me
from tests.engine.scenes import NAMES, Scene, arena, examine_crash, make_scene

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.faults

#: fsck and a plain `git commit` at every so many points: they cost more than all the rest.
_THOROUGH = 4
_SCENES = [
    *((name, False) for name in NAMES),
    *((name, True) for name in NAMES if name != "edited"),
]


def _killed_at(scene: Scene, path: Path, number: int, when: When) -> bool:
    """Do the operation and die in it; return whether it was acknowledged."""

    def die(report: Report) -> None:
        Tap(str(path.parent), At(number, when, kill_me, accepts=changes)).install()
        scene.act(path)
        report("acknowledged")

    reports, killed_by = in_child(die)
    assert killed_by == signal.SIGKILL
    return reports == ["acknowledged"]


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.deep)])
@pytest.mark.parametrize(("name", "bare"), _SCENES)
def test_kill_at_every_call(name: str, bare: bool, step: int) -> None:
    with arena() as folder:
        scene = make_scene(name, folder / "scene", bare=bare)
        work = folder / "work"
        path = scene.lay_out(work)
        calls = count_calls(str(work), lambda: scene.act(path))
        when: tuple[When, When] = ("before", "after")
        points = [(number, each) for number in range(len(calls)) for each in when][::step]
        for turn, (number, each) in enumerate(points):
            path = scene.lay_out(work)
            acknowledged = _killed_at(scene, path, number, each)
            thorough = step == 1 or turn % _THOROUGH == 0
            try:
                examine_crash(scene, path, acknowledged=acknowledged, thorough=thorough)
            except Exception as error:
                error.add_note(f"killed {each} call {number}: {calls[number]}")
                raise
    print(f"{name}{' (bare)' if bare else ''}: {len(points)} of {2 * len(calls)} points")
