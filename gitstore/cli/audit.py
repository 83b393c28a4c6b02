"""Commands that ask what happened: log, diff, diff-store, blame, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from gitstore import SignatureState, StorageError, render_diff
from gitstore.cli.output import has_colour, one_line, table, when, write, write_json
from gitstore.cli.pager import write_paged
from gitstore.cli.settings import (
    AsJson,
    AtMoment,
    SessionIdOrPrefix,
    Settings,
    find_past_session,
    require_session,
)
from gitstore.cli.shapes import (
    blame_shape,
    change_shape,
    deleted_shape,
    diff_shape,
    store_diff_shape,
)
from gitstore.cli.times import moment, optional_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitstore import (
        At,
        Blame,
        BlockingSessionStore,
        Change,
        ConversationTurn,
        SessionAsset,
        StoreDiff,
    )

#: Hex digits of a commit that are shown; the commands accept them.
_SHORT: Final = 10
#: Characters of a turn that are shown beside who wrote it.
_PREVIEW_MAX: Final = 60
#: The colours of git's own diffs, by how a line begins.
_COLOURS: Final = {
    "+": typer.colors.GREEN,
    "-": typer.colors.RED,
    "@@": typer.colors.CYAN,
    "session ": typer.colors.YELLOW,
    "turn ": typer.colors.YELLOW,
}


def log(  # noqa: PLR0913 -- each is an option, and may be left out
    context: typer.Context,
    session_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Only this session, stored now or ever.")
    ] = None,
    *,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not older: '2 days ago', 2026-01-31Z.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Not newer.")] = None,
    author: Annotated[
        str | None, typer.Option(metavar="TEXT", help="By whom: a part of name or mail.")
    ] = None,
    operation: Annotated[
        str | None, typer.Option(metavar="WORD", help="create, update, delete, restore, adopt, ...")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many, the newest.")] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Oldest first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the commits of a session or all, newest first.

    Each with what it changed and, where there are signatures, whether its own is good.
    """
    begin, end = optional_time(since, option="--since"), optional_time(until, option="--until")
    settings = Settings.of(context)
    with settings.open() as store:
        name = None if session_id is None else require_session(store, session_id)
        changes = store.history(
            name,
            since=begin,
            until=end,
            author=author,
            operation=operation,
            limit=limit,
            reverse=reverse,
            check_signatures=True,
        )
    if as_json:
        write_json([change_shape(change) for change in changes])
    else:
        write_paged(changes_table(changes), settings)


def changes_table(changes: Sequence[Change]) -> str:
    """Return commits as rows; the column on signatures only if there is one."""
    states = {change.signature for change in changes} - {None, SignatureState.UNSIGNED}
    rows = [
        (
            change.commit[:_SHORT],
            when(change.time, to="seconds"),
            change.actor or change.author.name,
            change.signature.value if states and change.signature else "",
            change.subject,
            change.summary,
        )
        for change in changes
    ]
    columns = ("COMMIT", "TIME", "BY", "SIGNATURE", "WHAT", "CHANGED")
    return table(columns, rows, may_shrink=("BY", "WHAT", "CHANGED"))


def diff(
    context: typer.Context,
    session_id: SessionIdOrPrefix,
    a: Annotated[
        str | None,
        typer.Argument(metavar="[A]", help="COMMIT|TIME before; else before its last change."),
    ] = None,
    b: Annotated[
        str | None, typer.Argument(metavar="[B]", help="COMMIT|TIME after; else now.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what changed in a session: turns, fields, lines.

    Without moments its last change; with one, all since then.
    """
    before, after = moment(a, option="A"), moment(b, option="B")
    settings = Settings.of(context)
    with settings.open() as store:
        found = store.diff(find_past_session(store, session_id), before, after)
    if as_json:
        write_json(diff_shape(found))
    else:
        write_paged(_coloured(render_diff(found)), settings)


def _coloured(text: str) -> str:
    """Return the text of a diff in colours, on a terminal that has them."""
    if not has_colour():
        return text
    return "".join(_coloured_line(line) for line in text.splitlines(keepends=True))


def _coloured_line(line: str) -> str:
    start = line.lstrip(" ")
    colour = next((_COLOURS[begin] for begin in _COLOURS if start.startswith(begin)), None)
    return line if colour is None else typer.style(line.removesuffix("\n"), fg=colour) + "\n"


def diff_store(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="COMMIT|TIME before.")],
    b: Annotated[
        str | None, typer.Argument(metavar="[B]", help="COMMIT|TIME after; else now.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the sessions that changed between two moments."""
    before, after = _required_moment(a, option="A"), moment(b, option="B")
    settings = Settings.of(context)
    with settings.open() as store:
        found = store.diff_store(before, after)
    write_json(store_diff_shape(found)) if as_json else write_paged(_listed(found), settings)


def _required_moment(text: str, *, option: str) -> At:
    return moment(text, option=option) or text


def _listed(found: StoreDiff) -> str:
    kinds = {"created": found.created, "updated": found.updated, "deleted": found.deleted}
    lines = [f"{kind} {one_line(name)}\n" for kind, names in kinds.items() for name in names]
    return "".join(lines) or "nothing changed\n"


def blame(
    context: typer.Context,
    session_id: SessionIdOrPrefix,
    *,
    at: AtMoment = None,
    as_json: AsJson = False,
) -> None:
    """Show who last set each field and each turn."""
    then = moment(at)
    settings = Settings.of(context)
    with settings.open() as store:
        name = find_past_session(store, session_id)
        # First: what it finds edited by hand becomes a commit, which is then blamed.
        asset = _readable(store, name, then)
        found = store.blame(name, at=then)
    if as_json:
        write_json(blame_shape(found))
    else:
        write_paged(_blame_table(found, asset), settings)


def _readable(store: BlockingSessionStore, name: str, at: At | None) -> SessionAsset | None:
    try:
        return store.load(name, at=at)
    except StorageError:
        return None  # blame says what is wrong


def _blame_table(blame: Blame, asset: SessionAsset | None) -> str:
    turns = [] if asset is None else asset.history.turns
    # By place, since two turns may have one id. Another may have saved meanwhile: then by id.
    said = {turn.id: _preview(turn) for turn in turns}
    if len(turns) == len(blame.turns):
        previews = [_preview(turn) for turn in turns]
    else:
        names = (part.where.partition("[")[2].rpartition("]")[0] for part in blame.turns)
        previews = [said.get(name, "") for name in names]
    rows = [
        (part.commit[:_SHORT], when(part.time, to="seconds"), part.author.name, part.where, text)
        for part, text in zip(
            (*blame.fields, *blame.turns), ("",) * len(blame.fields) + (*previews,), strict=True
        )
    ]
    return table(
        ("COMMIT", "TIME", "BY", "WHERE", "TURN"), rows, may_shrink=("BY", "WHERE", "TURN")
    )


def _preview(turn: ConversationTurn) -> str:
    return f"{turn.role}: {' '.join(turn.content.split())[:_PREVIEW_MAX]}"


def deleted(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the sessions that were deleted, latest deletion first.

    `gitstore restore ID` gets one back.
    """
    with Settings.of(context).open() as store:
        found = store.deleted()
    if as_json:
        write_json([deleted_shape(row) for row in found])
        return
    rows = [
        (
            row.session_id,
            when(row.time, to="seconds"),
            row.actor or row.author.name,
            row.commit[:_SHORT],
            row.last_commit[:_SHORT],
        )
        for row in found
    ]
    write(table(("ID", "DELETED", "BY", "IN", "LAST IN"), rows, may_shrink=("BY",)))
