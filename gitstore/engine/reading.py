"""Read one session: from the working tree, the branch, or the past."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gitstore.engine.assetcache import AssetCache
from gitstore.engine.collecting import uncollected
from gitstore.engine.moments import resolve_for
from gitstore.engine.requests import Adopt
from gitstore.engine.worktree import problem_of
from gitstore.errors import SessionNotFoundError
from gitstore.git.objects import object_id
from gitstore.session import codec
from gitstore.session.assembly import assemble
from gitstore.session.ids import path_of
from gitstore.types import Revision

if TYPE_CHECKING:
    from gitstore.engine.transactions import Writer
    from gitstore.engine.worktree import HandEdits
    from gitstore.git.checkout import WorkingTree
    from gitstore.git.repository import Repository
    from gitstore.session.model import SessionAsset
    from gitstore.types import At, SessionId

#: A file that differs from the branch is adopted; while others write, it may differ again.
_ATTEMPTS_MAX = 5


class Reader:
    """Reads sessions of one store."""

    def __init__(self, repository: Repository, writer: Writer, edits: HandEdits) -> None:
        self._repository = repository
        self._writer = writer
        self._edits = edits
        self._assets = AssetCache()
        #: The working tree that was looked at last.
        self._tree: WorkingTree | None = None

    def load(self, session_id: SessionId, at: At | None) -> SessionAsset:
        """Return a session, now or then; a hand edit is adopted first."""
        if at is not None:
            commit = resolve_for(self._repository, session_id, at)
            revision = self._repository.blob_at(commit, path_of(session_id))
            if revision is None:
                raise SessionNotFoundError(session_id=session_id, at=at)
            return self._asset(session_id, revision, None, keeps=False)
        data, revision = self._current(session_id)
        return self._asset(session_id, revision, data, keeps=True)

    def exists(self, session_id: SessionId, at: At | None) -> bool:
        """Whether the branch has the session, or a person has just written its file."""
        path = path_of(session_id)
        if at is not None:
            commit = resolve_for(self._repository, session_id, at)
            return self._repository.blob_at(commit, path) is not None
        if self._repository.blob_at(self._repository.tip(), path) is not None:
            return True
        tree = self._edits.tree()
        return tree is not None and tree.read(path, limit=codec.MAX_BYTES) is not None

    def _current(self, session_id: SessionId) -> tuple[bytes | None, Revision]:
        """Return the revision to load, and its bytes if they were read."""
        path = path_of(session_id)
        for _ in range(_ATTEMPTS_MAX):
            committed = self._repository.blob_at(self._repository.tip(), path)
            if committed is not None and self._is_held(path, committed):
                return None, committed
            tree = self._tree = self._edits.tree()
            if tree is None:
                break
            state = self._edits.state_of(tree, path)
            file = tree.read(path, limit=codec.MAX_BYTES)
            # Again: a save that came in between moved both, and is no edit.
            committed = self._repository.blob_at(self._repository.tip(), path)
            if file is None:
                break
            written = Revision(object_id("blob", file.data))
            if written == committed:
                self._edits.found_equal(path, state, session_id, written)
                return file.data, written
            problem = problem_of(file.data, session_id)
            if problem is not None:
                raise problem
            adopt = Adopt(session_id=session_id, operation="adopt")
            self._writer.run([adopt])
            adopt.result()
        else:
            committed = self._repository.blob_at(self._repository.tip(), path)
        if committed is None:
            raise SessionNotFoundError(session_id=session_id)
        return None, committed

    def _is_held(self, path: str, committed: Revision) -> bool:
        """Whether the file in the working tree is known to hold what is committed.

        Then nobody need ask whether people may edit there now: what is read is the same.
        """
        tree = self._tree
        return tree is not None and self._edits.holds(
            path, self._edits.state_of(tree, path), committed
        )

    def _asset(
        self, session_id: SessionId, revision: Revision, data: bytes | None, *, keeps: bool
    ) -> SessionAsset:
        """Return a session that is the caller's own: the revision says all of its content.

        What is worth loading again is kept: then its bytes need not be read.
        """
        known = self._assets.get(session_id, revision)
        if known is not None:
            return known
        if data is None:
            data = self._repository.read_blob(revision)
        make = partial(self._made, session_id, revision, data, keeps=keeps)
        asset = uncollected(make, size=len(data))
        asset.mark_stored(revision)
        return asset

    def _made(
        self, session_id: SessionId, revision: Revision, data: bytes, *, keeps: bool
    ) -> SessionAsset:
        document, is_canonical = codec.decode_frozen(data, session_id=session_id)
        self._writer.forms.note(revision, is_canonical=is_canonical)
        asset = assemble(document, session_id=session_id)
        if keeps:
            self._assets.keep(session_id, revision, document, size=len(data))
        return asset
