"""Fetch, pull, push and sync: the verbs, and in which order things become so.

A remote-tracking branch moves only to what the remote is known to have, after it has it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from gitstore.engine.sync.decisions import Chooser, checked, side_of
from gitstore.engine.sync.fetching import Fetcher, ref_there
from gitstore.engine.sync.report import combined, sessions_in
from gitstore.engine.sync.settling import Incoming, Settler
from gitstore.errors import (
    NoConflictError,
    PushRejectedError,
    RemoteBranchGoneError,
)
from gitstore.git.graph import is_ancestor
from gitstore.git.remote.transport import Transport
from gitstore.types import CommitId, Conflict, Decision, SyncReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitstore.engine.catalog import Catalog
    from gitstore.engine.sync.decisions import Policy
    from gitstore.engine.sync.view import SyncView
    from gitstore.engine.transactions import Writer
    from gitstore.engine.worktree import HandEdits
    from gitstore.git.draft import Sign
    from gitstore.git.remote.cancellation import Cancellation
    from gitstore.git.remote.network import Network
    from gitstore.git.remote.remotes import Tracked
    from gitstore.git.repository import Repository
    from gitstore.types import Author, OnProgress, Runtime, SessionId, SyncStatus

#: How often a sync may be overtaken before it gives up. Who has just pushed is quicker than who was
#: overtaken: five busy writers were seen to keep a sixth waiting for 29 rounds.
ROUNDS_MAX: Final = 64
_BACKOFF_SECONDS: Final = 0.05
#: Short: a call that is cancelled waits for it.
_BACKOFF_SECONDS_MAX: Final = 0.5
#: What git's own reflogs say.
_PUSHED: Final = "update by push"
#: What git says when another push holds the ref: as good as having been overtaken.
_BUSY: Final = ("failed to update ref", "cannot lock ref", "failed to lock")


class Exchange:
    """The exchanges of one store with its remotes. Any thread may call any method."""

    def __init__(  # noqa: PLR0913 -- the parts of a store, put together in one place
        self,
        repository: Repository,
        writer: Writer,
        edits: HandEdits,
        catalog: Catalog,
        view: SyncView,
        *,
        author: Author,
        runtime: Runtime,
        sign: Sign | None,
        network: Network,
        remote: str | None,
    ) -> None:
        self._repository = repository
        self._settler = Settler(
            repository, writer, edits, catalog, author=author, runtime=runtime, sign=sign
        )
        self._fetcher = Fetcher(repository, view.contacts, author=author, network=network)
        self._view = view
        self._runtime = runtime
        self._network = network
        self._remote = remote

    def fetch(
        self,
        remote: str | None = None,
        *,
        accept_rewrite: bool = False,
        cancel: Cancellation,
        progress: OnProgress | None = None,
    ) -> SyncStatus:
        """Bring in what the remote has, and move only the remote-tracking branch.

        Raises:
            RemoteBranchGoneError: the branch was there, and is there no more.
            HistoryRewrittenError: it lost commits, and `accept_rewrite` was not given.
            UntrustedContentError: what came in was refused.
            SyncError: the remote cannot be reached, or will not talk to us.
        """
        with self._view.contacts.exchanging():
            self._fetcher.fetch(
                self._find(remote), accept_rewrite=accept_rewrite, cancel=cancel, progress=progress
            )
        return self._view.standing().status

    def pull(
        self,
        remote: str | None = None,
        *,
        on_conflict: Policy = "raise",
        join: bool = False,
        cancel: Cancellation,
        progress: OnProgress | None = None,
    ) -> SyncReport:
        """Fetch, and bring what came in into the branch: a fast-forward, or one merge commit.

        Raises:
            MergeConflictError: conflicts are left open; nothing was moved.
            SyncError, RepositoryError: as `fetch` and `Settler.settle`; nothing was moved.
        """
        with self._view.contacts.exchanging():
            return self._pull(
                self._find(remote),
                on_conflict=on_conflict,
                join=join,
                cancel=cancel,
                progress=progress,
            )

    def push(
        self,
        remote: str | None = None,
        *,
        recreate: bool = False,
        cancel: Cancellation,
        progress: OnProgress | None = None,
    ) -> SyncReport:
        """Send the branch, if all that the remote has is in it.

        Raises:
            PushRejectedError: it is not, or the remote declined.
            RemoteBranchGoneError: the branch was deleted there, and `recreate` was not given.
            HistoryRewrittenError: the branch there lost commits that it had.
            UntrustedContentError: a commit of ours is one that others would refuse.
        """
        with self._view.contacts.exchanging():
            tracked = self._find(remote)
            self._settler.adopt()
            sent = self._push(tracked, recreate=recreate, cancel=cancel, progress=progress)
        if isinstance(sent, PushRejectedError):
            raise sent
        return sent

    def sync(
        self,
        remote: str | None = None,
        *,
        on_conflict: Policy = "raise",
        join: bool = False,
        cancel: Cancellation,
        progress: OnProgress | None = None,
    ) -> SyncReport:
        """Pull, then push; again when others were faster, a bounded number of times.

        Raises:
            PushRejectedError: others were faster every time, or the remote declined.
            StorageError: as `pull` and `push`.
        """
        report, backoff = SyncReport(), _BACKOFF_SECONDS
        with self._view.contacts.exchanging():
            tracked = self._find(remote)
            for rounds in range(1, ROUNDS_MAX + 1):
                pulled = self._pull(
                    tracked,
                    on_conflict=on_conflict,
                    join=join,
                    cancel=cancel,
                    progress=progress,
                )
                report = combined(report, pulled)
                self._settler.adopt()
                if self._is_level(tracked):
                    return replace(report, rounds=rounds)
                sent = self._push(tracked, recreate=False, cancel=cancel, progress=progress)
                if isinstance(sent, SyncReport):
                    return replace(combined(report, sent), rounds=rounds)
                self._runtime.sleep(backoff * (0.5 + self._runtime.chance()))
                backoff = min(2 * backoff, _BACKOFF_SECONDS_MAX)
        reason = f"others were faster {ROUNDS_MAX} times; what came in is merged here"
        raise PushRejectedError(remote=tracked.name, ref=ref_there(tracked), reason=reason)

    def conflicts(self) -> list[Conflict]:
        """Return the conflicts with the remote, as last fetched, that nobody has decided."""
        return list(self._view.standing().conflicts)

    def resolve(
        self, session_id: SessionId, decision: Decision, *, where: str | None = None
    ) -> None:
        """Record how conflicts of a session are to be decided: that at `where`, or all of them.

        A decision that was recorded before is replaced.

        Raises:
            NoConflictError: there is no such conflict.
            SerializationError: the decision is none, or does not fit into a session.
        """
        standing = self._view.standing()
        found: list[tuple[Conflict, Decision]] = [
            (conflict, checked(decision, conflict))
            for conflict in (*standing.conflicts, *standing.decided)
            if conflict.session_id == session_id and where in (None, conflict.where)
        ]
        if not found:
            raise NoConflictError(session_id=session_id, where=where)
        self._view.try_out(found)
        self._view.decisions.record(found)

    # --- in -------------------------------------------------------------------

    def _find(self, remote: str | None) -> Tracked:
        return self._repository.remotes().find(remote or self._remote)

    def _pull(
        self,
        tracked: Tracked,
        *,
        on_conflict: Policy,
        join: bool,
        cancel: Cancellation,
        progress: OnProgress | None,
    ) -> SyncReport:
        self._settler.check()
        theirs = self._fetcher.fetch(
            tracked, accept_rewrite=False, cancel=cancel, progress=progress
        )
        if theirs is None:
            return SyncReport(local=self._repository.tip())
        decisions = self._view.decisions
        incoming = Incoming(
            remote=tracked.name,
            theirs=theirs,
            chooser=Chooser(on_conflict, decisions.recorded()),
            prefer=side_of(on_conflict),
            join=join,
            progress=progress,
        )
        report = self._settler.settle(incoming, cancel=cancel)
        decisions.forget(report.decided)
        return report

    # --- out ------------------------------------------------------------------

    def _is_level(self, tracked: Tracked) -> bool:
        """Whether the remote, as just fetched, has all that a push would send there."""
        repository = self._repository
        return (
            tracked.push_url == tracked.url and repository.ref_tip(tracked.ref) == repository.tip()
        )

    def _push(
        self,
        tracked: Tracked,
        *,
        recreate: bool,
        cancel: Cancellation,
        progress: OnProgress | None,
    ) -> SyncReport | PushRejectedError:
        """Push; return what speaks against it if that may be over after a pull.

        Then the remote has something that is not here, or another push holds the branch.
        """
        local = self._repository.tip()
        if local is None:
            return SyncReport()
        known = self._repository.ref_tip(tracked.ref)
        transport = Transport(tracked.push_url, name=tracked.name, network=self._network)
        send = partial(self._send, transport, tracked, local, cancel=cancel, progress=progress)
        if known is not None and not is_ancestor(known, local, self._repository.facts):
            return _overtaken(tracked)
        if known != local:
            self._fetcher.check_outgoing(tracked, local, known, cancel=cancel, progress=progress)
        with self._view.contacts.contacting(tracked.name):
            try:
                if known != local:
                    return send(known)
                refusal = None
            except PushRejectedError as error:
                refusal = error
            # Nothing to send, or not onto what we thought: ask what there is.
            there = transport.advertised(cancel=cancel, progress=progress).get(ref_there(tracked))
            if there is None and known is not None and not recreate:
                raise RemoteBranchGoneError(remote=tracked.name, branch=tracked.branch)
            actual = None if there is None else CommitId(there)
            if refusal is not None and actual == known:
                if any(word in refusal.reason for word in _BUSY):
                    return refusal
                raise refusal
            try:
                return self._push_onto(actual, local, tracked, known, send)
            except PushRejectedError as error:
                # It moved on again since it was asked. Who declines for good declines once more.
                return error

    def _push_onto(
        self,
        actual: CommitId | None,
        local: CommitId,
        tracked: Tracked,
        known: CommitId | None,
        send: Callable[[CommitId | None], SyncReport],
    ) -> SyncReport | PushRejectedError:
        """Push onto what the remote was found to have, if that is in our branch."""
        if actual is None:
            return send(None)
        if not self._fetcher.is_ours(actual, None):
            return _overtaken(tracked)
        # A push that broke off after it had arrived, or one past the tracking branch.
        self._fetcher.track(tracked, actual, seen=known, message=_PUSHED)
        return SyncReport(local=local, remote=actual) if actual == local else send(actual)

    def _send(
        self,
        transport: Transport,
        tracked: Tracked,
        local: CommitId,
        old: CommitId | None,
        *,
        cancel: Cancellation,
        progress: OnProgress | None,
    ) -> SyncReport:
        """Push onto `old`, and move the remote-tracking branch."""
        repository = self._repository
        transport.push(
            ref=ref_there(tracked),
            old=old,
            new=local,
            pack=lambda known: repository.outgoing(local, known),
            cancel=cancel,
            progress=progress,
        )
        self._fetcher.track(tracked, local, seen=old, message=_PUSHED)
        changes = repository.changes_between(repository.tree(old), repository.tree(local))
        return SyncReport(sent=sessions_in(changes), local=local, remote=local)


def _overtaken(tracked: Tracked) -> PushRejectedError:
    reason = "the remote has commits that are not here"
    return PushRejectedError(remote=tracked.name, ref=ref_there(tracked), reason=reason)
