"""Commands about one session, or all of them: save, show, list, delete."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gitstore import (
    Expect,
    Revision,
    SerializationError,
    SessionAsset,
    dump_session,
    read_session,
)
from gitstore.cli.output import (
    count,
    json_text,
    one_line,
    when,
    write,
    write_bytes,
    write_json,
    write_table,
)
from gitstore.cli.pager import write_paged
from gitstore.cli.reading import readable
from gitstore.cli.settings import (
    Actor,
    AsJson,
    AtMoment,
    Message,
    SessionIdOrPrefix,
    Settings,
    find_past_session,
    find_session,
)
from gitstore.cli.shapes import asset_shape, meta_shape, saved_shape
from gitstore.cli.times import moment
from gitstore.importers.files import in_file, read_file, read_stream

if TYPE_CHECKING:
    from gitstore import BlockingSessionStore, Expected, Saved

_STDIN: Final = "-"
_REVISION: Final = re.compile("[0-9a-f]{40}")


def save(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file, or - for standard input.")],
    *,
    expected: Annotated[
        str, typer.Option(metavar="REVISION|any|absent", help="What must be stored now.")
    ] = "any",
    message: Message = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Store a session file, in YAML or ORCS JSON.

    It becomes one commit; what is stored already makes none. Which of the two it is shows in the
    content. With --expected, nothing is saved unless exactly that is stored now.
    """
    wanted = _expectation(expected)
    asset = read_asset(file)
    with Settings.of(context).open() as store:
        saved = store.save(asset, expected=wanted, message=message, actor=actor)
    write_json(saved_shape(saved)) if as_json else write(outcome_line(saved) + "\n")


def show(
    context: typer.Context,
    session_id: SessionIdOrPrefix,
    *,
    at: AtMoment = None,
    as_json: AsJson = False,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print the session file.")] = False,
    as_orcs: Annotated[bool, typer.Option("--orcs", help="Print ORCS JSON.")] = False,
) -> None:
    """Show a session, as it is now or as it was."""
    if as_json + as_yaml + as_orcs > 1:
        message = "--json, --yaml and --orcs exclude each other; give one"
        raise typer.BadParameter(message)
    settings = Settings.of(context)
    with settings.open() as store:
        asset = _load(store, session_id, at)
    if as_json:
        write_json(asset_shape(asset))
    elif as_yaml:
        write_bytes(dump_session(asset))
    elif as_orcs:
        write_bytes(json_text(asset.to_orcs_json()).encode() + b"\n")
    else:
        write_paged(readable(asset), settings)


def list_sessions(
    context: typer.Context,
    *,
    at: Annotated[
        str | None, typer.Option(metavar="WHEN", help="As of a commit, branch, tag or time.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the sessions, latest change first.

    Times are relative on a terminal. One that cannot be read says why, and hides no other.
    """
    with Settings.of(context).open() as store:
        rows = store.list(limit=limit, at=moment(at))
    if as_json:
        write_json([meta_shape(row) for row in rows])
    else:
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
        write_table(columns, cells, may_shrink=("NAME", "PROBLEM"))


def delete(
    context: typer.Context,
    session_id: SessionIdOrPrefix,
    *,
    message: Message = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Delete a session; print how to get it back."""
    settings = Settings.of(context)
    with settings.open() as store:
        name = find_session(store, session_id)
        saved = store.delete(name, message=message, actor=actor)
    restore = settings.command("restore", saved.session_id)
    if as_json:
        write_json({**saved_shape(saved), "restore": restore})
    else:
        write(f"{outcome_line(saved)}\nto get it back: {restore}\n")


def outcome_line(saved: Saved) -> str:
    """Return what a write did, in one line."""
    done = f"{saved.outcome.value} {one_line(saved.session_id)}"
    commit = "" if saved.commit is None else f" in commit {saved.commit[:10]}"
    adopted = "" if saved.adopted is None else f", after a hand edit kept as {saved.adopted[:10]}"
    secrets = sum(each.count for each in saved.masked)
    masked = f", with {count(secrets, 'secret')} masked" if secrets else ""
    return f"{done}{commit}{adopted}{masked}"


def _expectation(text: str) -> Expected:
    if text in ("any", "absent"):
        return Expect(text)
    if _REVISION.fullmatch(text):
        return Revision(text)
    message = f"{text!a} is neither 40 hex digits nor any or absent"
    raise typer.BadParameter(message, param_hint="--expected")


def read_asset(file: str) -> SessionAsset:
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
    when_it_was = moment(at)
    return store.load(find_past_session(store, given), at=when_it_was)
