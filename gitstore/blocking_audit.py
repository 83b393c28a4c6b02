"""What history answers, and what it gives back: the audit half of the blocking store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from gitstore.engine import audit, compare, purge, restore
from gitstore.engine.blame import blame
from gitstore.engine.moments import resolve_for
from gitstore.engine.repair import repair
from gitstore.engine.report import log_csv, log_jsonl, report
from gitstore.engine.verify import following_rewrite, verify
from gitstore.session.ids import parse_session_id

if TYPE_CHECKING:
    import builtins

    from gitstore.engine.blame import Blame
    from gitstore.engine.catalog import Catalog
    from gitstore.engine.compare import StoreDiff
    from gitstore.engine.findings import VerifyReport
    from gitstore.engine.purge import Purged
    from gitstore.engine.reading import Reader
    from gitstore.engine.repair import RepairReport
    from gitstore.engine.restore import Deleted
    from gitstore.engine.transactions import Writer
    from gitstore.git.repository import Repository
    from gitstore.git.signing import Checker, Signer
    from gitstore.session.diff import SessionDiff
    from gitstore.types import At, Author, Change, CommitId, Runtime, Saved


class BlockingAudit(ABC):
    """The questions about the past. `BlockingSessionStore` is one."""

    _repository: Repository
    _writer: Writer
    _reader: Reader
    _catalog: Catalog
    _author: Author
    _runtime: Runtime
    _checker: Checker | None
    _signer: Signer | None

    @abstractmethod
    def _check_open(self) -> None:
        """Raise if the store is closed."""

    def history(
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
        self._check_open()
        return audit.history(
            self._repository,
            None if session_id is None else parse_session_id(session_id),
            since=since,
            until=until,
            author=author,
            operation=operation,
            limit=limit,
            reverse=reverse,
            checker=self._checker if check_signatures else None,
        )

    def diff(self, session_id: str, a: At | None = None, b: At | None = None) -> SessionDiff:
        """Return what changed in a session between two moments; by default by its last change.

        Raises:
            SessionNotFoundError: it is at neither of them.
            SerializationError: one of the two cannot be read.
        """
        self._check_open()
        return compare.diff(self._repository, parse_session_id(session_id), a, b)

    def diff_store(self, a: At, b: At | None = None) -> StoreDiff:
        """Return which sessions were created, changed and deleted between two moments."""
        self._check_open()
        return compare.diff_store(self._repository, a, b)

    def blame(self, session_id: str, *, at: At | None = None) -> Blame:
        """Return, for each turn and each field of a session, the change that last set it.

        Raises:
            SessionNotFoundError: there is no such session there.
            SerializationError: it cannot be read.
        """
        self._check_open()
        name = parse_session_id(session_id)
        commit = None if at is None else resolve_for(self._repository, name, at)
        return blame(self._repository, name, at=commit)

    def deleted(self) -> builtins.list[Deleted]:
        """Return the sessions that were deleted and are not there now, latest deletion first."""
        self._check_open()
        return restore.deleted(self._repository)

    def restore(
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
        self._check_open()
        return restore.restore(
            self._repository,
            self._writer,
            session_id=parse_session_id(session_id),
            at=at,
            message=message,
            actor=actor,
        )

    def undo(
        self, commit: str, *, message: str | None = None, actor: str | None = None
    ) -> builtins.list[Saved]:
        """Take back what a commit did to each session, as new commits.

        What was written since is kept: both are merged, and `Saved.conflicts` lists what could not.

        Raises:
            UnknownCommitError: the branch's history holds no such commit.
        """
        self._check_open()
        return restore.undo(
            self._repository, self._writer, commit=commit, message=message, actor=actor
        )

    def copy(
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
        self._check_open()
        return restore.copy(
            self._repository,
            self._writer,
            self._reader,
            session_id=parse_session_id(session_id),
            new_id=parse_session_id(new_id),
            at=at,
            message=message,
            actor=actor,
        )

    def verify(
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
        self._check_open()
        return verify(
            self._repository,
            deep=deep,
            remembered=remembered,
            checker=self._checker,
            require_signatures=require_signatures,
        )

    def repair(self) -> RepairReport:
        """Put the newest readable state of every session on a new branch; nothing else is changed.

        Raises:
            RepositoryError: the branch could not be made.
        """
        self._check_open()
        return repair(
            self._repository,
            author=self._author,
            runtime=self._runtime,
            sign=None if self._signer is None else self._signer.sign,
        )

    def report(self, session_id: str | None = None, *, limit: int | None = None) -> str:
        """Return a self-contained HTML page: history, diffs, who, of a session or of the store."""
        self._check_open()
        name = None if session_id is None else parse_session_id(session_id)
        changes = audit.history(self._repository, name, limit=limit)
        rows = self._catalog.list().values() if name is None else ()
        made_at = datetime.fromtimestamp(self._runtime.clock(), UTC)
        return report(self._repository, name, changes, made_at=made_at, rows=rows)

    def export_log(
        self,
        session_id: str | None = None,
        *,
        format: Literal["jsonl", "csv"] = "jsonl",  # noqa: A002 -- the field's word
    ) -> str:
        """Return all changes of a session or of the store, as JSON Lines or CSV."""
        changes = self.history(session_id)
        return "".join(log_jsonl(changes) if format == "jsonl" else log_csv(changes))

    def purge(
        self, session_id: str, *, confirm: str, force: bool = False, actor: str | None = None
    ) -> Purged:
        """Remove a session from the branch, its whole history and the disk: history is rewritten.

        `confirm` must repeat the id. `Purged.advice` says what everybody with a copy must do.

        Raises:
            SessionNotFoundError: no commit here has it.
            RepositoryError: not confirmed, or another ref has the session and `force` was not given.
        """
        self._check_open()
        with following_rewrite(self._repository):
            return purge.purge(
                self._repository,
                session_id=parse_session_id(session_id),
                confirm=confirm,
                author=self._author,
                runtime=self._runtime,
                force=force,
                actor=actor,
                sign=None if self._signer is None else self._signer.sign,
            )

    def prune_history(
        self, *, before: datetime, confirm: str, force: bool = False, actor: str | None = None
    ) -> Purged:
        """Forget how the branch came to be what it was at a time; keep that state and what followed.

        `confirm` must repeat the branch's name.

        Raises:
            RepositoryError: not confirmed, or another ref has the history and `force` was not given.
        """
        self._check_open()
        with following_rewrite(self._repository):
            return purge.prune_history(
                self._repository,
                before=before,
                confirm=confirm,
                author=self._author,
                runtime=self._runtime,
                force=force,
                actor=actor,
            )
