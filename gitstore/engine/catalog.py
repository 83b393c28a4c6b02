"""List sessions without reading them again: trees by tree id, rows by revision.

Both keys name content, so what is remembered can never be stale. Rows are kept in memory and in
``.git/gitstore/cache.sqlite``, which may be deleted at any time.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gitstore.engine.requests import Adopt
from gitstore.engine.rowcache import RowCache
from gitstore.errors import StorageError
from gitstore.session import codec
from gitstore.session.ids import DIRECTORY, session_id_of
from gitstore.session.meta import SessionMeta
from gitstore.types import Revision, SessionId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gitstore.engine.transactions import Writer
    from gitstore.engine.worktree import HandEdit, HandEdits
    from gitstore.git.repository import Repository
    from gitstore.git.trees import Entry
    from gitstore.types import CommitId

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Catalog:
    """The rows of one store."""

    def __init__(self, repository: Repository, writer: Writer, edits: HandEdits) -> None:
        self._repository = repository
        self._writer = writer
        self._edits = edits
        self._mutex = threading.Lock()
        self._shards: dict[str, dict[SessionId, Revision]] = {}
        self._rows: dict[tuple[SessionId, Revision], SessionMeta] = {}
        self._cache = RowCache(Path(repository.folder, "cache.sqlite"))

    def committed(self, commit: CommitId | None) -> dict[SessionId, Revision]:
        """Return the revision of every session at a commit."""
        top = self._repository.find(self._repository.tree(commit), DIRECTORY)
        if top is None or not top.is_folder:
            return {}
        found: dict[SessionId, Revision] = {}
        shards: dict[str, dict[SessionId, Revision]] = {}
        for entry in self._repository.entries(top.id):
            if entry.is_folder:
                known = self._shards.get(entry.id)
                shard = self._shard(entry) if known is None else known
                shards[entry.id] = shard
                found.update(shard)
        self._shards = shards
        return found

    def list(self) -> dict[SessionId, SessionMeta]:
        """Return a row for each session, after adopting the hand edits."""
        committed = self.committed(self._repository.tip())
        edits = self._edits.all(committed)
        problems = self._adopt(edits)
        rows = self._rows_of(self.committed(self._repository.tip()) if edits else committed)
        for session_id, error in problems.items():
            row = rows.get(session_id) or _unread(session_id, None)
            rows[session_id] = replace(row, problem=str(error))
        return rows

    def list_at(self, commit: CommitId | None) -> dict[SessionId, SessionMeta]:
        """Return a row for each session of a commit; hand edits play no part."""
        committed = self.committed(commit)
        with self._mutex:
            if not self._rows:
                self._rows = self._cache.load()
            known = self._rows
        # Neither kept in memory nor stored: the rows there are those of the present.
        return {
            session_id: known.get((session_id, revision)) or self._read(session_id, revision)
            for session_id, revision in committed.items()
        }

    def _shard(self, folder: Entry) -> dict[SessionId, Revision]:
        """Return the sessions in one folder of the sessions folder."""
        above = f"{DIRECTORY}/{folder.name.decode(errors='replace')}/"
        return {
            session_id: Revision(entry.id)
            for entry in self._repository.entries(folder.id)
            if not entry.is_folder
            and (session_id := session_id_of(above + entry.name.decode(errors="replace")))
        }

    def _rows_of(self, committed: Mapping[SessionId, Revision]) -> dict[SessionId, SessionMeta]:
        with self._mutex:
            if not self._rows:
                self._rows = self._cache.load()
            known = self._rows
            fresh = [self._read(*key) for key in committed.items() if key not in known]
            self._cache.store(row for row in fresh if row.problem is None)
            known = known | {(row.id, Revision(row.revision or "")): row for row in fresh}
            self._rows = {key: known[key] for key in committed.items()}
            return {row.id: row for row in self._rows.values()}

    def _read(self, session_id: SessionId, revision: Revision) -> SessionMeta:
        try:
            data = self._repository.read_blob(revision)
        except StorageError as error:
            return replace(_unread(session_id, revision), problem=str(error))
        return codec.read_meta(data, session_id=session_id, revision=revision)

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
