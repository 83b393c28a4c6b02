"""Commands about the store as a whole: init, status."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from gitstore import RepositoryNotFoundError, SyncMode
from gitstore.cli.output import count, iso, one_line, write, write_json
from gitstore.cli.settings import HERE, AsJson, Settings
from gitstore.cli.shapes import status_shape

if TYPE_CHECKING:
    from gitstore import SessionMeta, SyncStatus


def init(
    context: typer.Context,
    folder: Annotated[
        str | None, typer.Argument(metavar="DIR", help="Where, if not in --store.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Make a store; one that is there stays as it is."""
    settings = Settings.of(context)
    if folder is not None and settings.store != HERE:
        message = "give the folder either here or with --store, not both"
        raise typer.BadParameter(message)
    if folder is not None:
        settings = replace(settings, store=folder)
    created = False
    try:
        store = settings.open()
    except RepositoryNotFoundError:
        store = settings.open(create=True)
        created = True
    with store:
        if as_json:
            write_json({"path": store.path, "branch": store.branch, "created": created})
        else:
            done = "made a store in" if created else "there is a store in"
            write(f"{done} {one_line(store.path)}, on branch {one_line(store.branch)}\n")


def status(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Count the sessions; compare with the remote.

    Sessions come first, then commits. The remote is not asked: `gitstore fetch` asks it.
    """
    with Settings.of(context).open() as store:
        rows = store.list()
        standing = store.sync_status()
        path, branch = store.path, store.branch
    problems = [row for row in rows if row.problem is not None]
    if as_json:
        counts = {"sessions": len(rows), "problems": len(problems)}
        write_json({"path": path, "branch": branch, **counts, **status_shape(standing)})
        return
    lines = _session_lines(rows, problems, standing) + _commit_lines(standing)
    lines.append(f"store {path}, branch {branch}")
    write("".join(f"{one_line(line)}\n" for line in lines))


def _session_lines(
    rows: list[SessionMeta], problems: list[SessionMeta], standing: SyncStatus
) -> list[str]:
    lines = [f"{count(len(rows), 'session')}, {len(problems)} unreadable"]
    lines += [f"  unreadable: {row.id}: {row.problem}" for row in problems]
    if standing.mode is not SyncMode.OFFLINE:
        lines.append(
            f"{standing.pending_uploads} to push, {standing.pending_downloads} to pull, "
            f"{len(standing.conflicts)} in conflict"
        )
    lines += [f"  in conflict: {name}" for name in standing.conflicts]
    return lines


def _commit_lines(standing: SyncStatus) -> list[str]:
    if standing.mode is SyncMode.OFFLINE:
        return ["no remote: the sessions are on this machine only"]
    last = "never" if standing.last_sync is None else iso(standing.last_sync, to="seconds")
    lines = [f"{count(standing.ahead, 'commit')} ahead, {standing.behind} behind the remote"]
    lines.append(f"{standing.mode.value.lower()}, last fetched: {last}")
    if standing.problem is not None:
        lines.append(f"the last contact failed: {standing.problem}")
    return lines
