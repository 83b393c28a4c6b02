"""Commands that talk to the remote: fetch, pull, push, sync. What they say is about sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from gitstore import SyncReport, SyncStatus
from gitstore.cli.output import count, one_line, write, write_json
from gitstore.cli.progress import progress_bar
from gitstore.cli.settings import AsJson, Settings
from gitstore.cli.shapes import report_shape, status_shape

if TYPE_CHECKING:
    from gitstore import BlockingSessionStore

NO_REMOTE = "no remote: the sessions are on this machine only; `gitstore remote add` adds one"

_RemoteName: TypeAlias = Annotated[
    str | None, typer.Argument(metavar="REMOTE", help="By default the branch's own.")
]
_Ours: TypeAlias = Annotated[
    bool, typer.Option("--ours", help="Where both sides changed a field: what is here stands.")
]
_Theirs: TypeAlias = Annotated[bool, typer.Option("--theirs", help="What is there stands.")]
_Newest: TypeAlias = Annotated[
    bool, typer.Option("--newest", help="That of the session changed last stands.")
]
_Join: TypeAlias = Annotated[
    bool, typer.Option("--join", help="Also if the two have no commit in common.")
]


def fetch(
    context: typer.Context,
    remote: _RemoteName = None,
    *,
    accept_rewrite: Annotated[
        bool, typer.Option("--accept-rewrite", help="Also if its history was rewritten.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask the remote what it has, and check that; no session changes here."""
    with Settings.of(context).open() as store:
        if _has_none(store, remote):
            write_json(status_shape(store.sync_status())) if as_json else write(f"{NO_REMOTE}\n")
            return
        with progress_bar() as progress:
            status = store.fetch(remote, accept_rewrite=accept_rewrite, progress=progress)
    write_json(status_shape(status)) if as_json else write(_standing(status))


def pull(
    context: typer.Context,
    remote: _RemoteName = None,
    *,
    ours: _Ours = False,
    theirs: _Theirs = False,
    newest: _Newest = False,
    join: _Join = False,
    as_json: AsJson = False,
) -> None:
    """Fetch, and merge what came in: turn by turn, field by field.

    Where both sides changed the same field nothing is moved, unless it is said which side stands.
    """
    on_conflict = _decision(ours=ours, theirs=theirs, newest=newest)
    with Settings.of(context).open() as store:
        if _has_none(store, remote):
            _tell_none(as_json=as_json)
            return
        with progress_bar() as progress:
            report = store.pull(remote, on_conflict=on_conflict, join=join, progress=progress)
    _tell(report, as_json=as_json)


def push(
    context: typer.Context,
    remote: _RemoteName = None,
    *,
    recreate: Annotated[
        bool, typer.Option("--recreate", help="Also if the branch was deleted there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send what the remote lacks; never over what it has and we lack."""
    with Settings.of(context).open() as store:
        if _has_none(store, remote):
            _tell_none(as_json=as_json)
            return
        with progress_bar() as progress:
            report = store.push(remote, recreate=recreate, progress=progress)
    _tell(report, as_json=as_json)


def sync(
    context: typer.Context,
    remote: _RemoteName = None,
    *,
    ours: _Ours = False,
    theirs: _Theirs = False,
    newest: _Newest = False,
    join: _Join = False,
    as_json: AsJson = False,
) -> None:
    """Pull, then push; again when others were faster.

    Where both sides changed the same field nothing is moved, unless it is said which side stands.
    """
    on_conflict = _decision(ours=ours, theirs=theirs, newest=newest)
    with Settings.of(context).open() as store:
        if _has_none(store, remote):
            _tell_none(as_json=as_json)
            return
        with progress_bar() as progress:
            report = store.sync(remote, on_conflict=on_conflict, join=join, progress=progress)
    _tell(report, as_json=as_json)


def _decision(
    *, ours: bool, theirs: bool, newest: bool
) -> Literal["raise", "ours", "theirs", "newest"]:
    if ours + theirs + newest > 1:
        message = "give one of --ours, --theirs and --newest"
        raise typer.BadParameter(message)
    if newest:
        return "newest"
    if theirs:
        return "theirs"
    return "ours" if ours else "raise"


def _has_none(store: BlockingSessionStore, remote: str | None) -> bool:
    return remote is None and not store.remotes()


def _tell_none(*, as_json: bool) -> None:
    write_json(report_shape(SyncReport())) if as_json else write(f"{NO_REMOTE}\n")


def _tell(report: SyncReport, *, as_json: bool) -> None:
    write_json(report_shape(report)) if as_json else write(told(report))


def told(report: SyncReport) -> str:
    """Return what an exchange did: a line for each session, and how many came and went."""
    groups = {
        "new": report.new,
        "updated": report.updated,
        "merged": report.merged,
        "deleted": report.deleted,
        "revived": report.revived,
    }
    lines = [f"{word:<8}  {name}" for word, names in groups.items() for name in names]
    lines += [
        f"decided   {each.session_id} {each.where or '(as a whole)'}" for each in report.decided
    ]
    lines += [f"sent      {name}" for name in report.sent]
    came = sum(map(len, groups.values()))
    if came or report.sent:
        lines.append(f"{count(came, 'session')} received, {len(report.sent)} sent")
    else:
        lines.append("nothing to exchange")
    return "".join(f"{one_line(line)}\n" for line in lines)


def _standing(status: SyncStatus) -> str:
    conflicts = "".join(f"  in conflict: {one_line(name)}\n" for name in status.conflicts)
    return (
        f"{count(status.pending_uploads, 'session')} to push, {status.pending_downloads} to pull, "
        f"{len(status.conflicts)} in conflict\n{conflicts}"
    )
