"""Merges and fast-forwards: branch, index and working tree move together, a person's changes stay."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gitstore.blocking import system_runtime
from gitstore.errors import DirtyWorkingTreeError, RepositoryError
from gitstore.git.advance import before_of, examine, files_of, is_session_file
from gitstore.git.repository import Repository
from gitstore.types import Author, CommitId, Revision
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from pathlib import Path

    from gitstore.git.checkout import WorkingTree

WHO = Author(name="Ann", email="ann@example.org")
SESSION = "sessions/aa/a.yaml"


def repository(folder: Path, *, bare: bool = False) -> Repository:
    run_git(folder.parent, "init", "-q", "-b", "main", *(["--bare"] if bare else []), str(folder))
    return Repository.open(
        str(folder),
        branch=None,
        durability="full",
        lock_timeout_seconds=5,
        trust_owner=False,
        runtime=system_runtime(),
    )


def commit(folder: Path, **files: str | None) -> CommitId:
    """Commit files as a person does; underscores stand for slashes and dots."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    run_git(folder, "add", "-A")
    run_git(folder, "commit", "-qm", "c")
    return CommitId(run_git(folder, "rev-parse", "HEAD").strip())


def forward(to: Repository, commit: CommitId, tree: WorkingTree | None) -> bool:
    with to.writing():
        draft = to.draft()
        root = to.tree(commit)
        assert root is not None
        changes = to.changes_between(to.tree(draft.base), root)
        draft.forward(
            commit,
            files_of(changes, read=lambda name: to.read_blob(Revision(name))),
            before=before_of(changes),
            root=root,
            time=to.facts(commit).time,
            subject="pull: fast-forward",
        )
        seen = {} if tree is None else examine(tree, changes).seen
        return to.publish(draft, tree=tree, seen=seen, who=WHO)


@pytest.fixture
def behind(tmp_path: Path) -> tuple[Path, Repository, CommitId]:
    """Return a repository whose branch is some commits behind one that it holds."""
    folder = tmp_path / "r"
    opened = repository(folder)
    commit(
        folder,
        sessions__aa__a_yaml="1\n",
        sessions__bb__gone_yaml="1\n",
        notes_txt="1\n",
        own_txt="1\n",
    )
    tip = commit(
        folder,
        sessions__aa__a_yaml="2\n",
        sessions__bb__gone_yaml=None,
        sessions__cc__new_yaml="1\n",
        notes_txt="2\n",
    )
    script = folder / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    tip = commit(folder)
    run_git(folder, "reset", "-q", "--hard", "HEAD~2")
    return folder, opened, tip


def test_a_fast_forward_moves_branch_index_and_files(
    behind: tuple[Path, Repository, CommitId],
) -> None:
    folder, opened, tip = behind
    assert forward(opened, tip, opened.working_tree())
    assert run_git(folder, "rev-parse", "HEAD").strip() == tip
    assert (folder / SESSION).read_text() == "2\n"
    assert not (folder / "sessions/bb/gone.yaml").exists()
    assert os.access(folder / "run.sh", os.X_OK)
    assert_git_is_content(folder)
    assert "fast-forward" in run_git(folder, "reflog", "-1")


def test_what_a_person_staged_and_changed_elsewhere_survives(
    behind: tuple[Path, Repository, CommitId],
) -> None:
    folder, opened, tip = behind
    (folder / "own.txt").write_text("staged\n")
    run_git(folder, "add", "own.txt")
    (folder / "own.txt").write_text("unstaged\n")
    (folder / "untracked.txt").write_text("mine\n")
    before = run_git(folder, "status", "--porcelain")
    assert forward(opened, tip, opened.working_tree())
    assert run_git(folder, "status", "--porcelain") == before
    assert run_git(folder, "show", ":own.txt") == "staged\n"


@pytest.mark.parametrize("staged", [False, True])
def test_a_change_in_the_way_is_named_and_nothing_moves(
    behind: tuple[Path, Repository, CommitId], *, staged: bool
) -> None:
    folder, opened, tip = behind
    (folder / "notes.txt").write_text("mine\n")
    if staged:
        run_git(folder, "add", "notes.txt")
        (folder / "notes.txt").write_text("1\n")
    head, status = run_git(folder, "rev-parse", "HEAD"), run_git(folder, "status", "--porcelain")
    with pytest.raises(DirtyWorkingTreeError, match=r"notes\.txt") as raised:
        forward(opened, tip, opened.working_tree())
    assert raised.value.paths == ("notes.txt",)
    assert run_git(folder, "rev-parse", "HEAD") == head
    assert run_git(folder, "status", "--porcelain") == status
    assert (folder / SESSION).read_text() == "1\n"
    assert not (folder / "run.sh").exists()


def test_an_untracked_file_in_the_way_is_not_overwritten(
    behind: tuple[Path, Repository, CommitId],
) -> None:
    folder, opened, tip = behind
    (folder / "run.sh").write_text("mine\n")
    with pytest.raises(DirtyWorkingTreeError, match=r"run\.sh"):
        forward(opened, tip, opened.working_tree())
    assert (folder / "run.sh").read_text() == "mine\n"


def test_an_edited_session_file_is_to_be_adopted_first(
    behind: tuple[Path, Repository, CommitId],
) -> None:
    folder, opened, tip = behind
    (folder / SESSION).write_text("edited\n")
    tree = opened.working_tree()
    assert tree is not None
    changes = opened.changes_between(opened.tree(opened.tip()), opened.tree(tip))
    assert examine(tree, changes).edited == (SESSION,)


def test_an_edit_that_comes_after_the_look_stops_the_move(
    behind: tuple[Path, Repository, CommitId],
) -> None:
    folder, opened, tip = behind
    tree = opened.working_tree()
    assert tree is not None
    real = tree.replace

    def replace(path: str, *arguments: object, **named: object) -> object:
        if path == SESSION:
            (folder / SESSION).write_text("edited late\n")
        return real(path, *arguments, **named)  # type: ignore[arg-type]  # as it was called

    tree.replace = replace  # type: ignore[method-assign,assignment]  # an edit at the worst moment
    head = run_git(folder, "rev-parse", "HEAD")
    assert not forward(opened, tip, tree)
    assert run_git(folder, "rev-parse", "HEAD") == head
    assert (folder / SESSION).read_text() == "edited late\n"
    assert run_git(folder, "status", "--porcelain").split() == ["M", SESSION]


def test_links_and_changed_kinds_are_left_to_git(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    opened = repository(folder)
    commit(folder, a_txt="1\n")
    (folder / "a.txt").unlink()
    folded = commit(folder, a_txt__b="2\n")
    run_git(folder, "reset", "-q", "--hard", "HEAD~1")
    with pytest.raises(RepositoryError, match="folder on the other"):
        forward(opened, folded, opened.working_tree())
    (folder / "link").symlink_to("/etc/passwd")
    linked = commit(folder)
    run_git(folder, "reset", "-q", "--hard", "HEAD~1")
    with pytest.raises(RepositoryError, match="git pull"):
        forward(opened, linked, opened.working_tree())
    assert_git_is_content(folder)


@pytest.mark.parametrize("bare", [False, True])
def test_a_merge_has_two_parents_and_both_sides_files(tmp_path: Path, *, bare: bool) -> None:
    folder = tmp_path / "r"
    opened = repository(folder)
    base = commit(folder, sessions__aa__a_yaml="1\n", notes_txt="1\n")
    ours = commit(folder, sessions__bb__ours_yaml="1\n")
    run_git(folder, "checkout", "-q", "-b", "other", base)
    theirs = commit(folder, sessions__cc__theirs_yaml="1\n", notes_txt="2\n")
    run_git(folder, "checkout", "-q", "main")
    if bare:
        run_git(tmp_path, "clone", "-q", "--bare", str(folder), "bare")
        folder = tmp_path / "bare"
        opened = Repository.open(
            str(folder), branch="main", durability="full", lock_timeout_seconds=5,
            trust_owner=False, runtime=system_runtime(),
        )  # fmt: skip
    tree = opened.working_tree()
    with opened.writing():
        draft = opened.draft()
        changes = opened.changes_between(opened.tree(base), opened.tree(theirs))
        made = draft.merge(
            theirs,
            {**files_of(changes, read=lambda name: opened.read_blob(Revision(name))),
             "sessions/aa/a.yaml": b"merged\n"},
            before=before_of(changes),
            author=WHO,
            time=opened.facts(theirs).time,
            message="merge\n",
        )  # fmt: skip
        changed = opened.changes_between(opened.tree(base), opened.tree(theirs))
        edited = {**changed, **opened.changes_between(opened.tree(ours), opened.tree(base))}
        seen = {} if tree is None else dict(examine(tree, changed).seen)
        if tree is not None:
            seen[SESSION] = tree.read(SESSION, limit=100)
        assert len(edited) == 3
        assert opened.publish(draft, tree=tree, seen=seen, who=WHO)
    assert run_git(folder, "log", "-1", "--format=%P", "main").split() == [ours, theirs]
    assert run_git(folder, "log", "--merges", "--format=%H", "main").split() == [made]
    names = run_git(folder, "ls-tree", "-r", "--name-only", "main").split()
    assert [name for name in names if is_session_file(name)] == [
        SESSION, "sessions/bb/ours.yaml", "sessions/cc/theirs.yaml",
    ]  # fmt: skip
    assert run_git(folder, "show", "main:notes.txt") == "2\n"
    assert run_git(folder, "show", f"main:{SESSION}") == "merged\n"
    assert_git_is_content(folder)


def test_changes_between_are_those_of_git(behind: tuple[Path, Repository, CommitId]) -> None:
    folder, opened, tip = behind
    base = opened.tip()
    changes = opened.changes_between(opened.tree(base), opened.tree(tip))
    listed = run_git(folder, "diff", "--no-renames", "--raw", "--no-abbrev", f"{base}", tip)
    expected = {}
    for line in listed.splitlines():
        words, _, path = line.partition("\t")
        _, _, one, other, _ = words.split()
        expected[path] = tuple(None if set(each) == {"0"} else each for each in (one, other))
    assert expected == {
        path: tuple(entry and entry.id for entry in pair) for path, pair in changes.items()
    }


def test_a_tracking_ref_moves_only_from_where_it_was_seen(
    behind: tuple[Path, Repository, CommitId],
) -> None:
    folder, opened, tip = behind
    base = opened.tip()
    assert base is not None
    ref = "refs/remotes/origin/main"
    with opened.writing():
        assert opened.track(ref, base, old=None, who=WHO, message="fetch origin")
        assert not opened.track(ref, tip, old=None, who=WHO, message="fetch origin")
        assert not opened.track(ref, tip, old=tip, who=WHO, message="fetch origin")
        assert opened.ref_tip(ref) == base
        assert opened.track(ref, tip, old=base, who=WHO, message="fetch origin")
    assert run_git(folder, "rev-parse", "origin/main").strip() == tip
    assert "fetch origin" in run_git(folder, "reflog", "origin/main")
