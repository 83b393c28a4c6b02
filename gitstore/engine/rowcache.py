"""Listing rows on disk: a cache that may be deleted at any time, and is never trusted for more."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gitstore.engine.cachefile import CACHE_FAILURES, CacheFile
from gitstore.session.meta import SessionMeta
from gitstore.types import Revision, SessionId, SyncState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Changes whenever the meaning of a row does: a file of another format is made anew.
_FORMAT = 2
#: All rows of one listing as one text: SQLite takes twice as long for a row of its own for each.
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
            rows = [_row(values, state) for (text,) in texts for values in json.loads(text)]
            return {(row.id, row.revision): row for row in rows if row.revision is not None}
        except (*CACHE_FAILURES, RecursionError):
            self._file.forget()
            return {}

    def store(self, rows: Iterable[SessionMeta]) -> None:
        """Keep some more rows, all at once; not those of before 1970, which have no milliseconds here."""
        try:
            values = [_values(row) for row in rows if row.created_at >= _EPOCH <= row.updated_at]
            if not values:
                return
            with self._file.connected() as connection:
                connection.execute(_INSERT, (json.dumps(values),))
        except CACHE_FAILURES:
            self._file.forget()


def _values(row: SessionMeta) -> tuple[str | int | None, ...]:
    # As `to_ms` does, for times that are known to be no earlier than 1970.
    created = (row.created_at - _EPOCH) // _MILLISECOND
    updated = (row.updated_at - _EPOCH) // _MILLISECOND
    return (row.id, row.revision, row.name, created, updated, row.project_path, row.turn_count)


def _row(
    values: tuple[str, str, str | None, int, int, str | None, int], state: SyncState
) -> SessionMeta:
    session_id, revision, name, created, updated, project, turns = values
    return SessionMeta(
        id=SessionId(session_id),
        name=name,
        created_at=_EPOCH + created * _MILLISECOND,
        updated_at=_EPOCH + updated * _MILLISECOND,
        project_path=project,
        turn_count=turns,
        sync_state=state,
        revision=Revision(revision),
    )
