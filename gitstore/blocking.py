"""The store, for callers without an event loop."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from typing_extensions import override

from gitstore.blocking_audit import BlockingAudit
from gitstore.blocking_care import BlockingCare
from gitstore.blocking_sync import BlockingSync
from gitstore.engine.catalog import Catalog
from gitstore.engine.maintenance import Maintainer
from gitstore.engine.moments import resolve
from gitstore.engine.pending import PendingSave
from gitstore.engine.reading import Reader
from gitstore.engine.requests import Delete
from gitstore.engine.sync import SyncView
from gitstore.engine.sync.exchange import Exchange
from gitstore.engine.transactions import Writer
from gitstore.engine.worktree import HandEdits
from gitstore.errors import RepositoryNotFoundError, StoreClosedError
from gitstore.git.remote.network import Network
from gitstore.git.repository import Repository
from gitstore.git.signing import Checker, Signer, SigningSettings
from gitstore.options import OpenOptions, network_of
from gitstore.session.ids import parse_session_id
from gitstore.system import system_runtime as system_runtime  # noqa: PLC0414 -- also found here
from gitstore.types import Author, Expect

if TYPE_CHECKING:
    import builtins
    import os
    from collections.abc import Callable, Generator

    from gitstore.git.programs import Programs
    from gitstore.session.meta import SessionMeta
    from gitstore.session.model import SessionAsset
    from gitstore.session.redact import Redaction
    from gitstore.types import (
        AskCredentials,
        At,
        Durability,
        Expected,
        OnProgress,
        Runtime,
        Saved,
        SyncStatus,
    )

ANONYMOUS = Author(name="gitstore", email="gitstore@localhost")
DEFAULT_BRANCH = "main"
LOCK_TIMEOUT_SECONDS = 10.0


class BlockingSessionStore(BlockingAudit, BlockingCare, BlockingSync):
    """Sessions in one branch of one git repository. Every method blocks; any thread may call it."""

    def __init__(  # noqa: PLR0913 -- each has a default; keyword-only
        self,
        repository: Repository,
        *,
        author: Author | None = None,
        remote: str | None = None,
        redact: Redaction | None = None,
        signing: SigningSettings | None = None,
        sign: bool = False,
        programs: Programs | None = None,
        auto_maintain: bool = True,
        lock_timeout_seconds: float = LOCK_TIMEOUT_SECONDS,
        network: Network | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        runtime = runtime or system_runtime()
        self._repository = repository
        self._author = author or _configured_author(repository) or ANONYMOUS
        self._runtime = runtime
        self._lock_timeout_seconds = lock_timeout_seconds
        self._redact = redact
        signing = signing or _configured_signing(repository)
        self._checker = Checker(signing, programs=programs)
        self._signer = Signer(signing, path=repository.path, programs=programs) if sign else None
        sign_with = None if self._signer is None else self._signer.sign
        self._maintainer = Maintainer(repository, runtime=runtime) if auto_maintain else None
        self._writer = Writer(
            repository,
            author=self._author,
            runtime=runtime,
            sign=sign_with,
            wrote=None if self._maintainer is None else self._maintainer.wrote,
        )
        self._edits = edits = HandEdits(repository, runtime=runtime)
        self._reader = Reader(repository, self._writer, edits)
        self._sync = SyncView(repository, remote=remote, runtime=runtime)
        self._catalog = Catalog(repository, self._writer, edits, standing=self._sync.standing)
        self._exchange = Exchange(
            repository,
            self._writer,
            edits,
            self._catalog,
            self._sync,
            author=self._author,
            runtime=runtime,
            sign=sign_with,
            network=network or Network(),
            remote=remote,
        )
        self._mutex, self._closed = threading.Lock(), False

    @classmethod
    def open(  # noqa: PLR0913 -- each has a default; keyword-only
        cls,
        path: str | os.PathLike[str],
        *,
        create: bool = False,
        bare: bool = False,
        branch: str | None = None,
        author: Author | None = None,
        remote: str | None = None,
        durability: Durability = "full",
        lock_timeout_seconds: float = LOCK_TIMEOUT_SECONDS,
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
        runtime = runtime or system_runtime()
        where = str(Path(path).expanduser())
        opened = partial(
            Repository.open,
            where,
            branch=branch,
            durability=durability,
            lock_timeout_seconds=lock_timeout_seconds,
            trust_owner=trust_owner,
            runtime=runtime,
        )
        made = partial(
            Repository.create, where, bare=bare, branch=branch or DEFAULT_BRANCH, runtime=runtime
        )
        repository = _opened_or_made(opened, made) if create else opened()
        store = cls(
            repository,
            author=author,
            remote=remote,
            redact=redact,
            signing=signing,
            sign=sign,
            programs=programs,
            auto_maintain=auto_maintain,
            lock_timeout_seconds=lock_timeout_seconds,
            network=network_of(network, credentials),
            runtime=runtime,
        )
        return store._prepare(create=create)

    @classmethod
    @override
    def _opened(cls, path: str, options: OpenOptions) -> Self:
        return cls.open(path, **options)

    @property
    def path(self) -> str:
        """The repository's folder."""
        return self._repository.path

    @property
    def branch(self) -> str:
        """The branch that holds the sessions."""
        return self._repository.branch

    def close(self) -> None:
        """Let go of open files. Closing twice is fine; every other call then fails.

        Automatic maintenance that goes on is waited for, or stopped after some seconds.
        """
        with self._mutex:
            self._closed = True
        if self._maintainer is not None:
            self._maintainer.close()
        self._edits.close()
        self._repository.close()

    def save(
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
        pending = self._begin_save(asset, expected=expected, message=message, actor=actor)
        pending.run()
        return pending.finish()

    def load(self, session_id: str, *, at: At | None = None) -> SessionAsset:
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
        self._check_open()
        return self._reader.load(parse_session_id(session_id), at)

    def list(
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
        self._check_open()
        if at is None:
            rows = self._catalog.list(progress=progress)
        else:
            rows = self._catalog.list_at(resolve(self._repository, at), progress=progress)
        ordered = self._catalog.in_order(rows, self._sync.standing())
        wanted = ordered if where is None else filter(where, ordered)
        return [*wanted][:limit]

    def delete(
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
        self._check_open()
        request = Delete(
            session_id=parse_session_id(session_id),
            operation="delete",
            expected=expected,
            message=message,
            actor=actor,
        )
        self._writer.run([request])
        return request.result()

    def exists(self, session_id: str, *, at: At | None = None) -> bool:
        """Whether there is such a session, or was at a commit or a time."""
        self._check_open()
        return self._reader.exists(parse_session_id(session_id), at)

    def sync_status(self) -> SyncStatus:
        """Return how the branch stands with its remote-tracking branch, without asking the remote."""
        self._check_open()
        return self._sync.standing().status

    @contextmanager
    def edit(
        self, session_id: str, *, message: str | None = None, actor: str | None = None
    ) -> Generator[SessionAsset]:
        """Load a session, let the ``with`` block change it, and save it; merge on a race.

        Nothing is saved when the block raises.

        Raises:
            SessionNotFoundError: there is none.
        """
        asset = self.load(session_id)
        yield asset
        self.save(asset, message=message, actor=actor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin_save(
        self, asset: SessionAsset, *, expected: Expected, message: str | None, actor: str | None
    ) -> PendingSave:
        """Take the snapshot that will be saved."""
        self._check_open()
        return PendingSave(
            self._writer,
            asset,
            expected=expected,
            message=message,
            actor=actor,
            redact=self._redact,
        )

    def _check_open(self) -> None:
        if self._closed:
            message = "the store is closed; open it again"
            raise StoreClosedError(message, path=self._repository.path)


def _opened_or_made(opened: Callable[[], Repository], made: Callable[[], None]) -> Repository:
    try:
        return opened()
    except RepositoryNotFoundError:
        made()
        return opened()


def _configured_signing(repository: Repository) -> SigningSettings:
    home = str(Path("~").expanduser())
    return SigningSettings.configured(repository.setting, folder=repository.path, home=home)


def _configured_author(repository: Repository) -> Author | None:
    name, email = repository.setting("user", "name"), repository.setting("user", "email")
    return None if name is None or email is None else Author(name=name, email=email)
