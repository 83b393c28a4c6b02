"""git's commit can write back an index that it read before a save of ours: the next save heals it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from gitstore import BlockingSessionStore, SessionAsset
from gitstore.session.ids import path_of
from gitstore.types import SessionId
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def session(session_id: str, name: str | None = None) -> SessionAsset:
    return SessionAsset.new(id=session_id, now=NOW, name=name)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockingSessionStore]:
    with BlockingSessionStore.open(tmp_path / "s", create=True, auto_maintain=False) as opened:
        for name in ("changed", "deleted", "kept"):
            opened.save(session(name))
        yield opened


def write_back(folder: Path, before: Path) -> None:
    """Do what a slow `git commit` does: replace the index by one of before."""
    shutil.copy(before, folder / ".git/index.lock")
    (folder / ".git/index.lock").rename(folder / ".git/index")


def test_saves_and_deletes_are_not_taken_back(tmp_path: Path, store: BlockingSessionStore) -> None:
    folder = tmp_path / "s"
    shutil.copy(folder / ".git/index", tmp_path / "before")
    store.save(session("changed", "again"))
    store.save(session("created"))
    store.delete("deleted")
    write_back(folder, tmp_path / "before")
    staged = run_git(folder, "diff", "--cached", "--no-renames", "--name-only").split()
    assert sorted(staged) == sorted(map(path_of, map(SessionId, ("changed", "created", "deleted"))))
    store.save(session("kept", "again"))
    assert_git_is_content(folder)
    (folder / "user.txt").write_text("x")
    run_git(folder, "add", "user.txt")
    run_git(folder, "commit", "-qm", "a person's commit")
    assert sorted(row.id for row in store.list()) == ["changed", "created", "kept"]
    assert store.load("changed").project_context.name == "again"
    assert len(store.history()) == 7


def test_what_a_person_staged_stays_staged(tmp_path: Path, store: BlockingSessionStore) -> None:
    folder = tmp_path / "s"
    edited, written = path_of(SessionId("changed")), path_of(SessionId("written"))
    text = (folder / edited).read_text()
    (folder / edited).write_text(f"# staged\n{text}")
    (folder / written).parent.mkdir(exist_ok=True)
    (folder / written).write_text(text.replace("changed", "written"))
    run_git(folder, "add", "--", edited, written)
    store.save(session("kept", "again"))
    staged = run_git(folder, "diff", "--cached", "--name-status").splitlines()
    assert sorted(staged) == [f"A\t{written}", f"M\t{edited}"]
