"""How the branch stands with its remote-tracking branch. Reads local refs only, never the network."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gitstore.engine.standing import Standing
from gitstore.errors import SerializationError
from gitstore.git.graph import compare
from gitstore.session import codec
from gitstore.session.merge import merge
from gitstore.session.model import SessionAsset
from gitstore.types import Revision, SessionId, SyncMode, SyncState, SyncStatus

if TYPE_CHECKING:
    from typing import Any

    from gitstore.engine.catalog import Catalog
    from gitstore.git.repository import Repository
    from gitstore.types import CommitId


class SyncView:
    """Compares the branch with the remote's, as last fetched."""

    def __init__(self, repository: Repository, catalog: Catalog, *, remote: str | None) -> None:
        self._repository = repository
        self._catalog = catalog
        self._remote = remote
        self._last: tuple[tuple[CommitId | None, CommitId | None], Standing] | None = None

    def standing(self) -> Standing:
        """Return how branch and sessions stand; cached by the two tips."""
        local = self._repository.tip()
        tracking = self._tracking_ref()
        if tracking is None:
            return Standing(status=SyncStatus.offline(local), states={})
        remote = self._repository.ref_tip(tracking)
        last = self._last
        if last is None or last[0] != (local, remote):
            last = self._last = ((local, remote), self._compare(local, remote))
        moved = self._repository.last_moved(tracking)
        when = None if moved is None else datetime.fromtimestamp(moved, UTC)
        return replace(last[1], status=replace(last[1].status, last_sync=when))

    def _tracking_ref(self) -> str | None:
        """Return the remote-tracking ref of the branch, or None without a remote (git-config(1))."""
        branch = self._repository.branch
        setting = self._repository.setting
        remote = self._remote or setting(f"branch.{branch}", "remote") or "origin"
        if setting(f"remote.{remote}", "url") is None:
            return None
        merged = setting(f"branch.{branch}", "merge") if self._remote is None else None
        name = (merged or f"refs/heads/{branch}").removeprefix("refs/heads/")
        return f"refs/remotes/{remote}/{name}"

    def _compare(self, local: CommitId | None, remote: CommitId | None) -> Standing:
        divergence = compare(local, remote, self._repository.facts)
        base = divergence.bases[0] if divergence.bases else None
        ours = self._catalog.committed(local)
        theirs = self._catalog.committed(remote)
        before = self._catalog.committed(base)
        uploads = downloads = 0
        states: dict[SessionId, SyncState] = {}
        for name in {**ours, **theirs, **before}:
            mine, other, old = ours.get(name), theirs.get(name), before.get(name)
            if mine == other:
                continue
            uploads += mine != old
            downloads += other != old
            states[name] = self._state(name, mine, other, old)
        status = SyncStatus(
            mode=SyncMode.ONLINE,
            pending_uploads=uploads,
            pending_downloads=downloads,
            conflicts=tuple(
                sorted(name for name, state in states.items() if state is SyncState.CONFLICT)
            ),
            ahead=divergence.ahead,
            behind=divergence.behind,
            local=local,
            remote=remote,
        )
        return Standing(status=status, states=states)

    def _state(
        self,
        name: SessionId,
        mine: Revision | None,
        other: Revision | None,
        old: Revision | None,
    ) -> SyncState:
        if mine == old:
            return SyncState.REMOTE_AHEAD
        if other == old:
            return SyncState.LOCAL_ONLY if other is None else SyncState.LOCAL_AHEAD
        if mine is None or other is None:
            return SyncState.LOCAL_AHEAD if other is None else SyncState.REMOTE_AHEAD
        unmergeable = self._conflicts(name, mine, other, old)
        return SyncState.CONFLICT if unmergeable else SyncState.LOCAL_AHEAD

    def _conflicts(
        self, session_id: SessionId, mine: Revision, other: Revision, old: Revision | None
    ) -> bool:
        """Whether two changed sides cannot be merged by meaning."""
        try:
            base = None if old is None else self._document(old, session_id)
            ours, theirs = self._document(mine, session_id), self._document(other, session_id)
        except SerializationError:
            return True
        return bool(merge(base, ours, theirs, session_id=session_id).conflicts)

    def _document(self, revision: Revision, session_id: SessionId) -> dict[str, Any]:
        plain = codec.decode(self._repository.read_blob(revision), session_id=session_id)
        return SessionAsset.from_document(plain, session_id=session_id).to_document()
