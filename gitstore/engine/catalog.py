"""List sessions without reading them again: trees by tree id, rows by revision.

Both keys name content, so what is remembered can never be stale. Rows are kept in memory and in
``.git/gitstore/cache.sqlite``, which may be deleted at any time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from gitstore.engine.listing import NOTHING, ordered, with_states
from gitstore.engine.requests import Adopt
from gitstore.engine.rowcache import RowCache
from gitstore.errors import StorageError
from gitstore.session import codec
from gitstore.session.ids import DIRECTORY, session_id_of
from gitstore.session.meta import SessionMeta
from gitstore.types import Revision, SessionId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gitstore.engine.standing import Standing
    from gitstore.engine.transactions import Writer
    from gitstore.engine.worktree import HandEdit, HandEdits
    from gitstore.git.repository import Repository
    from gitstore.types import CommitId

T = TypeVar("T")
#: Is told how many rows have been read, and how many have to be.
Progress: TypeAlias = Callable[[int, int], None]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FOLDER: Final = b"40000 "
#: Sessions folders of several commits, and the folders in them: bound what is kept in memory.
_FOLDERS_KEPT: Final = 4
_SHARDS_KEPT: Final = 1024
_PROGRESS_STEP: Final = 256


class Catalog:
    """The rows of one store. Safe to share between threads."""

    def __init__(self, repository: Repository, writer: Writer, edits: HandEdits) -> None:
        self._repository = repository
        self._writer = writer
        self._edits = edits
        self._mutex = threading.Lock()
        #: By tree id.
        self._folders: OrderedDict[str, Mapping[SessionId, Revision]] = OrderedDict()
        self._shards: OrderedDict[str, dict[SessionId, Revision]] = OrderedDict()
        self._present = NOTHING
        self._stored: dict[tuple[SessionId, Revision], SessionMeta] | None = None
        self._cache = RowCache(Path(repository.folder, "cache.sqlite"))

    def committed(self, commit: CommitId | None) -> Mapping[SessionId, Revision]:
        """Return the revision of every session at a commit: not to be changed."""
        top = self._repository.find(self._repository.tree(commit), DIRECTORY)
        if top is None or not top.is_folder:
            return {}
        with self._mutex:
            known = self._folders.get(top.id)
        if known is not None:
            return known
        found: dict[SessionId, Revision] = {}
        for name, entry in self._repository.raw_entries(top.id).items():
            if entry.startswith(_FOLDER):
                found.update(self._shard(name, entry[len(_FOLDER) :].hex()))
        with self._mutex:
            return _kept(self._folders, top.id, found, _FOLDERS_KEPT)

    def list(self, *, progress: Progress | None = None) -> Mapping[SessionId, SessionMeta]:
        """Return a row for each session, after adopting the hand edits: not to be changed.

        `progress` is told (0, n) when n rows have to be read, then now and then, and (n, n) at the end;
        it is not asked when nothing has to be read.
        """
        committed = self.committed(self._repository.tip())
        reading = _Reading(self, committed, progress)
        edits = self._edits.all(committed, seen=reading.take)
        problems = self._adopt(edits)
        if edits:
            committed = self.committed(self._repository.tip())
        rows = self._rows_of(committed, reading)
        if not problems:
            return rows
        unreadable = {
            name: replace(rows.get(name) or _unread(name, None), problem=str(error))
            for name, error in problems.items()
        }
        return {**rows, **unreadable}

    def list_at(
        self, commit: CommitId | None, *, progress: Progress | None = None
    ) -> dict[SessionId, SessionMeta]:
        """Return a row for each session of a commit; hand edits play no part. Asks as `list` does."""
        committed = self.committed(commit)
        # Neither kept in memory nor stored: the rows there are those of the present.
        reading = _Reading(self, committed, progress)
        return {name: reading.row(name, revision) for name, revision in committed.items()}

    def in_order(
        self, rows: Mapping[SessionId, SessionMeta], standing: Standing
    ) -> Sequence[SessionMeta]:
        """Return rows of this catalog with their sync states, in order: not to be changed."""
        with self._mutex:
            if rows is self._present.rows:
                self._present = self._present.standing(standing)
                return self._present.order
        return with_states(ordered(rows.values()), standing)

    def known(self, name: SessionId, revision: Revision) -> SessionMeta | None:
        """Return a row that needs no reading."""
        row = self._present.rows.get(name)
        if row is not None and row.revision == revision:
            return row
        with self._mutex:
            if self._stored is None:
                self._stored = self._cache.load()
            return self._stored.get((name, revision))

    def read(self, name: SessionId, revision: Revision) -> SessionMeta:
        """Return a row from the file itself."""
        try:
            data = self._repository.read_blob(revision)
        except StorageError as error:
            return replace(_unread(name, revision), problem=str(error))
        return codec.read_meta(data, session_id=name, revision=revision)

    def _shard(self, name: bytes, tree: str) -> dict[SessionId, Revision]:
        """Return the sessions in one folder of the sessions folder."""
        with self._mutex:
            known = self._shards.get(tree)
        if known is not None:
            return known
        above = f"{DIRECTORY}/{name.decode(errors='replace')}/"
        found = {
            session_id: Revision(entry[-20:].hex())
            for file, entry in self._repository.raw_entries(tree).items()
            if not entry.startswith(_FOLDER)
            and (session_id := session_id_of(above + file.decode(errors="replace")))
        }
        with self._mutex:
            return _kept(self._shards, tree, found, _SHARDS_KEPT)

    def _rows_of(
        self, committed: Mapping[SessionId, Revision], reading: _Reading
    ) -> dict[SessionId, SessionMeta]:
        present = self._present
        if present.committed is committed:
            return present.rows
        before = present.rows.get
        rows = {
            name: row
            if (row := before(name)) is not None and row.revision == revision
            else reading.row(name, revision)
            for name, revision in committed.items()
        }
        reading.finish()
        self._cache.store(row for row in reading.fresh.values() if row.problem is None)
        with self._mutex:
            self._present = self._present.followed_by(committed, rows)
            self._stored = {}  # what it had is in the rows, or belongs to the past
            return self._present.rows

    def _adopt(self, edits: Sequence[HandEdit]) -> dict[SessionId, StorageError]:
        """Commit the hand edits that are sessions; return why the others were not."""
        problems = {edit.session_id: edit.problem for edit in edits if edit.problem is not None}
        requests = [
            Adopt(session_id=edit.session_id, operation="adopt")
            for edit in edits
            if edit.problem is None
        ]
        self._writer.run(requests)
        failed = {each.session_id: each.error for each in requests if each.error is not None}
        return problems | failed


class _Reading:
    """The rows that one listing has to read, each once; `take` gets files that were read anyway."""

    def __init__(
        self,
        catalog: Catalog,
        committed: Mapping[SessionId, Revision],
        progress: Progress | None,
    ) -> None:
        self.fresh: dict[tuple[SessionId, Revision], SessionMeta] = {}
        self._catalog = catalog
        self._progress = progress
        self._total = 0
        if progress is not None:
            self._total = sum(catalog.known(*key) is None for key in committed.items())
            self._tell()

    def take(self, name: SessionId, revision: Revision, data: bytes) -> None:
        """Make a row of the bytes of a file, if there is none yet."""
        if self._catalog.known(name, revision) is None:
            self._add(codec.read_meta(data, session_id=name, revision=revision), revision)

    def row(self, name: SessionId, revision: Revision) -> SessionMeta:
        """Return a row, read now unless it is known."""
        row = self.fresh.get((name, revision)) or self._catalog.known(name, revision)
        if row is None:
            row = self._catalog.read(name, revision)
            self._add(row, revision)
        return row

    def finish(self) -> None:
        """Say that all is read."""
        if len(self.fresh) % _PROGRESS_STEP:
            self._tell()

    def _add(self, row: SessionMeta, revision: Revision) -> None:
        self.fresh[row.id, revision] = row
        if len(self.fresh) % _PROGRESS_STEP == 0:
            self._tell()

    def _tell(self) -> None:
        if self._progress is not None and self._total:
            self._progress(len(self.fresh), max(self._total, len(self.fresh)))


def _kept(cache: OrderedDict[str, T], key: str, value: T, most: int) -> T:
    """Put a value into a cache of limited size, or return the one that came first."""
    value = cache.setdefault(key, value)
    cache.move_to_end(key)
    if len(cache) > most:
        cache.popitem(last=False)
    return value


def _unread(session_id: SessionId, revision: Revision | None) -> SessionMeta:
    return SessionMeta(
        id=session_id,
        name=None,
        created_at=_EPOCH,
        updated_at=_EPOCH,
        project_path=None,
        turn_count=0,
        revision=revision,
    )
