"""Commands that look on: doctor at settings and leftovers, watch at what changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gitstore.cli.failures import PROBLEMS, explain_text
from gitstore.cli.output import count, one_line, write, write_json
from gitstore.cli.settings import AsJson, Settings
from gitstore.cli.shapes import changed_shape, diagnosis_shape
from gitstore.cli.times import moment

if TYPE_CHECKING:
    from gitstore import Diagnosis

_POLL_SECONDS: Final = 0.5


def doctor(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Look whether store, git and remote work together; say what to do if not.

    Looks at settings and leftovers; `gitstore verify` checks what is stored. Ends with 0 if all is
    well, else with 8.
    """
    with Settings.of(context).open() as store:
        found = store.doctor()
    if as_json:
        write_json([diagnosis_shape(each) for each in found])
    else:
        write("".join(map(_told, found)) + _summary(found))
    if not all(each.is_ok for each in found):
        raise typer.Exit(PROBLEMS)


def watch(
    context: typer.Context,
    *,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="COMMIT|TIME", help="Begin there; by default now."),
    ] = None,
    poll: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.01, help="How often to look.")
    ] = _POLL_SECONDS,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON value a line, without end.")
    ] = False,
) -> None:
    """Print every change of a session, by whoever, until interrupted.

    A hand edit comes when a command commits it; what is on a remote, when it is pulled.
    """
    with Settings.of(context).open() as store:
        for change in store.watch(poll_seconds=poll, since=moment(since)):
            if as_json:
                write(json.dumps(changed_shape(change)) + "\n")
            else:
                write(one_line(f"{change.kind} {change.session_id} in {change.commit[:10]}") + "\n")


def _told(diagnosis: Diagnosis) -> str:
    mark = "ok     " if diagnosis.is_ok else "problem"
    line = f"{mark}  {diagnosis.name}: {diagnosis.found}"
    advice = f"         {explain_text(diagnosis.advice)}" if diagnosis.advice else ""
    return "".join(f"{one_line(each)}\n" for each in (line, advice) if each)


def _summary(found: list[Diagnosis]) -> str:
    bad = sum(not each.is_ok for each in found)
    return f"{count(bad, 'problem')} found\n" if bad else "all is well\n"
