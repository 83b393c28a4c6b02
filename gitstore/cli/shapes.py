"""The JSON that ``--json`` prints. Scripts rely on it: add names, never rename or drop one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from gitstore.cli.output import iso

if TYPE_CHECKING:
    from gitstore import Change, Saved, SessionAsset, SessionMeta, SyncStatus

Shape: TypeAlias = dict[str, Any]


def saved_shape(saved: Saved) -> Shape:
    """Return the result of a save or a delete."""
    return {
        "session_id": saved.session_id,
        "outcome": saved.outcome.value,
        "revision": saved.revision,
        "commit": saved.commit,
        "adopted": saved.adopted,
    }


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
        "author": {"name": change.author.name, "email": change.author.email},
        "actor": change.actor,
        "time": iso(change.time, to="seconds"),
        "subject": change.subject,
    }


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
        "is_fully_synced": status.is_fully_synced,
    }
