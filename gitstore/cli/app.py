"""The application: its commands, the options in front of them, and how every run ends."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer

from gitstore import StorageError
from gitstore.cli.audit import blame, deleted, diff, diff_store, log
from gitstore.cli.care import doctor, watch
from gitstore.cli.checking import redact, repair, verify
from gitstore.cli.conflicts import conflicts, resolve
from gitstore.cli.demo import demo
from gitstore.cli.failures import (
    EXIT_CODES,
    INTERRUPTED,
    OUTPUT_CLOSED,
    UNEXPECTED,
    USAGE,
    exit_code,
    explain,
)
from gitstore.cli.history import init, status
from gitstore.cli.imports import import_app
from gitstore.cli.maintenance import maintain, stats
from gitstore.cli.output import OutputClosedError, drop_output, one_line, write
from gitstore.cli.remotes import clone, remote_app
from gitstore.cli.reports import export_log, report
from gitstore.cli.restoring import copy, restore, undo
from gitstore.cli.retention import prune_history, purge
from gitstore.cli.sessions import delete, list_sessions, save, show
from gitstore.cli.settings import HERE, WAIT_SECONDS, Settings, parse_author
from gitstore.cli.syncing import fetch, pull, push, sync

if TYPE_CHECKING:
    from collections.abc import Sequence

_DISTRIBUTION: Final = "gitstore-sessions"
# UsageError, the base of what the parser refuses. Named by way of its subclass: it is click's own
# in older versions of typer, and a copy inside typer in newer ones.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])

app = typer.Typer(
    name="gitstore",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)
app.command()(init)
app.command()(save)
app.command()(show)
app.command("list")(list_sessions)
app.command()(delete)
app.command()(copy)
app.command()(restore)
app.command()(undo)
app.command()(deleted)
app.command()(log)
app.command()(diff)
app.command("diff-store")(diff_store)
app.command()(blame)
app.command()(status)
app.add_typer(remote_app, name="remote")
app.command()(clone)
app.command()(fetch)
app.command()(pull)
app.command()(push)
app.command()(sync)
app.command()(conflicts)
app.command()(resolve)
app.command()(watch)
app.command()(doctor)
app.command()(verify)
app.command()(repair)
app.command()(report)
app.command("export-log")(export_log)
app.command()(stats)
app.command()(maintain)
app.command()(redact)
app.command()(purge)
app.command("prune-history")(prune_history)
app.add_typer(import_app, name="import")
app.command()(demo)


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    *,
    store: Annotated[
        str, typer.Option(envvar="GITSTORE_DIR", metavar="DIR", help="The store's folder.")
    ] = HERE,
    author: Annotated[
        str | None,
        typer.Option(envvar="GITSTORE_AUTHOR", metavar="'NAME <MAIL>'", help="Who commits."),
    ] = None,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long to wait for a lock.")
    ] = WAIT_SECONDS,
    redact_secrets: Annotated[
        bool, typer.Option("--redact", help="Mask keys and tokens in what is saved or imported.")
    ] = False,
    sign: Annotated[
        bool, typer.Option("--sign", help="Sign commits, with the key that git would use.")
    ] = False,
    no_pager: Annotated[
        bool, typer.Option("--no-pager", help="Long output at once, also on a terminal.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """AI-agent sessions in a git repository: one YAML file each, one commit per save."""
    context.obj = Settings(
        store=store,
        author=parse_author(author),
        wait_seconds=wait,
        is_redacting=redact_secrets,
        is_signing=sign,
        has_pager=not no_pager,
    )
    if version:
        write(f"gitstore {_version()}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        write(context.get_help() + "\n")
        raise typer.Exit


def _version() -> str:
    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "of a checkout that is not installed"


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code; whatever happens, in one line and no trace."""
    # A character that the terminal's encoding lacks is no reason to fail. Not every stand-in for
    # standard output can be told so.
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    try:
        result: object = app(list(argv), prog_name="gitstore", standalone_mode=False)
    except OutputClosedError:
        drop_output()
        return OUTPUT_CLOSED
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else UNEXPECTED
    except Exception as error:
        if os.environ.get("GITSTORE_DEBUG"):
            raise
        if isinstance(error, OSError):
            drop_output()
        return _fail(*_verdict(error))
    return result if isinstance(result, int) else 0


def _verdict(error: Exception) -> tuple[str, int]:
    """Return what to say of an error, and the exit code for it."""
    if isinstance(error, StorageError):
        return explain(error), exit_code(error)
    if isinstance(error, _UsageError):
        return f"{error.format_message().rstrip('.')}; see gitstore --help", USAGE
    if isinstance(error, OSError):
        # The store's own are StorageErrors: this is standard input or output.
        return f"cannot read or write: {error.strerror or error}", UNEXPECTED
    what = f"{type(error).__name__}: {error}"
    return f"unexpected {what}; GITSTORE_DEBUG=1 shows where, please report it", UNEXPECTED


def _fail(message: str, code: int) -> int:
    print(f"gitstore: {one_line(message)}", file=sys.stderr)
    return code
