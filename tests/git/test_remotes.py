"""Remotes in the configuration: what git wrote is read, and what we write git reads."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore.errors import (
    CorruptRepositoryError,
    InvalidRemoteError,
    RemoteNotFoundError,
    RepositoryLockedError,
)
from gitstore.git.configtext import ConfigText
from gitstore.git.repository import Repository
from gitstore.system import system_runtime
from gitstore.types import Remote
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitstore.git.remote.remotes import Remotes

#: What people write, and what a rewriting tool would lose.
HAND_MADE = """\
# my settings
[core]
\tbare = false ; not bare
  repositoryformatversion = 0
[alias] st = status ; short
[remote "old"]   # by hand
\turl = "/srv/old;x.git" # quoted
\t; a comment inside
\tfetch = +refs/heads/*:refs/remotes/old/*

# about ann
[user]
\tname = Ann \\
\t  [remote "fake"]
\temail = ann@example.org
[Branch "main"]
\tremote = old
\tMerge = refs/heads/trunk"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    run_git("/", "init", "-q", "-b", "main", str(folder))
    return folder


@pytest.fixture
def remotes(path: Path) -> Iterator[Remotes]:
    repository = Repository.open(
        str(path),
        branch="main",
        durability="process",
        lock_timeout_seconds=0.05,
        trust_owner=False,
        runtime=system_runtime(),
    )
    yield repository.remotes()
    repository.close()


def config(path: Path) -> str:
    return (path / ".git/config").read_text()


def write(path: Path, text: str) -> None:
    (path / ".git/config").write_text(text)


# --- reading ------------------------------------------------------------------------


def test_what_git_wrote_is_read(path: Path, remotes: Remotes) -> None:
    assert remotes.all() == []
    assert remotes.default() is None
    with pytest.raises(RemoteNotFoundError, match="git remote add"):
        remotes.find(None)
    run_git(path, "remote", "add", "work", "https://ann:secret@host/x.git")
    assert remotes.all() == [
        Remote(name="work", url="https://host/x.git", branch="main", is_default=True)
    ]
    run_git(path, "remote", "add", "backup", "../backup")
    assert remotes.default() is None, "two, and neither is chosen"
    with pytest.raises(RemoteNotFoundError, match="work, backup"):
        remotes.find(None)
    run_git(path, "remote", "add", "origin", "host:x.git")
    assert remotes.default() == "origin"
    run_git(path, "config", "branch.main.remote", "backup")
    run_git(path, "config", "branch.main.merge", "refs/heads/trunk")
    assert [(each.name, each.branch, each.is_default) for each in remotes.all()] == [
        ("work", "main", False), ("backup", "trunk", True), ("origin", "main", False),
    ]  # fmt: skip
    found = remotes.find(None)
    assert (found.name, found.branch, found.ref) == (
        "backup", "trunk", "refs/remotes/backup/trunk",
    )  # fmt: skip
    assert found.url.path == str(path.parent / "backup"), "relative to the working tree, as in git"
    assert remotes.find("work").url.password == "secret"
    with pytest.raises(RemoteNotFoundError, match="known: work, backup, origin"):
        remotes.find("other")
    run_git(path, "config", "branch.main.remote", ".")
    assert remotes.default() == "origin", "a branch that follows a local one"


def test_refspecs_say_where_the_tracking_ref_is(path: Path, remotes: Remotes) -> None:
    run_git(path, "remote", "add", "origin", "/x")
    for spec, ref in (
        ("+refs/heads/*:refs/remotes/upstream/*", "refs/remotes/upstream/main"),
        ("refs/heads/main:refs/remotes/origin/only", "refs/remotes/origin/only"),
        ("+refs/heads/other:refs/remotes/origin/other", "refs/remotes/origin/main"),
        ("+refs/*:refs/*", "refs/remotes/origin/main"),
        ("+refs/heads/*:refs/heads/*", "refs/remotes/origin/main"),
        ("+refs/heads/*:refs/remotes/../../heads/*", "refs/remotes/origin/main"),
    ):
        run_git(path, "config", "--replace-all", "remote.origin.fetch", spec)
        assert remotes.find("origin").ref == ref, spec


def test_urls_are_rewritten_as_git_does(path: Path, remotes: Remotes) -> None:
    run_git(path, "remote", "add", "origin", "gh:ann/x.git")
    run_git(path, "remote", "add", "both", "/first")
    run_git(path, "config", "--add", "remote.both.url", "/second")
    run_git(path, "config", "url.https://short/.insteadOf", "gh:")
    run_git(path, "config", "url.https://long/.insteadOf", "gh:ann/")
    run_git(path, "config", "url.ssh://git@push/.pushInsteadOf", "gh:")
    run_git(path, "config", "remote.both.pushurl", "gh:b")

    def urls(name: str) -> tuple[str, str]:
        found = remotes.find(name)
        return found.url.text, found.push_url.text

    def gits(name: str) -> tuple[str, str]:
        first = run_git(path, "remote", "get-url", name).strip()
        return first, run_git(path, "remote", "get-url", "--push", name).strip()

    assert urls("origin") == gits("origin") == ("https://long/x.git", "ssh://git@push/ann/x.git")
    assert urls("both") == gits("both") == ("/first", "https://short/b")
    run_git(path, "config", "--unset", "url.ssh://git@push/.pushInsteadOf")
    assert urls("origin") == gits("origin") == ("https://long/x.git", "https://long/x.git")


def test_a_url_that_cannot_be_used_is_still_listed(path: Path, remotes: Remotes) -> None:
    run_git(path, "config", "remote.bad.url", "weird://ann:secret@host/x")
    assert [each.url for each in remotes.all()] == ["weird://host/x"]
    with pytest.raises(InvalidRemoteError) as caught:
        remotes.find("bad")
    assert "secret" not in str(caught.value)


# --- writing ------------------------------------------------------------------------


def test_adding_writes_what_git_writes(path: Path, remotes: Remotes, tmp_path: Path) -> None:
    remotes.add("origin", "https://ann@host/x.git")
    other = tmp_path / "other"
    run_git("/", "init", "-q", "-b", "main", str(other))
    run_git(other, "remote", "add", "origin", "https://ann@host/x.git")
    run_git(other, "config", "branch.main.remote", "origin")
    run_git(other, "config", "branch.main.merge", "refs/heads/main")
    assert config(path) == config(other)
    remotes.add("second", "../x")
    assert run_git(path, "config", "branch.main.remote").strip() == "origin", "as it was"
    assert run_git(path, "remote").split() == ["origin", "second"]
    with pytest.raises(InvalidRemoteError, match="of that name"):
        remotes.add("second", "/x")


@pytest.mark.parametrize(
    "name", ["", "-x", "a b", "../x", "a..b", ".", "a\n", "x.lock", "a/", "a~"]
)
def test_names_that_git_refuses_are_refused(name: str, path: Path, remotes: Remotes) -> None:
    before = config(path)
    with pytest.raises(InvalidRemoteError) as caught:
        remotes.add(name, "/x")
    assert str(caught.value).isprintable()
    assert config(path) == before


def test_a_password_is_never_written_down(path: Path, remotes: Remotes) -> None:
    remotes.add("origin", "/x")
    before = config(path)
    for act in (remotes.set_url, remotes.add):
        with pytest.raises(InvalidRemoteError, match="credential helper") as caught:
            act("origin" if act == remotes.set_url else "two", "https://ann:secret@host/x")
        assert "secret" not in str(caught.value)
        token = f"https://gho_{'k' * 36}@host/x"
        with pytest.raises(InvalidRemoteError, match="token") as caught:
            act("origin" if act == remotes.set_url else "two", token)
        assert "kkk" not in str(caught.value)
        with pytest.raises(InvalidRemoteError):
            act("origin" if act == remotes.set_url else "two", "ext::sh")
    assert config(path) == before


def test_every_other_byte_of_the_configuration_stays(path: Path, remotes: Remotes) -> None:
    write(path, HAND_MADE)
    os.chmod(path / ".git/config", 0o640)
    remotes.add("new", "/srv/new#1.git")
    added = (
        '\n[remote "new"]\n\turl = "/srv/new#1.git"\n\tfetch = +refs/heads/*:refs/remotes/new/*\n'
    )
    assert config(path) == HAND_MADE + added
    assert stat.S_IMODE((path / ".git/config").stat().st_mode) == 0o640
    assert run_git(path, "config", "remote.new.url").strip() == "/srv/new#1.git"
    assert remotes.find("new").url.path == "/srv/new#1.git"

    remotes.set_url("old", "/srv/moved.git")
    moved = HAND_MADE.replace('url = "/srv/old;x.git" # quoted', "url = /srv/moved.git")
    assert config(path) == moved + added
    remotes.remove("new")
    assert config(path) == moved + "\n"
    with pytest.raises(RemoteNotFoundError):
        remotes.remove("new")
    with pytest.raises(RemoteNotFoundError):
        remotes.set_url("new", "/x")

    remotes.remove("old")
    left = moved.replace(
        '[remote "old"]   # by hand\n\turl = /srv/moved.git\n\t; a comment inside\n'
        "\tfetch = +refs/heads/*:refs/remotes/old/*\n", "",
    ).replace('[Branch "main"]\n\tremote = old\n\tMerge = refs/heads/trunk', "")  # fmt: skip
    assert config(path) == left
    assert run_git(path, "config", "user.name").split() == ["Ann", "[remote", "fake]"]
    assert run_git(path, "config", "alias.st").strip() == "status"


def test_removing_takes_the_tracking_refs_along(path: Path, remotes: Remotes) -> None:
    (path / "a").write_text("a")
    run_git(path, "add", "a")
    run_git(path, "commit", "-q", "-m", "a")
    remotes.add("origin", "/x")
    remotes.add("origin/two", "/y")
    for ref in ("origin/main", "origin/packed", "origin/two/main"):
        run_git(path, "update-ref", "--create-reflog", f"refs/remotes/{ref}", "HEAD")
    run_git(path, "pack-refs", "--all")
    run_git(path, "update-ref", "refs/remotes/origin/loose", "HEAD")
    remotes.remove("origin")
    refs = run_git(path, "for-each-ref", "--format=%(refname)").split()
    assert refs == ["refs/heads/main", "refs/remotes/origin/two/main"]
    assert not (path / ".git/logs/refs/remotes/origin/main").exists()
    assert (path / ".git/logs/refs/remotes/origin/two/main").exists()
    assert run_git(path, "config", "--get-regexp", "^branch", check=False) == ""


def test_an_option_is_set_once(path: Path, remotes: Remotes) -> None:
    assert remotes.set_default("merge.gitstore", "driver", 'a "b" \\ %O; c')
    assert run_git(path, "config", "merge.gitstore.driver") == 'a "b" \\ %O; c\n'
    before = config(path)
    assert not remotes.set_default("merge.gitstore", "driver", "other")
    assert remotes.set_default("merge.gitstore", "name", "by meaning")
    assert config(path) == before + "\tname = by meaning\n"


def test_a_configuration_that_breaks_off_is_not_written_to(path: Path, remotes: Remotes) -> None:
    write(path, config(path) + "[a]\n\tb = c\\")
    before = config(path)
    with pytest.raises(CorruptRepositoryError, match="repair it"):
        remotes.add("origin", "/x")
    assert config(path) == before


def test_a_lock_of_git_is_respected(path: Path, remotes: Remotes) -> None:
    (path / ".git/config.lock").touch()
    before = config(path)
    with pytest.raises(RepositoryLockedError):
        remotes.add("origin", "/x")
    assert config(path) == before
    (path / ".git/config.lock").unlink()
    remotes.add("origin", "/x")
    assert not (path / ".git/config.lock").exists()


_WORDS = st.sampled_from(
    ['[a]', '[a "b"]', '[A "b\\"c"] x = 1', "x = 1", "y", 'z = "q;\\" #" ; c', "# [c]", "", "v = a\\", " t"]
)  # fmt: skip


@given(
    st.lists(_WORDS, max_size=8), st.booleans(), st.sampled_from(["v w", 'a"b\\', " s ", "x;y\tz"])
)
def test_any_text_stays_as_it_is(lines: list[str], crlf: bool, value: str) -> None:
    data = ("\r\n" if crlf else "\n").join(lines).encode()
    text = ConfigText(data)
    assert text.data() == data
    had = text.has("a.b", "new")
    text.set("a.b", "new", value)
    assert not had
    assert text.has("a.b", "new")
    if not text.is_sound():
        assert data.rstrip().endswith(b"\\"), "it breaks off in a value: git refuses such a file"
        return
    again = ConfigText(text.data())
    assert again.has("a.b", "new")
    again.remove("a.b", "new")
    kept = again.data()
    assert kept in (data, data + b"\n", data + b'[a "b"]\n', data + b'\n[a "b"]\n') or (
        kept.replace(b"\n", b"") == data.replace(b"\n", b"")
    )
