"""The sync half of the store, for async callers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from anyio import CancelScope, from_thread, sleep
from anyio.lowlevel import current_token

from gitstore.git.remote.cancellation import Cancellation, Cancelled

if TYPE_CHECKING:
    import builtins
    import os
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from typing import Unpack

    from anyio.lowlevel import EventLoopToken

    from gitstore.blocking_sync import BlockingSync
    from gitstore.engine.sync.background import AutoSync
    from gitstore.engine.sync.decisions import Policy
    from gitstore.engine.sync.exchange import Exchange
    from gitstore.options import OpenOptions
    from gitstore.types import (
        At,
        Changed,
        Conflict,
        Decision,
        Diagnosis,
        OnConflict,
        OnProgress,
        Remote,
        SyncReport,
        SyncStatus,
    )

T = TypeVar("T")
P = ParamSpec("P")


class Sync(ABC):
    """The verbs of sync, run in worker threads. `GitSessionStore` is one.

    Those that use the network end promptly when they are cancelled: the connection is closed, and
    what was not complete did not happen.
    """

    @property
    @abstractmethod
    def _syncing(self) -> BlockingSync:
        """The blocking twin."""

    @abstractmethod
    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a worker thread."""

    @abstractmethod
    async def _contact(self, function: Callable[[Cancellation], T]) -> T:
        """Call a function that can be cancelled in a worker thread."""

    @classmethod
    @abstractmethod
    async def clone(
        cls,
        url: str,
        path: str | os.PathLike[str],
        *,
        bare: bool = False,
        branch: str | None = None,
        progress: OnProgress | None = None,
        **options: Unpack[OpenOptions],
    ) -> Self:
        """Make a store at `path` from a remote, which becomes ``origin``; the rest is as in `open`.

        The branch is the one that the remote's HEAD is on, unless named. What comes in is checked as in
        `fetch`, and the clone takes its place at once when it is whole: whatever fails or ends
        before, there is none.

        Raises:
            RepositoryError: `path` is neither new nor an empty folder.
            RemoteNotFoundError: there is no repository at the URL, or no such branch.
            SyncError: as `fetch`.
        """

    async def remotes(self) -> builtins.list[Remote]:
        """Return the remotes that the repository's configuration names, as `git remote` does."""
        return await self._run(self._syncing.remotes)

    async def add_remote(self, name: str, url: str) -> Remote:
        """Name a remote in the configuration, as `git remote add` does; the remote is not asked.

        The branch follows the one of its name there, unless it follows one already. A relative path
        begins at the repository.

        Raises:
            InvalidRemoteError: the name is taken or none, the URL is none or holds a password.
        """
        return await self._run(self._syncing.add_remote, name, url)

    async def remove_remote(self, name: str) -> None:
        """Take a remote out of the configuration; nothing is deleted there.

        Raises:
            RemoteNotFoundError: there is none of that name.
        """
        await self._run(self._syncing.remove_remote, name)

    async def fetch(
        self,
        remote: str | None = None,
        *,
        accept_rewrite: bool = False,
        progress: OnProgress | None = None,
    ) -> SyncStatus:
        """Ask a remote what it has, check all of it, and keep it; no session changes.

        By default the branch's own remote. A history that was rewritten there is followed only with
        `accept_rewrite`.

        Raises:
            RemoteNotFoundError: no such remote is configured, there is no repository, or it has other
                branches only.
            RemoteUnavailableError: it cannot be reached; try again later.
            AuthenticationError, HostKeyError: it refuses us, or may be somebody else.
            RemoteBranchGoneError: the branch was there, and was deleted.
            HistoryRewrittenError: it lost commits that it had.
            UntrustedContentError: what it sent is damaged or could do harm.
        """
        return await self._contact(
            lambda cancel: self._exchange().fetch(
                remote, accept_rewrite=accept_rewrite, progress=progress, cancel=cancel
            )
        )

    async def pull(
        self,
        remote: str | None = None,
        *,
        on_conflict: OnConflict = "raise",
        join: bool = False,
        progress: OnProgress | None = None,
    ) -> SyncReport:
        """Fetch, and merge what came in by meaning: all of it, or nothing moves.

        Turns of both sides stay, and what one side alone changed. Where both changed one field
        differently, decisions of `resolve` come first, then `on_conflict`: "raise", a side, or a
        callable that is asked for each (awaited in the async store), without any lock held. With
        `join` histories that have no commit in common are merged, too, and one that a purge here left
        behind, which brings back what was purged.

        Raises:
            MergeConflictError: it lists every conflict that is left open.
            ForeignConflictError: both sides changed a file that is no session.
            UnrelatedHistoriesError: no commit in common, and `join` was not given.
            HistoryRewrittenError: as `fetch`; or the remote has what was purged here.
            UnfinishedMergeError, DirtyWorkingTreeError: a person's work stands in the way.
            SyncError: as `fetch`.
        """
        loop = current_token()
        return await self._contact(
            lambda cancel: self._exchange().pull(
                remote,
                on_conflict=_policy(on_conflict, loop, cancel),
                join=join,
                progress=progress,
                cancel=cancel,
            )
        )

    async def push(
        self,
        remote: str | None = None,
        *,
        recreate: bool = False,
        progress: OnProgress | None = None,
    ) -> SyncReport:
        """Send what a remote lacks; never over what it has and this store lacks.

        With `recreate` a branch that was deleted there is made again.

        Raises:
            PushRejectedError: it has what is not here, or declined: `reason`.
            UntrustedContentError: a commit of ours holds what others would refuse to fetch.
            SyncError: as `fetch`.
        """
        return await self._contact(
            lambda cancel: self._exchange().push(
                remote, recreate=recreate, progress=progress, cancel=cancel
            )
        )

    async def sync(
        self,
        remote: str | None = None,
        *,
        on_conflict: OnConflict = "raise",
        join: bool = False,
        progress: OnProgress | None = None,
    ) -> SyncReport:
        """Pull, then push; again when others were faster, a bounded number of times.

        Raises:
            SyncError: as `pull` and `push`. What came in before stays.
        """
        loop = current_token()
        return await self._contact(
            lambda cancel: self._exchange().sync(
                remote,
                on_conflict=_policy(on_conflict, loop, cancel),
                join=join,
                progress=progress,
                cancel=cancel,
            )
        )

    async def conflicts(self) -> builtins.list[Conflict]:
        """Return the fields that both sides changed differently and nobody decided, as last fetched."""
        return await self._run(self._syncing.conflicts)

    async def resolve(
        self, session_id: str, decision: Decision, *, where: str | None = None
    ) -> None:
        """Decide the conflicts of a session, or the one at `where`; the next pull completes them.

        The decision is a side, or `Use(value=...)`. It is for these very values: when a side
        changes the field again, that is another conflict.

        Raises:
            NoConflictError: there is no such conflict.
            SerializationError: with this value it would be no session.
        """
        await self._run(self._syncing.resolve, session_id, decision, where=where)

    @asynccontextmanager
    async def auto_sync(
        self, *, interval_seconds: float = 60.0, on_conflict: OnConflict = "raise"
    ) -> AsyncGenerator[AutoSync]:
        """Sync in the background while the ``with`` block runs: one thread, in this process.

        At once, then at intervals, soon after a local commit, and ever more seldom while the remote
        is out of reach. What fails raises nothing here: `AutoSync.problem` and `sync_status` tell.
        """
        loop = current_token()
        auto = self._syncing._background(  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] -- its twin
            interval_seconds, lambda cancel: _policy(on_conflict, loop, cancel)
        )
        try:
            await self._run(auto.start)
            yield auto
        finally:
            with CancelScope(shield=True):
                await self._run(auto.stop)

    async def watch(
        self, *, poll_seconds: float = 0.5, since: At | None = None
    ) -> AsyncGenerator[Changed]:
        """Yield every change of a session on the branch, by whoever, for as long as it is asked.

        From the first look on, or from the commit or time `since`. Commits along first parents are
        told oldest first; of more than 1,000 at once, or when history was rewritten, only what came
        of them. A hand edit comes when it is committed. A look costs one small file.
        """
        begin = self._syncing._looker  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] -- its twin
        look = await self._run(begin, since)
        while True:
            for change in await self._run(look):
                yield change
            await sleep(poll_seconds)

    async def doctor(self) -> builtins.list[Diagnosis]:
        """Look whether store, git and remote work together; each finding says what to do.

        Looks at settings and leftovers, and at what the file system can do; `verify` checks what is
        stored. Never asks the network.
        """
        return await self._run(self._syncing.doctor)

    def _exchange(self) -> Exchange:
        return self._syncing._exchanging()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] -- its twin


def _policy(on_conflict: OnConflict, loop: EventLoopToken, cancel: Cancellation) -> Policy:
    """Return what decides conflicts in a worker thread: awaitable answers come from the loop."""
    if not callable(on_conflict):
        return on_conflict

    def decide(conflict: Conflict) -> Decision:
        answer = on_conflict(conflict)
        if not isawaitable(answer):
            return answer
        question = _Question(answer)
        with cancel.closing(lambda: from_thread.run_sync(question.give_up, token=loop)):
            return from_thread.run(question.wait, token=loop)

    return decide


class _Question:
    """An answer that is awaited, but not for longer than anybody waits for it. All in the loop."""

    def __init__(self, answer: Awaitable[Decision]) -> None:
        self._answer = answer
        self._scope: CancelScope | None = None
        self._is_given_up = False

    async def wait(self) -> Decision:
        with CancelScope() as self._scope:
            if self._is_given_up:
                self._scope.cancel()
            return await self._answer
        raise Cancelled

    def give_up(self) -> None:
        self._is_given_up = True
        if self._scope is not None:
            self._scope.cancel()
