"""Commands that make something be gone: purge, prune-history. They rewrite history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from gitstore.cli.output import count, one_line, write, write_json
from gitstore.cli.settings import Actor, AsJson, Settings
from gitstore.cli.shapes import purged_shape
from gitstore.cli.times import current_time, parse_time

if TYPE_CHECKING:
    from gitstore import Purged

_Force: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Also if another branch, tag or remote still has it.")
]


def purge(
    context: typer.Context,
    session_id: Annotated[str, typer.Argument(metavar="ID", help="The session's whole id.")],
    *,
    confirm: Annotated[str, typer.Option(metavar="ID", help="The id once more.")] = "",
    force: _Force = False,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Remove a session for good, from all of history.

    The branch is rewritten and gets new commit ids; whoever has a copy must do what is printed then.
    """
    _check_confirmed(confirm, session_id, "the session's id")
    with Settings.of(context).open() as store:
        done = store.purge(session_id, confirm=confirm, force=force, actor=actor)
    write_json(purged_shape(done)) if as_json else write(_told(done, "removed " + session_id))


def prune_history(
    context: typer.Context,
    *,
    before: Annotated[
        str, typer.Option(metavar="TIME", help="'90 days ago', 2026-01-31Z: what came earlier.")
    ],
    confirm: Annotated[str, typer.Option(metavar="BRANCH", help="The name of the branch.")] = "",
    force: _Force = False,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Forget what happened before a time; keep what was stored then, and all since.

    The branch is rewritten and gets new commit ids; whoever has a copy must do what is printed then.
    """
    time = parse_time(before, now=current_time(), option="--before")
    with Settings.of(context).open() as store:
        _check_confirmed(confirm, store.branch, "the name of the branch")
        done = store.prune_history(before=time, confirm=confirm, force=force, actor=actor)
    write_json(purged_shape(done)) if as_json else write(_told(done, "forgot what was before"))


def _check_confirmed(given: str, wanted: str, what: str) -> None:
    if given != wanted:
        message = f"this cannot be undone; add --confirm and {what}, {wanted!a}"
        raise typer.BadParameter(message)


def _told(done: Purged, what: str) -> str:
    if done.old == done.new:
        return "nothing to remove from the branch" + (
            f"; {count(done.removed, 'object')} of an earlier purge removed\n"
            if done.removed
            else "\n"
        )
    commits = f"{count(done.changed, 'commit')} rewritten"
    objects = count(done.removed, "object")
    lines = [
        f"{what}: {commits}, {done.dropped} of them left out, {objects} removed from the disk",
        f"{done.branch} was {str(done.old)[:10]}, is {str(done.new)[:10]}",
        *([f"still reachable from {', '.join(done.kept_by)}"] if done.kept_by else []),
        done.advice,
    ]
    return "".join(f"{one_line(line)}\n" for line in lines)
