"""A thousand mixed operations by threads of two processes, with the git command beside them."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest

from gitstore import BlockingSessionStore, ConversationTurn, SessionAsset
from gitstore.errors import SessionNotFoundError
from gitstore.session.ids import parse_session_id, path_of
from gitstore.types import Outcome
from tests.engine.faults import Report, finish, start_child
from tests.engine.scenes import arena, first_asset
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.faults

_PROCESSES = 2
_THREADS = 4
_OPERATIONS = 125
_SESSIONS = 12
_GIT_COMMITS = 12
#: A turn of the group and of git, however busy the processors are.
_LOCK_SECONDS = 60.0
#: One in so many workers pays for fsync: what is tested is who sees what, not the disk, and a lock
#: that is held longer by some makes groups and waiting longer for all.
_FULL_EVERY = 4


@dataclass
class _Done:
    """What one worker was told."""

    operations: int = 0
    #: Session and commit of each acknowledged save and delete.
    commits: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    #: Session, commit and turn of each acknowledged save.
    turns: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    errors: list[str] = field(default_factory=list[str])


def _work(store: BlockingSessionStore, worker: int, done: _Done) -> None:
    chance = random.Random(worker)
    for number in range(_OPERATIONS):
        name = f"s{chance.randrange(_SESSIONS)}"
        try:
            _operate(store, name, f"w{worker}-{number}", chance.random(), done)
        except Exception as error:  # noqa: BLE001 -- the parent fails with it
            done.errors.append(f"{name} {number}: {error!r}")
        done.operations += 1


def _operate(store: BlockingSessionStore, name: str, turn: str, choice: float, done: _Done) -> None:
    try:
        if choice < 0.1:
            assert len(store.list()) <= _SESSIONS
        elif choice < 0.3:
            store.load(name)
        elif choice < 0.4:
            saved = store.delete(name)
            assert saved.commit is not None
            done.commits.append((name, saved.commit))
        else:
            try:
                asset = store.load(name)
            except SessionNotFoundError:
                asset = SessionAsset.new(id=name)
            asset.add_turn(ConversationTurn.user(turn, id=turn))
            saved = store.save(asset)
            assert saved.outcome in (Outcome.CREATED, Outcome.UPDATED)
            assert saved.commit is not None
            done.commits.append((name, saved.commit))
            done.turns.append((name, saved.commit, turn))
    except SessionNotFoundError:
        return


def _process(path: Path, process: int, report: Report) -> None:
    """Run the workers of one process, on two stores."""
    stores = [
        BlockingSessionStore.open(path, durability="process", lock_timeout_seconds=_LOCK_SECONDS),
        BlockingSessionStore.open(path, durability="full", lock_timeout_seconds=_LOCK_SECONDS),
    ]
    done = [_Done() for _ in range(_THREADS)]
    threads = [
        threading.Thread(
            target=_work,
            args=(stores[number % _FULL_EVERY == 0], process * _THREADS + number, done[number]),
        )
        for number in range(_THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report(done)


def _commit_beside(path: Path, stop: threading.Event, committed: list[str]) -> None:
    """Commit files with git, again and again when it meets a lock, until told to stop."""
    number, is_staged = 0, False
    # What is staged is committed, too.
    while not stop.is_set() or number < _GIT_COMMITS or is_staged:
        name = f"user-{number}.txt"
        (path / name).write_text(name)
        try:
            run_git(path, "add", name)
            is_staged = True
            run_git(path, "commit", "-q", "-m", name, "--", name)
        except AssertionError as error:
            # Met a lock, or the branch moved while git was at it: people try again.
            if not any(word in str(error) for word in ("lock", "cannot update", "unable")):
                committed.append(f"! {error}")
                return
            continue
        committed.append(name)
        number, is_staged = number + 1, False


def test_a_thousand_mixed_operations_lose_nothing() -> None:
    with arena() as folder:
        path = folder / "repo"
        BlockingSessionStore.open(path, create=True).close()
        done, committed = _run(path)
        assert [error for each in done for error in each.errors] == []
        assert sum(each.operations for each in done) == _PROCESSES * _THREADS * _OPERATIONS
        # A git commit can write back an index it read before a save; the next save heals that
        # (tests/git/test_lagging_index.py), so there is one more.
        with BlockingSessionStore.open(path) as store:
            last = store.save(first_asset("last"))
        assert last.commit is not None
        done[0].commits.append((last.session_id, last.commit))
        _check(path, done, committed)


def _run(path: Path) -> tuple[list[_Done], list[str]]:
    children = [start_child(partial(_process, path, number)) for number in range(_PROCESSES)]
    committed: list[str] = []
    stop = threading.Event()
    beside = threading.Thread(target=_commit_beside, args=(path, stop, committed))
    beside.start()
    try:
        results: list[list[_Done]] = [finish(child)[0][0] for child in children]
    finally:
        stop.set()
        beside.join()
    return [each for result in results for each in result], committed


def _check(path: Path, done: list[_Done], committed: list[str]) -> None:
    history = run_git(path, "rev-list", "main").split()
    acknowledged = [commit for each in done for _, commit in each.commits]
    assert set(acknowledged) <= set(history), "an acknowledged commit is not in history"
    assert len(set(acknowledged)) == len(acknowledged), "one commit for two operations"
    told = Counter(name for each in done for name, _ in each.commits)
    for name in (f"s{number}" for number in range(_SESSIONS)):
        where = path_of(parse_session_id(name))
        log = run_git(path, "log", "--format=%H", "main", "--", where).split()
        mine = {commit for each in done for session, commit in each.commits if session == name}
        assert set(log) == mine
        assert len(log) == told[name]
    _check_turns(path, done)
    assert [name for name in committed if name.startswith("!")] == []
    files = run_git(path, "ls-tree", "--name-only", "main").split()
    assert {name for name in files if name.startswith("user-")} == set(committed)
    assert len(history) == 1 + len(acknowledged) + len(committed)
    assert_git_is_content(path)
    print(f"{len(acknowledged)} commits by the store, {len(committed)} by git, 0 lost")


def _check_turns(path: Path, done: list[_Done]) -> None:
    """Every acknowledged turn is in the commit that its save was told of."""
    turns = [turn for each in done for turn in each.turns]
    names = [f"{commit}:{path_of(parse_session_id(name))}" for name, commit, _ in turns]
    asked = "".join(f"{name}\n" for name in names).encode()
    # Blobs follow each other, each after a line that begins with its id.
    blobs = re.split(
        r"^[0-9a-f]{40} blob \d+\n", run_git(path, "cat-file", "--batch", given=asked), flags=re.M
    )[1:]
    for (_, _, turn), text in zip(turns, blobs, strict=True):
        assert f"  - id: {turn}\n" in text, "an acknowledged turn was lost"
