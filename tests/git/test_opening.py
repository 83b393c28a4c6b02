"""Opening and making repositories of every shape, with git as the referee."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from gitstore import Author, BlockingSessionStore, RepositoryError, SessionAsset
from gitstore.session.ids import path_of
from gitstore.types import SessionId
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def session(session_id: str, name: str | None = None) -> SessionAsset:
    return SessionAsset.new(id=session_id, now=NOW, name=name)


def tree_of(path: Path, commit: str = "HEAD") -> list[str]:
    return run_git(path, "ls-tree", "-r", "--name-only", commit).split()


@pytest.mark.parametrize("bare", [False, True])
def test_a_new_store_is_a_repository_to_git(tmp_path: Path, bare: bool) -> None:
    path = tmp_path / "deep" / "down" / "s"
    with BlockingSessionStore.open(path, create=True, bare=bare) as store:
        assert (store.branch, store.path) == ("main", str(path))
        assert tree_of(path) == [".gitattributes"]
        assert_git_is_content(path)
        store.save(session("a"))
    assert tree_of(path) == [".gitattributes", path_of(SessionId("a"))]
    assert run_git(path, "rev-parse", "--is-bare-repository").strip() == str(bare).lower()
    assert run_git(path, "symbolic-ref", "HEAD").strip() == "refs/heads/main"
    assert_git_is_content(path)
    attributes = run_git(path, "check-attr", "--all", "--cached", path_of(SessionId("a")))
    if not bare:
        assert "text: unset" in attributes
        assert "merge: gitstore" in attributes
    assert os.listdir(path.parent) == ["s"]


def test_what_is_created_is_opened_again(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path / "s", create=True) as store:
        store.save(session("a"))
    with BlockingSessionStore.open(tmp_path / "s", create=True) as store:
        assert store.exists("a")
        assert len(run_git(tmp_path / "s", "rev-list", "HEAD").split()) == 2


def test_many_create_one_store(tmp_path: Path) -> None:
    def make(number: int) -> None:
        with BlockingSessionStore.open(tmp_path / "s", create=True) as store:
            store.save(session(f"s{number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(8)))
    with BlockingSessionStore.open(tmp_path / "s") as store:
        assert len(store.list()) == 8
    assert_git_is_content(tmp_path / "s")
    assert sorted(os.listdir(tmp_path / "s")) == [".git", ".gitattributes", "sessions"]


def test_files_that_are_there_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/notes.txt").write_text("mine")
    (tmp_path / "s/.gitattributes").write_text("*.txt text\n")
    with BlockingSessionStore.open(tmp_path / "s", create=True) as store:
        store.save(session("a"))
    assert (tmp_path / "s/notes.txt").read_text() == "mine"
    assert (tmp_path / "s/.gitattributes").read_text() == "*.txt text\n"
    said = run_git(tmp_path / "s", "status", "--porcelain").splitlines()
    assert said == ["?? .gitattributes", "?? notes.txt"]
    with pytest.raises(RepositoryError, match="choose an empty folder"):
        BlockingSessionStore.open(tmp_path / "s" / "sessions", create=True, bare=True)


def test_a_repository_with_other_content_keeps_it(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "-q", "-b", "trunk", "s")
    path = tmp_path / "s"
    for name in ("README", "src/a.py", "sessions.txt", "zoo/z"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(name)
    run_git(path, "add", ".")
    run_git(path, "commit", "-qm", "theirs")
    (path / "README").write_text("staged")
    run_git(path, "add", "README")
    (path / "src/a.py").write_text("unstaged")
    before = run_git(path, "status", "--porcelain")
    with BlockingSessionStore.open(path) as store:
        assert store.branch == "trunk"
        store.save(session("a"))
        store.save(session("b"))
        store.delete("a")
    assert run_git(path, "status", "--porcelain") == before
    assert run_git(path, "show", "HEAD:README") == "README"
    names = ["README", "sessions.txt", path_of(SessionId("b")), "src/a.py", "zoo/z"]
    assert sorted(tree_of(path)) == sorted(names)
    assert run_git(path, "diff", "--cached", "--name-only").split() == ["README"]


def test_an_empty_repository_gets_its_first_commit(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "-q", "-b", "work/sessions", "s")
    with BlockingSessionStore.open(tmp_path / "s") as store:
        assert store.branch == "work/sessions"
        assert store.list() == []
        assert store.history() == []
        store.save(session("a"))
    assert_git_is_content(tmp_path / "s")
    assert run_git(tmp_path / "s", "rev-list", "--count", "work/sessions").strip() == "1"


def test_a_linked_working_tree_is_a_store_of_its_own_branch(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path / "s", create=True) as store:
        store.save(session("a"))
        run_git(tmp_path / "s", "worktree", "add", "-q", "-b", "side", "../linked")
        with BlockingSessionStore.open(tmp_path / "linked") as linked:
            assert linked.branch == "side"
            linked.save(session("b"))
            assert sorted(row.id for row in linked.list()) == ["a", "b"]
            assert not store.exists("b")
    for name in ("s", "linked"):
        assert_git_is_content(tmp_path / name)
    assert (tmp_path / "linked" / path_of(SessionId("b"))).exists()


def test_a_branch_that_is_not_checked_out_leaves_the_working_tree_alone(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path / "s", create=True) as store:
        store.save(session("a"))
    with BlockingSessionStore.open(tmp_path / "s", branch="other") as store:
        store.save(session("b"))
        assert store.exists("b")
        assert not store.exists("a")
    assert_git_is_content(tmp_path / "s")
    assert not (tmp_path / "s" / path_of(SessionId("b"))).exists()
    assert tree_of(tmp_path / "s", "other") == [path_of(SessionId("b"))]


def test_a_detached_head_needs_a_named_branch(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path / "s", create=True) as store:
        store.save(session("a"))
    run_git(tmp_path / "s", "checkout", "-q", "--detach")
    with pytest.raises(RepositoryError, match="on no branch"):
        BlockingSessionStore.open(tmp_path / "s")
    with BlockingSessionStore.open(tmp_path / "s", branch="main") as store:
        store.save(session("b"))
        assert store.exists("a")
    assert_git_is_content(tmp_path / "s")


@pytest.mark.parametrize("name", ["../x", "a..b", "-x", "a b", "x.lock", "a\nb", "@{"])
def test_a_name_that_is_no_branch_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RepositoryError, match="not a branch name"):
        BlockingSessionStore.open(tmp_path / "s", create=True, branch=name)
    assert not (tmp_path / "s").exists()


def test_the_author_is_the_argument_the_configuration_or_gitstore(tmp_path: Path) -> None:
    path = tmp_path / "s"

    def last_author() -> str:
        return run_git(path, "log", "-1", "--format=%an <%ae>, %cn").strip()

    with BlockingSessionStore.open(path, create=True) as store:
        store.save(session("a"))
    assert last_author() == "gitstore <gitstore@localhost>, gitstore"
    run_git(path, "config", "user.name", "Bo Berg")
    run_git(path, "config", "user.email", "bo@example.org")
    with BlockingSessionStore.open(path) as store:
        store.save(session("a", "1"))
    assert last_author() == "Bo Berg <bo@example.org>, Bo Berg"
    hostile = Author(name="Eve <x>\nparent 0", email="<eve>\n@x")
    with BlockingSessionStore.open(path, author=hostile) as store:
        store.save(session("a", "2"))
    assert last_author() == "Eve x parent 0 <eve @x>, Eve x parent 0"
    assert_git_is_content(path)


def test_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with BlockingSessionStore.open("~/s", create=True) as store:
        assert store.path == str(tmp_path / "s")


def test_packed_refs_and_gc_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with BlockingSessionStore.open(path, create=True) as store:
        first = store.save(session("a"))
        run_git(path, "pack-refs", "--all")
        run_git(path, "gc", "-q", "--prune=now")
        assert not (path / ".git/refs/heads/main").exists()
        second = store.save(session("a", "again"))
        assert [change.commit for change in store.history("a")] == [second.commit, first.commit]
        assert store.load("a").project_context.name == "again"
    assert_git_is_content(path)


def test_a_branch_is_found_behind_many_packed_refs(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with BlockingSessionStore.open(path, create=True) as store:
        tip = store.save(session("a")).commit
        made = "".join(f"create refs/before/{number} {tip}\n" for number in range(1000))
        run_git(path, "update-ref", "--stdin", given=made.encode())
        run_git(path, "pack-refs", "--all")
        assert (path / ".git/packed-refs").stat().st_size > 3 * (16 << 10)
        store.save(session("b"))
        assert [change.commit for change in store.history("a")] == [tip]


def test_a_reflog_that_was_removed_with_its_folder_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with BlockingSessionStore.open(path, create=True) as store:
        store.save(session("a"))
        shutil.rmtree(path / ".git/logs")
        saved = store.save(session("b"))
    for name in ("main", "HEAD"):
        assert run_git(path, "reflog", "show", "--format=%H", name).split() == [saved.commit]


def test_the_reflog_tells_of_saves(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with BlockingSessionStore.open(path, create=True) as store:
        saved = store.save(session("a"))
    assert (
        run_git(path, "reflog", "-1", "--format=%H %gs").strip()
        == f"{saved.commit} Create session a"
    )
    assert run_git(path, "reflog", "show", "-1", "--format=%H", "main").strip() == saved.commit
    run_git(path, "config", "core.logAllRefUpdates", "false")
    (path / ".git/logs/HEAD").unlink()
    with BlockingSessionStore.open(path) as store:
        store.save(session("b"))
    assert not (path / ".git/logs/HEAD").exists()


def test_settings_of_git_do_not_change_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with BlockingSessionStore.open(path, create=True) as store:
        for name, value in (("core.autocrlf", "true"), ("core.safecrlf", "true")):
            run_git(path, "config", name, value)
        (path / ".git/info/exclude").write_text("*.yaml\n")
        (path / ".git/hooks").mkdir(exist_ok=True)
        hook = path / ".git/hooks/pre-commit"
        hook.write_text("#!/bin/sh\ntouch hooked\nexit 1\n")
        hook.chmod(0o755)
        saved = store.save(session("a", "line\nline"))
        assert (
            saved.revision
            == run_git(path, "hash-object", "--no-filters", path_of(SessionId("a"))).strip()
        )
        hook.unlink()
    assert not (path / "hooked").exists()
    assert_git_is_content(path)
