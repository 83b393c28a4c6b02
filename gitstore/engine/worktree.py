"""Hand edits: session files in the working tree that differ from the committed ones."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from gitstore.errors import RepositoryError, SerializationError
from gitstore.git.objects import object_id
from gitstore.session import codec
from gitstore.session.ids import DIRECTORY, SUFFIX, path_of, session_id_of
from gitstore.session.model import SessionAsset
from gitstore.types import Revision, SessionId

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from gitstore.git.checkout import WorkingFile, WorkingTree
    from gitstore.git.repository import Repository
    from gitstore.types import Runtime

#: What changes when a file is written, replaced or given another time: both times, size, inode.
FileState: TypeAlias = tuple[int, int, int, int]
#: A file changed within this time of being read may change again with the same timestamps.
_SETTLED_SECONDS = 2.0


class HandEdit(NamedTuple):
    """A file that a person wrote; `problem` says why it cannot be read as a session."""

    session_id: SessionId
    revision: Revision | None
    problem: SerializationError | RepositoryError | None


class Reading(Protocol):
    """Somebody who has a use for the bytes of files that turn out to be what is committed."""

    @property
    def wants_all(self) -> bool:
        """Whether to read every file: then there is no point in asking for each."""
        ...

    def wants(self, session_id: SessionId, revision: Revision) -> bool:
        """Whether the file should be read, although it is known to hold that revision."""
        ...

    def take(self, session_id: SessionId, revision: Revision, data: bytes) -> None:
        """Get the bytes of a file that was read."""
        ...


class _Equal(NamedTuple):
    """A file that was found to hold a revision, in the state it had."""

    state: FileState
    revision: Revision
    session_id: SessionId


class HandEdits:
    """Finds hand edits; remembers which files were found equal to the committed ones.

    Safe to share between threads: what is remembered is one entry of a dict for each file.
    """

    def __init__(self, repository: Repository, *, runtime: Runtime) -> None:
        self._repository = repository
        self._runtime = runtime
        #: By the path of the folder, with a slash, and the name of the file.
        self._equal: dict[str, dict[str, _Equal]] = {}
        self._has_asked_git = False

    def tree(self) -> WorkingTree | None:
        """Return the working tree if people may edit sessions there now.

        Not in a bare repository, nor while another branch is checked out, nor in the middle of a
        merge: what differs then is not an edit.
        """
        tree = self._repository.working_tree()
        return None if tree is None or self._repository.is_merging() else tree

    def all(
        self, committed: Mapping[SessionId, Revision], *, reading: Reading | None = None
    ) -> list[HandEdit]:
        """Return every hand edit; `committed` holds the stored revisions.

        Every file is looked at, as by `git status`, and read if it was touched since it was last found
        equal, by us or by git: an edit that keeps a folder's times would be missed otherwise.
        """
        tree = self.tree()
        if tree is None:
            return []
        now = self._runtime.clock()
        if not self._has_asked_git and (reading is None or not reading.wants_all):
            self._ask_git(reading)
        found: list[HandEdit] = []
        revision_of = committed.get
        for above, folder, files in tree.visit(DIRECTORY):
            known_of = self._equal.setdefault(above, {}).get
            for name, status in files:
                known = known_of(name)
                state = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
                if known is not None and known[0] == state and revision_of(known[2]) == known[1]:
                    continue
                session_id = _session_of(above + name, name, committed)
                if session_id is None:
                    continue
                read = partial(tree.read, above + name, limit=codec.MAX_BYTES, folder=folder)
                revision = revision_of(session_id)
                edit, data = _examine(read, session_id, revision)
                if edit is not None:
                    found.append(edit)
                elif revision is not None and data is not None:
                    self._keep(above, name, _Equal(state, revision, session_id), now)
                    if reading is not None:
                        reading.take(session_id, revision, data)
        return found

    def state_of(self, tree: WorkingTree, path: str) -> FileState | None:
        """Return the state of a file, or None if it has none; a link is not followed."""
        try:
            return _state(tree.status(path))
        except OSError:
            return None  # whoever reads it will say why

    def holds(self, path: str, state: FileState | None, revision: Revision | None) -> bool:
        """Whether a file in that state was found to hold that revision."""
        above, slash, name = path.rpartition("/")
        known = self._equal.get(above + slash, {}).get(name)
        return known is not None and known.state == state and known.revision == revision

    def found_equal(
        self, path: str, state: FileState | None, session_id: SessionId, revision: Revision
    ) -> None:
        """Remember that a file was read, after it was in that state, and held that revision."""
        if state is not None:
            above, slash, name = path.rpartition("/")
            self._keep(
                above + slash, name, _Equal(state, revision, session_id), self._runtime.clock()
            )

    def _keep(self, above: str, name: str, equal: _Equal, now: float) -> None:
        """Remember a file, unless it could still change without another time."""
        if max(equal.state[0], equal.state[1]) / 1e9 + _SETTLED_SECONDS < now:
            self._equal.setdefault(above, {})[name] = equal

    def _ask_git(self, reading: Reading | None) -> None:
        """Take over which files git's index says to be equal; what we found out ourselves stays."""
        self._has_asked_git = True
        for path, indexed in self._repository.indexed_files(DIRECTORY).items():
            above, slash, name = path.rpartition("/")
            # Whoever has the right name in a wrong folder is nobody's file, equal or not.
            session_id, revision = SessionId(name.removesuffix(SUFFIX)), Revision(indexed.id)
            if reading is None or not reading.wants(session_id, revision):
                equal = _Equal(indexed[:4], revision, session_id)
                self._equal.setdefault(above + slash, {}).setdefault(name, equal)


def _session_of(path: str, name: str, committed: Mapping[SessionId, Revision]) -> SessionId | None:
    """Return whose file is at `path`, sooner if it is one of the stored sessions."""
    stored = SessionId(name.removesuffix(SUFFIX))
    return stored if stored in committed and path_of(stored) == path else session_id_of(path)


def _examine(
    read: Callable[[], WorkingFile | None], session_id: SessionId, committed: Revision | None
) -> tuple[HandEdit | None, bytes | None]:
    """Return the edit in a file, or none and the bytes that are the committed ones."""
    try:
        file = read()
    except RepositoryError as error:
        return HandEdit(session_id, None, error), None
    if file is None:
        return None, None
    revision = Revision(object_id("blob", file.data))
    if revision == committed:
        return None, file.data
    return HandEdit(session_id, revision, problem_of(file.data, session_id)), None


def problem_of(data: bytes, session_id: SessionId) -> SerializationError | None:
    """Return why the bytes are no session of that id, or None if they are one."""
    try:
        SessionAsset.from_document(codec.decode(data, session_id=session_id), session_id=session_id)
    except SerializationError as error:
        return error
    return None


def _state(status: os.stat_result) -> FileState:
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
