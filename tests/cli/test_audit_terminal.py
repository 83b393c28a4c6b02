"""On a terminal: pages and colours; nowhere anything that steers it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest

from gitstore import dump_session, read_session
from tests.cli.commandline import Ran, process_environment
from tests.cli.test_audit import book
from tests.cli.test_failures import HOSTILE, NASTY
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.commandline import Cli

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """One session, changed once."""
    cli("save", "-", given=book("a"))
    cli("save", "-", given=book("a", "b\n", name="two"))
    return cli


def on_terminal(cli: Cli, *argv: str, **more: str) -> str:
    """Run a command on a terminal of 24 by 80, and return all that appears on it."""
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (24, 80))
    with subprocess.Popen(
        [sys.executable, "-m", "gitstore", *argv],
        cwd=cli.folder,
        env=process_environment(**{"TERM": "xterm", "LC_ALL": "C.UTF-8", **more}),
        stdin=subprocess.DEVNULL,
        stdout=child,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(child)
        said = b""
        while chunk := _read(parent):
            said += chunk
        assert process.stderr is not None
        assert process.stderr.read() == b""
    os.close(parent)
    assert process.returncode == 0
    return said.decode().replace("\r\n", "\n")


def written(cli: Cli, patch: pytest.MonkeyPatch, *argv: str, **more: str) -> str:
    """Run a command in process with its output, and that of a pager, on a terminal: quicker."""
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (24, 80))
    output = os.dup(1)
    with patch.context() as inner, os.fdopen(child, "w") as terminal:
        for name, value in {"TERM": "xterm", **more}.items():
            inner.setenv(name, value)
        inner.setattr(sys, "stdout", terminal)
        os.dup2(child, 1)
        try:
            assert cli(*argv) == Ran(0, "", "")
        finally:
            os.dup2(output, 1)
            os.close(output)
    said = b""
    while chunk := _read(parent):
        said += chunk
    os.close(parent)
    return said.decode().replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        # What Linux says when the other side of a terminal is closed.
        return b""


# --- pages ---------------------------------------------------------------


@pytest.fixture
def pager(tmp_path: Path) -> str:
    """A pager that says so, and says what `less` would be told."""
    script = tmp_path / "pager"
    script.write_text('#!/bin/sh\necho "paged $1 LESS=$LESS"\nexec cat\n')
    script.chmod(0o755)
    return f"{script} 'an argument'"


@pytest.mark.parametrize(
    "argv", [("log",), ("show", "book"), ("diff", "book"), ("blame", "book")], ids=" ".join
)
def test_long_output_is_paged(
    filled: Cli, pager: str, argv: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = filled(*argv).out
    # As a process of its own once: how it shares the terminal with a pager depends on no command.
    is_process = argv == ("log",)
    paged = COLOUR.sub(
        "",
        on_terminal(filled, *argv, PAGER=pager)
        if is_process
        else written(filled, monkeypatch, *argv, PAGER=pager),
    )
    assert paged.startswith("paged an argument LESS=FRX\n")
    # Times differ, and with them the spaces.
    assert paged.split()[4:5] == plain.split()[:1]
    assert paged.count("\n") == plain.count("\n") + 1


def test_what_is_no_page(filled: Cli, pager: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert written(filled, monkeypatch, "log", "--json", PAGER=pager).startswith("[")
    assert written(filled, monkeypatch, "--no-pager", "log", PAGER=pager).startswith("COMMIT ")
    for more in (
        {"PAGER": pager, "TERM": "dumb"},
        {"PAGER": ""},
        {"PAGER": "cat"},
        {"PAGER": "no-such-pager --at-all"},
        {"PAGER": "'"},
    ):
        assert written(filled, monkeypatch, "log", **more).startswith("COMMIT "), more


def test_a_pager_that_leaves_early_is_no_failure(filled: Cli, tmp_path: Path) -> None:
    script = tmp_path / "leaves"
    script.write_text("#!/bin/sh\nexec head -c 6\n")
    script.chmod(0o755)
    assert on_terminal(filled, "log", PAGER=str(script)) == "COMMIT"


def test_nothing_is_paged_but_on_a_terminal(
    filled: Cli, pager: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER", pager)
    monkeypatch.setenv("TERM", "xterm")
    for argv in (("log",), ("show", "book"), ("diff", "book"), ("blame", "book")):
        assert "paged" not in filled(*argv).out
        assert COLOUR.search(filled(*argv).out) is None


def test_a_page_for_a_browser_is_not_put_on_a_terminal(filled: Cli) -> None:
    parent, child = pty.openpty()
    try:
        fcntl.fcntl(parent, fcntl.F_SETFL, os.O_NONBLOCK)
        done = subprocess.run(
            [sys.executable, "-m", "gitstore", "report"],
            check=False,
            cwd=filled.folder,
            env=process_environment(),
            stdout=child,
            stderr=subprocess.PIPE,
            timeout=60,
        )
        with pytest.raises(BlockingIOError):
            os.read(parent, 1)
    finally:
        os.close(parent)
        os.close(child)
    assert done.returncode == 2
    assert b"give a file with -o FILE" in done.stderr


# --- colours -------------------------------------------------------------


def test_a_diff_is_coloured_on_a_terminal(filled: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = filled("diff", "book").out
    coloured = written(filled, monkeypatch, "diff", "book", PAGER="cat")
    assert COLOUR.sub("", coloured) == plain
    assert "\x1b[33msession book: " in coloured
    assert "\x1b[32m  +b\x1b[0m\n" in coloured
    for more in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        said = written(filled, monkeypatch, "diff", "book", **{"PAGER": "cat", **more})
        assert said == plain


# --- hostile text --------------------------------------------------------


def test_no_text_of_history_steers_the_terminal(cli: Cli) -> None:
    nasty = read_session(book(f"{NASTY}\n{NASTY}"))
    nasty.project_context.name = NASTY
    nasty.metadata[NASTY] = NASTY
    cli("save", "-", given=book("a"))
    cli("save", "-", "--message", NASTY, "--actor", NASTY, given=dump_session(nasty))
    # git refuses none of these in a message or a name.
    file = next(cli.folder.rglob("book.yaml"))
    file.write_text(file.read_text().replace("role: user", "role: bot"))
    seen = NASTY.replace("\r", "").replace("\n", "")
    who = f"--author={seen} <who@example.org>"
    run_git(cli.folder, "commit", "--quiet", "--all", "-m", seen, who)
    cli("delete", "book", "--actor", NASTY)
    for argv in (
        ("log",),
        ("log", "book"),
        ("diff", "book", "HEAD~", "HEAD"),
        ("diff", "book"),
        ("diff-store", "main"),
        ("blame", "book", "--at", "main"),
        ("deleted",),
        ("export-log",),
        ("export-log", "--format", "csv"),
        ("redact", "--dry-run", "book"),
        ("verify", "--deep"),
    ):
        for more in ((), ("--json",)):
            ran = cli(*argv, *more)
            assert HOSTILE.search(ran.out.replace("\r\n", "\n") + ran.err) is None, argv
    ran = cli("restore", "book")
    assert ran.code == 0
    for argv in (("diff", "book"), ("blame", "book"), ("undo", "main")):
        ran = cli(*argv)
        assert ran.code == 0
        assert HOSTILE.search(ran.out + ran.err) is None, argv
    assert cli("log", "book").out.count("\\x1b[2J") == 2, "by whom, and what"


def test_no_name_in_an_error_steers_the_terminal(filled: Cli) -> None:
    for argv in (
        ("diff", NASTY),
        ("diff", "book", NASTY),
        ("diff-store", NASTY),
        ("blame", NASTY, "--at", NASTY),
        ("restore", NASTY),
        ("undo", NASTY),
        ("copy", "book", NASTY),
        ("log", "--since", NASTY),
        ("log", NASTY),
        ("report", NASTY),
        ("report", "-o", f"{NASTY}/x"),
        ("export-log", "--format", NASTY),
        ("redact", "--dry-run", NASTY),
        ("verify", "--remembered", NASTY),
        ("purge", NASTY, "--confirm", "x"),
        ("purge", NASTY, "--confirm", NASTY),
        ("prune-history", "--before", NASTY),
    ):
        ran = filled(*argv)
        assert ran.code in {1, 2, 3, 5}, argv
        assert (ran.out, ran.err.count("\n")) == ("", 1), argv
        assert HOSTILE.search(ran.err) is None, argv
