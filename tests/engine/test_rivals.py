"""Others at work in the same repository, let in between any two calls of a save."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from gitstore import BlockingSessionStore, ConversationTurn
from gitstore.session.ids import parse_session_id, path_of
from tests.engine.faults import At, Call, Report, Tap, When, any_call, count_calls, in_child
from tests.engine.scenes import (
    ID,
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
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.faults

#: How long a rival gets before the save goes on: it waits for us, or it is done by then.
_HEAD_START_SECONDS = 0.03
_PATIENCE_SECONDS = 20


@dataclass
class _Rival:
    """Somebody else: `act` is let in during the save, `check` looks at the end."""

    act: Callable[[Path], object]
    check: Callable[[Path, Scene, object], None]
    #: It may have to wait for the save, so it runs in its own thread.
    waits: bool = False
    results: list[object] = field(default_factory=list[object])


def _patient(path: Path) -> BlockingSessionStore:
    return BlockingSessionStore.open(path, lock_timeout_seconds=_PATIENCE_SECONDS)


def _save_other(path: Path) -> object:
    with _patient(path) as store:
        return store.save(first_asset("s9")).commit


def _check_other(path: Path, _: Scene, commit: object) -> None:
    assert stored(path, path_of(parse_session_id("s9"))) is not None
    run_git(path, "merge-base", "--is-ancestor", str(commit), "main")


def _save_same(path: Path) -> object:
    with _patient(path) as store:
        asset = store.load(ID)
        asset.add_turn(ConversationTurn.user("from the rival", id="rival"))
        return store.save(asset).commit


def _check_same(path: Path, _: Scene, commit: object) -> None:
    with _patient(path) as store:
        turns = {turn.id for turn in store.load(ID).history.turns}
    assert turns == {"t1", "t2", "rival"}, "a turn was lost"
    run_git(path, "merge-base", "--is-ancestor", str(commit), "main")


def _check_commit(path: Path, _: Scene, committed: object) -> None:
    # Met by a lock of ours, git says so; then it works when it is tried again.
    assert committed or commit_by_hand(path)
    assert run_git(path, "show", "main:notes.txt") == "mine\n"


def _git(*arguments: str) -> Callable[[Path], object]:
    return lambda path: run_git(path, *arguments, check=False)


def _nothing(_path: Path, _scene: Scene, _result: object) -> None:
    return


_EDIT = b"# the user's\nnot: [a, session\n"


def _edit_in_place(path: Path) -> object:
    (path / PATH).write_bytes(_EDIT)
    return None


def _edit_by_rename(path: Path) -> object:
    temporary = path / PATH.replace(".yaml", ".swp")
    temporary.write_bytes(_EDIT)
    os.replace(temporary, path / PATH)
    return None


def _check_edit(path: Path, _: Scene, __: object) -> None:
    assert working(path) == _EDIT or history_holds(path, _EDIT), "the user's edit was lost"


_RIVALS: dict[str, Callable[[], _Rival]] = {
    "save-other": lambda: _Rival(_save_other, _check_other, waits=True),
    "save-same": lambda: _Rival(_save_same, _check_same, waits=True),
    "git-commit": lambda: _Rival(lambda path: commit_by_hand(path, check=False), _check_commit),
    "git-gc": lambda: _Rival(_git("gc", "-q", "--prune=now"), _nothing),
    "git-pack-refs": lambda: _Rival(_git("pack-refs", "--all", "--prune"), _nothing),
    "edit-in-place": lambda: _Rival(_edit_in_place, _check_edit),
    "edit-by-rename": lambda: _Rival(_edit_by_rename, _check_edit),
}


def _save_with(rival: _Rival, scene: Scene, path: Path, number: int, when: When) -> Any:
    """Save, with the rival let in at one call; return our commit, and what the rival returns."""

    def body(report: Report) -> None:
        store = scene.open(path)
        late: list[threading.Thread] = []

        def let_in() -> None:
            if not rival.waits:
                rival.results.append(rival.act(path))
                return
            thread = threading.Thread(target=lambda: rival.results.append(rival.act(path)))
            thread.start()
            thread.join(_HEAD_START_SECONDS)
            late.append(thread)

        Tap(str(path), At(number, when, let_in, accepts=any_call)).install()
        commit = store.save(scene.asset()).commit
        for thread in late:
            thread.join(_PATIENCE_SECONDS)
            assert not thread.is_alive()
        report((commit, rival.results))

    reports, _ = in_child(body)
    return reports[0]


@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.deep)])
@pytest.mark.parametrize("name", _RIVALS)
def test_a_rival_between_any_two_calls(name: str, step: int) -> None:
    waited = 0
    with arena() as folder:
        scene = make_scene("update", folder / "scene")
        work = folder / "work"
        path = scene.lay_out(work)
        store = scene.open(path)
        calls: list[Call] = count_calls(
            str(path), lambda: store.save(scene.asset()), accepts=any_call
        )
        store.close()
        when: tuple[When, When] = ("before", "after")
        points = [(number, each) for number in range(len(calls)) for each in when]
        # Always where the file and the branch change hands, whatever the step.
        points = [
            point
            for n, point in enumerate(points)
            if n % step == 0 or calls[point[0]].name in ("exchange", "rename")
        ]
        for number, each in points:
            path = scene.lay_out(work)
            rival = _RIVALS[name]()
            try:
                commit, results = _save_with(rival, scene, path, number, each)
                assert len(results) == 1
                assert commit is not None
                run_git(path, "merge-base", "--is-ancestor", commit, "main")
                rival.check(path, scene, results[0])
                assert run_git(path, "fsck", "--strict", "--no-dangling") == ""
                if not name.startswith("edit"):
                    assert run_git(path, "status", "--porcelain") == ""
                waited += results == [False]
            except Exception as error:
                error.add_note(f"{name} {each} call {number}: {calls[number]}")
                raise
    print(f"{name}: {len(points)} of {2 * len(calls)} points, git met a lock at {waited}")
