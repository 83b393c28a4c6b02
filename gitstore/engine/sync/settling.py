"""What a pull does with what was fetched: nothing, a fast-forward, or one merge commit.

It is decided without locks, where people may be asked, and carried out in the writer's turn on the
branch as it is then: if the branch moved on, it is decided again there, with the answers at hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from gitstore.engine.leftbehind import LeftBehind
from gitstore.engine.requests import Adopt
from gitstore.engine.sync.merging import merge_sets
from gitstore.engine.sync.otherfiles import Node, merge_files, node_of
from gitstore.engine.sync.report import merge_message, report_of
from gitstore.engine.sync.triangle import Surveyor
from gitstore.errors import (
    ConcurrentUpdateError,
    DirtyWorkingTreeError,
    ForeignConflictError,
    HistoryRewrittenError,
    MergeConflictError,
    UnfinishedMergeError,
    UnrelatedHistoriesError,
)
from gitstore.git.advance import Examined, before_of, examine, files_of
from gitstore.git.graph import compare
from gitstore.git.objects import object_id
from gitstore.git.trees import FILE, Entry
from gitstore.session.ids import DIRECTORY, path_of, session_id_of
from gitstore.types import Progress, Revision, SyncReport

if TYPE_CHECKING:
    from gitstore.engine.catalog import Catalog
    from gitstore.engine.sync.decisions import Chooser
    from gitstore.engine.sync.merging import Plan
    from gitstore.engine.transactions import Writer
    from gitstore.engine.worktree import HandEdits
    from gitstore.git.draft import Draft, File, Sign
    from gitstore.git.remote.cancellation import Cancellation
    from gitstore.git.repository import Repository
    from gitstore.types import Author, CommitId, OnProgress, Runtime

#: The one file of a new store, and what it says to git: bytes are bytes, and how to merge them.
INITIAL_PATH: Final = ".gitattributes"
INITIAL_DATA: Final = f"{DIRECTORY}/** -text merge=gitstore\n".encode()
#: How often the branch or a working file may move on before a pull gives up.
ATTEMPTS_MAX: Final = 20
_BACKOFF_SECONDS: Final = 0.005
_BACKOFF_SECONDS_MAX: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """What a pull is to settle: a commit of a remote, and how."""

    remote: str
    theirs: CommitId
    chooser: Chooser
    #: For files that are no sessions, which nobody can be asked about.
    prefer: Literal["ours", "theirs"] | None = None
    #: Merge histories that have no commit in common.
    join: bool = False
    progress: OnProgress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What is to become of the branch when it is at `local`."""

    kind: Literal["nothing", "forward", "merge"]
    local: CommitId | None
    #: By path, the entry that is there and the one that will be.
    changes: dict[str, tuple[Entry | None, Entry | None]] = field(
        default_factory=dict[str, "tuple[Entry | None, Entry | None]"]
    )
    #: The bytes that the merge made, by path.
    made: dict[str, bytes] = field(default_factory=dict[str, bytes])
    #: What the merge makes of the sessions, and the other files that it cannot merge.
    plan: Plan | None = None
    clashes: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether somebody has to decide first."""
        return bool(self.clashes or (self.plan is not None and self.plan.conflicts))


class Settler:
    """Settles what came in, in one repository."""

    def __init__(
        self,
        repository: Repository,
        writer: Writer,
        edits: HandEdits,
        catalog: Catalog,
        *,
        author: Author,
        runtime: Runtime,
        sign: Sign | None,
    ) -> None:
        self._repository = repository
        self._surveyor = Surveyor(repository)
        self._left_behind = LeftBehind(repository)
        self._writer = writer
        self._edits = edits
        self._catalog = catalog
        self._author = author
        self._runtime = runtime
        self._sign = sign

    def check(self) -> None:
        """Refuse to pull while a person is in the middle of a merge."""
        if self._repository.working_tree() is not None and self._repository.is_merging():
            message = (
                "a merge waits in the working tree; nothing was pulled. Finish it with "
                "`git commit`, or undo it with `git merge --abort`, and pull again"
            )
            raise UnfinishedMergeError(message, path=self._repository.path)

    def adopt(self, theirs: CommitId | None = None) -> None:
        """Commit the hand edits that are sessions.

        Not those that are what `theirs` holds: a pull that died has put these there.
        """
        edits = self._edits.all(self._catalog.folder(self._repository.tip()))
        arriving = self._catalog.committed(theirs if edits else None)
        self._writer.run(
            [
                Adopt(session_id=edit.session_id, operation="adopt")
                for edit in edits
                if edit.problem is None and arriving.get(edit.session_id) != edit.revision
            ]
        )

    def settle(self, incoming: Incoming, *, cancel: Cancellation) -> SyncReport:
        """Bring what came in into the branch, all or nothing.

        Raises:
            MergeConflictError: conflicts that the chooser leaves open, all of them.
            ForeignConflictError: both sides changed a file that is no session.
            UnrelatedHistoriesError: both have sessions, and no commit in common.
            HistoryRewrittenError: it would bring back a history that was rewritten here.
            UnfinishedMergeError: a merge waits in the working tree.
            DirtyWorkingTreeError: a person changed other files that would be replaced.
            ConcurrentUpdateError: the branch or a file kept moving on.
        """
        backoff = _BACKOFF_SECONDS
        for _ in range(ATTEMPTS_MAX):
            cancel.check()
            self.check()
            self.adopt(incoming.theirs)
            step = self._decide(self._repository.tip(), incoming, asks=True)
            _refuse(step, incoming)
            cancel.check()
            done = self._writer.exclusively(partial(self._carry_out, step, incoming))
            if isinstance(done, SyncReport):
                return done
            self._adopt_files(done)
            self._runtime.sleep(backoff * (0.5 + self._runtime.chance()))
            backoff = min(2 * backoff, _BACKOFF_SECONDS_MAX)
        message = f"branch or files moved on {ATTEMPTS_MAX} times; nothing was merged, try again"
        raise ConcurrentUpdateError(message, path=self._repository.path)

    # --- deciding -------------------------------------------------------------

    def _decide(self, local: CommitId | None, incoming: Incoming, *, asks: bool) -> _Step:
        theirs = incoming.theirs
        if local is None or (local != theirs and self._is_blank(local)):
            return self._forward(local, theirs)
        divergence = compare(local, theirs, self._repository.facts)
        if not divergence.behind:
            return _Step(kind="nothing", local=local)
        if not incoming.join:
            self._check_left_behind(local, incoming)
        if not divergence.ahead:
            return self._forward(local, theirs)
        if not (divergence.bases or incoming.join or self._is_blank(theirs)):
            raise UnrelatedHistoriesError(remote=incoming.remote)
        incoming.chooser.is_asking = asks
        return self._merge(local, divergence.bases, incoming)

    def _check_left_behind(self, local: CommitId, incoming: Incoming) -> None:
        """Refuse a history that was rewritten here: it would bring back what was purged."""
        old = self._left_behind.in_history(incoming.theirs, local)
        if old is not None:
            raise HistoryRewrittenError(
                remote=incoming.remote, old=old, new=incoming.theirs, here=True
            )

    def _is_blank(self, commit: CommitId) -> bool:
        """Whether a commit is the first of a new store: nothing of a person's is in it."""
        tree = self._repository.tree(commit)
        entries = [] if tree is None else self._repository.entries(tree)
        initial = INITIAL_PATH.encode(), object_id("blob", INITIAL_DATA)
        return not self._repository.facts(commit).parents and [
            (entry.name, entry.id) for entry in entries
        ] == [initial]

    def _forward(self, local: CommitId | None, theirs: CommitId) -> _Step:
        tree = self._repository.tree
        changes = self._repository.changes_between(tree(local), tree(theirs))
        return _Step(kind="forward", local=local, changes=changes)

    def _merge(self, local: CommitId, bases: tuple[CommitId, ...], incoming: Incoming) -> _Step:
        triangle = self._surveyor.triangle(bases, local, incoming.theirs)
        total = len({name for side in triangle.sessions for name in side})
        _tell(incoming, "merging", 0, total)
        plan = merge_sets(
            *triangle.sessions,
            read=lambda revision: self._surveyor.read(triangle, revision),
            choose=incoming.chooser,
        )
        root = self._repository.tree(local)
        others = merge_files(
            triangle.files,
            ours_at=lambda path: node_of(self._repository.find(root, path)),
            prefer=incoming.prefer,
        )
        made: dict[str, bytes] = {}
        after: dict[str, Node | None] = dict(others.files)
        for name, content in plan.files.items():
            path = path_of(name)
            if isinstance(content, bytes):
                made[path] = content
            revision = object_id("blob", content) if isinstance(content, bytes) else content
            after[path] = None if revision is None else Node(FILE, revision)
        changes = {
            path: (_entry(path, triangle.paths[path].ours), _entry(path, node))
            for path, node in after.items()
        }
        _tell(incoming, "merging", total, total)
        return _Step(
            kind="merge",
            local=local,
            changes=changes,
            made=made,
            plan=plan,
            clashes=others.clashes,
        )

    # --- carrying out ---------------------------------------------------------

    def _carry_out(self, step: _Step, incoming: Incoming) -> SyncReport | tuple[str, ...]:
        """Do it, in the writer's turn; return the edited files that keep it from being done now."""
        draft = self._repository.draft()
        if draft.base != step.local:
            step = self._decide(draft.base, incoming, asks=False)
        if step.is_open:
            return ()
        if step.kind == "nothing":
            return SyncReport(local=draft.base, remote=incoming.theirs)
        self.check()
        tree = self._repository.working_tree()
        examined = Examined({}, ()) if tree is None else examine(tree, step.changes)
        if examined.edited:
            return examined.edited
        _tell(incoming, "writing", 0, len(step.changes))
        self._fill(draft, step, incoming)
        if not self._repository.publish(draft, tree=tree, seen=examined.seen, who=self._author):
            return ()
        _tell(incoming, "writing", len(step.changes), len(step.changes))
        return report_of(step.changes, step.plan, local=draft.tip, remote=incoming.theirs)

    def _fill(self, draft: Draft, step: _Step, incoming: Incoming) -> None:
        """Make the draft end at what is to become of the branch."""
        theirs, facts = incoming.theirs, self._repository.facts(incoming.theirs)
        stored = files_of(step.changes, read=self._read)
        before = before_of(step.changes)
        if step.plan is None:
            root = self._repository.tree(theirs)
            assert root is not None
            draft.forward(
                theirs,
                stored,
                before=before,
                root=root,
                time=facts.time,
                subject=f"pull {incoming.remote}: fast-forward",
            )
            return
        files: dict[str, File | bytes | None] = {**stored, **step.made}
        draft.merge(
            theirs,
            files,
            before=before,
            author=self._author,
            time=max(int(self._runtime.clock()), facts.time),
            message=merge_message(incoming.remote, step.plan),
            sign=self._sign,
        )

    def _read(self, blob: str) -> bytes:
        return self._repository.read_blob(Revision(blob))

    def _adopt_files(self, paths: tuple[str, ...]) -> None:
        """Commit the hand edits of files that a pull will replace, whatever they hold."""
        names = {path: session_id_of(path) for path in paths}
        if strange := tuple(sorted(path for path, name in names.items() if name is None)):
            raise DirtyWorkingTreeError(path=self._repository.path, paths=strange)
        requests = [
            Adopt(session_id=name, operation="adopt") for name in names.values() if name is not None
        ]
        self._writer.run(requests)
        for request in requests:
            request.result()


def _refuse(step: _Step, incoming: Incoming) -> None:
    """Raise what nobody has decided."""
    if step.plan is not None and step.plan.conflicts:
        raise MergeConflictError(remote=incoming.remote, conflicts=step.plan.conflicts)
    if step.clashes:
        raise ForeignConflictError(remote=incoming.remote, paths=step.clashes)


def _entry(path: str, node: Node | None) -> Entry | None:
    """Return an entry as it would stand in a tree."""
    if node is None:
        return None
    return Entry(node.mode, path.rpartition("/")[2].encode(), node.id, 0, 0)


def _tell(incoming: Incoming, phase: str, done: int, total: int) -> None:
    if incoming.progress is not None:
        incoming.progress(Progress(phase=phase, done=done, total=total, unit="sessions"))
