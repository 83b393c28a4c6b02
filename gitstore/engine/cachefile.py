"""One SQLite file of things that can be found out again: it may be deleted at any time."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_BUSY_SECONDS: Final = 0.2
#: What a caller must expect of a file that anybody may have damaged.
CACHE_FAILURES: Final = (OSError, sqlite3.Error, ValueError, TypeError, OverflowError)


class CacheFile:
    """A file with one table. It is never worth an error: who meets one forgets the file."""

    def __init__(self, path: Path, *, table: str, columns: str, version: int) -> None:
        """Name the file; `version` changes whenever the meaning of a row does."""
        self._path = path
        self._table = table
        self._columns = columns
        self._version = version

    def exists(self) -> bool:
        """Whether there is anything to read."""
        return self._path.exists()

    @contextmanager
    def connected(self) -> Generator[sqlite3.Connection]:
        """Open the file, made anew if it is of another version; commit at the end.

        Raises:
            OSError, sqlite3.Error: it cannot be read or written.
        """
        # A lost cache costs a second look at the repository: no reason to wait for the disk.
        self._path.parent.mkdir(exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != self._version:
                connection.execute(f"DROP TABLE IF EXISTS {self._table}")
                connection.execute(f"PRAGMA user_version = {self._version}")
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self._table} ({self._columns}) WITHOUT ROWID"
            )
            with connection:
                yield connection

    def forget(self) -> None:
        """Delete the file."""
        for suffix in ("", "-journal"):
            try:
                self._path.with_name(self._path.name + suffix).unlink()
            except OSError:
                continue
