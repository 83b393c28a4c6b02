"""Listing rows on disk: a cache that may be deleted at any time, and is never trusted for more."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gitstore.engine.cachefile import CACHE_FAILURES, CacheFile
from gitstore.session.meta import SessionMeta
from gitstore.types import Revision, SessionId, SyncState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Changes whenever the meaning of a row does: a file of another format is made anew.
_FORMAT = 3
#: All rows of one listing as one text, column by column: SQLite takes twice as long for a row of its own
#: for each, and JSON half as long again for a list of its own.
_COLUMNS = "rows TEXT PRIMARY KEY"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SELECT = "SELECT rows FROM listings"
_INSERT = "INSERT OR IGNORE INTO listings VALUES (?)"


class RowCache:
    """Rows by id and revision. No error of its own ever reaches a caller: it only forgets."""

    def __init__(self, path: Path) -> None:
        self._file = CacheFile(path, table="listings", columns=_COLUMNS, version=_FORMAT)

    def load(
        self, state: SyncState = SyncState.LOCAL_ONLY
    ) -> dict[tuple[SessionId, Revision], SessionMeta]:
        """Return every row that is kept, with that sync state."""
        try:
            if not self._file.exists():
                return {}
            with self._file.connected() as connection:
                texts = connection.execute(_SELECT).fetchall()
            rows = [row for (text,) in texts for row in _rows(json.loads(text), state)]
            return {(row.id, row.revision): row for row in rows if row.revision is not None}
        except (*CACHE_FAILURES, RecursionError):
            self._file.forget()
            return {}

    def store(self, rows: Iterable[SessionMeta]) -> None:
        """Keep some more rows, all at once; not those of before 1970, which have no milliseconds here."""
        try:
            kept = [row for row in rows if row.created_at >= _EPOCH <= row.updated_at]
            if not kept:
                return
            with self._file.connected() as connection:
                connection.execute(_INSERT, (json.dumps(_columns(kept)),))
        except CACHE_FAILURES:
            self._file.forget()


def _columns(rows: list[SessionMeta]) -> list[list[Any]]:
    return [
        [row.id for row in rows],
        [row.revision for row in rows],
        [row.name for row in rows],
        # As `to_ms` does, for times that are known to be no earlier than 1970.
        [(row.created_at - _EPOCH) // _MILLISECOND for row in rows],
        [(row.updated_at - _EPOCH) // _MILLISECOND for row in rows],
        [row.project_path for row in rows],
        [row.turn_count for row in rows],
    ]


def _rows(columns: list[list[Any]], state: SyncState) -> list[SessionMeta]:
    return [
        SessionMeta(
            id=SessionId(session_id),
            name=name,
            created_at=_EPOCH + created * _MILLISECOND,
            updated_at=_EPOCH + updated * _MILLISECOND,
            project_path=project,
            turn_count=turns,
            sync_state=state,
            revision=Revision(revision),
        )
        for session_id, revision, name, created, updated, project, turns in zip(
            *columns, strict=True
        )
    ]
