"""Comparing two moments of a store, with git's own diff as the referee."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from gitstore import (
    BlockingSessionStore,
    ConversationTurn,
    SerializationError,
    SessionAsset,
    SessionNotFoundError,
    UnknownCommitError,
)
from gitstore.blocking import system_runtime
from gitstore.engine.compare import diff, diff_store
from gitstore.git.repository import Repository
from gitstore.session.ids import path_of, session_id_of
from gitstore.types import Outcome, SessionId
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitstore.git.trees import Entry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
A, B = SessionId("a"), SessionId("b")


def session(session_id: str, *texts: str, name: str | None = None) -> SessionAsset:
    asset = SessionAsset.new(id=session_id, now=NOW, name=name)
    for text in texts:
        asset.add_turn(ConversationTurn.user(text, id=f"t-{text}", now=NOW), now=NOW)
    return asset


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockingSessionStore]:
    with BlockingSessionStore.open(tmp_path / "s", create=True, durability="process") as opened:
        yield opened


@pytest.fixture
def repository(store: BlockingSessionStore, tmp_path: Path) -> Iterator[Repository]:
    opened = Repository.open(
        str(tmp_path / "s"),
        branch=None,
        durability="process",
        lock_timeout_seconds=5,
        trust_owner=False,
        runtime=system_runtime(),
    )
    assert opened.branch == "main"
    yield opened
    opened.close()


def test_by_default_the_last_change_of_the_session_is_told(
    store: BlockingSessionStore, repository: Repository
) -> None:
    first = store.save(session("a", "one"))
    second = store.save(session("a", "one", "two", name="n"))
    store.save(session("b", "other"))
    found = diff(repository, A, None, None)
    assert (found.old_revision, found.new_revision) == (first.revision, second.revision)
    assert found.summary == "+1 turn, name added"
    assert [placed.turn["content"] for placed in found.turns_added] == ["two"]


def test_the_first_and_the_last_change_have_one_side_only(
    store: BlockingSessionStore, repository: Repository
) -> None:
    created = store.save(session("a", "one"))
    assert diff(repository, A, None, None).outcome is Outcome.CREATED
    store.delete("a")
    gone = diff(repository, A, None, None)
    assert (gone.outcome, gone.old_revision) == (Outcome.DELETED, created.revision)
    assert diff(repository, A, None, created.commit).outcome is Outcome.CREATED


def test_two_moments_of_any_form(
    store: BlockingSessionStore, repository: Repository, tmp_path: Path
) -> None:
    first = store.save(session("a", "one"))
    run_git(tmp_path / "s", "tag", "v1")
    last = store.save(session("a", "two"))
    assert first.commit is not None
    assert last.commit is not None
    there = diff(repository, A, "v1", "main")
    back = diff(repository, A, last.commit[:12], first.commit)
    assert there.turns_added == back.turns_removed
    assert there.turns_removed == back.turns_added
    assert diff(repository, A, "v1", first.commit).is_empty


def test_a_merge_that_took_both_sides_is_compared_with_its_first_parent(
    store: BlockingSessionStore, repository: Repository, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    base = store.save(session("a", "one"))
    run_git(folder, "branch", "side")
    main = store.save(session("a", "one", "two"))
    run_git(folder, "checkout", "-q", "side")
    file = folder / path_of(A)
    file.write_text(file.read_text().replace("content: one", "content: ONE"))
    run_git(folder, "commit", "-qam", "edit")
    side = run_git(folder, "rev-parse", "HEAD").strip()
    run_git(folder, "checkout", "-q", "main")
    run_git(folder, "merge", "-q", "--no-commit", "-s", "ours", "side")
    file.write_text(file.read_text().replace("content: one", "content: ONE"))
    run_git(folder, "commit", "-qam", "merge")
    found = diff(repository, A, None, None)
    assert found.old_revision == main.revision
    assert [change.id for change in found.turns_changed] == ["t-one"]
    assert diff(repository, A, None, side).old_revision == base.revision


def test_a_file_spelled_another_way_is_no_change(
    store: BlockingSessionStore, repository: Repository, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    store.save(session("a", "one"))
    file = folder / path_of(A)
    file.write_text(
        "# by hand\n" + file.read_text().replace("id: a\n", 'id: "a"\nmetadata: {}\n', 1)
    )
    run_git(folder, "commit", "-qam", "edit")
    found = diff(repository, A, None, None)
    assert found.old_revision != found.new_revision
    assert found.is_empty


def test_bad_input_has_its_own_errors(
    store: BlockingSessionStore, repository: Repository, tmp_path: Path
) -> None:
    saved = store.save(session("a", "one"))
    with pytest.raises(SessionNotFoundError) as missing:
        diff(repository, SessionId("never"), None, saved.commit)
    assert (missing.value.session_id, missing.value.at) == ("never", saved.commit)
    with pytest.raises(UnknownCommitError):
        diff(repository, A, "nowhere", None)
    with pytest.raises(UnknownCommitError):
        diff_store(repository, None, "nowhere")
    (tmp_path / "s" / path_of(A)).write_text("no: [session")
    run_git(tmp_path / "s", "commit", "-qam", "break it")
    with pytest.raises(SerializationError):
        diff(repository, A, None, None)


def test_an_empty_store_has_nothing_to_compare(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "-q", "-b", "main", "bare")
    with BlockingSessionStore.open(tmp_path / "bare") as opened:
        found = diff_store(opened._repository, None, None)
        assert (found.old_commit, found.new_commit, found.is_empty) == (None, None, True)
        with pytest.raises(SessionNotFoundError):
            diff(opened._repository, A, None, None)


@pytest.mark.parametrize("seed", range(2))
def test_the_sessions_that_differ_are_those_git_names(
    store: BlockingSessionStore, repository: Repository, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    folder = tmp_path / "s"
    ids = [f"s{number}" for number in range(25)]
    for _ in range(20):
        name = chance.choice(ids)
        if store.exists(name) and chance.random() < 0.4:
            store.delete(name)
        else:
            store.save(session(name, str(chance.random())))
    (folder / "sessions" / "README").write_text("no session")
    run_git(folder, "add", ".")
    run_git(folder, "commit", "-qm", "other files")
    commits = run_git(folder, "rev-list", "main").split()
    for _ in range(6):
        a, b = chance.sample(commits, 2)
        expected: dict[str, list[str]] = {"A": [], "M": [], "D": []}
        said = run_git(folder, "diff", "--name-status", "--no-renames", a, b, "--", "sessions")
        for line in said.splitlines():
            kind, _, path = line.partition("\t")
            if session_id := session_id_of(path):
                expected[kind].append(session_id)
        found = diff_store(repository, a, b)
        assert (found.old_commit, found.new_commit) == (a, b)
        lists = (found.created, found.updated, found.deleted)
        assert [list(each) for each in lists] == [sorted(each) for each in expected.values()]
        assert found.is_empty == (not any(lists))


def test_by_default_the_store_is_compared_with_one_commit_before(
    store: BlockingSessionStore, repository: Repository
) -> None:
    first = store.save(session("a", "one"))
    last = store.save(session("b", "one"))
    found = diff_store(repository, None, None)
    assert (found.old_commit, found.new_commit) == (first.commit, last.commit)
    assert (found.created, found.updated, found.deleted) == ((B,), (), ())


def test_of_one_folder_only_what_differs_is_told(
    store: BlockingSessionStore, repository: Repository
) -> None:
    folders: dict[str, str] = {}
    ids = (SessionId(f"n{number}") for number in range(300))
    one, other = next(
        (folders[shard], name)
        for name in ids
        if (shard := path_of(name).split("/")[1]) in folders or folders.update({shard: name})
    )
    store.save(session(one))
    store.save(session(other))
    store.save(session(other, "more"))
    found = diff_store(repository, None, None)
    assert (found.created, found.updated, found.deleted) == ((), (other,), ())


def test_folders_that_are_alike_are_not_read(
    store: BlockingSessionStore, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        store.save(session(f"s{number}"))
    store.save(session("s0", "more"))
    read: list[str] = []
    entries = repository.entries

    def noted(tree: str) -> list[Entry]:
        read.append(tree)
        return entries(tree)

    monkeypatch.setattr(repository, "entries", noted)
    assert diff_store(repository, None, None).updated == ("s0",)
    # The folder of the sessions, and the one below it that differs: of both.
    assert len(read) == 4


def test_times_are_resolved_by_the_first_parent_line(tmp_path: Path) -> None:
    seconds = [NOW.timestamp()]
    runtime = replace(system_runtime(), clock=lambda: seconds[0])
    with BlockingSessionStore.open(
        tmp_path / "s", create=True, durability="process", runtime=runtime
    ) as opened:
        opened.save(session("a", "one"))
        seconds[0] += 3600
        opened.save(session("a", "two"))
        found = diff(opened._repository, A, datetime.fromtimestamp(seconds[0] - 1, UTC), None)
        assert found.summary == "+1 turn, -1 turn"
