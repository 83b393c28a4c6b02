"""Every exit code; one line on standard error and never a traceback; nothing hostile gets through."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

import gitstore
from gitstore import (
    AmbiguousCommitError,
    ConversationTurn,
    RepositoryLockedError,
    SessionAsset,
    StorageError,
    ToolCallRecord,
    dump_session,
)
from gitstore.cli import failures, output
from tests.cli.commandline import ORCS, PROJ, process_environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.commandline import Cli

GITSTORE = [sys.executable, "-m", "gitstore"]
#: What no output may hold: control characters but line breaks, and changes of text direction.
HOSTILE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
NASTY = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\x08\u202etxt.exe\u2069\u2028end"


# --- exit codes ----------------------------------------------------------


def test_every_error_has_a_documented_exit_code() -> None:
    documented = {int(code) for code in re.findall(r"^  (\d+) ", failures.EXIT_CODES, re.MULTILINE)}
    assert documented == {*range(11), 130, 141}
    families = {
        "SessionNotFoundError": 3,
        "UnknownCommitError": 3,
        "BeforeHistoryError": 3,
        "SessionExistsError": 4,
        "StaleRevisionError": 4,
        "InvalidSessionIdError": 5,
        "SerializationError": 5,
        "UnsupportedVersionError": 5,
        "AmbiguousCommitError": 2,
        "NaiveTimeError": 2,
        "RepositoryLockedError": 7,
        "ConcurrentUpdateError": 7,
        "RemoteNotFoundError": 3,
        "RemoteBranchGoneError": 3,
        "NoConflictError": 3,
        "MergeConflictError": 4,
        "ForeignConflictError": 4,
        "UnrelatedHistoriesError": 4,
        "HistoryRewrittenError": 4,
        "InvalidRemoteError": 5,
    }
    for name in gitstore.__all__:
        kind = getattr(gitstore, name)
        if isinstance(kind, type) and issubclass(kind, StorageError):
            made = kind.__new__(kind)
            fallback = 6 if isinstance(made, gitstore.RepositoryError) else 1
            fallback = 10 if isinstance(made, gitstore.SyncError) else fallback
            assert failures.exit_code(made) == families.get(name, fallback), name


def test_help_tells_the_exit_codes(cli: Cli) -> None:
    for argv in ((), ("--help",)):
        ran = cli(*argv)
        assert (ran.code, ran.err) == (0, "")
        for line in failures.EXIT_CODES.splitlines()[1:]:
            assert line.strip() in ran.out
        for command in (
            "init",
            "save",
            "show",
            "list",
            "delete",
            "log",
            "copy",
            "restore",
            "undo",
            "deleted",
            "diff",
            "diff-store",
            "blame",
            "status",
            "verify",
            "repair",
            "report",
            "export-log",
            "redact",
            "purge",
            "prune-history",
            "import",
            "demo",
        ):
            assert f"\n  {command} " in ran.out


def test_version(cli: Cli) -> None:
    assert re.fullmatch(r"gitstore \S.*\n", cli("--version").out)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["list", "--bogus"], "No such option: --bogus"),
        (["show"], "Missing argument"),
        (["list", "--limit", "-1"], "Invalid value for '--limit'"),
        (["--author", "Ann", "list"], "'Ann' is no author; write it as 'Name <mail>'"),
        (["--author", "A\nB <b>", "list"], "is no author"),
        (["save", "x", "--expected", "HEAD"], "'HEAD' is neither 40 hex digits nor any or absent"),
    ],
)
def test_usage(cli: Cli, argv: list[str], said: str) -> None:
    ran = cli(*argv)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("gitstore: ")
    assert said in ran.err
    assert ran.err.endswith("; see gitstore --help\n")
    assert ran.err.count("\n") == 1


def test_an_ambiguous_commit_is_usage() -> None:
    error = AmbiguousCommitError(path="p", at="ab", candidates=("abc", "abd"))
    assert (failures.exit_code(error), failures.explain(error)) == (2, str(error))


def test_busy_while_somebody_else_writes(cli: Cli) -> None:
    cli.fill()
    with (cli.folder / ".git" / "gitstore" / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ran = cli("--wait", "0", "delete", PROJ)
    assert (ran.code, ran.out, ran.err.count("\n")) == (7, "", 1)
    assert "Try again" in ran.err
    assert cli("delete", PROJ).code == 0
    assert RepositoryLockedError.retryable


def test_a_damaged_repository(cli: Cli) -> None:
    cli.fill()
    for path in (cli.folder / ".git" / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(b"")
    ran = cli("list")
    assert (ran.code, ran.out, ran.err.count("\n")) == (6, "", 1)


def test_the_unexpected_is_one_line_too(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    # A bug, put in on purpose.
    monkeypatch.setattr("gitstore.cli.sessions.read_session", None)
    failed = cli("save", "-", given=b"id: x\n")
    assert failed.code == 1
    assert re.fullmatch(r"gitstore: unexpected TypeError: .*GITSTORE_DEBUG=1.*\n", failed.err)
    monkeypatch.setenv("GITSTORE_DEBUG", "1")
    with pytest.raises(TypeError):
        cli("save", "-", given=b"id: x\n")


# --- a process of its own ------------------------------------------------


def test_a_reader_that_goes_away_ends_it_quietly(cli: Cli) -> None:
    cli.fill()
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*GITSTORE, "list"],
            check=False,
            cwd=cli.folder,
            env=process_environment(),
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_full_disk_under_the_output_is_one_line(cli: Cli) -> None:
    cli.fill()
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*GITSTORE, "list"],
            check=False,
            cwd=cli.folder,
            env=process_environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr == b"gitstore: cannot read or write: No space left on device\n"


def test_an_interrupt_is_130(cli: Cli, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(  # noqa: SIM117 - the second needs the first to run
        [*GITSTORE, "save", str(fifo)],
        cwd=cli.folder,
        # What a shell starts in the background ignores interrupts, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads
        # The interrupt may hit between any two instructions, also before a file is in its `with`.
        env=process_environment(PYTHONWARNINGS="ignore"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        # Opening it returns when the command has opened it too: from then on it reads.
        with fifo.open("wb"):
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert err in (b"", b"gitstore: interrupted\n")


def test_without_its_libraries_it_says_what_to_install(cli: Cli) -> None:
    code = "import sys; sys.modules['typer'] = None; import gitstore.cli as c; sys.exit(c.main([]))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        env=process_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "gitstore-sessions[cli]" in done.stderr


def test_a_terminal_gets_relative_times_within_its_width(cli: Cli) -> None:
    asset = SessionAsset.new(id="s1", name="long " * 40)
    cli("save", "-", given=dump_session(asset))
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (24, 80))
    with subprocess.Popen(
        [*GITSTORE, "list"],
        cwd=cli.folder,
        env=process_environment(TERM="xterm", LC_ALL="C.UTF-8"),
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
    lines = re.sub(r"\x1b\[[0-9;]*m", "", said.decode()).splitlines()
    assert re.fullmatch(r"s1  long .*…\s+0\s+(just now|\d+ minutes? ago)\s+LocalOnly\s*", lines[1])
    assert max(map(len, lines)) <= 80


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        # What Linux says when the other side of a terminal is closed.
        return b""


# --- hostile text --------------------------------------------------------


def hostile() -> SessionAsset:
    asset = SessionAsset.from_orcs_json((ORCS / "full.json").read_bytes())
    asset.project_context.name = NASTY
    asset.project_context.root_path = NASTY
    asset.project_context.technologies = [NASTY]
    turn = ConversationTurn.user(f"{NASTY}\n\ttwo\r\nthree")
    turn.role = NASTY
    turn.tags = [NASTY]
    turn.tool_calls = [ToolCallRecord(tool_name=NASTY, args={NASTY: 1}, result=NASTY)]
    asset.history.turns.append(turn)
    asset.history.compact(NASTY, keep_recent=2)
    return asset


def test_no_text_of_a_session_steers_the_terminal(cli: Cli) -> None:
    asset = hostile()
    cli("save", "-", "--actor", "bot", given=dump_session(asset))
    for argv in (
        ("list",),
        ("list", "--json"),
        ("show", PROJ, "--json"),
        ("show", PROJ, "--orcs"),
        ("log",),
    ):
        ran = cli(*argv)
        assert ran.code == 0
        assert HOSTILE.search(ran.out) is None, argv
        if "--json" not in argv and "--orcs" not in argv and argv != ("log",):
            assert "\\x1b]0;owned\\x07" in ran.out
    shown = cli("show", PROJ).out
    assert HOSTILE.search(shown.replace("\t", "")) is None
    # ... and all of it is there, to be seen
    assert (
        shown.count("\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\r\\x08\\u202etxt.exe\\u2069\\u2028end")
        == 9
    )
    assert "    \ttwo\n    three\n" in shown


def test_the_lossless_forms_stay_lossless(cli: Cli) -> None:
    asset = hostile()
    cli("save", "-", given=dump_session(asset))
    assert SessionAsset.from_orcs_json(cli("show", PROJ, "--orcs").out) == asset
    assert SessionAsset.from_document(cli("show", PROJ, "--json").json["session"]) == asset
    yaml = cli("show", PROJ, "--yaml").out
    assert gitstore.read_session(yaml.encode()) == asset
    assert "\x1b" not in yaml
    assert "\x9b" not in yaml


def test_no_name_in_an_error_steers_the_terminal(cli: Cli, tmp_path: Path) -> None:
    for argv in (
        ("save", f"{NASTY}.yaml"),
        ("show", NASTY),
        ("show", PROJ, "--at", NASTY),
        ("log", NASTY),
        ("--store", f"{tmp_path}/{NASTY}", "list"),
        (NASTY,),
        (f"--{NASTY}",),
        ("import", "orcs", f"{tmp_path}/{NASTY}"),
        ("save", "x", "--expected", NASTY),
    ):
        ran = cli(*argv)
        assert ran.code in {2, 3, 5, 6}, argv
        assert HOSTILE.search(ran.err + ran.out) is None, argv
        assert (ran.err + ran.out).count("\n") == 1, argv


# --- times ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "2026-03-01"),
        (0, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (7199, "1 hour ago"),
        (7200, "2 hours ago"),
        (86400 * 30 - 1, "29 days ago"),
        (86400 * 30, "2026-01-30"),
    ],
)
def test_relative_times(seconds: int, said: str) -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert output.relative(now - timedelta(seconds=seconds), now=now) == said
