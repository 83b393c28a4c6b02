"""The JSON that ``--json`` prints. Scripts rely on it: add names, never rename or drop one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from gitstore import MISSING
from gitstore.cli.output import iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitstore import (
        Author,
        Blame,
        Blamed,
        Change,
        Changed,
        Conflict,
        Deleted,
        Diagnosis,
        FieldChange,
        MaintenanceReport,
        Masked,
        Problem,
        Purged,
        Remote,
        RepairReport,
        Saved,
        SessionAsset,
        SessionDiff,
        SessionMeta,
        Stats,
        StoreDiff,
        SyncReport,
        SyncStatus,
        VerifyReport,
    )

Shape: TypeAlias = dict[str, Any]


def saved_shape(saved: Saved) -> Shape:
    """Return the result of a save or a delete."""
    return {
        "session_id": saved.session_id,
        "outcome": saved.outcome.value,
        "revision": saved.revision,
        "commit": saved.commit,
        "adopted": saved.adopted,
        "merged": saved.merged,
        # Where, and not what: a conflict's values may be whole turns.
        "conflicts": [conflict.where for conflict in saved.conflicts],
        "masked": masked_shape(saved.masked),
    }


def masked_shape(masked: Sequence[Masked]) -> list[Shape]:
    """Return what was masked, and nothing of its text."""
    return [{"where": each.where, "name": each.name, "count": each.count} for each in masked]


def asset_shape(asset: SessionAsset) -> Shape:
    """Return a session: its revision, and its content under the names of the session file."""
    return {"revision": asset.revision, "session": asset.to_document()}


def meta_shape(meta: SessionMeta) -> Shape:
    """Return one row of the listing."""
    return {
        "id": meta.id,
        "name": meta.name,
        "created_at": iso(meta.created_at),
        "updated_at": iso(meta.updated_at),
        "project_path": meta.project_path,
        "turn_count": meta.turn_count,
        "sync_state": meta.sync_state.value,
        "revision": meta.revision,
        "problem": meta.problem,
    }


def change_shape(change: Change) -> Shape:
    """Return one commit of a history."""
    return {
        "commit": change.commit,
        "session_id": change.session_id,
        "revision": change.revision,
        "operation": change.operation,
        "author": _author_shape(change.author),
        "actor": change.actor,
        "time": iso(change.time, to="seconds"),
        "subject": change.subject,
        "summary": change.summary,
        "sessions": list(change.sessions),
        "parents": list(change.parents),
        "signature": None if change.signature is None else change.signature.value,
    }


def diff_shape(diff: SessionDiff) -> Shape:
    """Return what changed in a session; of what was not there `old` or `new` is left out."""
    return {
        "session_id": diff.session_id,
        "old_revision": diff.old_revision,
        "new_revision": diff.new_revision,
        "outcome": diff.outcome.value,
        "summary": diff.summary,
        "fields": [_field_shape(change) for change in diff.fields],
        "turns_added": [
            {"position": each.position, "turn": each.turn} for each in diff.turns_added
        ],
        "turns_removed": [
            {"position": each.position, "turn": each.turn} for each in diff.turns_removed
        ],
        "turns_changed": [
            {"id": turn.id, "fields": [_field_shape(change) for change in turn.fields]}
            for turn in diff.turns_changed
        ],
        "turns_moved": [
            {"id": move.id, "old": move.old, "new": move.new} for move in diff.turns_moved
        ],
    }


def store_diff_shape(diff: StoreDiff) -> Shape:
    """Return which sessions changed between two commits."""
    return {
        "old_commit": diff.old_commit,
        "new_commit": diff.new_commit,
        "created": list(diff.created),
        "updated": list(diff.updated),
        "deleted": list(diff.deleted),
    }


def blame_shape(blame: Blame) -> Shape:
    """Return who last set each part of a session."""
    return {
        "session_id": blame.session_id,
        "revision": blame.revision,
        "fields": [_blamed_shape(part) for part in blame.fields],
        "turns": [_blamed_shape(part) for part in blame.turns],
    }


def deleted_shape(row: Deleted) -> Shape:
    """Return a session that was deleted."""
    return {
        "session_id": row.session_id,
        "commit": row.commit,
        "last_commit": row.last_commit,
        "last_revision": row.last_revision,
        "author": _author_shape(row.author),
        "actor": row.actor,
        "time": iso(row.time, to="seconds"),
    }


def verify_shape(report: VerifyReport) -> Shape:
    """Return what a check of the store found."""
    checked = report.checked
    return {
        "is_clean": report.is_clean,
        "is_complete": report.is_complete,
        "is_cut": report.is_cut,
        "tip": report.tip,
        "remembered": report.remembered,
        "checked": {
            "commits": checked.commits,
            "trees": checked.trees,
            "blobs": checked.blobs,
            "sessions": checked.sessions,
            "signed": checked.signed,
        },
        "problems": [_problem_shape(problem) for problem in report.problems],
        "notes": [_problem_shape(note) for note in report.notes],
    }


def repair_shape(report: RepairReport) -> Shape:
    """Return what a repair made."""
    return {
        "branch": report.branch,
        "commit": report.commit,
        "base": report.base,
        "restored": [
            {"session_id": each.session_id, "source": each.source} for each in report.restored
        ],
        "lost": list(report.lost),
        "damaged": list(report.damaged),
    }


def purged_shape(purged: Purged) -> Shape:
    """Return what a rewrite of history did."""
    return {
        "branch": purged.branch,
        "old": purged.old,
        "new": purged.new,
        "changed": purged.changed,
        "dropped": purged.dropped,
        "removed": purged.removed,
        "kept_by": list(purged.kept_by),
        "advice": purged.advice,
    }


def maintenance_shape(report: MaintenanceReport) -> Shape:
    """Return what maintenance did."""
    return {
        "packs": {"before": report.packs_before, "after": report.packs_after},
        "loose": {"before": report.loose_before, "after": report.loose_after},
        "bytes": {"before": report.bytes_before, "after": report.bytes_after},
        "repacked": report.repacked,
        "pruned": report.pruned,
        "unreadable": list(report.unreadable),
    }


def stats_shape(stats: Stats) -> Shape:
    """Return how large a store is."""
    return {
        "sessions": stats.sessions,
        "session_bytes": stats.session_bytes,
        "commits": stats.commits,
        "growth": {
            "days": stats.growth.days,
            "commits": stats.growth.commits,
            "bytes": stats.growth.bytes,
        },
        "packs": stats.packs,
        "pack_bytes": stats.pack_bytes,
        "loose": stats.loose,
        "loose_bytes": stats.loose_bytes,
        "garbage": stats.garbage,
        "garbage_bytes": stats.garbage_bytes,
        "cache_bytes": stats.cache_bytes,
        "largest": [{"session_id": each.session_id, "bytes": each.bytes} for each in stats.largest],
        "last_problem": stats.last_problem,
    }


def _author_shape(author: Author) -> Shape:
    return {"name": author.name, "email": author.email}


def _blamed_shape(part: Blamed) -> Shape:
    return {
        "where": part.where,
        "commit": part.commit,
        "author": _author_shape(part.author),
        "time": iso(part.time, to="seconds"),
    }


def _field_shape(change: FieldChange) -> Shape:
    sides = {"old": change.old, "new": change.new}
    return {
        "where": change.where,
        **{name: value for name, value in sides.items() if value is not MISSING},
    }


def _problem_shape(problem: Problem) -> Shape:
    return {"kind": problem.kind.value, "where": problem.where, "text": problem.text}


def status_shape(status: SyncStatus) -> Shape:
    """Return how the store stands with its remote."""
    return {
        "mode": status.mode.value,
        "last_sync": None if status.last_sync is None else iso(status.last_sync, to="seconds"),
        "pending_uploads": status.pending_uploads,
        "pending_downloads": status.pending_downloads,
        "conflicts": list(status.conflicts),
        "ahead": status.ahead,
        "behind": status.behind,
        "local": status.local,
        "remote": status.remote,
        "problem": status.problem,
        "is_fully_synced": status.is_fully_synced,
    }


def remote_shape(remote: Remote) -> Shape:
    """Return one remote."""
    return {
        "name": remote.name,
        "url": remote.url,
        "branch": remote.branch,
        "is_default": remote.is_default,
    }


def report_shape(report: SyncReport) -> Shape:
    """Return what an exchange with the remote did."""
    return {
        "new": list(report.new),
        "updated": list(report.updated),
        "merged": list(report.merged),
        "deleted": list(report.deleted),
        "revived": list(report.revived),
        "conflicting": list(report.conflicting),
        "decided": [
            {"session_id": each.session_id, "where": each.where} for each in report.decided
        ],
        "sent": list(report.sent),
        "local": report.local,
        "remote": report.remote,
        "rounds": report.rounds,
    }


def conflict_shape(conflict: Conflict) -> Shape:
    """Return one conflict; of what was not there `base`, `ours` or `theirs` is left out."""
    sides = {"base": conflict.base, "ours": conflict.ours, "theirs": conflict.theirs}
    return {
        "session_id": conflict.session_id,
        "where": conflict.where,
        **{name: value for name, value in sides.items() if value is not MISSING},
    }


def changed_shape(change: Changed) -> Shape:
    """Return one change that was noticed."""
    return {
        "session_id": change.session_id,
        "kind": change.kind.value,
        "commit": change.commit,
    }


def diagnosis_shape(diagnosis: Diagnosis) -> Shape:
    """Return one thing that the doctor looked at."""
    return {
        "name": diagnosis.name,
        "is_ok": diagnosis.is_ok,
        "found": diagnosis.found,
        "advice": diagnosis.advice,
    }
