"""What is no repository: one file for each session, and SQLite as the OpenAI Agents SDK uses it."""

from __future__ import annotations

import os
import sqlite3
import threading
from functools import partial
from typing import TYPE_CHECKING

from tests.benchmarks.peers.subject import Subject

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.measure import Act

#: The subject that stands for what a durable write costs at all.
LIMIT = "plain file (the limit)"

# The tables of agents.memory.SQLiteSession, version 0.24, to the letter of what matters here.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS agent_sessions (
    session_id TEXT PRIMARY KEY,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE IF NOT EXISTS agent_messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL,
    message_data TEXT NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (session_id) REFERENCES agent_sessions (session_id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idx_agent_messages_session_id ON agent_messages (session_id, id);
"""


class PlainFile:
    """Temporary, fsync, rename, fsync of the folder: no history, no listing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, path: str, data: bytes) -> Act:
        """Make the folder; return the write."""
        del name
        where = self._folder / path
        where.parent.mkdir(parents=True, exist_ok=True)
        return partial(self._save, where, data)

    def _save(self, path: Path, data: bytes) -> None:
        temporary = path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
        _sync_folder(path.parent)

    def delete(self, name: str, path: str) -> Act:
        """Put the file there; return the unlink."""
        del name
        where = self._folder / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(b"x" * 2048)
        return partial(self._delete, where)

    def _delete(self, path: Path) -> None:
        path.unlink()
        _sync_folder(path.parent)

    def close(self) -> None:
        """Nothing is open."""


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Sqlite:
    """A message of the session's bytes is added, in one transaction, as `add_items` does."""

    def __init__(self, folder: Path, *, synchronous: str) -> None:
        self._path = folder / "sessions.db"
        self._synchronous = synchronous
        self._threads = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._connection().executescript(_SCHEMA)

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection, as the SDK keeps one for each."""
        made: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if made is None:
            made = sqlite3.connect(self._path, check_same_thread=False, timeout=60)
            made.execute("PRAGMA journal_mode=WAL")
            made.execute(f"PRAGMA synchronous={self._synchronous}")
            self._threads.connection = made
            self._opened.append(made)
        return made

    def write(self, name: str, path: str, data: bytes) -> Act:
        """Return the insert."""
        del path
        return partial(self.add, name, data)

    def add(self, name: str, data: bytes) -> None:
        """Add one message to a session."""
        with self._connection() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO agent_sessions (session_id) VALUES (?)", (name,)
            )
            connection.execute(
                "INSERT INTO agent_messages (session_id, message_data) VALUES (?, ?)",
                (name, data.decode()),
            )
            connection.execute(
                "UPDATE agent_sessions SET updated_at = CURRENT_TIMESTAMP WHERE session_id = ?",
                (name,),
            )

    def messages(self) -> int:
        """Return how many messages are stored."""
        row = self._connection().execute("SELECT count(*) FROM agent_messages").fetchone()
        return int(row[0])

    def delete(self, name: str, path: str) -> Act:
        """Add the session; return its deletion, as `clear_session` does it."""
        del path
        self.add(name, b"x" * 2048)
        return partial(self._delete, name)

    def _delete(self, name: str) -> None:
        with self._connection() as connection:
            connection.execute("DELETE FROM agent_messages WHERE session_id = ?", (name,))
            connection.execute("DELETE FROM agent_sessions WHERE session_id = ?", (name,))

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._opened:
            connection.close()


def subjects() -> list[Subject]:
    """Return the limit, and SQLite in both settings that keep a database sound."""
    return [
        Subject(
            name=LIMIT,
            durability="survives power loss",
            bare=None,
            layout="none",
            open=PlainFile,
            notes="temporary, fsync, rename, fsync of the folder; no history",
        ),
        Subject(
            name="SQLite WAL, FULL",
            durability="survives power loss",
            bare=None,
            layout="none",
            open=partial(Sqlite, synchronous="FULL"),
            notes="the tables of the OpenAI Agents SDK's SQLiteSession; one commit a save",
        ),
        Subject(
            name="SQLite WAL, NORMAL",
            durability="a power loss can take the latest commits, never the database",
            bare=None,
            layout="none",
            open=partial(Sqlite, synchronous="NORMAL"),
            notes="the tables of the OpenAI Agents SDK's SQLiteSession; one commit a save",
        ),
    ]
