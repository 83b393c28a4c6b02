"""What git's index vouches for: the same as git would, or less."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gitstore.git.indexstates import indexed_files
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from pathlib import Path

_PAST = 1_700_000_000
NAMES = ("sessions/00/a.yaml", "sessions/00/" + "b" * 190 + ".yaml", "sessions/ff/caf\xe9.yaml")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A working tree whose files are older than its index."""
    run_git(tmp_path, "init", "-q", "-b", "main", ".")
    for name in (*NAMES, "README", "sessions-not/x"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode())
        os.utime(file, (_PAST, _PAST))
    run_git(tmp_path, "add", ".")
    return tmp_path


def indexed(tree: Path) -> set[str]:
    return set(indexed_files(str(tree / ".git/index"), "sessions"))


def test_what_is_unchanged_is_told_with_its_status(tree: Path) -> None:
    files = indexed_files(str(tree / ".git/index"), "sessions")
    assert set(files) == set(NAMES)
    for name, file in files.items():
        status = (tree / name).stat()
        assert file[:4] == (
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_size,
            status.st_ino & 0xFFFFFFFF,
        )
        assert file.id == run_git(tree, "hash-object", name).strip()


def test_an_entry_that_is_as_old_as_the_index_is_not_trusted(tree: Path) -> None:
    os.utime(tree / ".git/index", (_PAST + 1, _PAST + 1))
    assert indexed(tree) == set(NAMES)
    os.utime(tree / ".git/index", (_PAST + 0.9, _PAST + 0.9))
    assert indexed(tree) == set()


def test_what_git_would_look_at_or_never_looks_at_is_left_out(tree: Path) -> None:
    run_git(tree, "update-index", "--assume-unchanged", NAMES[0])
    assert indexed(tree) == {*NAMES[1:]}
    run_git(tree, "update-index", "--no-assume-unchanged", NAMES[0])
    run_git(tree, "update-index", "--skip-worktree", NAMES[1])  # an extended entry
    assert indexed(tree) == {NAMES[0], NAMES[2]}
    blob = run_git(tree, "hash-object", "-w", NAMES[0]).strip()
    run_git(tree, "update-index", "--cacheinfo", f"100644,{blob},{NAMES[0]}")
    assert indexed(tree) == {NAMES[2]}, "an entry without a status"


def test_the_stages_of_a_merge_are_left_out(tree: Path) -> None:
    blob = run_git(tree, "hash-object", "-w", NAMES[0]).strip()
    lines = "".join(f"100644 {blob} {stage}\t{NAMES[0]}\n" for stage in (1, 2, 3))
    lines = f"0 {'0' * 40}\t{NAMES[0]}\n{lines}"
    run_git(tree, "update-index", "--index-info", given=lines.encode())
    assert indexed(tree) == {*NAMES[1:]}


def test_an_index_that_is_unusual_or_damaged_vouches_for_nothing(tree: Path) -> None:
    file = tree / ".git/index"
    whole = file.read_bytes()
    for end in (0, 3, 12, 100, len(whole) - 1):
        file.write_bytes(whole[:end])
        assert indexed(tree) == set()
    for at in range(0, len(whole), 7):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert indexed(tree) == set()
    file.write_bytes(whole)
    assert indexed(tree) == set(NAMES)
    run_git(tree, "update-index", "--index-version", "4")
    assert indexed(tree) == set()
    file.unlink()
    assert indexed(tree) == set()
