"""What an exchange did, said in sessions: as a `SyncReport`, and as the message of a merge."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitstore.session.ids import session_id_of
from gitstore.session.message import compose
from gitstore.types import SyncReport, Use

if TYPE_CHECKING:
    from gitstore.engine.sync.merging import Plan
    from gitstore.git.advance import Changes
    from gitstore.types import CommitId, Decision, SessionId


def sessions_in(changes: Changes) -> tuple[SessionId, ...]:
    """Return the sessions among changed files, in order."""
    return tuple(sorted(name for path in changes if (name := session_id_of(path))))


def report_of(
    changes: Changes, plan: Plan | None, *, local: CommitId | None, remote: CommitId
) -> SyncReport:
    """Report a merge by its plan, or a fast-forward by what it changed."""
    if plan is not None:
        return SyncReport(
            new=plan.new,
            updated=plan.updated,
            merged=plan.merged,
            deleted=plan.deleted,
            revived=plan.revived,
            conflicting=tuple(sorted({conflict.session_id for conflict, _ in plan.decided})),
            decided=tuple(conflict for conflict, _ in plan.decided),
            local=local,
            remote=remote,
        )
    new = {path: pair for path, pair in changes.items() if pair[0] is None}
    deleted = {path: pair for path, pair in changes.items() if pair[1] is None}
    rest = {path: pair for path, pair in changes.items() if None not in pair}
    return SyncReport(
        new=sessions_in(new),
        updated=sessions_in(rest),
        deleted=sessions_in(deleted),
        local=local,
        remote=remote,
    )


def combined(first: SyncReport, second: SyncReport) -> SyncReport:
    """Report two exchanges as one: what either did, and how things stand after the second."""
    return replace(
        second,
        new=_union(first.new, second.new),
        updated=_union(first.updated, second.updated),
        merged=_union(first.merged, second.merged),
        deleted=_union(first.deleted, second.deleted),
        revived=_union(first.revived, second.revived),
        conflicting=_union(first.conflicting, second.conflicting),
        decided=first.decided + second.decided,
        sent=_union(first.sent, second.sent),
    )


def _union(first: tuple[SessionId, ...], second: tuple[SessionId, ...]) -> tuple[SessionId, ...]:
    return tuple(sorted({*first, *second}))


def merge_message(remote: str, plan: Plan) -> str:
    """Return the message of a merge commit: how many sessions in the subject, which ones below.

    A decided conflict is named with what stands there; the values are in the parents, and not here,
    where nothing could take them out of the history again.
    """
    count = sum(map(len, (plan.new, plan.updated, plan.deleted, plan.merged, plan.revived)))
    lines = [f"Merge {remote}: {count} session{'' if count == 1 else 's'}", ""]
    for kind in ("new", "updated", "deleted", "merged", "revived"):
        lines += [f"{kind}: {name}" for name in getattr(plan, kind)]
    for conflict, decision in plan.decided:
        place = f"{conflict.session_id} {conflict.where or '(as a whole)'}"
        lines.append(f"decided: {place}: {_word(decision)}")
    return compose(operation="merge", session_id=None, message="\n".join(lines), actor=None)


def _word(decision: Decision) -> str:
    return "another value" if isinstance(decision, Use) else decision
