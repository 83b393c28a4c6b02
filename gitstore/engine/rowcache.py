"""Listing rows on disk: a cache that may be deleted at any time, and is never trusted for more."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from gitstore.session.meta import SessionMeta
from gitstore.session.times import from_ms, to_ms
from gitstore.types import Revision, SessionId

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Changes whenever the meaning of a row does: a file of another format is made anew.
_FORMAT = 1
_CREATE = (
    "CREATE TABLE IF NOT EXISTS rows (id TEXT, revision TEXT, name TEXT, created INTEGER, "
    "updated INTEGER, project TEXT, turns INTEGER, PRIMARY KEY (id, revision)) WITHOUT ROWID"
)
_SELECT = "SELECT id, revision, name, created, updated, project, turns FROM rows"
_INSERT = "INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)"
_BUSY_SECONDS = 0.2


class RowCache:
    """Rows by id and revision. No error of its own ever reaches a caller: it only forgets."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[tuple[SessionId, Revision], SessionMeta]:
        """Return every row that is kept."""
        try:
            if not self._path.exists():
                return {}
            with closing(self._connect()) as connection:
                rows = [_row(values) for values in connection.execute(_SELECT)]
        except (OSError, sqlite3.Error, ValueError, TypeError):
            self._forget()
            return {}
        return {(row.id, row.revision): row for row in rows if row.revision is not None}

    def store(self, rows: Iterable[SessionMeta]) -> None:
        """Keep some more rows."""
        values = [_values(row) for row in rows]
        try:
            if not values or not self._path.parent.exists():
                return
            with closing(self._connect()) as connection, connection:
                connection.executemany(_INSERT, values)
        except (OSError, sqlite3.Error):
            self._forget()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS)
        try:
            # A lost cache costs a second look at the files: no reason to wait for the disk.
            connection.execute("PRAGMA synchronous = OFF")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != _FORMAT:
                connection.execute("DROP TABLE IF EXISTS rows")
                connection.execute(f"PRAGMA user_version = {_FORMAT}")
            connection.execute(_CREATE)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _forget(self) -> None:
        for suffix in ("", "-journal"):
            try:
                self._path.with_name(self._path.name + suffix).unlink()
            except OSError:
                continue


def _values(row: SessionMeta) -> tuple[str | int | None, ...]:
    created, updated = to_ms(row.created_at), to_ms(row.updated_at)
    return (row.id, row.revision, row.name, created, updated, row.project_path, row.turn_count)


def _row(values: tuple[str, str, str | None, int, int, str | None, int]) -> SessionMeta:
    session_id, revision, name, created, updated, project, turns = values
    return SessionMeta(
        id=SessionId(session_id),
        name=name,
        created_at=from_ms(created),
        updated_at=from_ms(updated),
        project_path=project,
        turn_count=turns,
        revision=Revision(revision),
    )
