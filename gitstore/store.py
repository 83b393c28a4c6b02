"""The store, for async callers: the blocking store, run in worker threads."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from anyio import CancelScope, CapacityLimiter, get_cancelled_exc_class
from typing_extensions import override

from gitstore.blocking import BlockingSessionStore
from gitstore.contract import SessionStore
from gitstore.git.remote.cancellation import Cancellation
from gitstore.store_audit import Audit
from gitstore.store_care import Care
from gitstore.store_sync import Sync
from gitstore.store_workers import Job, Workers
from gitstore.types import Expect

if TYPE_CHECKING:
    import builtins
    import os
    from collections.abc import AsyncGenerator, Callable
    from typing import Unpack

    from gitstore.git.programs import Programs
    from gitstore.git.remote.network import Network
    from gitstore.git.signing import SigningSettings
    from gitstore.options import OpenOptions
    from gitstore.session.meta import SessionMeta
    from gitstore.session.model import SessionAsset
    from gitstore.session.redact import Redaction
    from gitstore.types import (
        AskCredentials,
        At,
        Author,
        Durability,
        Expected,
        OnProgress,
        Runtime,
        Saved,
        SyncStatus,
    )

T = TypeVar("T")
P = ParamSpec("P")


class GitSessionStore(Audit, Care, Sync, SessionStore):
    """Sessions in one branch of one git repository, on asyncio or trio.

    Every method is `BlockingSessionStore`'s, run in a worker thread; saves that are begun while one
    is under way share the next. A call that is cancelled before its thread began does nothing. One
    that has begun is finished first: then either it returns, or (asyncio's own `Task.cancel`, which
    no shield stops) raises the cancellation, and ``asset.revision`` tells whether the save was made.
    One that talks to a remote is made to end instead: promptly, with everything as it was before it
    or as it is after it.
    """

    def __init__(self, blocking: BlockingSessionStore) -> None:
        self._blocking = blocking

    @classmethod
    async def open(  # noqa: PLR0913 -- each has a default; keyword-only
        cls,
        path: str | os.PathLike[str],
        *,
        create: bool = False,
        bare: bool = False,
        branch: str | None = None,
        author: Author | None = None,
        remote: str | None = None,
        durability: Durability = "full",
        lock_timeout_seconds: float = 10.0,
        trust_owner: bool = False,
        redact: Redaction | None = None,
        signing: SigningSettings | None = None,
        sign: bool = False,
        programs: Programs | None = None,
        auto_maintain: bool = True,
        credentials: AskCredentials | None = None,
        network: Network | None = None,
        runtime: Runtime | None = None,
    ) -> Self:
        """Open the store in the git repository at `path`; ``~`` is the home folder.

        With `create` a repository is made if there is none (`bare`: without a working tree; else git's
        ``core.splitIndex`` is set, so that a save costs the same however many sessions there are). The
        branch is the one HEAD is on unless named; the author is the repository's configured user
        unless given; `remote` names the remote to compare with, by default the branch's own or
        ``origin``. A save with durability "full" survives power loss when it is acknowledged, with
        "process" only the death of the process. `redact` names what is masked in every save before
        anything is written (`named_redactions`, or patterns and callables of your own). With `sign`
        every commit is signed, with the key of the repository's settings or of `signing`; `programs`
        are those that sign and check, and what they may know of the environment (agents, GNUPGHOME).
        With `auto_maintain` a thread packs what piles up, as `maintain` does, after some writes;
        ``gc.auto = 0`` in the repository's configuration turns it off too.
        `network` says the same of git and ssh, for remotes, and how long they may take; `credentials`
        is asked when a remote wants some, before git's credential helpers. Plain git in the repository
        is told how to merge sessions, unless it knows a way.

        Raises:
            SigningError: commits are to be signed, and no key is named.
            RepositoryNotFoundError: there is no repository, and `create` was not asked for.
            UntrustedOwnerError: it is another user's, and `trust_owner` was not given.
            UnsupportedRepositoryError: reftable, SHA-256, a sparse checkout, an unknown extension.
            UnsafePathError: its sessions folder is a symbolic link.
            PermissionDeniedError: it cannot be read.
        """
        job = Job(
            partial(
                BlockingSessionStore.open,
                path,
                create=create,
                bare=bare,
                branch=branch,
                author=author,
                remote=remote,
                durability=durability,
                lock_timeout_seconds=lock_timeout_seconds,
                trust_owner=trust_owner,
                redact=redact,
                signing=signing,
                sign=sign,
                programs=programs,
                auto_maintain=auto_maintain,
                credentials=credentials,
                network=network,
                runtime=runtime,
            )
        )
        return cls(await job.run(CapacityLimiter(1)))

    @classmethod
    @override
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
        return cls(
            await _contacting(
                lambda cancel: BlockingSessionStore._clone(  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] -- its twin
                    url,
                    path,
                    bare=bare,
                    branch=branch,
                    progress=progress,
                    options=options,
                    cancel=cancel,
                ),
                CapacityLimiter(1),
            )
        )

    @property
    def _audit(self) -> BlockingSessionStore:
        return self._blocking

    @property
    def _care(self) -> BlockingSessionStore:
        return self._blocking

    @property
    def _syncing(self) -> BlockingSessionStore:
        return self._blocking

    @property
    def _workers(self) -> Workers:
        return Workers.of(self)

    @property
    def path(self) -> str:
        """The repository's folder."""
        return self._blocking.path

    @property
    def branch(self) -> str:
        """The branch that holds the sessions."""
        return self._blocking.branch

    async def close(self) -> None:
        """Let go of open files. Closing twice is fine; every other call then fails.

        Automatic maintenance that goes on is waited for, or stopped after some seconds.
        """
        await self._run(self._blocking.close)

    async def save(
        self,
        asset: SessionAsset,
        *,
        expected: Expected = Expect.ANY,
        message: str | None = None,
        actor: str | None = None,
    ) -> Saved:
        """Store a session as it is now, as one commit; saving what is stored makes no commit.

        An asset remembers the revision it was loaded from or last saved as. If the stored session
        has moved on since, both are merged: turns of both sides stay, on a field that both changed
        the saved value wins and is listed in `Saved.conflicts`, and `asset` is brought up to date.
        An asset that was never loaded overwrites. `expected` states what must be stored now:
        a revision, or `Expect.ABSENT`. `message` is the commit's; `actor` says on whose behalf.

        Raises:
            InvalidSessionIdError: the id cannot be a file name.
            SessionExistsError: `expected` is ABSENT and there is one, or the id clashes with another.
            StaleRevisionError: another revision than the expected one is stored.
            SerializationError: the asset holds values that cannot be stored.
            RepositoryError: nothing was saved; its subclass says why, `retryable` whether to retry.
        """
        pending = self._blocking._begin_save(  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] -- its twin
            asset, expected=expected, message=message, actor=actor
        )
        try:
            if pending.calls_back:
                await self._run(pending.run)
            else:
                await self._workers.save(pending)
        except get_cancelled_exc_class():
            if pending.is_done:
                pending.finish()
            raise
        return pending.finish()

    async def load(self, session_id: str, *, at: At | None = None) -> SessionAsset:
        """Return a session, as it is now or as it was at a commit or a time.

        A hand edit in the working tree is committed first, so that what is read is in history.
        `at` is a commit id or its beginning, a branch, a tag, a revision of the session, ``@{3}`` for
        three changes back, or an aware time: then the last commit on the branch's first-parent line
        that is not later.

        Raises:
            SessionNotFoundError: there is none.
            SerializationError: what is stored, or was written by hand, is no session.
            UnknownCommitError: `at` names no commit; AmbiguousCommitError: it names several.
            BeforeHistoryError: the time is before the first commit.
            NaiveTimeError: the time has no time zone.
        """
        return await self._run(self._blocking.load, session_id, at=at)

    async def list(
        self,
        *,
        limit: int | None = None,
        where: Callable[[SessionMeta], bool] | None = None,
        at: At | None = None,
        progress: OnProgress | None = None,
    ) -> builtins.list[SessionMeta]:
        """Return a row for each session, latest `updated_at` first; unreadable ones say so.

        With `at`, as of a commit or a time; the sync states are those of now. Hand edits are committed
        first. `where` is asked for each row, `limit` counts the rows returned. What was listed before
        is not read again: the cost follows what is new. `progress` is told how many sessions had to be
        read (phase "listing"), and nothing if none had to be.
        """
        return await self._run(
            self._blocking.list, limit=limit, where=where, at=at, progress=progress
        )

    async def delete(
        self,
        session_id: str,
        *,
        expected: Expected = Expect.ANY,
        message: str | None = None,
        actor: str | None = None,
    ) -> Saved:
        """Remove a session, as one commit; `load` with `at` still finds it in history.

        Raises:
            SessionNotFoundError: there is none.
            StaleRevisionError: another revision than the expected one is stored.
            RepositoryError: nothing was deleted; its subclass says why.
        """
        return await self._run(
            self._blocking.delete, session_id, expected=expected, message=message, actor=actor
        )

    async def exists(self, session_id: str, *, at: At | None = None) -> bool:
        """Whether there is such a session, or was at a commit or a time."""
        return await self._run(self._blocking.exists, session_id, at=at)

    async def sync_status(self) -> SyncStatus:
        """Return how the branch stands with its remote-tracking branch, without asking the remote."""
        return await self._run(self._blocking.sync_status)

    @asynccontextmanager
    async def edit(
        self, session_id: str, *, message: str | None = None, actor: str | None = None
    ) -> AsyncGenerator[SessionAsset]:
        """Load a session, let the ``with`` block change it, and save it; merge on a race.

        Nothing is saved when the block raises.

        Raises:
            SessionNotFoundError: there is none.
        """
        asset = await self.load(session_id)
        yield asset
        await self.save(asset, message=message, actor=actor)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with CancelScope(shield=True):
            await self.close()

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._workers.run(function, *args, **kwargs)

    async def _contact(self, function: Callable[[Cancellation], T]) -> T:
        return await _contacting(function, self._workers.limiter)


async def _contacting(function: Callable[[Cancellation], T], limiter: CapacityLimiter) -> T:
    cancellation = Cancellation()
    return await Job(partial(function, cancellation), cancel=cancellation.cancel).run(limiter)
