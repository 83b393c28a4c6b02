"""What was found out about history, kept: in memory, and in a file that may be deleted at any time.

All of it is a function of the commit it is kept under, so that it cannot become stale. The file is
never trusted alone all the same: who reads from it compares what it says with the repository.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from gitstore.engine.cachefile import CACHE_FAILURES, CacheFile
from gitstore.git.trail import ID_BYTES

if TYPE_CHECKING:
    from gitstore.git.repository import Repository
    from gitstore.git.trail import RawCommit

FILE: Final = "history.sqlite"
#: Changes whenever the meaning of a row does: a file of another format is made anew.
_FORMAT: Final = 1
_COLUMNS: Final = "path TEXT PRIMARY KEY, walk BLOB, digest BLOB"
_SELECT: Final = "SELECT walk, digest FROM walks WHERE path = ?"
_SELECT_ALL: Final = "SELECT path, walk, digest FROM walks ORDER BY path LIMIT ?"
_INSERT: Final = "INSERT OR REPLACE INTO walks VALUES (?, ?, ?)"
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
        self._file = CacheFile(path, table="walks", columns=_COLUMNS, version=_FORMAT)
        self._folder = path.parent
        self._mutex = threading.Lock()
        self._walks: OrderedDict[str, Walk] = OrderedDict()

    def known(self, path: str) -> Walk | None:
        """Return the last walk of this process, which needs no checking."""
        with self._mutex:
            return self._walks.get(path)

    def stored(self, path: str) -> Walk | None:
        """Return the walk that the file holds, to be checked before it is used."""
        try:
            if not self._file.exists():
                return None
            with self._file.connected() as connection:
                found = connection.execute(_SELECT, (path,)).fetchone()
            return None if found is None else _unpacked(path, *found)
        except CACHE_FAILURES:
            self.forget()
            return None

    def all_stored(self, limit: int) -> list[tuple[str, Walk]]:
        """Return walks that the file holds, by path; a damaged file is deleted."""
        try:
            with self._file.connected() as connection:
                rows = connection.execute(_SELECT_ALL, (limit,)).fetchall()
            return [(path, _unpacked(path, data, digest)) for path, data, digest in rows]
        except CACHE_FAILURES:
            self.forget()
            return []

    def keep(self, path: str, walk: Walk, *, store: bool) -> None:
        """Remember a walk, and `store` it in the file too."""
        with self._mutex:
            self._walks[path] = walk
            self._walks.move_to_end(path)
            if len(self._walks) > _WALKS_KEPT:
                self._walks.popitem(last=False)
        if not store or not self._folder.exists():
            return
        data = b"".join((walk.tip, walk.rest or _NONE, *walk.rows))
        try:
            with self._file.connected() as connection:
                connection.execute(_INSERT, (path, data, _digest(path, data)))
        except CACHE_FAILURES:
            self.forget()

    def forget(self) -> None:
        """Delete the file."""
        self._file.forget()


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
