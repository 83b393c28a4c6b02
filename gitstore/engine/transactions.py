"""Group commit: every write its own commit, one barrier and one move of the branch a group.

`gitstore.engine.turns` makes the groups; here each is decided on one draft and published.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import nullcontext
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from gitstore.engine.forms import Forms
from gitstore.engine.requests import (
    Content,
    Delete,
    Put,
    Request,
    Revert,
    Save,
    check_expected,
    check_present,
    content_of,
    outcome_of,
    reverted,
)
from gitstore.engine.turns import Turns
from gitstore.errors import ConcurrentUpdateError, SessionExistsError, SigningError, StorageError
from gitstore.git.objects import object_id
from gitstore.session import codec
from gitstore.session.ids import DIRECTORY, clash_key, path_of, session_id_of
from gitstore.session.message import compose
from gitstore.types import CommitId, Outcome, Revision, Saved

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gitstore.git.checkout import WorkingFile, WorkingTree
    from gitstore.git.draft import Draft, Sign
    from gitstore.git.publish import Locks
    from gitstore.git.repository import Repository
    from gitstore.types import Author, Runtime, SessionId

_T = TypeVar("_T")

#: What an exchange with a remote counts for: it may bring any number of commits, in one pack.
MANY = 64
#: Lost races for the branch before a group gives up.
ATTEMPTS_MAX = 20
#: Lost races before a group keeps git commands out while it is made, not only while it is published.
ATTEMPTS_POLITE = 3
_BACKOFF_SECONDS = 0.002
_BACKOFF_SECONDS_MAX = 0.1
_SHARDS_KEPT = 1024


class Writer:
    """The one place where a store's branch is written."""

    def __init__(
        self,
        repository: Repository,
        *,
        author: Author,
        runtime: Runtime,
        sign: Sign | None = None,
        wrote: Callable[[int], None] | None = None,
    ) -> None:
        """`wrote` is told, after the fact, how many requests were served, or of an exchange: `MANY`."""
        self._repository = repository
        self._wrote = wrote
        self._author = author
        self._runtime = runtime
        self._sign = sign
        self._turns = Turns(self._serve, sleep=runtime.sleep)
        #: Readers note here what they find.
        self.forms = Forms()
        self._clash_keys: OrderedDict[str, dict[str, SessionId]] = OrderedDict()

    def run(self, requests: Sequence[Request]) -> None:
        """Serve the requests; each is settled when this returns."""
        served = self._turns.run(requests)
        if served:
            self._tell(served)

    @property
    def waiting(self) -> int:
        """How many requests wait for a turn that has not begun."""
        return self._turns.waiting

    def initialise(self, path: str, data: bytes) -> None:
        """Make the first commit of a new store, unless there is one or the file is there already."""
        if self._repository.tip() is not None:
            return
        message = compose(operation="init", session_id=None, message=None, actor=None)
        with self._repository.writing():
            draft = self._repository.draft()
            tree = self._repository.working_tree()
            file = None if tree is None else tree.read(path, limit=codec.MAX_BYTES)
            if draft.base is not None or (file is not None and file.data != data):
                return
            self._commit(draft, path, data, message)
            self._repository.publish(draft, tree=tree, seen={path: file}, who=self._author)

    def exclusively(self, function: Callable[[], _T]) -> _T:
        """Call a function while nobody else writes: it may publish, but not use this writer."""
        with self._repository.writing():
            result = function()
        self._tell(MANY)
        return result

    def _tell(self, count: int) -> None:
        if self._wrote is not None:
            self._wrote(count)

    def _serve(self, group: list[Request]) -> None:
        try:
            with self._repository.writing():
                self._commit_group(group)
        except StorageError as error:
            for request in group:
                request.error = request.error or error

    def _commit_group(self, group: list[Request]) -> None:
        backoff = _BACKOFF_SECONDS
        for attempt in range(ATTEMPTS_MAX):
            if self._try_group(group, insist=attempt >= ATTEMPTS_POLITE):
                return
            self._runtime.sleep(backoff * (0.5 + self._runtime.chance()))
            backoff = min(2 * backoff, _BACKOFF_SECONDS_MAX)
        message = (
            f"other writers moved the branch {ATTEMPTS_MAX} times; nothing was saved, try again"
        )
        raise ConcurrentUpdateError(message, path=self._repository.path)

    def _try_group(self, group: list[Request], *, insist: bool) -> bool:
        """Settle the group on the branch as it is now; False if the branch or a file moved on."""
        turn = _Turn(self._repository)
        adopted = [self._adopt(request, turn) for request in group]
        if turn.draft.tip != turn.draft.base:
            # On their own, before their files are replaced: should we die then, they are in history.
            if not self._publish(turn):
                return False
            for request, commit in zip(group, adopted, strict=True):
                if isinstance(commit, str):
                    request.adopted = commit
            turn = turn.redrafted()
        with self._repository.holding(turn.tree) if insist else nullcontext() as locks:
            if locks is not None:
                turn = turn.redrafted()
            outcomes = [
                refusal if isinstance(refusal, StorageError) else self._attempt(request, turn)
                for request, refusal in zip(group, adopted, strict=True)
            ]
            if turn.draft.tip == turn.draft.base:
                # Who stored what is stored already may have died before syncing it.
                self._repository.confirm(turn.draft.base)
            else:
                try:
                    if not self._publish(turn, locks):
                        return False
                except (KeyboardInterrupt, SystemExit):
                    # Who leads was interrupted; the others must not be served again if it was done.
                    if self._repository.tip() == turn.draft.tip:
                        self._repository.confirm(turn.draft.tip)
                        _settle(group, outcomes)
                    raise
        _settle(group, outcomes)
        return True

    def _publish(self, turn: _Turn, locks: Locks | None = None) -> bool:
        return self._repository.publish(
            turn.draft, tree=turn.tree, seen=turn.seen, who=self._author, held=locks
        )

    def _attempt(self, request: Request, turn: _Turn) -> Saved | StorageError:
        """Add the commit of one request to the draft; a request that fails, fails alone."""
        path = path_of(request.session_id)
        try:
            match request:
                case Save():
                    return self._save(request, turn, path)
                case Delete():
                    return self._delete(request, turn, path)
                case Put():
                    return self._put(request, turn, path)
                case Revert():
                    return self._revert(request, turn, path)
                case _:
                    outcome = Outcome.UNCHANGED if request.adopted is None else Outcome.UPDATED
                    revision = turn.draft.blob_at(path)
                    return _saved(request, outcome, revision, request.adopted)
        except SigningError:
            # Not about this request: the others cannot be signed either, and each might wait long.
            raise
        except StorageError as error:
            return error

    def _adopt(self, request: Request, turn: _Turn) -> CommitId | StorageError | None:
        """Commit what a person wrote into the file of the session since the last commit."""
        path = path_of(request.session_id)
        if turn.tree is None or path in turn.seen:
            return None
        try:
            file = turn.tree.read(path, limit=codec.MAX_BYTES)
            turn.seen[path] = file
            if file is None:
                return None
            revision = Revision(object_id("blob", file.data))
            turn.examined[revision] = file.data
            if revision == turn.draft.blob_at(path):
                return None
        except StorageError as error:
            return error
        if self._repository.is_merging():
            message = (
                f"{path} is part of an unfinished merge; nothing was saved. Finish it with "
                "`git commit`, or undo it with `git merge --abort`, and try again"
            )
            return ConcurrentUpdateError(message, path=self._repository.path)
        message = compose(
            operation="adopt", session_id=request.session_id, message=None, actor=None
        )
        return self._commit(turn.draft, path, file.data, message, blob=revision)

    def _save(self, request: Save, turn: _Turn, path: str) -> Saved:
        current = turn.draft.blob_at(path)
        check_expected(request.session_id, request.expected, current)
        if current is None:
            self._check_clash(request.session_id, turn)
        content = content_of(
            request,
            current,
            read=turn.read,
            is_canonical=lambda revision: self._is_canonical(revision, turn),
        )
        request.merged = content.document
        operation = "update" if current else "create"
        saved = self._store(request, turn, path, content, operation)
        if saved.commit is not None and saved.revision and content.data == request.data:
            self.forms.note(saved.revision, is_canonical=True)
        return saved

    def _put(self, request: Put, turn: _Turn, path: str) -> Saved:
        current = turn.draft.blob_at(path)
        check_expected(request.session_id, request.expected, current)
        if current is None:
            self._check_clash(request.session_id, turn)
        return self._store(request, turn, path, Content(data=request.data), request.operation)

    def _revert(self, request: Revert, turn: _Turn, path: str) -> Saved:
        current = turn.draft.blob_at(path)
        content = reverted(request, current, read=turn.read)
        if current is None and content.data is not None:
            self._check_clash(request.session_id, turn)
        return self._store(request, turn, path, content, request.operation)

    def _store(
        self, request: Request, turn: _Turn, path: str, content: Content, operation: str
    ) -> Saved:
        """Add the commit that makes the file what was decided, unless it is that already."""
        data = content.data
        revision = None if data is None else Revision(object_id("blob", data))
        outcome = outcome_of(turn.draft.blob_at(path), revision)
        commit: CommitId | None = None
        if outcome is not Outcome.UNCHANGED:
            message = _message(request, operation)
            commit = self._commit(turn.draft, path, data, message, blob=revision)
        return Saved(
            session_id=request.session_id,
            outcome=outcome,
            revision=revision,
            commit=commit,
            merged=content.document is not None,
            conflicts=content.conflicts,
        )

    def _delete(self, request: Delete, turn: _Turn, path: str) -> Saved:
        current = turn.draft.blob_at(path)
        check_present(request.session_id, current)
        check_expected(request.session_id, request.expected, current)
        commit = self._commit(turn.draft, path, None, _message(request, request.operation))
        return _saved(request, Outcome.DELETED, None, commit)

    def _commit(
        self,
        draft: Draft,
        path: str,
        data: bytes | None,
        message: str,
        *,
        blob: Revision | None = None,
    ) -> CommitId:
        now = int(self._runtime.clock())
        return draft.commit(
            path, data, author=self._author, time=now, message=message, sign=self._sign, blob=blob
        )

    def _check_clash(self, session_id: SessionId, turn: _Turn) -> None:
        """Refuse an id that some file systems could not tell from a stored one."""
        key = clash_key(session_id)
        for shard in turn.draft.entries_in(DIRECTORY):
            known = self._clash_keys.get(shard.id)
            if known is None:
                folder = f"{DIRECTORY}/{shard.name.decode(errors='replace')}"
                names = (
                    each.name.decode(errors="replace") for each in turn.draft.entries_in(folder)
                )
                ids = [found for name in names if (found := session_id_of(f"{folder}/{name}"))]
                known = self._clash_keys[shard.id] = {clash_key(found): found for found in ids}
                if len(self._clash_keys) > _SHARDS_KEPT:
                    self._clash_keys.popitem(last=False)
            if key in known:
                raise SessionExistsError(session_id=session_id, existing=known[key])

    def _is_canonical(self, revision: Revision, turn: _Turn) -> bool:
        known = self.forms.is_canonical(revision)
        if known is None:
            data = turn.read(revision)
            known = data is not None and codec.is_canonical(data)
            self.forms.note(revision, is_canonical=known)
        return known


class _Turn:
    """One attempt to serve a group: a draft, and the working files it was decided on."""

    def __init__(self, repository: Repository) -> None:
        self.draft: Draft = repository.draft()
        self.tree: WorkingTree | None = repository.working_tree()
        self.seen: dict[str, WorkingFile | None] = {}
        #: What these files hold, by revision.
        self.examined: dict[Revision, bytes] = {}
        self._repository = repository

    def redrafted(self) -> _Turn:
        """Return the turn with the same examined files, and a new draft on the branch as it is."""
        turn = copy(self)
        turn.draft = self._repository.draft()
        return turn

    def read(self, revision: Revision) -> bytes | None:
        """Return the bytes of a revision, staged or stored; None if there is no such revision."""
        known = self.draft.staged.get(revision) or self.examined.get(revision)
        return self._repository.stored_blob(revision) if known is None else known


def _settle(group: list[Request], outcomes: list[Saved | StorageError]) -> None:
    """Say what became of each; of refusals, too, only now: they may rest on others of the group."""
    for request, outcome in zip(group, outcomes, strict=True):
        if isinstance(outcome, StorageError):
            request.error = outcome
        else:
            adopted = request.adopted
            request.saved = outcome if adopted is None else replace(outcome, adopted=adopted)


def _message(request: Request, operation: str) -> str:
    return compose(
        operation=operation,
        session_id=request.session_id,
        message=request.message,
        actor=request.actor,
        detail=request.detail,
        extra=request.extra,
    )


def _saved(
    request: Request, outcome: Outcome, revision: Revision | None, commit: CommitId | None
) -> Saved:
    return Saved(session_id=request.session_id, outcome=outcome, revision=revision, commit=commit)
