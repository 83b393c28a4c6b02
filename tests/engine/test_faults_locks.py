"""Locks: those of others stay, those of the dead do not, and a fork does not keep one alive."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from typing import TYPE_CHECKING, NoReturn

import pytest

from gitstore import BlockingSessionStore
from gitstore.errors import RepositoryLockedError
from tests.engine.faults import At, Call, Report, Tap, in_child, kill_me
from tests.engine.scenes import Scene, arena, examine_crash, leftovers, make_scene, stored, working
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from pathlib import Path

_SHORT_SECONDS = 0.05
_ORPHAN_SECONDS_MAX = 5


def _short(path: Path) -> BlockingSessionStore:
    return BlockingSessionStore.open(path, lock_timeout_seconds=_SHORT_SECONDS)


@pytest.mark.parametrize("held", ["index.lock", "refs/heads/main.lock"])
@pytest.mark.parametrize("name", ["first", "update", "delete"])
def test_a_lock_of_somebody_else_is_named_and_left_alone(name: str, held: str) -> None:
    with arena() as folder:
        scene = make_scene(name, folder / "scene")
        path = scene.lay_out(folder / "work")
        lock = path / ".git" / held
        lock.write_bytes(b"somebody else's")
        before = run_git(path, "rev-parse", "main"), run_git(path, "ls-files", "-s"), working(path)
        with _short(path) as store:
            for _ in range(2):
                with pytest.raises(RepositoryLockedError, match=held) as caught:
                    scene.act_in(store)
                assert caught.value.retryable
                assert caught.value.lock == str(lock)
            after = (
                run_git(path, "rev-parse", "main"),
                run_git(path, "ls-files", "-s"),
                working(path),
            )
            assert after == before
            assert lock.read_bytes() == b"somebody else's"
            assert leftovers(path) == [f"repo/.git/{held}"]
            lock.unlink()
            scene.act_in(store)
        assert stored(path) == scene.new
        assert_git_is_content(path)


def test_a_lock_that_git_took_after_a_crash_of_ours_is_left_alone() -> None:
    with arena() as folder:
        scene = make_scene("update", folder / "scene")
        path = scene.lay_out(folder / "work")

        def die(_: Report) -> None:
            Tap(str(path), At(0, "after", kill_me, accepts=_links_index_lock)).install()
            scene.act(path)

        assert in_child(die)[1] == signal.SIGKILL
        lock = path / ".git" / "index.lock"
        # A person removes our lock, and git takes its own: same name, another file.
        lock.unlink()
        lock.write_bytes(b"git's")
        with _short(path) as store, pytest.raises(RepositoryLockedError):
            scene.act_in(store)
        assert lock.read_bytes() == b"git's"
        lock.unlink()
        scene.act(path)
        assert stored(path) == scene.new


def test_death_frees_the_writer_lock_and_ours_of_git() -> None:
    with arena() as folder:
        scene = make_scene("update", folder / "scene")
        path = scene.lay_out(folder / "work")
        ready = os.pipe()
        child = os.fork()
        if child == 0:
            _hold_every_lock(scene, path, ready[1])
        try:
            assert os.read(ready[0], 1) == b"!"
            assert (path / ".git" / "index.lock").exists()
            assert (path / ".git" / "refs/heads/main.lock").exists()
            with _short(path) as store, pytest.raises(RepositoryLockedError, match="gitstore/lock"):
                scene.act_in(store)
            assert stored(path) == scene.old
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(ready[0])
            os.close(ready[1])
        examine_crash(scene, path, acknowledged=False, thorough=True)


def test_a_fork_in_the_middle_of_a_save_does_not_keep_the_lock() -> None:
    with arena() as folder:
        scene = make_scene("update", folder / "scene")
        path = scene.lay_out(folder / "work")

        def fork_while_saving(report: Report) -> None:
            forked: list[int] = []
            here, there = os.pipe()

            def fork() -> None:
                with warnings.catch_warnings():
                    # Python warns of what is tried here on purpose: a fork beside other threads.
                    warnings.simplefilter("ignore", DeprecationWarning)
                    child = os.fork()
                if child == 0:
                    os.closerange(0, 3)
                    signal.alarm(_ORPHAN_SECONDS_MAX)
                    os.write(there, b"!")
                    signal.pause()
                os.read(here, 1)  # it runs: until then it keeps all that it was forked with
                forked.append(child)

            def save() -> None:
                Tap(str(path), At(0, "after", fork, accepts=_links_index_lock)).install()
                scene.act(path)

            thread = threading.Thread(target=save)
            thread.start()
            thread.join()
            # The other process is alive, and was forked while the lock was held.
            with _short(path) as store:
                saved = store.delete("s1")
            os.kill(forked[0], signal.SIGKILL)
            os.waitpid(forked[0], 0)
            report(saved.commit)

        reports, _ = in_child(fork_while_saving)
        assert reports == [run_git(path, "rev-parse", "main").strip()]
        assert_git_is_content(path)


def _links_index_lock(call: Call) -> bool:
    return call.name == "link" and call.target.endswith("/index.lock")


def _moves_index(call: Call) -> bool:
    return call.name == "rename" and call.path.endswith("/index.lock")


def _hold_every_lock(scene: Scene, path: Path, ready: int) -> NoReturn:
    """Save until all locks are held, say so, and stay there."""

    def stay() -> None:
        os.write(ready, b"!")
        signal.pause()

    try:
        signal.alarm(_ORPHAN_SECONDS_MAX)
        Tap(str(path), At(0, "before", stay, accepts=_moves_index)).install()
        scene.act(path)
    finally:
        os._exit(1)
