"""What goes between the store and its remotes: the sync half of the blocking store."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self, Unpack, cast

from gitstore.engine.doctor import doctor
from gitstore.engine.moments import resolve
from gitstore.engine.sync.background import AutoSync
from gitstore.engine.sync.cloning import ORIGIN, branch_to_clone, url_of_clone, workplace
from gitstore.engine.sync.settling import INITIAL_DATA, INITIAL_PATH
from gitstore.engine.sync.watch import Watcher
from gitstore.errors import RepositoryError
from gitstore.git.remote.cancellation import Cancellation
from gitstore.git.remote.network import Network
from gitstore.git.remote.transport import Transport
from gitstore.git.remote.url import parse_url
from gitstore.git.repository import Repository
from gitstore.mergedriver import NAME, SECTION, command
from gitstore.options import OpenOptions, network_of
from gitstore.session.ids import parse_session_id
from gitstore.system import system_runtime

if TYPE_CHECKING:
    import builtins
    import os
    from collections.abc import Callable, Generator

    from gitstore.engine.catalog import Catalog
    from gitstore.engine.sync.decisions import Policy
    from gitstore.engine.sync.exchange import Exchange
    from gitstore.engine.transactions import Writer
    from gitstore.types import (
        At,
        Changed,
        Conflict,
        Decision,
        Diagnosis,
        OnConflict,
        OnProgress,
        Remote,
        Runtime,
        SyncReport,
        SyncStatus,
    )


class BlockingSync(ABC):
    """The verbs of sync. `BlockingSessionStore` is one."""

    _repository: Repository
    _catalog: Catalog
    _exchange: Exchange
    _runtime: Runtime
    _writer: Writer

    @classmethod
    @abstractmethod
    def _opened(cls, path: str, options: OpenOptions) -> Self:
        """Open the store at `path`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of open files."""

    @abstractmethod
    def _check_open(self) -> None:
        """Raise if the store is closed."""

    @abstractmethod
    def sync_status(self) -> SyncStatus:
        """Return how the branch stands with its remote-tracking branch."""

    @classmethod
    def clone(
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
        return cls._clone(
            url,
            path,
            bare=bare,
            branch=branch,
            progress=progress,
            options=options,
            cancel=Cancellation(),
        )

    @classmethod
    def _clone(
        cls,
        url: str,
        path: str | os.PathLike[str],
        *,
        bare: bool,
        branch: str | None,
        progress: OnProgress | None,
        options: OpenOptions,
        cancel: Cancellation,
    ) -> Self:
        """Make a clone; the async twin gives it a way to be cancelled."""
        runtime = options.get("runtime") or system_runtime()
        network = network_of(options.get("network"), options.get("credentials")) or Network()
        where = str(Path(path).expanduser().absolute())
        remote = parse_url(url, folder=str(Path.cwd()))
        durability = options.get("durability", "full")
        with workplace(where, durability=durability, runtime=runtime) as scratch:
            asked = Transport(remote, name=remote.shown, network=network)
            refs = asked.advertised(cancel=cancel, progress=progress)
            chosen = branch_to_clone(refs, branch, remote=remote.shown)
            Repository.create(scratch, bare=bare, branch=chosen, runtime=runtime)
            with closing(cls._opened(scratch, options)) as store:
                store._fill(url_of_clone(url, remote), progress, cancel)  # noqa: SLF001 -- of this class
        return cls._opened(where, options)

    def _fill(self, url: str, progress: OnProgress | None, cancel: Cancellation) -> None:
        """Make an empty store that of a remote; a remote without commits gets its first one here."""
        self._repository.remotes().add(ORIGIN, url)
        self._exchange.pull(ORIGIN, progress=progress, cancel=cancel)
        self._writer.initialise(INITIAL_PATH, INITIAL_DATA)

    def remotes(self) -> builtins.list[Remote]:
        """Return the remotes that the repository's configuration names, as `git remote` does."""
        self._check_open()
        return self._repository.remotes().all()

    def add_remote(self, name: str, url: str) -> Remote:
        """Name a remote in the configuration, as `git remote add` does; the remote is not asked.

        The branch follows the one of its name there, unless it follows one already. A relative path
        begins at the repository.

        Raises:
            InvalidRemoteError: the name is taken or none, the URL is none or holds a password.
        """
        self._check_open()
        remotes = self._repository.remotes()
        remotes.add(name, url)
        return next(remote for remote in remotes.all() if remote.name == name)

    def remove_remote(self, name: str) -> None:
        """Take a remote out of the configuration; nothing is deleted there.

        Raises:
            RemoteNotFoundError: there is none of that name.
        """
        self._check_open()
        self._repository.remotes().remove(name)

    def fetch(
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
        return self._exchanging().fetch(
            remote, accept_rewrite=accept_rewrite, progress=progress, cancel=Cancellation()
        )

    def pull(
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
        return self._exchanging().pull(
            remote,
            on_conflict=cast("Policy", on_conflict),
            join=join,
            progress=progress,
            cancel=Cancellation(),
        )

    def push(
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
        return self._exchanging().push(
            remote, recreate=recreate, progress=progress, cancel=Cancellation()
        )

    def sync(
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
        return self._exchanging().sync(
            remote,
            on_conflict=cast("Policy", on_conflict),
            join=join,
            progress=progress,
            cancel=Cancellation(),
        )

    def conflicts(self) -> builtins.list[Conflict]:
        """Return the fields that both sides changed differently and nobody decided, as last fetched."""
        return self._exchanging().conflicts()

    def resolve(self, session_id: str, decision: Decision, *, where: str | None = None) -> None:
        """Decide the conflicts of a session, or the one at `where`; the next pull completes them.

        The decision is a side, or `Use(value=...)`. It is for these very values: when a side
        changes the field again, that is another conflict.

        Raises:
            NoConflictError: there is no such conflict.
            SerializationError: with this value it would be no session.
        """
        self._exchanging().resolve(parse_session_id(session_id), decision, where=where)

    @contextmanager
    def auto_sync(
        self, *, interval_seconds: float = 60.0, on_conflict: OnConflict = "raise"
    ) -> Generator[AutoSync]:
        """Sync in the background while the ``with`` block runs: one thread, in this process.

        At once, then at intervals, soon after a local commit, and ever more seldom while the remote
        is out of reach. What fails raises nothing here: `AutoSync.problem` and `sync_status` tell.
        """
        auto = self._background(interval_seconds, lambda _: cast("Policy", on_conflict))
        auto.start()
        try:
            yield auto
        finally:
            auto.stop()

    def watch(self, *, poll_seconds: float = 0.5, since: At | None = None) -> Generator[Changed]:
        """Yield every change of a session on the branch, by whoever, for as long as it is asked.

        From the first look on, or from the commit or time `since`. Commits along first parents are
        told oldest first; of more than 1,000 at once, or when history was rewritten, only what came
        of them. A hand edit comes when it is committed. A look costs one small file.
        """
        look = self._looker(since)
        while True:
            yield from look()
            self._runtime.sleep(poll_seconds)

    def doctor(self) -> builtins.list[Diagnosis]:
        """Look whether store, git and remote work together; each finding says what to do.

        Looks at settings and leftovers, and at what the file system can do; `verify` checks what is
        stored. Never asks the network.
        """
        self._check_open()
        return doctor(
            self._repository,
            status=self.sync_status(),
            remote=self._repository.remotes().default(),
            driver=(SECTION, command(sys.executable)),
            runtime=self._runtime,
        )

    def _exchanging(self) -> Exchange:
        """Return what does the exchanges; the async twin gives it a way to be cancelled."""
        self._check_open()
        return self._exchange

    def _background(
        self, interval_seconds: float, policy: Callable[[Cancellation], Policy]
    ) -> AutoSync:
        """Return what syncs in the background, not started yet."""
        self._check_open()
        return AutoSync(
            lambda cancel: self._exchanging().sync(on_conflict=policy(cancel), cancel=cancel),
            tip=self._repository.tip,
            interval_seconds=interval_seconds,
            runtime=self._runtime,
        )

    def _looker(self, since: At | None) -> Callable[[], builtins.list[Changed]]:
        """Begin to watch; return what looks once."""
        self._check_open()
        commit = None if since is None else resolve(self._repository, since)
        watcher = Watcher(self._repository, self._catalog, since=commit)

        def look() -> builtins.list[Changed]:
            self._check_open()
            return watcher.look()

        return look

    def _prepare(self, *, create: bool) -> Self:
        """Do what opening does to a repository; return the store."""
        self._name_driver()
        if create:
            # Also when it was there: who made it may have died before the first commit.
            self._writer.initialise(INITIAL_PATH, INITIAL_DATA)
        return self

    def _name_driver(self) -> None:
        """Tell git which program merges sessions, unless it knows one."""
        if not sys.executable or self._repository.setting(SECTION, "driver"):
            return
        # A repository that cannot be written is no reason not to read it, nor is one whose
        # configuration is locked; `doctor` tells.
        if Path(self._repository.folder).with_name("config.lock").exists():
            return
        with suppress(RepositoryError):
            remotes = self._repository.remotes()
            remotes.set_default(SECTION, "name", NAME)
            driver = command(sys.executable)
            remotes.set_default(SECTION, "driver", driver)
