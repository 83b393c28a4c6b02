"""Processes with a clone each save and sync through one remote: every acknowledged save gets there."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import pytest

from gitstore import BlockingSessionStore, ConversationTurn, SessionAsset
from tests.engine.faults import Report, finish, start_child
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)
#: A session that all of them add turns to.
SHARED = "shared"


def _work(path: Path, number: int, sessions: int, report: Report) -> None:
    chance = random.Random(number)
    with BlockingSessionStore.open(path, durability="process") as store:
        for count in range(sessions):
            name = f"p{number}-{count}"
            if chance.random() < 0.3:
                with store.edit(SHARED) as asset:
                    asset.add_turn(ConversationTurn.user(name, now=NOW, id=name), now=NOW)
                report((SHARED, name, None))
            asset = SessionAsset.new(id=name, now=NOW)
            saved = store.save(asset)
            report((name, None, saved.commit))
            if chance.random() < 0.4:
                store.sync()
        store.sync()


@pytest.mark.parametrize(
    ("processes", "sessions"),
    [(2, 4), pytest.param(6, 50, marks=pytest.mark.faults)],
)
def test_every_acknowledged_save_reaches_the_remote(
    tmp_path: Path, processes: int, sessions: int
) -> None:
    remote = tmp_path / "remote.git"
    run_git(tmp_path, "init", "-q", "--bare", "-b", "main", str(remote))
    with BlockingSessionStore.open(tmp_path / "first", create=True) as store:
        store.add_remote("origin", str(remote))
        store.save(SessionAsset.new(id=SHARED, now=NOW))
        store.push()
    paths = [tmp_path / f"p{number}" for number in range(processes)]
    for path in paths:
        BlockingSessionStore.clone(str(remote), path).close()

    children = [
        start_child(partial(_work, path, number, sessions)) for number, path in enumerate(paths)
    ]
    acknowledged = [each for child in children for each in finish(child)[0]]
    assert len({name for name, turn, _ in acknowledged if turn is None}) == processes * sessions
    history = set(run_git(remote, "rev-list", "main").split())
    assert {commit for _, _, commit in acknowledged if commit} <= history
    with BlockingSessionStore.clone(str(remote), tmp_path / "last") as store:
        assert {name for name, _, _ in acknowledged} == {row.id for row in store.list()}
        turns = {turn.id for turn in store.load(SHARED).history.turns}
    assert turns == {turn for _, turn, _ in acknowledged if turn}
    for path in (remote, *paths, tmp_path / "last"):
        assert_git_is_content(path)
    merges = run_git(remote, "rev-list", "--merges", "--count", "main").strip()
    print(f"{len(history)} commits, {merges} merges, {len(acknowledged)} acknowledged")
