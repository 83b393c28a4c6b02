"""Files that are removed behind the caller's back: all of them are, whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from gitstore import BlockingSessionStore, SessionAsset
from gitstore.git.freeing import Freeing
from tests.gitcommand import assert_git_is_content, environment, run_git

if TYPE_CHECKING:
    from pathlib import Path

_LARGE = 300 << 10
_ROOT = str(__file__).rsplit("/tests/", 1)[0]


def made(path: Path, size: int = _LARGE) -> Path:
    path.write_bytes(bytes(size))
    return path


def test_what_is_small_is_gone_at_once_and_what_is_large_soon(tmp_path: Path) -> None:
    freeing = Freeing()
    small, large = made(tmp_path / "small", 1000), made(tmp_path / "large")
    freeing.discard(str(small))
    assert not small.exists()
    freeing.discard(str(large))
    freeing.discard(str(tmp_path / "none"))
    freeing.close()
    assert not large.exists()
    # Whoever goes on after that waits for it.
    freeing.discard(str(made(large)))
    assert not large.exists()
    freeing.close()


def test_the_caller_does_not_wait_and_does_not_run_ahead(tmp_path: Path) -> None:
    freeing, begun, go_on = Freeing(), threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        go_on.wait(60)

    freeing._pool.submit(block)
    assert begun.wait(60)
    first, second = made(tmp_path / "first"), made(tmp_path / "second")
    freeing.discard(str(first))
    assert first.exists()
    freeing.discard(str(second))
    assert not second.exists()
    go_on.set()
    freeing.close()
    assert not first.exists()


def test_a_forked_child_has_no_such_thread(tmp_path: Path) -> None:
    freeing = Freeing()
    freeing.discard(str(made(tmp_path / "before")))
    child = os.fork()
    if not child:
        for name in ("first", "second"):
            freeing.discard(str(made(tmp_path / name)))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    # One may be left to whoever tidies up, not more with every save.
    assert not (tmp_path / "second").exists()
    freeing.close()


_SAVES = """
import sys
from gitstore import BlockingSessionStore
store = BlockingSessionStore.open(sys.argv[1], auto_maintain=False)
for number in range(3):
    asset = store.load("s1")
    asset.metadata["n"] = number
    store.save(asset)
if sys.argv[2] == "close":
    store.close()
"""


@pytest.mark.parametrize("ending", ["close", "end"])
def test_nothing_is_left_of_a_large_index(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "store"
    with BlockingSessionStore.open(path, create=True, bare=False) as store:
        store.save(SessionAsset.new(id="s1"))
    run_git(path, "config", "core.splitIndex", "false")
    for number in range(3000):
        (path / f"a file with a rather long name, number {number}").touch()
    run_git(path, "add", ".")
    run_git(path, "commit", "-qm", "many files")
    assert (path / ".git/index").stat().st_size > 1 << 18
    subprocess.run(
        [sys.executable, "-W", "error", "-c", _SAVES, str(path), ending],
        check=True,
        env={**environment(), "PYTHONPATH": _ROOT},
    )
    left = {each.name for each in (path / ".git/gitstore").iterdir() if each.is_file()}
    assert not {each for each in left if each.startswith(("tmp-", "own-"))}
    assert_git_is_content(path)
