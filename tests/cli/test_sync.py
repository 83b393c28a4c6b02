"""The commands of sync, run in process against real remotes: what they print, and how they end."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from gitstore import Author, BlockingSessionStore, ConversationTurn, Progress
from gitstore.cli.progress import progress_bar
from tests.cli.commandline import PROJ, Cli, Ran
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from pathlib import Path

NO_REMOTE = "no remote: the sessions are on this machine only; `gitstore remote add` adds one\n"
BEN = Author(name="Ben", email="ben@example.org")
NOTHING: dict[str, Any] = {
    "new": [],
    "updated": [],
    "merged": [],
    "deleted": [],
    "revived": [],
    "conflicting": [],
    "decided": [],
    "sent": [],
    "local": None,
    "remote": None,
    "rounds": 1,
}


@pytest.fixture
def remote(cli: Cli, tmp_path: Path) -> Path:
    """A bare repository that is the store's remote, and has its one session."""
    path = tmp_path / "remote.git"
    run_git(tmp_path, "init", "-q", "--bare", "-b", "main", str(path))
    cli.fill()
    assert cli("remote", "add", "origin", str(path)).code == 0
    assert cli("push").code == 0
    return path


@pytest.fixture
def other(cli: Cli, remote: Path, tmp_path: Path) -> Path:
    """Another machine's clone."""
    assert cli("clone", str(remote), str(tmp_path / "other")).code == 0
    return tmp_path / "other"


def done(said: str) -> Ran:
    return Ran(0, said, "")


def edit(path: Path, *, name: str | None = None, say: str | None = None) -> None:
    with (
        BlockingSessionStore.open(path, durability="process") as store,
        store.edit(PROJ) as asset,
    ):
        if name is not None:
            asset.project_context.name = name
        if say is not None:
            asset.add_turn(ConversationTurn.user(say))


def test_no_remote_is_no_error(cli: Cli) -> None:
    cli.fill()
    for verb in ("fetch", "pull", "push", "sync"):
        assert cli(verb) == done(NO_REMOTE), verb
        value = cli(verb, "--json").json
        assert value == NOTHING if verb != "fetch" else value["mode"] == "Offline"
    assert cli("remote") == done("no remote: the sessions are on this machine only\n")
    assert cli("remote", "--json").json == []
    assert cli("conflicts") == done("no conflicts\n")
    named = cli("sync", "backup")
    assert named.code == 3
    assert named.err.startswith("gitstore: backup: ")


def test_remotes_are_added_listed_and_removed(cli: Cli) -> None:
    url = "https://example.org/s.git"
    added = "added origin, https://example.org/s.git, branch main\n"
    assert cli("remote", "add", "origin", url) == done(added)
    listed = (
        "NAME    URL                        BRANCH  USED\n"
        "origin  https://example.org/s.git  main    yes\n"
    )
    assert cli("remote") == cli("remote", "list") == done(listed)
    shape = {"name": "origin", "url": url, "branch": "main", "is_default": True}
    assert cli("remote", "list", "--json").json == [shape]
    assert run_git(cli.folder, "config", "remote.origin.url").strip() == url
    refused = cli("remote", "add", "again", "https://ann:hunter2@example.org/s.git")
    assert refused.code == 5
    assert "hunter2" not in refused.err
    assert cli("remote", "add", "bad", "ext::sh -c id").code == 5
    assert cli("remote", "remove", "origin") == done("removed origin\n")
    assert cli("remote", "remove", "origin").code == 3


def test_a_clone_says_what_it_brought(cli: Cli, remote: Path, tmp_path: Path) -> None:
    made = cli("clone", str(remote), str(tmp_path / "one"))
    assert made == done(f"cloned 1 session into {tmp_path / 'one'}, on branch main\n")
    assert_git_is_content(tmp_path / "one")
    value = cli("clone", str(remote), str(tmp_path / "two"), "--bare", "--json").json
    assert value == {"path": str(tmp_path / "two"), "branch": "main", "sessions": 1}
    again = cli("clone", str(remote), str(tmp_path / "one"))
    assert (again.code, again.out) == (6, "")
    assert "not empty" in again.err
    assert cli("clone", str(tmp_path / "nothing"), str(tmp_path / "three")).code == 3
    assert cli("clone", str(remote)).code == 2
    assert not (tmp_path / "three").exists()


def test_what_came_and_went_is_told_by_session(cli: Cli, remote: Path, other: Path) -> None:
    edit(other, say="from the other machine")
    pushed = cli("--store", str(other), "sync")
    assert pushed == done(f"sent      {PROJ}\n0 sessions received, 1 sent\n")
    assert cli("fetch") == done("0 sessions to push, 1 to pull, 0 in conflict\n")
    edit(cli.folder, say="from here")
    assert cli("pull") == done(f"merged    {PROJ}\n1 session received, 0 sent\n")
    value = cli("push", "--json").json
    assert value == NOTHING | {
        "sent": [PROJ],
        "local": run_git(cli.folder, "rev-parse", "main").strip(),
        "remote": run_git(remote, "rev-parse", "main").strip(),
    }
    assert cli("sync") == done("nothing to exchange\n")
    assert_git_is_content(cli.folder)


def test_a_conflict_is_listed_and_resolved(cli: Cli, other: Path) -> None:
    edit(other, name="theirs")
    assert cli("--store", str(other), "push").code == 0
    edit(cli.folder, name="ours", say="from here")
    stopped = cli("sync")
    assert (stopped.code, stopped.out) == (4, "")
    assert stopped.err == (
        f"gitstore: origin: both sides changed {PROJ} project_context.name; nothing was moved. "
        "`gitstore conflicts` lists them; decide with `gitstore resolve`, or pull with --ours, "
        "--theirs or --newest\n"
    )
    listed = cli("conflicts")
    assert listed.code == 0
    assert listed.out.splitlines()[1].split() == [
        PROJ, "project_context.name", '"proj"', '"ours"', '"theirs"',
    ]  # fmt: skip
    (shape,) = cli("conflicts", "--json").json
    assert (shape["where"], shape["ours"]) == ("project_context.name", "ours")
    assert f"  in conflict: {PROJ}\n" in cli("status").out
    assert cli("doctor").code == 8
    assert cli("resolve", PROJ[:6]).code == 2
    assert cli("resolve", PROJ[:6], "--ours", "--field", "nothing.here").code == 3
    decided = cli("resolve", PROJ[:6], "--theirs")
    assert decided == done(f"decided {PROJ}: theirs; no conflict left in it\n")
    assert cli("sync").out == (
        f"merged    {PROJ}\ndecided   {PROJ} project_context.name\nsent      {PROJ}\n"
        "1 session received, 1 sent\n"
    )
    assert "theirs" in cli("show", PROJ).out


@pytest.mark.parametrize(("side", "stands"), [("--ours", "ours"), ("--theirs", "theirs")])
def test_a_side_may_be_named_at_once(cli: Cli, other: Path, side: str, stands: str) -> None:
    edit(other, name="theirs")
    assert cli("--store", str(other), "push").code == 0
    edit(cli.folder, name="ours")
    assert cli("pull", "--ours", "--newest").code == 2
    assert cli("pull", side).code == 0
    assert stands in cli("show", PROJ).out


def test_stores_that_have_nothing_in_common_are_joined_only_if_asked(
    cli: Cli, remote: Path, tmp_path: Path
) -> None:
    lone = tmp_path / "lone"
    # By another person: the same first commit in the same second would be one commit.
    with BlockingSessionStore.open(lone, create=True, author=BEN, durability="process") as store:
        store.add_remote("origin", str(remote))
    text = cli("show", PROJ, "--yaml").out.replace(PROJ, "lone-1")
    assert cli("--store", str(lone), "save", "-", given=text.encode()).code == 0
    refused = cli("--store", str(lone), "pull")
    assert refused.code == 4
    assert "`gitstore pull --join` merges them all the same" in refused.err
    assert cli("--store", str(lone), "sync", "--join").out == (
        f"new       {PROJ}\nsent      lone-1\n1 session received, 1 sent\n"
    )


def test_changes_are_printed_until_interrupted(cli: Cli) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    start = run_git(cli.folder, "rev-parse", "main").strip()
    cli.fill()
    made = run_git(cli.folder, "rev-parse", "main").strip()
    cli.patch.setattr("time.sleep", interrupt)
    said = cli("watch", "--since", start)
    assert (said.code, said.out) == (130, f"created {PROJ} in {made[:10]}\n")
    (line,) = cli("watch", "--since", start, "--json").out.splitlines()
    assert json.loads(line) == {"session_id": PROJ, "kind": "created", "commit": made}
    assert (cli("watch").code, cli("watch").out) == (130, "")


def test_the_doctor_says_what_to_do(cli: Cli) -> None:
    well = cli("doctor")
    assert (well.code, well.out.splitlines()[-1]) == (0, "all is well")
    assert all(line.startswith("ok       ") for line in well.out.splitlines()[:-1])
    run_git(cli.folder, "config", "merge.gitstore.driver", "/nonexistent/python -m gitstore")
    run_git(cli.folder, "switch", "-q", "-c", "elsewhere")
    lock = cli.folder / ".git" / "index.lock"
    lock.touch()
    os.utime(lock, (0, 0))
    ill = cli("--store", ".", "doctor", "--json")
    bad = {each["name"]: each for each in ill.json if not each["is_ok"]}
    assert ill.code == 8
    assert set(bad) == {"merge driver", "locks"}
    assert "git config merge.gitstore.driver" in bad["merge driver"]["advice"]
    lines = cli("doctor").out.splitlines()
    assert lines[0] == "problem  merge driver: its program is gone: /nonexistent/python"
    assert lines[-1] == "2 problems found"


class Terminal:
    """Standard error that says it is a terminal."""

    def __init__(self) -> None:
        self.text = ""
        self.encoding = "utf-8"

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    with progress_bar() as silent:
        assert silent is None
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    with progress_bar() as tell:
        assert tell is not None
        tell(Progress(phase="receiving", done=10, total=None, unit="bytes"))
        tell(Progress(phase="checking", done=3, total=7, unit="objects"))
    assert "checking" in terminal.text
    assert "3/7" in terminal.text
    assert "\x1b[3" not in terminal.text, "no colours"
