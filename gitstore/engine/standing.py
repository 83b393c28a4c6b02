"""How the sessions of a store stand against their remote: the result of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitstore.types import SyncState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitstore.types import Conflict, SessionId, SyncStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Every session's state, and the branch's."""

    status: SyncStatus
    #: Sessions that are the same on both sides are not in it.
    states: Mapping[SessionId, SyncState]
    #: What nobody has decided yet.
    conflicts: tuple[Conflict, ...] = ()
    #: What somebody has decided, and the next pull will settle.
    decided: tuple[Conflict, ...] = ()

    @property
    def usual(self) -> SyncState:
        """How every session stands that has no state of its own."""
        return SyncState.LOCAL_ONLY if self.status.remote is None else SyncState.SYNCED

    def of(self, session_id: SessionId) -> SyncState:
        """Return how one stored session stands."""
        return self.states.get(session_id, self.usual)
