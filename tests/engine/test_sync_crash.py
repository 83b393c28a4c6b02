"""kill -9 before and after every call of a pull that changes something on disk."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from gitstore.session.ids import parse_session_id, path_of
from tests.engine.faults import At, Report, Tap, When, changes, count_calls, in_child, kill_me
from tests.engine.scenes import arena, leftovers
from tests.engine.sync_scenes import make_remote, open_replica, session, texts
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from pathlib import Path

    from gitstore import BlockingSessionStore

#: fsck at every so many points: it costs more than all the rest.
pytestmark = pytest.mark.faults

_THOROUGH = 4
_OWN = ("own.txt", "staged\n", "not staged\n")


def _add(store: BlockingSessionStore, session_id: str, text: str) -> None:
    asset = store.load(session_id)
    asset.add_turn(session(session_id, text).history.turns[0], now=asset.updated_at)
    store.save(asset)


def _lay_out(folder: Path, *, merges: bool) -> None:
    """Make a replica that is behind a remote, or has parted from it, in which a person is at work."""
    make_remote(folder)
    ours, theirs = folder / "ours", folder / "theirs"
    with open_replica(ours, True) as mine, open_replica(theirs, True) as other:
        for name in ("both", "deleted", "edited"):
            mine.save(session(name, "shared"))
        (ours / _OWN[0]).write_text("committed\n")
        run_git(ours, "add", _OWN[0])
        run_git(ours, "commit", "-qm", "own")
        mine.sync()
        other.sync()
        _add(other, "both", "theirs")
        other.delete("deleted")
        other.save(session("new", "theirs"))
        (theirs / "README.md").write_text("theirs\n")
        run_git(theirs, "add", "README.md")
        run_git(theirs, "commit", "-qm", "readme")
        other.sync()
        if merges:
            _add(mine, "both", "ours")
            file = ours / path_of(parse_session_id("edited"))
            file.write_bytes(b"# by hand\n" + file.read_bytes())
    (ours / _OWN[0]).write_text(_OWN[1])
    run_git(ours, "add", _OWN[0])
    (ours / _OWN[0]).write_text(_OWN[2])
    shutil.rmtree(theirs)


def _pull(path: Path) -> None:
    with open_replica(path, durability="full") as store:
        store.pull()


def _check_own(path: Path) -> None:
    """See that what the person staged, and what they did not, is as it was."""
    name, staged, unstaged = _OWN
    assert run_git(path, "show", f":{name}") == staged
    assert (path / name).read_text() == unstaged


def _examine(path: Path, *, merges: bool, acknowledged: bool, looks: bool, thorough: bool) -> None:
    """Fail unless a replica whose pull broke off is whole, and the next pull completes.

    Who looks first adopts the files that have arrived: they are then commits of our side's, too.
    """
    mine = ["shared", "ours"] if merges else ["shared"]
    whole = ["shared", "theirs", "ours"] if merges else ["shared", "theirs"]
    _check_own(path)
    if thorough:
        run_git(path, "fsck", "--strict", "--no-dangling")
    with open_replica(path) as store:
        if looks:
            found = sorted(texts(store, "both"))
            assert found == sorted(whole) or (found == sorted(mine) and not acknowledged)
        store.pull()
        assert sorted(texts(store, "both")) == sorted(whole)
        assert {row.id for row in store.list()} == {"both", "edited", "new"}
        assert (store.sync_status().behind, store.conflicts()) == (0, [])
    run_git(path, "merge-base", "--is-ancestor", "origin/main", "main")
    assert (path / "README.md").read_text() == "theirs\n"
    assert run_git(path, "status", "--porcelain") == f"MM {_OWN[0]}\n"
    _check_own(path)
    if merges:
        assert run_git(path, "show", f"main:{path_of(parse_session_id('edited'))}").startswith(
            "# by"
        )
    elif not looks:
        assert run_git(path, "rev-list", "--count", "origin/main..main").strip() == "0"
    assert leftovers(path, objects=False) == []
    if thorough:
        run_git(path, "fsck", "--strict", "--no-dangling")


@pytest.mark.parametrize("step", [21, pytest.param(1, marks=pytest.mark.deep)])
@pytest.mark.parametrize("merges", [False, True], ids=["forward", "merge"])
def test_kill_at_every_call(merges: bool, step: int) -> None:
    with arena() as folder:
        template, work = folder / "template", folder / "work"
        template.mkdir()
        _lay_out(template, merges=merges)

        def again() -> Path:
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(template, work)
            return work / "ours"

        path = again()
        calls = count_calls(str(path), lambda: _pull(path))
        when: tuple[When, When] = ("before", "after")
        points = [(number, each) for number in range(len(calls)) for each in when][::step]
        for turn, (number, each) in enumerate(points):
            path = again()

            def die(report: Report) -> None:
                Tap(str(path), At(number, each, kill_me, accepts=changes)).install()  # noqa: B023 -- run at once
                _pull(path)  # noqa: B023 -- run at once
                report("acknowledged")

            reports, killed_by = in_child(die)
            assert killed_by == signal.SIGKILL
            try:
                _examine(
                    path,
                    merges=merges,
                    acknowledged=reports == ["acknowledged"],
                    looks=turn % 2 == 0,
                    thorough=step == 1 or turn % _THOROUGH == 0,
                )
            except BaseException as error:
                error.add_note(f"killed {each} call {number}: {calls[number]}")
                raise
        print(f"{'merge' if merges else 'forward'}: {len(points)} of {2 * len(calls)} points")
