"""How the branch stands with its remote-tracking branch. Reads local refs only, never the network."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gitstore.engine.standing import Standing
from gitstore.engine.sync.contact import Contacts
from gitstore.engine.sync.decisions import Chooser, Decisions, key_of
from gitstore.engine.sync.merging import merge_sets
from gitstore.engine.sync.triangle import Surveyor
from gitstore.errors import CorruptRepositoryError, RemoteNotFoundError, SyncError
from gitstore.git.graph import compare
from gitstore.types import Revision, SessionId, SyncMode, SyncState, SyncStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitstore.engine.sync.decisions import Recorded
    from gitstore.engine.sync.merging import Plan
    from gitstore.engine.sync.triangle import Triangle
    from gitstore.errors import StorageError
    from gitstore.git.remote.remotes import Tracked
    from gitstore.git.repository import Repository
    from gitstore.types import CommitId, Conflict, Decision, Runtime

    _Key = tuple[CommitId | None, CommitId | None, Recorded]


class SyncView:
    """Compares the branch with the remote's, as last fetched."""

    def __init__(self, repository: Repository, *, remote: str | None, runtime: Runtime) -> None:
        self.contacts = Contacts(repository, runtime=runtime)
        self.decisions = Decisions(repository)
        self._repository = repository
        self._surveyor = Surveyor(repository)
        self._remote = remote
        self._last: tuple[_Key, Standing] | None = None

    def standing(self) -> Standing:
        """Return how branch and sessions stand; cached by the two tips and the decisions."""
        local = self._repository.tip()
        try:
            tracked = self._repository.remotes().find(self._remote)
        except RemoteNotFoundError:
            return Standing(status=SyncStatus.offline(local), states={})
        except SyncError as error:
            return _unknown(local, None, error)
        remote = self._repository.ref_tip(tracked.ref)
        recorded = self.decisions.recorded()
        last = self._last
        if last is None or last[0][:2] != (local, remote) or last[0][2] is not recorded:
            try:
                found = self._compare(local, remote, recorded)
            except CorruptRepositoryError as error:
                # Sessions can be listed, and saved, also when the sides cannot be compared.
                return _unknown(local, remote, error)
            last = self._last = ((local, remote, recorded), found)
        status = self._with_contact(last[1].status, tracked)
        return replace(last[1], status=status)

    def try_out(self, decided: Sequence[tuple[Conflict, Decision]]) -> None:
        """Merge the sessions of some conflicts as decided, ours elsewhere, and forget the result.

        Raises:
            SerializationError: it would be no session.
        """
        status = self.standing().status
        bases = compare(status.local, status.remote, self._repository.facts).bases
        triangle = self._surveyor.triangle(bases, status.local, status.remote)
        known: Recorded = {
            **self.decisions.recorded(),
            **{key_of(each): how for each, how in decided},
        }
        for name in {conflict.session_id for conflict, _ in decided}:
            self._plan(triangle, Chooser("ours", known), only=name)

    def _with_contact(self, status: SyncStatus, tracked: Tracked) -> SyncStatus:
        """Say when the remote was met last, and how that went."""
        contact = self.contacts.last(tracked.name)
        moved = self._repository.last_moved(tracked.ref)
        times = [time for time in (contact.good, moved) if time is not None]
        mode = SyncMode.ONLINE if contact.problem is None else SyncMode.ERROR
        return replace(
            status,
            mode=SyncMode.SYNCING if self.contacts.is_running else mode,
            last_sync=datetime.fromtimestamp(max(times), UTC) if times else None,
            problem=contact.problem,
        )

    def _compare(
        self, local: CommitId | None, remote: CommitId | None, recorded: Recorded
    ) -> Standing:
        divergence = compare(local, remote, self._repository.facts)
        triangle = self._surveyor.triangle(divergence.bases, local, remote)
        base, ours, theirs = triangle.sessions
        plan = self._plan(triangle, Chooser("raise", recorded))
        open_ones = {conflict.session_id for conflict in plan.conflicts}
        uploads = downloads = 0
        states: dict[SessionId, SyncState] = {}
        for name in {**ours, **theirs, **base}:
            mine, other, old = ours.get(name), theirs.get(name), base.get(name)
            if mine == other:
                continue
            uploads += mine != old
            downloads += other != old
            states[name] = SyncState.CONFLICT if name in open_ones else _state(mine, other, old)
        status = SyncStatus(
            mode=SyncMode.ONLINE,
            pending_uploads=uploads,
            pending_downloads=downloads,
            conflicts=tuple(sorted(open_ones)),
            ahead=divergence.ahead,
            behind=divergence.behind,
            local=local,
            remote=remote,
        )
        decided = tuple(conflict for conflict, _ in plan.decided)
        return Standing(status=status, states=states, conflicts=plan.conflicts, decided=decided)

    def _plan(self, triangle: Triangle, choose: Chooser, *, only: SessionId | None = None) -> Plan:
        """Return what a merge would make of the sessions, or of one of them."""
        sides = (
            {name: each for name, each in side.items() if only in (None, name)}
            for side in triangle.sessions
        )
        return merge_sets(
            *sides, read=lambda revision: self._surveyor.read(triangle, revision), choose=choose
        )


def _unknown(local: CommitId | None, remote: CommitId | None, error: StorageError) -> Standing:
    """Say that the two sides cannot be compared, and why."""
    status = SyncStatus(mode=SyncMode.ERROR, local=local, remote=remote, problem=str(error))
    return Standing(status=status, states={})


def _state(mine: Revision | None, other: Revision | None, old: Revision | None) -> SyncState:
    """Name how a session stands whose two sides differ, and can be merged."""
    if mine == old:
        return SyncState.REMOTE_AHEAD
    if other == old:
        return SyncState.LOCAL_ONLY if other is None else SyncState.LOCAL_AHEAD
    return SyncState.REMOTE_AHEAD if mine is None else SyncState.LOCAL_AHEAD
