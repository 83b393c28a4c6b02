"""The audit half of the store, for async callers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable
    from datetime import datetime

    from gitstore.blocking_audit import BlockingAudit
    from gitstore.engine.blame import Blame
    from gitstore.engine.compare import StoreDiff
    from gitstore.engine.findings import VerifyReport
    from gitstore.engine.purge import Purged
    from gitstore.engine.repair import RepairReport
    from gitstore.engine.restore import Deleted
    from gitstore.session.diff import SessionDiff
    from gitstore.types import At, Change, CommitId, Saved

T = TypeVar("T")
P = ParamSpec("P")


class Audit(ABC):
    """The questions about the past, asked in worker threads. `GitSessionStore` is one."""

    @property
    @abstractmethod
    def _audit(self) -> BlockingAudit:
        """The blocking twin."""

    @abstractmethod
    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a worker thread."""

    async def history(
        self,
        session_id: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        author: str | None = None,
        operation: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
        check_signatures: bool = False,
    ) -> builtins.list[Change]:
        """Return the commits that changed a session, or any session, newest first.

        The same commits as ``git log -- PATH`` shows, with what each changed in one line. Between
        `since` and `until` (aware times), by an `author` whose name or mail holds this text, of one
        `operation`, at most `limit`; `reverse` turns what is left round. With `check_signatures` each
        signature is checked (12 ms), not only told. A session that was deleted, or never was, has
        the history that git has of its path.

        Raises:
            NaiveTimeError: a time has no time zone.
        """
        return await self._run(
            self._audit.history,
            session_id,
            since=since,
            until=until,
            author=author,
            operation=operation,
            limit=limit,
            reverse=reverse,
            check_signatures=check_signatures,
        )

    async def diff(self, session_id: str, a: At | None = None, b: At | None = None) -> SessionDiff:
        """Return what changed in a session between two moments; by default by its last change.

        Raises:
            SessionNotFoundError: it is at neither of them.
            SerializationError: one of the two cannot be read.
        """
        return await self._run(self._audit.diff, session_id, a, b)

    async def diff_store(self, a: At, b: At | None = None) -> StoreDiff:
        """Return which sessions were created, changed and deleted between two moments."""
        return await self._run(self._audit.diff_store, a, b)

    async def blame(self, session_id: str, *, at: At | None = None) -> Blame:
        """Return, for each turn and each field of a session, the change that last set it.

        Raises:
            SessionNotFoundError: there is no such session there.
            SerializationError: it cannot be read.
        """
        return await self._run(self._audit.blame, session_id, at=at)

    async def deleted(self) -> builtins.list[Deleted]:
        """Return the sessions that were deleted and are not there now, latest deletion first."""
        return await self._run(self._audit.deleted)

    async def restore(
        self,
        session_id: str,
        *,
        at: At | None = None,
        message: str | None = None,
        actor: str | None = None,
    ) -> Saved:
        """Store a session as it was, byte for byte: before its deletion, or at a moment.

        `at` is all that `load` takes.

        Raises:
            SessionExistsError: it exists, and `at` does not say which state is wanted.
            SessionNotFoundError: it was never deleted, or was not there at that time.
        """
        return await self._run(self._audit.restore, session_id, at=at, message=message, actor=actor)

    async def undo(
        self, commit: str, *, message: str | None = None, actor: str | None = None
    ) -> builtins.list[Saved]:
        """Take back what a commit did to each session, as new commits.

        What was written since is kept: both are merged, and `Saved.conflicts` lists what could not.

        Raises:
            UnknownCommitError: the branch's history holds no such commit.
        """
        return await self._run(self._audit.undo, commit, message=message, actor=actor)

    async def copy(
        self,
        session_id: str,
        new_id: str,
        *,
        at: At | None = None,
        message: str | None = None,
        actor: str | None = None,
    ) -> Saved:
        """Store a session under another id too; ``metadata["copied_from"]`` says from where.

        Raises:
            SessionNotFoundError: there is no such session there.
            SessionExistsError: there is one called `new_id`.
        """
        return await self._run(
            self._audit.copy, session_id, new_id, at=at, message=message, actor=actor
        )

    async def verify(
        self,
        *,
        deep: bool = False,
        remembered: CommitId | None = None,
        require_signatures: bool = False,
    ) -> VerifyReport:
        """Check every object, every session, the shape of the history, signatures and caches.

        With `deep` the sessions of every commit are decoded, not only those of the tip. The history
        must contain `remembered`: by default the tip of the last check that found nothing wrong.
        Never raises for damage, and repairs nothing. Cost: reads all of the history once.
        """
        return await self._run(
            self._audit.verify,
            deep=deep,
            remembered=remembered,
            require_signatures=require_signatures,
        )

    async def repair(self) -> RepairReport:
        """Put the newest readable state of every session on a new branch; nothing else is changed.

        Raises:
            RepositoryError: the branch could not be made.
        """
        return await self._run(self._audit.repair)

    async def report(self, session_id: str | None = None, *, limit: int | None = None) -> str:
        """Return a self-contained HTML page: history, diffs, who, of a session or of the store."""
        return await self._run(self._audit.report, session_id, limit=limit)

    async def export_log(
        self,
        session_id: str | None = None,
        *,
        format: Literal["jsonl", "csv"] = "jsonl",  # noqa: A002 -- the field's word
    ) -> str:
        """Return all changes of a session or of the store, as JSON Lines or CSV."""
        return await self._run(self._audit.export_log, session_id, format=format)

    async def purge(
        self, session_id: str, *, confirm: str, force: bool = False, actor: str | None = None
    ) -> Purged:
        """Remove a session from the branch, its whole history and the disk: history is rewritten.

        `confirm` must repeat the id. `Purged.advice` says what everybody with a copy must do.

        Raises:
            SessionNotFoundError: no commit here has it.
            RepositoryError: not confirmed, or another ref has the session and `force` was not given.
        """
        return await self._run(
            self._audit.purge, session_id, confirm=confirm, force=force, actor=actor
        )

    async def prune_history(
        self, *, before: datetime, confirm: str, force: bool = False, actor: str | None = None
    ) -> Purged:
        """Forget how the branch came to be what it was at a time; keep that state and what followed.

        `confirm` must repeat the branch's name.

        Raises:
            RepositoryError: not confirmed, or another ref has the history and `force` was not given.
        """
        return await self._run(
            self._audit.prune_history, before=before, confirm=confirm, force=force, actor=actor
        )
