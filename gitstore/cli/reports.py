"""Commands that auditors take something away from: report, export-log."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from gitstore.cli.failures import FileExistsAlreadyError, FileNotWrittenError
from gitstore.cli.output import is_terminal, one_line, write, write_bytes, write_json
from gitstore.cli.settings import AsJson, Settings, require_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitstore import BlockingSessionStore

_OnlyThis: TypeAlias = Annotated[
    str | None, typer.Argument(metavar="ID", help="Only this session, stored now or ever.")
]
_Output: TypeAlias = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Where to; else to standard output."),
]
_Force: TypeAlias = Annotated[bool, typer.Option("--force", help="Also over a file that is there.")]
_HTML: Final = "html"


class LogFormat(StrEnum):
    """How a log is written down."""

    JSONL = "jsonl"
    CSV = "csv"


def report(
    context: typer.Context,
    session_id: _OnlyThis = None,
    *,
    output: _Output = None,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many changes.")] = None,
    force: _Force = False,
    as_json: AsJson = False,
) -> None:
    """Write an HTML page on a session or on the store.

    Who changed what and when, with the diffs, in one file that loads nothing from elsewhere.
    """
    if output is None and not as_json and is_terminal():
        message = "a page is for a browser: give a file with -o FILE, or send it elsewhere"
        raise typer.BadParameter(message)

    def made(store: BlockingSessionStore, name: str | None) -> str:
        return store.report(name, limit=limit)

    _export(context, session_id, made, kind=_HTML, output=output, force=force, as_json=as_json)


def export_log(
    context: typer.Context,
    session_id: _OnlyThis = None,
    *,
    form: Annotated[
        LogFormat, typer.Option("--format", help="JSON Lines, or CSV for a spreadsheet.")
    ] = LogFormat.JSONL,
    output: _Output = None,
    force: _Force = False,
    as_json: AsJson = False,
) -> None:
    """Write all changes of a session or of the store as a file for other programs."""

    def made(store: BlockingSessionStore, name: str | None) -> str:
        return store.export_log(name, format="csv" if form is LogFormat.CSV else "jsonl")

    _export(context, session_id, made, kind=form.value, output=output, force=force, as_json=as_json)


def _export(
    context: typer.Context,
    session_id: str | None,
    made: Callable[[BlockingSessionStore, str | None], str],
    *,
    kind: str,
    output: str | None,
    force: bool,
    as_json: bool,
) -> None:
    if output is not None and not force:
        _check_absent(output)
    with Settings.of(context).open() as store:
        name = None if session_id is None else require_session(store, session_id)
        text = made(store, name)
    data = text.encode(errors="backslashreplace")
    if output is not None:
        _write_file(output, data, force=force)
    if as_json:
        shape = {"session_id": name, "format": kind, "path": output, "bytes": len(data)}
        write_json({**shape, "text": text if output is None else None})
    elif output is not None:
        write(f"wrote {one_line(output)}, {len(data)} bytes\n")
    else:
        write_bytes(data)


def _check_absent(file: str) -> None:
    """Say so before the work is done."""
    try:
        is_there = Path(file).exists()
    except (OSError, ValueError):
        return  # writing it will say what is wrong
    if is_there:
        raise FileExistsAlreadyError(file)


def _write_file(file: str, data: bytes, *, force: bool) -> None:
    try:
        with Path(file).open("wb" if force else "xb") as stream:
            stream.write(data)
    except FileExistsError:
        raise FileExistsAlreadyError(file) from None
    except (OSError, ValueError) as error:
        raise FileNotWrittenError(file, getattr(error, "strerror", None) or str(error)) from error
