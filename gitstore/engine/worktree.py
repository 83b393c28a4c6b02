"""Hand edits: session files in the working tree that differ from the committed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gitstore.errors import RepositoryError, SerializationError
from gitstore.git.objects import object_id
from gitstore.session import codec
from gitstore.session.ids import DIRECTORY, session_id_of
from gitstore.session.model import SessionAsset
from gitstore.types import Revision, SessionId

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from gitstore.git.checkout import WorkingTree
    from gitstore.git.repository import Repository
    from gitstore.types import Runtime

#: A file changed within this time of being read may change again with the same timestamps.
_SETTLED_SECONDS = 2.0


class HandEdit(NamedTuple):
    """A file that a person wrote; `problem` says why it cannot be read as a session."""

    session_id: SessionId
    revision: Revision | None
    problem: SerializationError | RepositoryError | None


class HandEdits:
    """Finds hand edits; remembers which files were found equal to the committed ones."""

    def __init__(self, repository: Repository, *, runtime: Runtime) -> None:
        self._repository = repository
        self._runtime = runtime
        self._equal: dict[SessionId, tuple[tuple[int, ...], Revision]] = {}

    def tree(self) -> WorkingTree | None:
        """Return the working tree if people may edit sessions there now.

        Not in a bare repository, nor while another branch is checked out, nor in the middle of a
        merge: what differs then is not an edit.
        """
        tree = self._repository.working_tree()
        return None if tree is None or self._repository.is_merging() else tree

    def all(self, committed: Mapping[SessionId, Revision]) -> list[HandEdit]:
        """Return every hand edit; `committed` holds the stored revisions."""
        tree = self.tree()
        if tree is None:
            return []
        now = self._runtime.clock()
        found: list[HandEdit] = []
        for path, status in tree.scan(DIRECTORY):
            session_id = session_id_of(path)
            if session_id is None:
                continue
            state, revision = _state(status), committed.get(session_id)
            if self._equal.get(session_id) == (state, revision):
                continue
            edit = self._examine(tree, path, session_id, revision)
            if edit is not None:
                found.append(edit)
            elif revision is not None and _newest(status) + _SETTLED_SECONDS < now:
                self._equal[session_id] = (state, revision)
        return found

    def _examine(
        self, tree: WorkingTree, path: str, session_id: SessionId, committed: Revision | None
    ) -> HandEdit | None:
        try:
            file = tree.read(path, limit=codec.MAX_BYTES)
        except RepositoryError as error:
            return HandEdit(session_id, None, error)
        if file is None:
            return None
        revision = Revision(object_id("blob", file.data))
        if revision == committed:
            return None
        return HandEdit(session_id, revision, problem_of(file.data, session_id))


def problem_of(data: bytes, session_id: SessionId) -> SerializationError | None:
    """Return why the bytes are no session of that id, or None if they are one."""
    try:
        SessionAsset.from_document(codec.decode(data, session_id=session_id), session_id=session_id)
    except SerializationError as error:
        return error
    return None


def _state(status: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a file is written, replaced or given another time."""
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _newest(status: os.stat_result) -> float:
    return max(status.st_mtime, status.st_ctime)
