"""sync_status and sync_state, with git's own count as the referee."""

from __future__ import annotations

import random
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gitstore import (
    BlockingSessionStore,
    ConversationTurn,
    SessionAsset,
    SyncMode,
    SyncState,
    SyncStatus,
)
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Pair = tuple[BlockingSessionStore, BlockingSessionStore, Path]

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def session(session_id: str, *texts: str, name: str | None = None) -> SessionAsset:
    asset = SessionAsset.new(id=session_id, now=NOW, name=name)
    for number, text in enumerate(texts):
        turn = ConversationTurn.user(text, id=f"t-{text}", now=NOW + timedelta(seconds=number))
        asset.add_turn(turn, now=NOW)
    return asset


def git_counts(path: Path) -> tuple[int, int]:
    said = run_git(path, "rev-list", "--left-right", "--count", "main...origin/main").split()
    return int(said[0]), int(said[1])


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two clones of one remote that share two sessions, the second cloned by git."""
    first = BlockingSessionStore.open(tmp_path / "first", create=True, durability="process")
    first.save(session("both", "shared"))
    first.save(session("other", "shared"))
    run_git(tmp_path, "clone", "-q", "--bare", "first", "remote.git")
    run_git(tmp_path / "first", "remote", "add", "origin", str(tmp_path / "remote.git"))
    run_git(tmp_path / "first", "fetch", "-q", "origin")
    run_git(tmp_path, "clone", "-q", "remote.git", "second")
    second = BlockingSessionStore.open(tmp_path / "second", durability="process")
    with first, second:
        yield first, second, tmp_path


def states(store: BlockingSessionStore) -> dict[str, SyncState]:
    return {row.id: row.sync_state for row in store.list()}


def test_a_store_without_remote_is_offline(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path / "s", create=True) as store:
        saved = store.save(session("a"))
        assert store.sync_status() == SyncStatus.offline(saved.commit)
        assert not store.sync_status().is_fully_synced
        assert states(store) == {"a": SyncState.LOCAL_ONLY}


def test_a_remote_that_was_never_fetched_has_nothing(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path / "s", create=True) as store:
        run_git(tmp_path / "s", "remote", "add", "origin", "/nowhere")
        store.save(session("a"))
        status = store.sync_status()
        assert (status.mode, status.remote, status.ahead, status.behind) == (
            SyncMode.ONLINE, None, 2, 0,
        )  # fmt: skip
        assert (status.pending_uploads, status.last_sync) == (1, None)
        assert states(store) == {"a": SyncState.LOCAL_ONLY}


def test_equal_tips_are_synced(pair: Pair) -> None:
    first, second, _ = pair
    for store in (first, second):
        status = store.sync_status()
        assert status.is_fully_synced
        assert (status.ahead, status.behind, status.local) == (0, 0, status.remote)
        assert states(store) == {"both": SyncState.SYNCED, "other": SyncState.SYNCED}


def test_last_sync_is_when_the_tracking_branch_moved(
    pair: Pair,
) -> None:
    _, second, folder = pair
    second.save(session("new"))
    run_git(folder / "second", "push", "-q", GIT_COMMITTER_DATE="1800000000 +0000")
    assert second.sync_status().last_sync == datetime.fromtimestamp(1800000000, UTC)


def test_each_side_is_counted(
    pair: Pair,
) -> None:
    first, second, folder = pair
    first.save(session("mine", "x"))
    first.save(session("other", "shared", "ours"))
    second.save(session("theirs", "x"))
    second.save(session("both", "shared", "theirs"))
    second.save(session("both", "shared", "theirs", "again"))
    run_git(folder / "second", "push", "-q")
    run_git(folder / "first", "fetch", "-q")
    status = first.sync_status()
    assert (status.ahead, status.behind) == git_counts(folder / "first") == (2, 3)
    assert (status.pending_uploads, status.pending_downloads, status.conflicts) == (2, 2, ())
    assert states(first) == {
        "mine": SyncState.LOCAL_ONLY,
        "other": SyncState.LOCAL_AHEAD,
        "both": SyncState.REMOTE_AHEAD,
    }


def test_only_what_cannot_be_merged_is_a_conflict(
    pair: Pair,
) -> None:
    first, second, folder = pair
    first.save(session("both", "shared", "ours", name="ours"))
    first.save(session("other", "shared", "ours"))
    second.save(session("both", "shared", "theirs", name="theirs"))
    second.save(session("other", "shared", "theirs"))
    run_git(folder / "second", "push", "-q")
    run_git(folder / "first", "fetch", "-q")
    status = first.sync_status()
    assert status.conflicts == ("both",)
    assert (status.pending_uploads, status.pending_downloads) == (2, 2)
    assert not status.is_fully_synced
    assert states(first) == {"both": SyncState.CONFLICT, "other": SyncState.LOCAL_AHEAD}


def test_a_delete_against_an_edit_is_no_conflict(
    pair: Pair,
) -> None:
    first, second, folder = pair
    first.delete("both")
    first.save(session("other", "shared", "ours"))
    second.delete("other")
    second.save(session("both", "shared", "theirs"))
    run_git(folder / "second", "push", "-q")
    run_git(folder / "first", "fetch", "-q")
    assert first.sync_status().conflicts == ()
    assert states(first) == {"other": SyncState.LOCAL_AHEAD}


def test_another_branch_and_remote_are_followed(
    pair: Pair,
) -> None:
    first, _, folder = pair
    first.save(session("mine"))
    run_git(folder / "first", "remote", "add", "backup", str(folder / "remote.git"))
    run_git(folder / "first", "push", "-q", "-u", "backup", "main:kept")
    assert first.sync_status().ahead == 0  # though it was opened before
    with BlockingSessionStore.open(folder / "first") as store:
        assert store.sync_status().ahead == 0
    with BlockingSessionStore.open(folder / "first", remote="origin") as store:
        assert store.sync_status().ahead == 1


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two empty clones of one remote beside them, to be copied together."""
    folder = tmp_path_factory.mktemp("clones")
    BlockingSessionStore.open(folder / "first", create=True, durability="process").close()
    run_git(folder, "clone", "-q", "--bare", "first", "remote.git")
    run_git(folder / "first", "remote", "add", "origin", "../remote.git")
    run_git(folder / "first", "fetch", "-q", "origin")
    run_git(folder / "first", "branch", "-q", "-u", "origin/main", "main")
    run_git(folder, "clone", "-q", "remote.git", "second")
    run_git(folder / "second", "remote", "set-url", "origin", "../remote.git")
    return folder


@pytest.mark.parametrize("seed", range(8))
def test_counts_are_gits_over_random_histories(clones: Path, tmp_path: Path, seed: int) -> None:
    """Saves on both sides, merges by git, and clocks that are an hour apart."""
    chance = random.Random(seed)
    clocks = {"first": 1_700_000_000, "second": 1_700_000_000 + chance.randint(-3600, 3600)}
    shutil.copytree(clones, tmp_path, dirs_exist_ok=True)
    for step in range(14):
        name = chance.choice(list(clocks))
        folder = tmp_path / name
        clocks[name] += chance.randint(-30, 60)
        date = f"{clocks[name]} +0000"
        act = chance.choice(["save", "save", "merge", "push"])
        if act == "push":
            run_git(folder, "push", "-q", "origin", "main", check=False)
        run_git(folder, "fetch", "-q")
        if act == "save":
            with BlockingSessionStore.open(folder, durability="process") as store:
                store.save(session(f"{name}-{step}"))
        elif act == "merge":
            run_git(
                folder, "merge", "-q", "--no-edit", "origin/main",
                GIT_COMMITTER_DATE=date, GIT_AUTHOR_DATE=date,
            )  # fmt: skip
        with BlockingSessionStore.open(folder) as store:
            status = store.sync_status()
            assert (status.ahead, status.behind) == git_counts(folder)
    assert_git_is_content(tmp_path / "first")
