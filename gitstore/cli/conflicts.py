"""Commands about what two sides changed differently: conflicts, resolve."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gitstore import MISSING
from gitstore.cli.output import count, one_line, write, write_json, write_table
from gitstore.cli.settings import AsJson, SessionIdOrPrefix, Settings, find_session
from gitstore.cli.shapes import conflict_shape

if TYPE_CHECKING:
    from gitstore import Side

#: Of a value in the table; `--json` has all of it.
_SHOWN_MAX: Final = 60


def conflicts(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the fields that both sides changed differently, as last fetched."""
    with Settings.of(context).open() as store:
        found = store.conflicts()
    if as_json:
        write_json([conflict_shape(conflict) for conflict in found])
        return
    rows = [
        (
            each.session_id,
            each.where or "(as a whole)",
            *(_shown(value) for value in (each.base, each.ours, each.theirs)),
        )
        for each in found
    ]
    columns = ("SESSION", "WHERE", "BASE", "OURS", "THEIRS")
    write_table(columns, rows, may_shrink=("WHERE", "BASE", "OURS", "THEIRS"))
    if not found:
        write("no conflicts\n")


def resolve(
    context: typer.Context,
    session_id: SessionIdOrPrefix,
    *,
    ours: Annotated[bool, typer.Option("--ours", help="What is here stands.")] = False,
    theirs: Annotated[bool, typer.Option("--theirs", help="What is there stands.")] = False,
    newest: Annotated[
        bool, typer.Option("--newest", help="That of the session changed last stands.")
    ] = False,
    base: Annotated[bool, typer.Option("--base", help="As it was before both.")] = False,
    field: Annotated[
        str | None,
        typer.Option(metavar="WHERE", help="Only this field, as `gitstore conflicts` names it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Decide the conflicts of a session; the next pull or sync completes them."""
    decision = _side(ours=ours, theirs=theirs, newest=newest, base=base)
    with Settings.of(context).open() as store:
        name = find_session(store, session_id)
        store.resolve(name, decision, where=field)
        left = [each for each in store.conflicts() if each.session_id == name]
    if as_json:
        shape = {"session_id": name, "decision": decision, "where": field}
        write_json({**shape, "left": [conflict_shape(conflict) for conflict in left]})
        return
    rest = count(len(left), "conflict") if left else "no conflict"
    what = "" if field is None else f" {field}"
    write(one_line(f"decided {name}{what}: {decision}; {rest} left in it") + "\n")


def _side(*, ours: bool, theirs: bool, newest: bool, base: bool) -> Side:
    if ours + theirs + newest + base != 1:
        message = "give one of --ours, --theirs, --newest and --base"
        raise typer.BadParameter(message)
    if base:
        return "base"
    if newest:
        return "newest"
    return "ours" if ours else "theirs"


def _shown(value: Any) -> str:  # noqa: ANN401 - any plain value
    if value is MISSING:
        return "(none)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "..."
