"""The disk fails, fills up or refuses, at every call: the save raises and undoes, or it is done."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from gitstore.errors import (
    OutOfSpaceError,
    PermissionDeniedError,
    RepositoryError,
    SessionNotFoundError,
    StorageError,
)
from tests.engine.faults import Call, Fail, Report, Short, Tap, any_call, count_calls, in_child
from tests.engine.scenes import (
    PATH,
    Scene,
    arena,
    first_asset,
    leftovers,
    make_scene,
    stored,
    working,
)
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.faults

_MOVED = "the branch moved"
_ALLOCATING = ("write", "mkdir", "link", "fsync")


def _allocates(call: Call) -> bool:
    return call.name in _ALLOCATING or (call.name == "open" and bool(call.flags & os.O_CREAT))


def _opens(call: Call) -> bool:
    return call.name == "open"


def _names(call: Call) -> bool:
    return call.name not in ("write", "fsync")


@dataclass(frozen=True)
class _Fault:
    """An error number, the calls that can fail with it, and what must be raised for it."""

    code: int
    accepts: Callable[[Call], bool]
    raises: type[StorageError] = RepositoryError
    #: Whether the calls that undo a save still work while the fault lasts.
    leaves_undo: bool = False


_SCENES = [
    ("first", False),
    ("update", False),
    ("delete", False),
    ("update", True),
    ("create", False),
]
_FAULTS = {
    "EIO": _Fault(errno.EIO, any_call),
    "ENOSPC": _Fault(errno.ENOSPC, _allocates, OutOfSpaceError, leaves_undo=True),
    "EDQUOT": _Fault(errno.EDQUOT, _allocates, OutOfSpaceError, leaves_undo=True),
    "EACCES": _Fault(errno.EACCES, _names, PermissionDeniedError),
    "EMFILE": _Fault(errno.EMFILE, _opens),
}


@dataclass(frozen=True)
class _Outcome:
    """What a save under a fault did; `error` is None when it saved."""

    error: type[BaseException] | None
    message: str
    hit: Call | None
    #: Branch, working file and `git status` when the error was caught.
    seen: tuple[bytes | None, bytes | None, str]


def _look(scene: Scene, path: Path) -> tuple[bytes | None, bytes | None, str]:
    if not (path / ("HEAD" if scene.bare else ".git/HEAD")).exists():
        return None, None, ""
    status = "" if scene.bare else run_git(path, "--no-optional-locks", "status", "--porcelain")
    return stored(path), None if scene.bare else working(path), status


def _fail_at(scene: Scene, path: Path, fail: Fail) -> _Outcome:
    """Do the operation under a fault; when it raises, mend the disk and do it again at once."""

    def operate(report: Report) -> None:
        tap = Tap(str(path.parent), fail)
        tap.install()
        with tap.paused():
            store = None if scene.name == "create" else scene.open(path)
        try:
            _operate(scene, path, store)
        except StorageError as error:
            fail.mended = True
            with tap.paused():
                report(_Outcome(type(error), str(error), fail.hit, _look(scene, path)))
            # Still in the handler: the exception keeps every frame of the failed save alive.
            try:
                _operate(scene, path, store)
            except SessionNotFoundError:
                # The delete that was not confirmed had been done.
                if _MOVED not in str(error):
                    raise
        except BaseException as error:  # noqa: BLE001 -- the parent says which it was
            report(_Outcome(type(error), repr(error), fail.hit, (None, None, "")))
        else:
            report(_Outcome(None, "", fail.hit, (None, None, "")))

    reports, _ = in_child(operate)
    outcome: _Outcome = reports[0]
    return outcome


def _operate(scene: Scene, path: Path, store: Any) -> None:
    if store is None:
        scene.act(path)
    else:
        scene.act_in(store)


def _judge(scene: Scene, path: Path, fault: _Fault, outcome: _Outcome, *, sticky: bool) -> None:
    if outcome.error is not None:
        moved = _MOVED in outcome.message
        expected = RepositoryError if moved else fault.raises
        assert issubclass(outcome.error, expected), outcome.message
        branch, file, status = outcome.seen
        assert branch == (scene.new if moved else scene.old)
        if not scene.bare and not moved and (fault.leaves_undo or not sticky):
            assert file == (scene.edit or scene.old)
            assert status == (f" M {PATH}\n" if scene.edit else "")
    assert stored(path) == scene.new
    scene.act_again(path)
    with scene.open(path) as store:
        store.save(first_asset("s3"))
    unlink_failed = sticky or (outcome.hit is not None and outcome.hit.name == "unlink")
    assert leftovers(path, objects=not unlink_failed) == []


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.deep)])
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
@pytest.mark.parametrize("fault", _FAULTS)
def test_an_error_undoes_or_saves(fault: str, sticky: bool, step: int) -> None:
    kind, covered, raised = _FAULTS[fault], 0, 0
    for name, bare in _SCENES:
        with arena() as folder:
            scene = make_scene(name, folder / "scene", bare=bare)
            work = folder / "work"
            path = scene.lay_out(work)
            calls = _calls(scene, path, kind.accepts)
            for number in range(covered % step, len(calls), step):
                path = scene.lay_out(work)
                outcome = _fail_at(scene, path, Fail(number, kind.code, sticky, kind.accepts))
                covered, raised = covered + 1, raised + (outcome.error is not None)
                try:
                    _judge(scene, path, kind, outcome, sticky=sticky)
                    assert_git_is_content(path)
                except Exception as error:
                    error.add_note(f"{name}, bare={bare}, call {number}: {calls[number]}")
                    error.add_note(str(outcome))
                    raise
    print(f"{fault} {'sticky' if sticky else 'once'}: {covered} points, {raised} raised")
    assert raised


def _calls(scene: Scene, path: Path, accepts: Callable[[Call], bool]) -> list[Call]:
    if scene.name == "create":
        return count_calls(str(path.parent), lambda: scene.act(path), accepts=accepts)
    store = scene.open(path)
    try:
        return count_calls(str(path.parent), lambda: scene.act_in(store), accepts=accepts)
    finally:
        store.close()


@pytest.mark.parametrize("bare", [False, True])
def test_a_short_write_is_finished(bare: bool) -> None:
    with arena() as folder:
        scene = make_scene("update", folder / "scene", bare=bare)
        path = scene.lay_out(folder / "work")

        def operate(_: Report) -> None:
            Tap(str(path.parent), Short(0)).install()
            scene.act(path)

        in_child(operate)
        assert stored(path) == scene.new
        assert bare or working(path) == scene.new
        assert_git_is_content(path)
