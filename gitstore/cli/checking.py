"""Commands that look for what is wrong: verify, repair, redact."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gitstore import (
    CommitId,
    RepositoryNotFoundError,
    SigningError,
    StorageError,
    UntrustedOwnerError,
    VerifyReport,
    named_redactions,
    redact_document,
)
from gitstore.cli.failures import PROBLEMS, UNCHECKED
from gitstore.cli.output import count, one_line, table, write, write_json
from gitstore.cli.sessions import read_asset
from gitstore.cli.settings import AsJson, Settings, find_session
from gitstore.cli.shapes import masked_shape, repair_shape, verify_shape

if TYPE_CHECKING:
    from gitstore import SessionAsset

_COMMIT: Final = re.compile("[0-9a-f]{40}")
_STDIN: Final = "-"


def verify(
    context: typer.Context,
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read the sessions of every commit, not only the last.")
    ] = False,
    require_signatures: Annotated[
        bool, typer.Option("--require-signatures", help="An unsigned commit is a problem.")
    ] = False,
    remembered: Annotated[
        str | None,
        typer.Option(metavar="COMMIT", help="The history must hold this one, in full."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that all is there, and is what it says.

    Objects, sessions, history, signatures, caches; nothing is repaired. Ends with 0 if nothing is
    wrong, with 8 if something is, and with 9 if it could not be checked.
    """
    if remembered is not None and not _COMMIT.fullmatch(remembered):
        message = f"{remembered!a} is no commit; write all 40 hex digits"
        raise typer.BadParameter(message, param_hint="--remembered")
    report = _checked(
        Settings.of(context),
        deep=deep,
        require_signatures=require_signatures,
        remembered=None if remembered is None else CommitId(remembered),
    )
    write_json(verify_shape(report)) if as_json else write(_told(report))
    if not report.is_complete:
        raise typer.Exit(UNCHECKED)
    if not report.is_clean:
        raise typer.Exit(PROBLEMS)


def _checked(
    settings: Settings, *, deep: bool, require_signatures: bool, remembered: CommitId | None
) -> VerifyReport:
    try:
        store = settings.open()
    except (RepositoryNotFoundError, UntrustedOwnerError, SigningError):
        raise
    except StorageError as error:
        # What is too damaged to be opened gets a report like any other.
        return VerifyReport.impossible(error)
    with store:
        return store.verify(deep=deep, remembered=remembered, require_signatures=require_signatures)


def _told(report: VerifyReport) -> str:
    checked = report.checked
    lines = [f"problem  {problem}" for problem in report.problems]
    if report.is_cut:
        lines.append("problem  and more, which are not listed")
    lines += [f"note     {note}" for note in report.notes]
    lines.append(
        f"checked {count(checked.commits, 'commit')}, {count(checked.trees, 'tree')}, "
        f"{count(checked.blobs, 'file')}, {count(checked.sessions, 'session version')}, "
        f"{count(checked.signed, 'good signature')}"
    )
    if not report.is_complete:
        lines.append("this could not be checked to its end")
    elif report.problems:
        lines.append(f"{count(len(report.problems), 'problem')} found")
    else:
        lines.append("nothing is wrong")
    return "".join(f"{one_line(line)}\n" for line in lines)


def repair(
    context: typer.Context,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put what can be read of a damaged store on a new branch.

    The store's own branch and the damaged files stay as they are.
    """
    if not yes:
        message = (
            "this makes a branch and copies damaged files; run `gitstore verify`, then add --yes"
        )
        raise typer.BadParameter(message)
    with Settings.of(context).open() as store:
        report = store.repair()
    if as_json:
        write_json(repair_shape(report))
        return
    rescued = [each for each in report.restored if each.source != "branch"]
    lines = [f"made branch {report.branch}, commit {report.commit[:10]}"]
    lines += [f"  {each.session_id}: from {each.source}" for each in rescued]
    lines += [f"  lost: {name}" for name in report.lost]
    lines += [f"  damaged file kept: {path}" for path in report.damaged]
    lines.append(
        f"{count(len(report.restored), 'session')} there, {len(rescued)} of them rescued, "
        f"{len(report.lost)} lost"
    )
    write("".join(f"{one_line(line)}\n" for line in lines))


def redact(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FILE|ID", help="A file, -, or a session.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell which secrets would be masked, and never their text.

    A net, not a proof: it knows the forms of common keys and tokens. `gitstore --redact save` masks
    them before anything is written; what is stored already only `gitstore purge` removes.
    """
    if not dry_run:
        message = "it only looks: add --dry-run; `gitstore --redact save FILE` masks while saving"
        raise typer.BadParameter(message)
    asset = _asset(Settings.of(context), source)
    masked = redact_document(asset.to_document(), named_redactions).masked
    if as_json:
        write_json({"session_id": asset.id, "masked": masked_shape(masked)})
        return
    rows = [(each.where, each.name, str(each.count)) for each in masked]
    total = sum(each.count for each in masked)
    said = f"{count(total, 'secret')} would be masked in {one_line(asset.id)}\n"
    write(table(("WHERE", "KIND", "COUNT"), rows, may_shrink=("WHERE",)) + said)


def _asset(settings: Settings, source: str) -> SessionAsset:
    """Return the session in a file, or else the stored one."""
    if source == _STDIN or _is_file(source):
        return read_asset(source)
    with settings.open() as store:
        return store.load(find_session(store, source))


def _is_file(source: str) -> bool:
    try:
        return Path(source).is_file()
    except (OSError, ValueError):
        return False
