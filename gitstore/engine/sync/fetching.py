"""Fetching the branch that is tracked: what is new in it, checked, and the ref that remembers it.

Objects are durable before a ref names them, and nothing is locked while the network is waited for.
"""

from __future__ import annotations

from functools import partial
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from gitstore.engine.sync.rules import SESSION_RULES
from gitstore.errors import (
    ConcurrentUpdateError,
    HistoryRewrittenError,
    RemoteBranchGoneError,
    RemoteNotFoundError,
    UntrustedContentError,
)
from gitstore.git.graph import is_ancestor
from gitstore.git.remote.transport import Transport
from gitstore.session.ids import DIRECTORY
from gitstore.types import CommitId

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gitstore.engine.sync.contact import Contacts
    from gitstore.git.remote.cancellation import Cancellation
    from gitstore.git.remote.network import Network
    from gitstore.git.remote.remotes import Tracked
    from gitstore.git.repository import Repository
    from gitstore.types import Author, OnProgress

#: How often a remote-tracking branch may move under our hands.
_TRACKS_MAX: Final = 5
_HEADS: Final = "refs/heads/"
_SHOWN_MAX: Final = 5


class Fetcher:
    """Brings in what a remote has, and moves remote-tracking branches."""

    def __init__(
        self, repository: Repository, contacts: Contacts, *, author: Author, network: Network
    ) -> None:
        self._repository = repository
        self._contacts = contacts
        self._author = author
        self._network = network

    def fetch(
        self,
        tracked: Tracked,
        *,
        accept_rewrite: bool,
        cancel: Cancellation,
        progress: OnProgress | None,
    ) -> CommitId | None:
        """Fetch the tracked branch; return its tip, or None if the remote never had it."""
        with self._contacts.contacting(tracked.name):
            transport = Transport(tracked.url, name=tracked.name, network=self._network)
            # Before we ask: what others of this repository learn meanwhile is newer than our answer.
            known = self._repository.ref_tip(tracked.ref)
            refs = transport.advertised(cancel=cancel, progress=progress)
            there = refs.get(ref_there(tracked))
            if there is None:
                if known is not None:
                    raise RemoteBranchGoneError(remote=tracked.name, branch=tracked.branch)
                _check_empty(refs, tracked, at=self._repository.branch)
                return None
            tip = CommitId(there)
            kept: str | None = None
            if self.is_ours(tip, known):
                # Somebody else may have fetched it, who checks less.
                self._repository.vet(
                    tip,
                    ours=self._repository.tip(),
                    remote=tracked.name,
                    rules=SESSION_RULES,
                    cancel=cancel,
                    progress=progress,
                )
            else:
                kept = self._receive(transport, tip, tracked, cancel=cancel, progress=progress)
            try:
                return self.track(
                    tracked,
                    tip,
                    seen=known,
                    message=f"fetch {tracked.name}",
                    accept_rewrite=accept_rewrite,
                )
            finally:
                self._repository.let_go(kept)

    def check_outgoing(
        self,
        tracked: Tracked,
        tip: CommitId,
        known: CommitId | None,
        *,
        cancel: Cancellation,
        progress: OnProgress | None,
    ) -> None:
        """Refuse to publish what nobody could fetch, such as a file that git put below sessions/.

        Once it is in the remote's history, no later commit would help. What is outside sessions/ is
        not ours to judge: those who use plain git there may take it.

        Raises:
            UntrustedContentError: a commit that the remote has not is such a one.
        """
        try:
            self._repository.vet(
                tip,
                ours=known,
                remote=tracked.name,
                rules=SESSION_RULES,
                cancel=cancel,
                progress=progress,
            )
        except UntrustedContentError as error:
            if error.where.partition("/")[0] != DIRECTORY:
                return
            problem = f"{error.problem}; no other store would take it, so change that commit"
            raise UntrustedContentError(
                remote=error.remote, commit=error.commit, where=error.where, problem=problem
            ) from error

    def is_ours(self, tip: CommitId, known: CommitId | None) -> bool:
        """Whether a commit and all that it holds are here already: some ref of ours reaches it."""
        if tip == known:
            return True
        local = self._repository.tip()
        if local is None or self._repository.kind_of(tip) != "commit":
            return False
        return is_ancestor(tip, local, self._repository.facts)

    def _receive(
        self,
        transport: Transport,
        tip: CommitId,
        tracked: Tracked,
        *,
        cancel: Cancellation,
        progress: OnProgress | None,
    ) -> str | None:
        """Fetch what we lack of a commit, check it, and make it durable; kept from `git gc`."""
        with self._repository.scratch() as pack:
            transport.fetch(
                [tip],
                have=partial(self._have, tracked.ref),
                into=pack,
                cancel=cancel,
                progress=progress,
            )
            return self._repository.receive(
                pack,
                tip,
                remote=tracked.name,
                rules=SESSION_RULES,
                cancel=cancel,
                progress=progress,
                keep=True,
            )

    def _have(self, tracking: str) -> Iterator[CommitId]:
        """Return what we have, newest first."""
        queue: list[tuple[int, CommitId]] = []
        met: set[CommitId] = set()

        def meet(commit: CommitId | None) -> None:
            if commit is not None and commit not in met:
                met.add(commit)
                heappush(queue, (-self._repository.facts(commit).time, commit))

        meet(self._repository.ref_tip(tracking))
        meet(self._repository.tip())
        while queue:
            _, commit = heappop(queue)
            yield commit
            for parent in self._repository.facts(commit).parents:
                meet(parent)

    def track(
        self,
        tracked: Tracked,
        tip: CommitId,
        *,
        seen: CommitId | None,
        message: str,
        accept_rewrite: bool = False,
    ) -> CommitId:
        """Move the remote-tracking branch on to what the remote has; return where it is then.

        `seen` is where it was before the remote was asked: if it has moved since, past `tip`, then
        somebody else has asked later.

        Raises:
            HistoryRewrittenError: `tip` does not hold what the remote had.
        """
        repository = self._repository
        for _ in range(_TRACKS_MAX):
            known = repository.ref_tip(tracked.ref)
            if known == tip:
                return tip
            if known is not None and not is_ancestor(known, tip, repository.facts):
                if known != seen and is_ancestor(tip, known, repository.facts):
                    return known
                if not accept_rewrite:
                    raise HistoryRewrittenError(remote=tracked.name, old=known, new=tip)
                message = f"{message}: forced"
            with repository.writing():
                if repository.track(tracked.ref, tip, old=known, who=self._author, message=message):
                    return tip
        problem = f"{tracked.ref} kept moving; what came in is kept, try again"
        raise ConcurrentUpdateError(problem, path=repository.path)


def _check_empty(refs: Mapping[str, str], tracked: Tracked, *, at: str) -> None:
    """Refuse a remote that has branches, but not the one that is tracked: nobody would meet there.

    Raises:
        RemoteNotFoundError: it has others.
    """
    others = sorted(name.removeprefix(_HEADS) for name in refs if name.startswith(_HEADS))
    if not others:
        return
    shown = ", ".join(others[:_SHOWN_MAX]) + (", ..." if len(others) > _SHOWN_MAX else "")
    message = (
        f"it has no branch {tracked.branch}, but {shown}; push() makes {tracked.branch} there. To "
        f"follow another, run `git config branch.{at}.remote {tracked.name}` and "
        f"`git config branch.{at}.merge {_HEADS}{others[0]}`"
    )
    raise RemoteNotFoundError(message, remote=tracked.name)


def ref_there(tracked: Tracked) -> str:
    """Return the tracked branch as the remote calls it."""
    return _HEADS + tracked.branch
