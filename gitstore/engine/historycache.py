"""What was found out about history, kept: in memory, and in a file that may be deleted at any time.

All of it is a function of the commit it is kept under, so that it cannot become stale. The file is
never trusted alone all the same: who reads from it compares what it says with the repository.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections import OrderedDict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from gitstore.git.trail import ID_BYTES

if TYPE_CHECKING:
    from gitstore.git.repository import Repository
    from gitstore.git.trail import RawCommit

FILE: Final = "history.sqlite"
#: Changes whenever the meaning of a row does: a file of another format is made anew.
_FORMAT: Final = 1
_CREATE: Final = (
    "CREATE TABLE IF NOT EXISTS walks (path TEXT PRIMARY KEY, walk BLOB, digest BLOB) WITHOUT ROWID"
)
_SELECT: Final = "SELECT walk, digest FROM walks WHERE path = ?"
_SELECT_ALL: Final = "SELECT path, walk, digest FROM walks ORDER BY path LIMIT ?"
_INSERT: Final = "INSERT OR REPLACE INTO walks VALUES (?, ?, ?)"
_BUSY_SECONDS: Final = 0.2
_WALKS_KEPT: Final = 512
_NONE: Final = bytes(ID_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The commits that changed a path, newest first, as far as somebody walked.

    The walk began at `tip`; it goes on at `rest`, or is complete when that is None.
    """

    tip: RawCommit
    rows: tuple[RawCommit, ...]
    rest: RawCommit | None


class HistoryCache:
    """Walks by path. Safe to share between threads; no error of its own reaches a caller."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._walks: OrderedDict[str, Walk] = OrderedDict()

    def known(self, path: str) -> Walk | None:
        """Return the last walk of this process, which needs no checking."""
        with self._mutex:
            return self._walks.get(path)

    def stored(self, path: str) -> Walk | None:
        """Return the walk that the file holds, to be checked before it is used."""
        try:
            if not self._path.exists():
                return None
            with closing(self._connect()) as connection:
                found = connection.execute(_SELECT, (path,)).fetchone()
            return None if found is None else _unpacked(path, *found)
        except (OSError, sqlite3.Error, ValueError, TypeError):
            self.forget()
            return None

    def all_stored(self, limit: int) -> list[tuple[str, Walk]]:
        """Return walks that the file holds, by path; a damaged file is deleted."""
        try:
            with closing(self._connect()) as connection:
                rows = connection.execute(_SELECT_ALL, (limit,)).fetchall()
            return [(path, _unpacked(path, data, digest)) for path, data, digest in rows]
        except (OSError, sqlite3.Error, ValueError, TypeError):
            self.forget()
            return []

    def keep(self, path: str, walk: Walk, *, store: bool) -> None:
        """Remember a walk, and `store` it in the file too."""
        with self._mutex:
            self._walks[path] = walk
            self._walks.move_to_end(path)
            if len(self._walks) > _WALKS_KEPT:
                self._walks.popitem(last=False)
        if not store or not self._path.parent.exists():
            return
        data = b"".join((walk.tip, walk.rest or _NONE, *walk.rows))
        try:
            with closing(self._connect()) as connection, connection:
                connection.execute(_INSERT, (path, data, _digest(path, data)))
        except (OSError, sqlite3.Error):
            self.forget()

    def forget(self) -> None:
        """Delete the file."""
        for suffix in ("", "-journal"):
            try:
                self._path.with_name(self._path.name + suffix).unlink()
            except OSError:
                continue

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS)
        try:
            # A lost cache costs another walk: no reason to wait for the disk.
            connection.execute("PRAGMA synchronous = OFF")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != _FORMAT:
                connection.execute("DROP TABLE IF EXISTS walks")
                connection.execute(f"PRAGMA user_version = {_FORMAT}")
            connection.execute(_CREATE)
        except sqlite3.Error:
            connection.close()
            raise
        return connection


_caches: WeakKeyDictionary[Repository, HistoryCache] = WeakKeyDictionary()
_mutex = threading.Lock()


def cache_of(repository: Repository) -> HistoryCache:
    """Return the cache of a repository, one for as long as it is open."""
    with _mutex:
        found = _caches.get(repository)
        if found is None:
            found = _caches[repository] = HistoryCache(Path(repository.folder, FILE))
        return found


def _digest(path: str, data: bytes) -> bytes:
    return hashlib.sha256(path.encode() + b"\0" + data).digest()


def _unpacked(path: str, data: bytes, digest: bytes) -> Walk:
    if _digest(path, data) != digest or len(data) % ID_BYTES:
        raise ValueError("the file is damaged")
    tip, rest, *rows = (data[at : at + ID_BYTES] for at in range(0, len(data), ID_BYTES))
    return Walk(tip=tip, rows=tuple(rows), rest=None if rest == _NONE else rest)
