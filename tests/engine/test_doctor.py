"""The doctor: each thing that may be wrong is found, and its advice mends it."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import pytest

from gitstore import BlockingSessionStore, Diagnosis, SessionAsset, SyncError
from gitstore.engine.doctor import _attributes_of
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = [
    "merge driver",
    "attributes",
    "remote",
    "last contact",
    "conflicts",
    "HEAD",
    "unfinished merge",
    "locks",
    "leftovers",
    "owner",
    "file system",
]
SAMPLE = "sessions/00/x.yaml"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockingSessionStore]:
    with BlockingSessionStore.open(tmp_path / "s", create=True, durability="process") as store:
        store.save(SessionAsset.new(id="plan"))
        yield store


def ill(store: BlockingSessionStore) -> list[Diagnosis]:
    """Return what the doctor does not like; each must say what to do."""
    found = store.doctor()
    assert [each.name for each in found] == NAMES
    assert all(bool(each.advice) is not each.is_ok for each in found)
    return [each for each in found if not each.is_ok]


def only(store: BlockingSessionStore) -> Diagnosis:
    (found,) = ill(store)
    return found


def advised(store: BlockingSessionStore, advice: str) -> None:
    """Run the git commands that an advice quotes."""
    for command in advice.split("`")[1::2]:
        words = shlex.split(command)
        assert words[0] == "git"
        run_git(store.path, *words[1:])


def test_a_new_store_is_well(store: BlockingSessionStore) -> None:
    assert ill(store) == []
    names = os.listdir(f"{store.path}/.git/gitstore")
    assert not [name for name in names if name.startswith(("tmp-", "own-"))]


@pytest.mark.parametrize("driver", [None, "/nonexistent/python -m x", "other %A", "'"])
def test_the_merge_driver_must_be_ours_and_there(
    store: BlockingSessionStore, driver: str | None
) -> None:
    right = run_git(store.path, "config", "merge.gitstore.driver")
    if driver is None:
        run_git(store.path, "config", "--unset", "merge.gitstore.driver")
    else:
        run_git(store.path, "config", "merge.gitstore.driver", driver)
    found = only(store)
    assert found.name == "merge driver"
    advised(store, found.advice.replace("in the repository", ""))
    assert run_git(store.path, "config", "merge.gitstore.driver") == right
    assert ill(store) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (".gitattributes", ""),
        (".gitattributes", "sessions/** -text merge=gitstore\n*.yaml text=auto\n"),
        (".gitattributes", "sessions/** -text merge=gitstore\n*.yaml merge=union\n"),
        ("sessions/.gitattributes", "*.yaml !merge\n"),
        (".git/info/attributes", "/sessions/**/*.yaml -merge\n"),
    ],
)
def test_session_files_must_be_marked(store: BlockingSessionStore, file: str, text: str) -> None:
    with open(f"{store.path}/{file}", "w") as attributes:
        attributes.write(text)
    found = only(store)
    assert found.name == "attributes"
    git = run_git(store.path, "check-attr", "merge", "text", "--", SAMPLE)
    assert git != f"{SAMPLE}: merge: gitstore\n{SAMPLE}: text: unset\n"


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*", True),
        ("*.yaml", True),
        ("sessions/**", True),
        ("/sessions/**", True),
        ("sessions/*", False),
        ("sessions/*/x.yaml", True),
        ("**/x.yaml", True),
        ("x.yaml", True),
        ("yaml", False),
        ("?.yaml", True),
        ("other/**", False),
    ],
)
def test_patterns_match_as_in_git(store: BlockingSessionStore, pattern: str, matches: bool) -> None:
    text = f"{pattern} marked=yes\n"
    with open(f"{store.path}/.gitattributes", "w") as attributes:
        attributes.write(text)
    git = run_git(store.path, "check-attr", "marked", "--", SAMPLE)
    assert git == f"{SAMPLE}: marked: {'yes' if matches else 'unspecified'}\n"
    assert bool(_attributes_of(text, SAMPLE)) is matches


def test_a_bare_store_has_its_attributes_in_history(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path / "s", create=True, bare=True) as store:
        assert ill(store) == []


def test_a_remote_that_plain_git_cannot_follow(store: BlockingSessionStore) -> None:
    store.add_remote("origin", "/nonexistent/remote.git")
    run_git(store.path, "config", "--unset", "branch.main.merge")
    run_git(store.path, "config", "--unset", "branch.main.remote")
    found = only(store)
    assert found.name == "remote"
    advised(store, found.advice)
    assert ill(store) == []


def test_a_contact_that_failed(store: BlockingSessionStore) -> None:
    store.add_remote("origin", "/nonexistent/remote.git")
    with pytest.raises(SyncError) as caught:
        store.fetch()
    found = only(store)
    assert found.name == "last contact"
    assert str(caught.value) in found.found


def test_what_people_left(store: BlockingSessionStore) -> None:
    run_git(store.path, "checkout", "-q", "--detach")
    found = only(store)
    assert found.name == "HEAD"
    advised(store, found.advice)
    git = f"{store.path}/.git"
    with open(f"{git}/MERGE_HEAD", "w") as head:
        head.write(run_git(store.path, "rev-parse", "HEAD"))
    assert only(store).name == "unfinished merge"
    os.unlink(f"{git}/MERGE_HEAD")
    assert ill(store) == []


def test_what_the_dead_left(store: BlockingSessionStore) -> None:
    git = f"{store.path}/.git"
    left = [f"{git}/index.lock", f"{git}/refs/heads/main.lock", f"{git}/gitstore/tmp-1"]
    for name in left:
        with open(name, "w"):
            pass
    assert ill(store) == [], "they may be somebody's who works"
    with open(left[2], "w"):
        pass
    for name in left:
        os.utime(name, (1, 1))
    found = {each.name: each for each in ill(store)}
    assert set(found) == {"locks", "leftovers"}
    assert all(name in found["locks"].found for name in left[:2])
    assert not os.path.exists(left[2]), "removed, as the advice says"
