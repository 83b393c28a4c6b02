"""List sessions without reading them again: trees by tree id, rows by revision.

Both keys name content, so what is remembered can never be stale. Rows are kept in memory and in
``.git/gitstore/cache.sqlite``, which may be deleted at any time.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gitstore.engine.folders import Folders
from gitstore.engine.listing import NOTHING, ordered, with_states
from gitstore.engine.requests import Adopt
from gitstore.engine.rowcache import RowCache
from gitstore.errors import StorageError
from gitstore.session import codec
from gitstore.session.meta import SessionMeta
from gitstore.types import Progress, Revision, SessionId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gitstore.engine.folders import Folder
    from gitstore.engine.standing import Standing
    from gitstore.engine.transactions import Writer
    from gitstore.engine.worktree import HandEdit, HandEdits
    from gitstore.git.repository import Repository
    from gitstore.types import CommitId, OnProgress, SyncState

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PROGRESS_STEP: Final = 256


class Catalog:
    """The rows of one store. Safe to share between threads."""

    def __init__(
        self,
        repository: Repository,
        writer: Writer,
        edits: HandEdits,
        *,
        standing: Callable[[], Standing],
    ) -> None:
        """List a repository; `standing` tells how its sessions stand."""
        self._repository = repository
        self._writer = writer
        self._edits = edits
        self._standing = standing
        self._mutex = threading.Lock()
        self._folders = Folders(repository)
        self._present = NOTHING
        self._stored: dict[tuple[SessionId, Revision], SessionMeta] | None = None
        self._cache = RowCache(Path(repository.folder, "cache.sqlite"))

    def folder(self, commit: CommitId | None) -> Folder:
        """Return the sessions folder of a commit."""
        return self._folders.at(commit)

    def committed(self, commit: CommitId | None) -> Mapping[SessionId, Revision]:
        """Return the revision of every session at a commit: not to be changed."""
        return self._folders.at(commit).revisions

    def list(self, *, progress: OnProgress | None = None) -> Mapping[SessionId, SessionMeta]:
        """Return a row for each session, after adopting the hand edits: not to be changed.

        `progress` is told how many rows have to be read, then now and then how many have been, and the
        end; nothing when nothing has to be read.
        """
        folder = self._folders.at(self._repository.tip())
        reading = _Reading(self, folder.revisions, progress)
        edits = self._edits.all(folder, reading=reading, skips_quiet=True)
        problems = self._adopt(edits)
        if edits:
            folder = self._folders.at(self._repository.tip())
        rows = self._rows_of(folder, reading)
        if not problems:
            return rows
        unreadable = {
            name: replace(rows.get(name) or _unread(name, None), problem=str(error))
            for name, error in problems.items()
        }
        return {**rows, **unreadable}

    def list_at(
        self, commit: CommitId | None, *, progress: OnProgress | None = None
    ) -> dict[SessionId, SessionMeta]:
        """Return a row for each session of a commit; hand edits play no part. Asks as `list` does."""
        committed = self.committed(commit)
        # Neither kept in memory nor stored: the rows there are those of the present.
        reading = _Reading(self, committed, progress)
        return reading.rows(committed)

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
        return self._kept_rows().get((name, revision))

    @property
    def has_rows(self) -> bool:
        """Whether any row needs no reading."""
        return bool(self._present.rows or self._kept_rows())

    def by_place(self, revisions: Iterable[Revision]) -> Sequence[Revision]:
        """Return revisions in the order in which they are read quickest."""
        return self._repository.by_place(revisions)

    def usual_state(self) -> SyncState:
        """Return the sync state of most rows: those that are made with it need not be made again."""
        return self._standing().usual

    def read(self, name: SessionId, revision: Revision, state: SyncState) -> SessionMeta:
        """Return a row from the file itself."""
        try:
            data = self._repository.read_blob(revision)
        except StorageError as error:
            return replace(_unread(name, revision), problem=str(error))
        return codec.read_meta(data, session_id=name, revision=revision, state=state)

    def _kept_rows(self) -> Mapping[tuple[SessionId, Revision], SessionMeta]:
        """Return the rows on disk, loaded at the first need."""
        stored = self._stored
        if stored is None:
            state = self.usual_state()
            with self._mutex:
                stored = self._stored
                if stored is None:
                    stored = self._stored = self._cache.load(state)
        return stored

    def _rows_of(self, folder: Folder, reading: _Reading) -> Mapping[SessionId, SessionMeta]:
        present = self._present
        if present.folder is folder:
            return present.rows
        changed = folder.changed_since(present.folder)
        there = {name: revision for name, revision in changed.items() if revision is not None}
        changes = {**dict.fromkeys(changed), **reading.rows(there)}
        self._cache.store(row for row in reading.fresh.values() if row.problem is None)
        with self._mutex:
            self._present = present.followed_by(folder, changes)
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
        progress: OnProgress | None,
    ) -> None:
        #: A session that was read again, after an edit of it was adopted, is in it once.
        self.fresh: dict[SessionId, SessionMeta] = {}
        self._catalog = catalog
        self._progress = progress
        #: Whether there were no rows at all yet.
        self.wants_all = not catalog.has_rows
        self._total = 0
        if progress is not None:
            self._total = sum(catalog.known(*key) is None for key in committed.items())
            self._tell()

    def wants(self, session_id: SessionId, revision: Revision) -> bool:
        """Whether there is no row of a session yet."""
        return self.wants_all or self._catalog.known(session_id, revision) is None

    def take(self, session_id: SessionId, revision: Revision, data: bytes) -> None:
        """Make a row of the bytes of a file, if there is none yet."""
        if self.wants(session_id, revision):
            row = codec.read_meta(
                data, session_id=session_id, revision=revision, state=self._usual_state
            )
            self._add(row)

    @cached_property
    def _usual_state(self) -> SyncState:
        # Asked at the first need: most listings read nothing.
        return self._catalog.usual_state()

    def rows(self, sessions: Mapping[SessionId, Revision]) -> dict[SessionId, SessionMeta]:
        """Return a row for each session; what is not known is read, in the order that is quickest."""
        rows: dict[SessionId, SessionMeta] = {}
        unknown: dict[Revision, list[SessionId]] = {}
        for name, revision in sessions.items():
            row = self._known(name, revision)
            if row is None:
                unknown.setdefault(revision, []).append(name)
            else:
                rows[name] = row
        for revision in self._catalog.by_place(unknown):
            for name in unknown[revision]:
                row = rows[name] = self._catalog.read(name, revision, self._usual_state)
                self._add(row)
        if len(self.fresh) % _PROGRESS_STEP:
            self._tell()
        return rows

    def _known(self, name: SessionId, revision: Revision) -> SessionMeta | None:
        row = self.fresh.get(name)
        if row is not None and row.revision == revision:
            return row
        return self._catalog.known(name, revision)

    def _add(self, row: SessionMeta) -> None:
        self.fresh[row.id] = row
        if len(self.fresh) % _PROGRESS_STEP == 0:
            self._tell()

    def _tell(self) -> None:
        if self._progress is not None and self._total:
            done = len(self.fresh)
            total = max(self._total, done)
            self._progress(Progress(phase="listing", done=done, total=total, unit="sessions"))


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
