"""Commands about one session, or all of them: save, show, list, delete."""

from __future__ import annotations

import re
import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gitstore import (
    Expect,
    Revision,
    SerializationError,
    SessionAsset,
    SessionNotFoundError,
    StorageError,
    dump_session,
    read_session,
)
from gitstore.cli.output import (
    json_text,
    one_line,
    when,
    write,
    write_bytes,
    write_json,
    write_table,
)
from gitstore.cli.reading import readable
from gitstore.cli.settings import (
    AsJson,
    SessionIdOrPrefix,
    Settings,
    find_past_session,
    find_session,
)
from gitstore.cli.shapes import asset_shape, meta_shape, saved_shape
from gitstore.importers.files import in_file, read_file, read_stream

if TYPE_CHECKING:
    from gitstore import At, BlockingSessionStore, Expected, Saved

_STDIN: Final = "-"
_REVISION: Final = re.compile("[0-9a-f]{40}")
#: A commit's abbreviation may be all digits too, but never has dashes.
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
#: How far back a delete looks for what it deleted; a busy store may commit in between.
_RECENT: Final = 50


def save(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file, or - for standard input.")],
    *,
    expected: Annotated[
        str, typer.Option(metavar="REVISION|any|absent", help="What must be stored now.")
    ] = "any",
    message: Annotated[str | None, typer.Option(help="The commit message.")] = None,
    actor: Annotated[str | None, typer.Option(help="On whose behalf.")] = None,
    as_json: AsJson = False,
) -> None:
    """Store a session file, in YAML or ORCS JSON.

    It becomes one commit; what is stored already makes none. Which of the two it is shows in the
    content. With --expected, nothing is saved unless exactly that is stored now.
    """
    wanted = _expectation(expected)
    asset = _read_asset(file)
    with Settings.of(context).open() as store:
        saved = store.save(asset, expected=wanted, message=message, actor=actor)
    write_json(saved_shape(saved)) if as_json else write(outcome_line(saved) + "\n")


def show(
    context: typer.Context,
    session_id: SessionIdOrPrefix,
    *,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="COMMIT|TIME", help="As it was then; a time has a zone: 2026-01-31T12:00Z."
        ),
    ] = None,
    as_json: AsJson = False,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print the session file.")] = False,
    as_orcs: Annotated[bool, typer.Option("--orcs", help="Print ORCS JSON.")] = False,
) -> None:
    """Show a session, as it is now or as it was."""
    if as_json + as_yaml + as_orcs > 1:
        message = "--json, --yaml and --orcs exclude each other; give one"
        raise typer.BadParameter(message)
    with Settings.of(context).open() as store:
        asset = _load(store, session_id, at)
    if as_json:
        write_json(asset_shape(asset))
    elif as_yaml:
        write_bytes(dump_session(asset))
    elif as_orcs:
        write_bytes(json_text(asset.to_orcs_json()).encode() + b"\n")
    else:
        write(readable(asset))


def list_sessions(
    context: typer.Context,
    *,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the sessions, latest change first.

    Times are relative on a terminal. One that cannot be read says why, and hides no other.
    """
    with Settings.of(context).open() as store:
        rows = store.list(limit=limit)
    if as_json:
        write_json([meta_shape(row) for row in rows])
    elif rows:
        columns = ("ID", "NAME", "TURNS", "UPDATED", "STATE", "PROBLEM")
        cells = [
            (
                row.id,
                row.name or "",
                "" if row.problem else str(row.turn_count),
                "" if row.problem else when(row.updated_at),
                row.sync_state.value,
                row.problem or "",
            )
            for row in rows
        ]
        # A column that says nothing is not shown.
        kept = [index for index in range(len(columns)) if index < 1 or any(c[index] for c in cells)]
        write_table(
            [columns[i] for i in kept],
            [[row[i] for i in kept] for row in cells],
            may_shrink=("NAME", "PROBLEM"),
        )


def delete(
    context: typer.Context,
    session_id: SessionIdOrPrefix,
    *,
    message: Annotated[str | None, typer.Option(help="The commit message.")] = None,
    actor: Annotated[str | None, typer.Option(help="On whose behalf.")] = None,
    as_json: AsJson = False,
) -> None:
    """Delete a session; print how to get it back."""
    settings = Settings.of(context)
    with settings.open() as store:
        name = find_session(store, session_id)
        saved = store.delete(name, message=message, actor=actor)
        restore = _restore_line(store, settings, saved)
    if as_json:
        write_json({**saved_shape(saved), "restore": restore})
    else:
        write(f"{outcome_line(saved)}\nto get it back: {restore}\n")


def outcome_line(saved: Saved) -> str:
    """Return what a save or a delete did, in one line."""
    done = f"{saved.outcome.value} {one_line(saved.session_id)}"
    commit = "" if saved.commit is None else f" in commit {saved.commit[:10]}"
    adopted = "" if saved.adopted is None else f", after a hand edit kept as {saved.adopted[:10]}"
    return f"{done}{commit}{adopted}"


def _expectation(text: str) -> Expected:
    if text in ("any", "absent"):
        return Expect(text)
    if _REVISION.fullmatch(text):
        return Revision(text)
    message = f"{text!a} is neither 40 hex digits nor any or absent"
    raise typer.BadParameter(message, param_hint="--expected")


def _read_asset(file: str) -> SessionAsset:
    """Read a session file or ORCS JSON: only the latter begins with a brace."""
    name = "standard input" if file == _STDIN else file
    data = read_stream(sys.stdin.buffer, name=name) if file == _STDIN else read_file(Path(file))
    is_json = data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
    try:
        return SessionAsset.from_orcs_json(data) if is_json else read_session(data)
    except SerializationError as error:
        raise in_file(error, name=name) from error


def _load(store: BlockingSessionStore, given: str, at: str | None) -> SessionAsset:
    if at is None:
        return store.load(find_session(store, given))
    moment = _moment(at)
    try:
        return store.load(given, at=moment)
    except SessionNotFoundError:
        name = find_past_session(store, given)
        if name == given:
            raise
        return store.load(name, at=moment)


def _moment(at: str) -> At:
    """Return a time where the text begins like one, else the name of a commit."""
    if _DATE.match(at) is None:
        return at
    try:
        return datetime.fromisoformat(at)
    except ValueError:
        message = f"{at!a} is no time; write it as 2026-01-31T12:00:00Z"
        raise typer.BadParameter(message, param_hint="--at") from None


def _restore_line(store: BlockingSessionStore, settings: Settings, deleted: Saved) -> str:
    """Return the command that gets back what was deleted just now."""
    past = iter(store.history(deleted.session_id, limit=_RECENT))
    before = next((next(past, None) for change in past if change.commit == deleted.commit), None)
    if before is None or not _is_readable(store, deleted.session_id, before.commit):
        # What cannot be read as a session can still be read as text.
        return shlex.join(("git", "-C", settings.store, "show", str(deleted.commit)))
    show_it = settings.command("show", deleted.session_id, "--at", before.commit, "--yaml")
    return f"{show_it} | {settings.command('save', _STDIN)}"


def _is_readable(store: BlockingSessionStore, session_id: str, at: str) -> bool:
    try:
        store.load(session_id, at=at)
    except StorageError:
        return False
    return True
