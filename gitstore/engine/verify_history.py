"""The history of a branch, checked commit by commit: objects, sessions, trailers, signatures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from gitstore.engine.findings import Checked, ProblemKind
from gitstore.engine.worktree import problem_of
from gitstore.errors import StorageError
from gitstore.git import trees
from gitstore.git.objects import parse_commit
from gitstore.session.ids import DIRECTORY, SUFFIX, path_of, session_id_of
from gitstore.session.message import parse
from gitstore.types import CommitId, Revision, SignatureState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitstore.engine.findings import Findings
    from gitstore.git.repository import Repository
    from gitstore.git.signing import Checker
    from gitstore.types import SessionId

_HEX: Final = re.compile(r"[0-9a-f]{40}")
_SHARD: Final = re.compile(r"[0-9a-f]{2}")
_SUBMODULE: Final = b"160000"
_EXECUTABLE: Final = b"100755"
#: Trees kept between commits that share nearly all of them.
_TREES_KEPT: Final = 4096
#: Whether the operation may be followed by the session being there, and by its absence.
_AFTER: Final = {
    "create": (True,),
    "update": (True,),
    "adopt": (True,),
    "restore": (True,),
    "copy": (True,),
    "delete": (False,),
}
_BEFORE: Final = {"create": (False,), "update": (True,), "delete": (True,)}


class _Commit(NamedTuple):
    tree: str
    parents: tuple[str, ...]
    message: str
    data: bytes


class HistoryCheck:
    """Walks the history of one branch once; `run` it, then ask what it holds."""

    def __init__(
        self,
        repository: Repository,
        findings: Findings,
        *,
        deep: bool,
        checker: Checker | None,
        require_signatures: bool,
    ) -> None:
        self._survey = repository.survey()
        self._findings = findings
        self._deep = deep
        self._checker = checker
        self._require_signatures = require_signatures
        #: The sessions of the tip whose trees can be read.
        self.sessions: dict[SessionId, Revision] = {}
        self._commits: set[str] = set()
        self._trees: set[bytes] = set()
        self._blobs: set[bytes] = set()
        self._decoded: set[tuple[str, str]] = set()
        self._shards: set[tuple[bytes, str]] = set()
        self._kept: dict[str, list[trees.Entry] | None] = {}
        self._signed = 0

    def run(self, tip: CommitId) -> None:
        """Check every commit that the tip descends from."""
        shallow = self._survey.shallow()
        waiting: list[str] = [tip]
        self._commits.add(tip)
        while waiting:
            name = waiting.pop()
            commit = self._read_commit(name)
            if commit is None:
                continue
            self._check_tree(commit.tree)
            if name == tip or self._deep:
                self._check_sessions(name, commit.tree, keep=name == tip)
            parents = () if name in shallow else commit.parents
            self._check_trailers(name, commit._replace(parents=parents))
            self._check_signature(name, commit.data)
            new = [parent for parent in parents if parent not in self._commits]
            self._commits.update(new)
            waiting.extend(new)
        self._check_loose()

    def contains(self, commit: str) -> bool:
        """Whether the tip is, or descends from, this commit."""
        return commit in self._commits

    def checked(self) -> Checked:
        """Return how much was looked at."""
        return Checked(
            commits=len(self._commits),
            trees=len(self._trees),
            blobs=len(self._blobs),
            sessions=len(self._decoded),
            signed=self._signed,
        )

    # --- objects --------------------------------------------------------------------

    def _read(self, name: str, kind: str) -> bytes | None:
        try:
            return self._survey.read(name, kind)
        except StorageError as error:
            self._findings.add(ProblemKind.OBJECT, name, str(error))
            return None

    def _read_commit(self, name: str) -> _Commit | None:
        data = self._read(name, "commit")
        if data is None:
            return None
        headers = parse_commit(data)
        tree, parents = headers.get("tree", []), tuple(headers.get("parent", ()))
        if len(tree) != 1 or not all(_HEX.fullmatch(each) for each in (*tree, *parents)):
            self._findings.add(ProblemKind.OBJECT, name, "the commit names no tree or parent")
            return None
        return _Commit(tree[0], parents, headers[""][0], data)

    def _entries(self, name: str) -> list[trees.Entry] | None:
        """Return the entries of a tree; None if it cannot be read, which is then reported."""
        if name in self._kept:
            return self._kept[name]
        found: list[trees.Entry] | None = None
        data = self._read(name, "tree")
        if data is not None:
            try:
                found = list(trees.entries(data))
            except ValueError as error:
                self._findings.add(ProblemKind.OBJECT, name, f"the tree cannot be read ({error})")
        if len(self._kept) >= _TREES_KEPT:
            self._kept.clear()
        self._kept[name] = found
        return found

    def _check_tree(self, root: str) -> None:
        """Read everything below a tree that was not read before."""
        blobs: list[str] = []
        waiting = [root]
        while waiting:
            name = waiting.pop()
            key = bytes.fromhex(name)
            if key in self._trees:
                continue
            self._trees.add(key)
            for entry in self._entries(name) or ():
                if entry.is_folder:
                    waiting.append(entry.id)
                elif (
                    entry.mode != _SUBMODULE
                    and (blob := bytes.fromhex(entry.id)) not in self._blobs
                ):
                    self._blobs.add(blob)
                    blobs.append(entry.id)
        for name in self._survey.by_place(blobs):
            self._read(name, "blob")

    def _check_loose(self) -> None:
        """Read the loose objects that nothing names too, and those that are packed as well."""
        for name in self._survey.loose():
            try:
                self._survey.check_loose(name)
            except StorageError as error:
                self._findings.add(ProblemKind.OBJECT, name, str(error))

    # --- sessions -------------------------------------------------------------------

    def _check_sessions(self, commit: str, root: str, *, keep: bool) -> None:
        """Check that below the folder of the sessions there are sessions, and nothing else."""
        new: dict[str, list[tuple[str, SessionId]]] = {}
        for path, entry in self._files(commit, root, keep=keep):
            session_id = session_id_of(path)
            if keep and session_id is not None and entry.mode in (trees.FILE, _EXECUTABLE):
                self.sessions[session_id] = Revision(entry.id)
            if session_id is None or entry.mode != trees.FILE:
                self._check_stray(commit, path, entry)
            elif (path, entry.id) not in self._decoded:
                self._decoded.add((path, entry.id))
                new.setdefault(entry.id, []).append((path, session_id))
        for blob in self._survey.by_place(new):
            for path, session_id in new[blob]:
                self._check_session(blob, session_id, f"{commit}:{path}")

    def _files(self, commit: str, root: str, *, keep: bool) -> Iterator[tuple[str, trees.Entry]]:
        """Give what is in the folders below that of the sessions; with `keep` all, else what is new."""
        top = self._find(root, DIRECTORY)
        if top is None:
            return
        if not top.is_folder:
            self._findings.add(ProblemKind.TREE, f"{commit}:{DIRECTORY}", "is no folder")
            return
        for shard in self._entries(top.id) or ():
            where = f"{DIRECTORY}/{_text(shard.name)}"
            if not shard.is_folder:
                self._check_stray(commit, where, shard)
                continue
            if not _SHARD.fullmatch(_text(shard.name)):
                text = "is no folder of sessions, whose names are two hex digits"
                self._findings.note(ProblemKind.TREE, f"{commit}:{where}", text)
            key = (shard.name, shard.id)
            if key in self._shards and not keep:
                continue
            self._shards.add(key)
            for entry in self._entries(shard.id) or ():
                yield f"{where}/{_text(entry.name)}", entry

    def _check_session(self, blob: str, session_id: SessionId, where: str) -> None:
        data = self._read(blob, "blob")
        problem = None if data is None else problem_of(data, session_id)
        if problem is not None:
            self._findings.add(ProblemKind.SESSION, where, str(problem))

    def _check_stray(self, commit: str, path: str, entry: trees.Entry) -> None:
        """Report what is no session's file where only these should be."""
        where = f"{commit}:{path}"
        if entry.mode != trees.FILE:
            text = f"is no regular file of mode 100644 but has mode {entry.mode.decode('ascii', 'replace')}"
            self._findings.add(ProblemKind.TREE, where, text)
        elif path.endswith(SUFFIX):
            text = "is not where a session of that name belongs; the store does not see it"
            self._findings.add(ProblemKind.TREE, where, text)
        else:
            self._findings.note(ProblemKind.TREE, where, "is no session; the store does not see it")

    def _find(self, tree: str, name: str) -> trees.Entry | None:
        wanted = name.encode()
        return next((e for e in self._entries(tree) or () if e.name == wanted), None)

    # --- trailers and signatures ----------------------------------------------------

    def _check_trailers(self, name: str, commit: _Commit) -> None:
        """Compare what the message of a commit says with what the commit did."""
        said = parse(commit.message)
        if said.session_id is None or said.operation is None or len(commit.parents) > 1:
            return
        changes = self._changes(commit)
        if changes is None:
            return
        path = path_of(said.session_id)
        others = sorted(changes.keys() - {path})
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            text = f"says it changed {said.session_id}, but it changed {others[0]}{more}"
            self._findings.add(ProblemKind.TRAILERS, name, text)
        if path not in changes:
            text = f"says it changed {said.session_id}, but it did not"
            self._findings.add(ProblemKind.TRAILERS, name, text)
            return
        before, after = (each is not None for each in changes[path])
        allowed = before in _BEFORE.get(said.operation, (before,))
        if not allowed or after not in _AFTER.get(said.operation, (after,)):
            did = {(False, True): "created", (True, True): "changed"}.get(
                (before, after), "deleted"
            )
            text = f"says {said.operation}, but it {did} {said.session_id}"
            self._findings.add(ProblemKind.TRAILERS, name, text)

    def _changes(self, commit: _Commit) -> dict[str, tuple[str | None, str | None]] | None:
        """Return the session files that a commit changed; None if that cannot be known."""
        old = None
        if commit.parents:
            parent = self._read_commit(commit.parents[0])
            if parent is None:
                return None
            old = parent.tree
        found: dict[str, tuple[str | None, str | None]] = {}
        tops = self._compare(self._folder(old), self._folder(commit.tree))
        if tops is None:
            return None
        for shard, sides in tops.items():
            files = self._compare(*sides)
            if files is None:
                return None
            for file, ids in files.items():
                found[f"{DIRECTORY}/{_text(shard)}/{_text(file)}"] = ids
        return found

    def _folder(self, root: str | None) -> str | None:
        entry = None if root is None else self._find(root, DIRECTORY)
        return None if entry is None else entry.id

    def _compare(
        self, old: str | None, new: str | None
    ) -> dict[bytes, tuple[str | None, str | None]] | None:
        """Return the entries in which two trees differ; None if one of them cannot be read."""
        if old == new:
            return {}
        sides: list[dict[bytes, str]] = []
        for tree in (old, new):
            entries = [] if tree is None else self._entries(tree)
            if entries is None:
                return None
            sides.append({entry.name: entry.id for entry in entries})
        first, second = sides
        return {
            name: (first.get(name), second.get(name))
            for name in first.keys() | second.keys()
            if first.get(name) != second.get(name)
        }

    def _check_signature(self, name: str, data: bytes) -> None:
        if self._checker is None:
            return
        found = self._checker.check(data)
        if found.state is SignatureState.GOOD:
            self._signed += 1
        elif found.state is not SignatureState.UNSIGNED:
            by = "" if found.key is None else f" by {found.key}"
            text = f"its signature{by} is {found.state}: {found.problem}"
            self._findings.add(ProblemKind.SIGNATURE, name, text)
        elif self._require_signatures:
            self._findings.add(ProblemKind.SIGNATURE, name, "it is not signed")


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
