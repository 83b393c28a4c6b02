"""Watching: every change of a session, by whoever, in order, once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from gitstore import (
    BlockingSessionStore,
    Changed,
    ChangeKind,
    CommitId,
    ConversationTurn,
    SessionAsset,
    SessionId,
)
from gitstore.engine.sync import watch
from gitstore.engine.sync.watch import Watcher
from gitstore.session.ids import parse_session_id, path_of
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CREATED, UPDATED, DELETED = ChangeKind.CREATED, ChangeKind.UPDATED, ChangeKind.DELETED


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockingSessionStore]:
    with BlockingSessionStore.open(tmp_path / "s", create=True, durability="process") as store:
        yield store


def save(store: BlockingSessionStore, name: str, *texts: str) -> CommitId:
    asset = SessionAsset.new(id=name, now=NOW)
    for text in texts:
        asset.add_turn(ConversationTurn.user(text, id=text, now=NOW), now=NOW)
    commit = store.save(asset).commit
    assert commit is not None
    return commit


def watcher(store: BlockingSessionStore, since: CommitId | None = None) -> Watcher:
    return Watcher(store._repository, store._catalog, since=since)


def changed(name: str, kind: ChangeKind, commit: str | None) -> Changed:
    assert commit is not None
    return Changed(session_id=SessionId(name), kind=kind, commit=CommitId(commit))


def tip(store: BlockingSessionStore) -> str:
    return run_git(store.path, "rev-parse", store.branch).strip()


def told(changes: list[Changed]) -> list[tuple[str, ChangeKind]]:
    return [(change.session_id, change.kind) for change in changes]


def test_each_change_is_told_once_and_in_order(store: BlockingSessionStore) -> None:
    save(store, "before")
    watching = watcher(store)
    assert watching.look() == []
    one = save(store, "a")
    two = save(store, "b")
    three = save(store, "a", "hello")
    four = store.delete("b").commit
    assert watching.look() == [
        changed("a", CREATED, one),
        changed("b", CREATED, two),
        changed("a", UPDATED, three),
        changed("b", DELETED, four),
    ]
    assert watching.look() == []


def test_it_can_begin_at_a_commit_of_the_past(store: BlockingSessionStore) -> None:
    one = save(store, "a")
    two = save(store, "b")
    assert watcher(store, one).look() == [changed("b", CREATED, two)]


def test_the_first_commit_of_all_is_seen(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "-q", "-b", "main")
    with BlockingSessionStore.open(tmp_path, durability="process") as store:
        watching = watcher(store)
        one = save(store, "a")
        assert watching.look() == [changed("a", CREATED, one)]


def test_other_processes_hand_edits_and_git_are_seen(store: BlockingSessionStore) -> None:
    save(store, "a", "x")
    watching = watcher(store)
    with BlockingSessionStore.open(store.path, durability="process") as other:
        theirs = save(other, "b")
    file = f"{store.path}/{path_of(parse_session_id('a'))}"
    with open(file, "a") as lines:
        lines.write("# read by hand\n")
    assert watching.look() == [changed("b", CREATED, theirs)]
    store.load("a")
    adopted = tip(store)
    run_git(store.path, "rm", "-q", path_of(parse_session_id("b")))
    (run_git(store.path, "commit", "-q", "-m", "by git"))
    assert watching.look() == [
        changed("a", UPDATED, adopted),
        changed("b", DELETED, tip(store)),
    ]


def test_files_that_are_no_sessions_are_not_told(store: BlockingSessionStore) -> None:
    watching = watcher(store)
    run_git(store.path, "commit", "-q", "--allow-empty", "-m", "nothing")
    with open(f"{store.path}/README.md", "w") as file:
        file.write("x")
    run_git(store.path, "add", "README.md")
    run_git(store.path, "commit", "-q", "-m", "readme")
    assert watching.look() == []
    assert watching._tip == tip(store)


def test_a_merge_is_what_it_brought(store: BlockingSessionStore) -> None:
    save(store, "a")
    run_git(store.path, "branch", "other")
    save(store, "here")
    with BlockingSessionStore.open(store.path, branch="other", durability="process") as other:
        save(other, "there-1")
        save(other, "there-2")
    watching = watcher(store)
    run_git(store.path, "merge", "-q", "--no-edit", "other")
    merge = tip(store)
    assert watching.look() == [
        changed("there-1", CREATED, merge),
        changed("there-2", CREATED, merge),
    ]


def test_a_way_that_does_not_lead_back_is_one_comparison(store: BlockingSessionStore) -> None:
    """A fast-forward over somebody's merge of ours, then a rewrite that took the old history away."""
    save(store, "a")
    run_git(store.path, "branch", "other")
    save(store, "here")
    watching = watcher(store)
    with BlockingSessionStore.open(store.path, branch="other", durability="process") as other:
        save(other, "there")
    run_git(store.path, "checkout", "-q", "other")
    run_git(store.path, "merge", "-q", "--no-edit", "main")
    run_git(store.path, "checkout", "-q", "main")
    run_git(store.path, "merge", "-q", "--ff-only", "other")
    assert watching.look() == [changed("there", CREATED, tip(store))]
    run_git(store.path, "branch", "-q", "-D", "other")
    store.purge("there", confirm="there", force=True)
    run_git(store.path, "reflog", "expire", "--expire=now", "--all")
    run_git(store.path, "gc", "-q", "--prune=now")
    with BlockingSessionStore.open(store.path, durability="process") as again:
        watching._repository = again._repository
        watching._catalog = again._catalog
        assert watching.look() == [changed("there", DELETED, tip(store))]


def test_more_than_is_told_one_by_one(
    store: BlockingSessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "COMMITS_MAX", 3)
    watching = watcher(store)
    for number in range(3):
        save(store, "a", *"xyz"[: number + 1])
    assert told(watching.look()) == [("a", CREATED), ("a", UPDATED), ("a", UPDATED)]
    for number in range(4):
        save(store, "b", *"xyzw"[: number + 1])
    assert watching.look() == [changed("b", CREATED, tip(store))]


def test_nothing_moved_costs_one_small_file(store: BlockingSessionStore) -> None:
    """Whatever a look does, it reads no object and lists no folder while the branch rests."""
    save(store, "a")
    watching = watcher(store)
    objects = store._repository._objects
    store._repository._objects = None  # type: ignore[assignment]
    try:
        assert watching.look() == []
    finally:
        store._repository._objects = objects
