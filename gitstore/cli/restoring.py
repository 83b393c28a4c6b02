"""Commands that get something back: restore, undo, copy. Each makes new commits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gitstore import SessionExistsError
from gitstore.cli.failures import NotDeletedError
from gitstore.cli.output import one_line, write, write_json
from gitstore.cli.sessions import outcome_line
from gitstore.cli.settings import (
    Actor,
    AsJson,
    AtMoment,
    Message,
    SessionIdOrPrefix,
    Settings,
    find_deleted_session,
    find_past_session,
)
from gitstore.cli.shapes import saved_shape
from gitstore.cli.times import moment

if TYPE_CHECKING:
    from gitstore import Saved


def restore(
    context: typer.Context,
    session_id: SessionIdOrPrefix,
    *,
    at: AtMoment = None,
    message: Message = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Store a session as it was before it was deleted.

    With --at as it was then, also one that was not deleted.
    """
    then = moment(at)
    with Settings.of(context).open() as store:
        find = find_deleted_session if then is None else find_past_session
        name = find(store, session_id)
        try:
            saved = store.restore(name, at=then, message=message, actor=actor)
        except SessionExistsError as error:
            if error.existing != name or then is not None:
                raise
            raise NotDeletedError(name) from error
    write_json(saved_shape(saved)) if as_json else write(outcome_line(saved) + "\n")


def undo(
    context: typer.Context,
    commit: Annotated[str, typer.Argument(metavar="COMMIT", help="What is to be taken back.")],
    *,
    message: Message = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Take back what a commit did; keep what came since.

    One new commit for each session. Where a later change is in the way, that change stays.
    """
    with Settings.of(context).open() as store:
        done = store.undo(commit, message=message, actor=actor)
    if as_json:
        write_json([saved_shape(saved) for saved in done])
    else:
        told = "".join(_with_conflicts(saved) for saved in done)
        write(told or "nothing to take back: that commit changed no session\n")


def _with_conflicts(saved: Saved) -> str:
    kept = "".join(
        f"  not taken back, since it was changed again: {one_line(conflict.where)}\n"
        for conflict in saved.conflicts
    )
    return f"{outcome_line(saved)}\n{kept}"


def copy(
    context: typer.Context,
    session_id: SessionIdOrPrefix,
    new_id: Annotated[str, typer.Argument(metavar="NEW", help="The id of the copy.")],
    *,
    at: AtMoment = None,
    message: Message = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Store a session under another id too.

    The copy's metadata and its commit say where it is from.
    """
    then = moment(at)
    with Settings.of(context).open() as store:
        name = find_past_session(store, session_id)
        saved = store.copy(name, new_id, at=then, message=message, actor=actor)
    write_json(saved_shape(saved)) if as_json else write(outcome_line(saved) + "\n")
