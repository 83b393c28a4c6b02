"""Hand edits: session files in the working tree that differ from the committed ones."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from gitstore.engine.folders import NO_SHARD
from gitstore.errors import RepositoryError, SerializationError
from gitstore.git.objects import object_id
from gitstore.git.openfolder import state_of
from gitstore.git.quiet import QuietFolders
from gitstore.session import codec
from gitstore.session.files import read_session
from gitstore.session.ids import DIRECTORY, SUFFIX, session_id_of
from gitstore.types import Revision, SessionId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitstore.engine.folders import Folder, Shard
    from gitstore.git.checkout import WorkingTree
    from gitstore.git.openfolder import FileState, OpenFolder
    from gitstore.git.repository import Repository
    from gitstore.types import Runtime

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


#: A file that was found to hold a revision of a session, in the state it had. One for each file: a plain
#: tuple of plain values is none that the garbage collector has to walk.
_Equal: TypeAlias = "tuple[FileState, Revision, SessionId]"


class _Look(NamedTuple):
    """One look at one folder, for hand edits of what a shard has."""

    tree: WorkingTree
    opened: OpenFolder
    shard: Shard
    reading: Reading | None
    #: When the look began: what is changed later is not settled.
    now: float

    def read(
        self, name: str, session_id: SessionId, revision: Revision | None
    ) -> _Equal | HandEdit | None:
        """Return how a file compares with a revision; None when there is no telling, or no file."""
        file = self.opened.read(name, limit=codec.MAX_BYTES)
        if file is None or revision is None or object_id("blob", file[0]) != revision:
            return self._examine(self.opened.path + name, session_id, revision)
        data, state = file
        if self.reading is not None:
            self.reading.take(session_id, revision, data)
        return state, revision, session_id

    def _examine(
        self, path: str, session_id: SessionId, committed: Revision | None
    ) -> HandEdit | None:
        try:
            file = self.tree.read(path, limit=codec.MAX_BYTES, folder=self.opened.descriptor)
        except RepositoryError as error:
            return HandEdit(session_id, None, error)
        if file is None:
            return None
        revision = Revision(object_id("blob", file.data))
        if revision == committed:
            return None
        return HandEdit(session_id, revision, problem_of(file.data, session_id))


class HandEdits:
    """Finds hand edits; remembers which files were found equal to the committed ones.

    Safe to share between threads: what is remembered is one entry of a dict for each file.
    """

    def __init__(self, repository: Repository, *, runtime: Runtime) -> None:
        self._repository = repository
        self._runtime = runtime
        #: By the path of the folder, with a slash, and the name of the file.
        self._equal: dict[str, dict[str, _Equal]] = {}
        #: By the path of the folder: a tree, and the states of all files when none differed from it.
        self._whole: dict[str, tuple[str, dict[str, FileState]]] = {}
        self._has_asked_git = False
        self._quiet = QuietFolders(runtime=runtime)

    def tree(self) -> WorkingTree | None:
        """Return the working tree if people may edit sessions there now.

        Not in a bare repository, nor while another branch is checked out, nor in the middle of a
        merge: what differs then is not an edit.
        """
        tree = self._repository.working_tree()
        return None if tree is None or self._repository.is_merging() else tree

    def close(self) -> None:
        """Watch the working tree no more."""
        self._quiet.close()

    def all(
        self, committed: Folder, *, reading: Reading | None = None, skips_quiet: bool = False
    ) -> list[HandEdit]:
        """Return every hand edit of what is committed.

        Every file is looked at, as by `git status`, and read if it was touched since it was last found
        equal, by us or by git: an edit that keeps a folder's times would be missed otherwise. With
        `skips_quiet`, folders are left out that equal what is committed, and in which nothing
        happened since they were looked at: for those who show sessions, and do not replace any.
        """
        tree = self.tree()
        if tree is None:
            return []
        now = self._runtime.clock()
        reads_all = reading is not None and reading.wants_all
        if not self._has_asked_git and not reads_all:
            self._ask_git(reading)
        look = self._quiet.look(lambda name: _shard(committed, name).tree) if skips_quiet else None
        found: list[HandEdit] = []
        for opened in tree.visit(DIRECTORY) if look is None else look.visit(tree, DIRECTORY):
            shard = _shard(committed, opened.name)
            states = dict.fromkeys(opened.names()) if reads_all else opened.states()
            if self._whole.get(opened.path) != (shard.tree, states):
                found += self._look(_Look(tree, opened, shard, reading, now), states)
            if look is not None and self._whole[opened.path] == (shard.tree, states):
                look.keep(opened)
        return found

    def state_of(self, tree: WorkingTree, path: str) -> FileState | None:
        """Return the state of a file, or None if it has none; a link is not followed."""
        try:
            return state_of(tree.status(path))
        except OSError:
            return None  # whoever reads it will say why

    def holds(self, path: str, state: FileState | None, revision: Revision | None) -> bool:
        """Whether a file in that state was found to hold that revision."""
        above, slash, name = path.rpartition("/")
        known = self._equal.get(above + slash, {}).get(name)
        return known is not None and known[:2] == (state, revision)

    def found_equal(
        self, path: str, state: FileState | None, session_id: SessionId, revision: Revision
    ) -> None:
        """Remember that a file was read, after it was in that state, and held that revision."""
        if state is not None and _is_settled(state, self._runtime.clock()):
            above, slash, name = path.rpartition("/")
            self._equal.setdefault(above + slash, {})[name] = state, revision, session_id

    def _look(self, look: _Look, states: Mapping[str, FileState | None]) -> list[HandEdit]:
        """Return the hand edits in a folder; read what is not known to be equal in its state."""
        known = self._equal.setdefault(look.opened.path, {})
        stored = look.shard.revisions.get
        found: list[HandEdit] = []
        whole: dict[str, FileState] = {}
        for name, state in states.items():
            equal = known.get(name)
            if equal is None or equal[0] != state or stored(equal[2]) != equal[1]:
                session_id = _session_of(look.opened.path, name, look.shard)
                if session_id is None:
                    if state is not None:
                        whole[name] = state
                    continue
                read = look.read(name, session_id, stored(session_id))
                if isinstance(read, HandEdit):
                    found.append(read)
                elif read is not None and _is_settled(read[0], look.now):
                    known[name] = read
                    whole[name] = read[0]
                continue
            whole[name] = equal[0]
        # With one that is left out of it, it is never what `states` will be.
        self._whole[look.opened.path] = (look.shard.tree, whole)
        return found

    def _ask_git(self, reading: Reading | None) -> None:
        """Take over which files git's index says to be equal; what we found out ourselves stays."""
        self._has_asked_git = True
        for path, indexed in self._repository.indexed_files(DIRECTORY).items():
            above, slash, name = path.rpartition("/")
            # Whoever has the right name in a wrong folder is nobody's file, equal or not.
            session_id, revision = SessionId(name.removesuffix(SUFFIX)), Revision(indexed.id)
            if reading is None or not reading.wants(session_id, revision):
                equal = indexed[:4], revision, session_id
                self._equal.setdefault(above + slash, {}).setdefault(name, equal)


def _shard(committed: Folder, name: str) -> Shard:
    return committed.shards.get(os.fsencode(name), NO_SHARD)


def _session_of(folder: str, name: str, shard: Shard) -> SessionId | None:
    """Return whose file is in a folder, sooner if it is one of the stored sessions."""
    stored = SessionId(name.removesuffix(SUFFIX))
    if stored in shard.revisions and name.endswith(SUFFIX):
        return stored
    return session_id_of(folder + name)


def problem_of(data: bytes, session_id: SessionId) -> SerializationError | None:
    """Return why the bytes are no session of that id, or None if they are one."""
    try:
        read_session(data, session_id=session_id)
    except SerializationError as error:
        return error
    return None


def _is_settled(state: FileState, now: float) -> bool:
    """Whether a file in that state would have another time if it changed again."""
    return max(state[0], state[1]) / 1e9 + _SETTLED_SECONDS < now
