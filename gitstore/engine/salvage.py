"""What can be read of a damaged store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gitstore.engine.worktree import problem_of
from gitstore.errors import StorageError
from gitstore.git import trees
from gitstore.git.draft import Draft
from gitstore.git.graph import CommitFacts
from gitstore.git.objects import object_id, parse_commit
from gitstore.git.survey import Flaw
from gitstore.session import codec
from gitstore.session.ids import DIRECTORY, session_id_of
from gitstore.types import CommitId

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gitstore.git.repository import Repository

#: Older places of the branch that are tried when its tip cannot be read.
_LOGGED_MAX: Final = 1000
#: Trees kept between commits that share nearly all of them.
_TREES_KEPT: Final = 4096
_SUBMODULE: Final = b"160000"


@dataclass(frozen=True, slots=True)
class _Commit:
    tree: str
    parents: tuple[CommitId, ...]
    time: int


class Salvage:
    """Finds what can be read: `run` it, then ask. What cannot be read is asked for once."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._survey = repository.survey()
        self._shallow = self._survey.shallow()
        self._unreadable: set[str] = set()
        self._whole: dict[str, bool] = {}
        self._kept: dict[str, list[trees.Entry] | None] = {}
        self._commits: dict[CommitId, _Commit | None] = {}
        #: Bytes of each session's file, and where they are from.
        self.found: dict[str, tuple[bytes, str]] = {}
        #: Files that were on the branch and cannot be read anywhere.
        self.lost: set[str] = set()
        #: The last commit that is whole with all its history.
        self.base: CommitId | None = None
        #: Whether the tip itself cannot be read, so that the newest commit is an older one.
        self._is_behind = False

    def run(self) -> None:
        """Look for the base and for the newest state of every session."""
        order = self._history()
        self.base = self._find_base(order)
        newest = order[0] if order else None
        wanted, holes = self._wanted(newest)
        for path, blob in wanted.items():
            self._take(path, blob, order)
        for path in self._candidates(holes) - wanted.keys():
            self._take(path, None, order)

    def draft(self) -> Draft:
        """Begin a commit on the base."""
        known = None if self.base is None else self._commit(self.base)
        return Draft(
            base=None if known is None else self.base,
            base_time=0 if known is None else known.time,
            root=None if known is None else known.tree,
            read_tree=lambda name: self._survey.read(name, "tree"),
        )

    def paths_at(self, commit: CommitId | None) -> list[str]:
        """Return the session files of a commit that can be read whole."""
        return [*self._sessions(commit)[0]]

    def keep_damaged(self) -> Iterator[str]:
        """Copy the files of damaged objects aside; return the copies."""
        wanted = [f"objects/{name[:2]}/{name[2:]}" for name in sorted(self._unreadable)]
        wanted += [flaw.where for flaw in self._survey.seals()]
        for where in wanted:
            copy = self._survey.keep_damaged(where)
            if copy is not None:
                yield copy

    # --- history ------------------------------------------------------------------

    def _history(self) -> list[CommitId]:
        """Return the commits that can be read, children before parents.

        They begin at the tip; where that cannot be read, at the newest place that the reflog or the
        last check knows of.
        """
        for start in self._starts():
            if self._commit(start) is not None:
                return self._walked_on(start, self._walk(start))
            self._is_behind = True
        return []

    def _walked_on(self, start: CommitId, order: list[CommitId]) -> list[CommitId]:
        """Return the history that goes on after `start`, if the reflog knows of more.

        A ref file that is lost uncovers what `packed-refs` held long ago.
        """
        last = next(iter(self._survey.logged()), start)
        if last not in order and self._commit(last) is not None:
            longer = self._walk(last)
            if start in longer:
                return longer
        return order

    def _starts(self) -> Iterator[CommitId]:
        try:
            tip = self._repository.tip()
        except StorageError:
            tip = None
        if tip is not None:
            yield tip
        yield from self._survey.logged()[:_LOGGED_MAX]
        remembered = self._survey.remembered()
        if remembered is not None and not isinstance(remembered, Flaw):
            yield remembered

    def _walk(self, start: CommitId) -> list[CommitId]:
        """Return what is reachable and readable: depth first, reversed from parents first."""
        finished: list[CommitId] = []
        seen = {start}
        waiting: list[tuple[CommitId, bool]] = [(start, False)]
        while waiting:
            name, is_done = waiting.pop()
            if is_done:
                finished.append(name)
                continue
            commit = self._commit(name)
            if commit is None:
                continue
            waiting.append((name, True))
            for parent in self._parents(name, commit):
                if parent not in seen:
                    seen.add(parent)
                    waiting.append((parent, False))
        return finished[::-1]

    def _parents(self, name: CommitId, commit: _Commit) -> tuple[CommitId, ...]:
        return () if name in self._shallow else commit.parents

    def _find_base(self, order: list[CommitId]) -> CommitId | None:
        """Return the newest commit that is whole with all its history."""
        whole: dict[CommitId, bool] = {}
        for name in reversed(order):
            commit = self._commit(name)
            assert commit is not None
            whole[name] = all(
                whole.get(parent, False) for parent in self._parents(name, commit)
            ) and self._is_whole(commit.tree)
        return next((name for name in order if whole[name]), None)

    def _commit(self, name: CommitId) -> _Commit | None:
        if name not in self._commits:
            self._commits[name] = self._read_commit(name)
        return self._commits[name]

    def _read_commit(self, name: CommitId) -> _Commit | None:
        data = self._read(name, "commit")
        if data is None:
            return None
        headers = parse_commit(data)
        facts = _facts(headers)
        return None if facts is None else _Commit(headers["tree"][0], facts.parents, facts.time)

    # --- objects ------------------------------------------------------------------

    def _read(self, name: str, kind: str) -> bytes | None:
        if name in self._unreadable:
            return None
        try:
            return self._survey.read(name, kind)
        except StorageError:
            self._unreadable.add(name)
            return None

    def _entries(self, tree: str) -> list[trees.Entry] | None:
        if tree not in self._kept:
            data = self._read(tree, "tree")
            if len(self._kept) >= _TREES_KEPT:
                self._kept.clear()
            try:
                self._kept[tree] = None if data is None else list(trees.entries(data))
            except ValueError:
                self._kept[tree] = None
        return self._kept[tree]

    def _is_whole(self, root: str) -> bool:
        """Whether everything below a tree can be read."""
        known = self._whole.get(root)
        if known is None:
            entries = self._entries(root)
            known = entries is not None
            for entry in entries or ():
                if entry.is_folder:
                    known = self._is_whole(entry.id) and known
                elif entry.mode == _SUBMODULE:
                    continue
                elif entry.id not in self._whole:
                    self._whole[entry.id] = self._read(entry.id, "blob") is not None
                known = known and self._whole.get(entry.id, False)
            self._whole[root] = known
        return known

    # --- sessions -----------------------------------------------------------------

    def _wanted(self, newest: CommitId | None) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return the session files of the newest state, and the folders it could not be read in.

        What the trees cannot say, git's index may: it lists what was saved last.
        """
        wanted, holes = self._sessions(newest)
        index = {path: blob for path, blob in self._index().items() if session_id_of(path)}
        if newest is None or self._is_behind:
            return (index, ()) if index else (wanted, (DIRECTORY,))
        for path, blob in index.items():
            if _is_below(path, holes):
                wanted.setdefault(path, blob)
        return wanted, holes

    def _sessions(self, commit: CommitId | None) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return path and blob of the sessions of a commit, and the folders that cannot be read."""
        known = None if commit is None else self._commit(commit)
        if known is None:
            return {}, ()
        root = self._entries(known.tree)
        if root is None:
            return {}, (DIRECTORY,)
        top = next((e for e in root if e.name == DIRECTORY.encode() and e.is_folder), None)
        shards = [] if top is None else self._entries(top.id)
        if shards is None:
            return {}, (DIRECTORY,)
        found: dict[str, str] = {}
        holes: list[str] = []
        for shard in shards:
            folder = f"{DIRECTORY}/{shard.name.decode(errors='replace')}"
            entries = self._entries(shard.id) if shard.is_folder else []
            if entries is None:
                holes.append(folder)
            for entry in entries or ():
                path = f"{folder}/{entry.name.decode(errors='replace')}"
                if session_id_of(path) is not None and not entry.is_folder:
                    found[path] = entry.id
        return found, tuple(holes)

    def _candidates(self, holes: tuple[str, ...]) -> set[str]:
        """Return the sessions that may have been in unreadable folders: some place knew them."""
        paths = {*self._working_paths(), *self.paths_at(self.base)} if holes else set[str]()
        return {path for path in paths if session_id_of(path) and _is_below(path, holes)}

    def _take(self, path: str, blob: str | None, order: list[CommitId]) -> None:
        """Find the newest bytes of a session: its object, its working file, an older state."""
        data = None if blob is None else self._read(blob, "blob")
        working = self._working_file(path)
        # A working file is newer than a branch whose last commits cannot be read.
        is_newer = self._is_behind and working is not None and self._is_session(path, working)
        if data is not None and not is_newer:
            self.found[path] = (data, "branch")
            return
        if working is not None and (
            object_id("blob", working) == blob or self._is_session(path, working)
        ):
            self.found[path] = (working, "working file")
            return
        for commit in order:
            older = self._blob_at(commit, path)
            data = None if older is None else self._read(older, "blob")
            if data is not None:
                self.found[path] = (data, commit)
                return
        self.lost.add(path)

    def _blob_at(self, name: CommitId, path: str) -> str | None:
        """Return the blob of a file in a commit, as far as the trees on the way can be read."""
        commit = self._commit(name)
        found = None if commit is None else commit.tree
        for part in path.encode().split(b"/"):
            entries = None if found is None else self._entries(found)
            found = next((entry.id for entry in entries or () if entry.name == part), None)
        return found

    def _is_session(self, path: str, data: bytes) -> bool:
        session_id = session_id_of(path)
        return session_id is not None and problem_of(data, session_id) is None

    # --- beside the objects ---------------------------------------------------------

    def _index(self) -> dict[str, str]:
        try:
            return self._survey.index()
        except StorageError:
            return {}

    def _working_file(self, path: str) -> bytes | None:
        try:
            tree = self._repository.working_tree()
            file = None if tree is None else tree.read(path, limit=codec.MAX_BYTES)
        except StorageError:
            return None
        return None if file is None else file.data

    def _working_paths(self) -> list[str]:
        try:
            tree = self._repository.working_tree()
            return [] if tree is None else [*tree.scan(DIRECTORY)]
        except StorageError:
            return []


def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def _facts(headers: Mapping[str, list[str]]) -> CommitFacts | None:
    """Return parents and time of a commit, or None if it is none."""
    if not headers.get("tree") or not headers.get("committer"):
        return None
    seconds = headers["committer"][0].rpartition("> ")[2].partition(" ")[0]
    return CommitFacts(
        parents=tuple(CommitId(parent) for parent in headers.get("parent", ())),
        time=int(seconds) if seconds.isdigit() else 0,
    )
