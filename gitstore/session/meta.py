"""The listing row of a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from gitstore.types import SessionId, SyncState

if TYPE_CHECKING:
    from datetime import datetime

    from gitstore.session.model import SessionAsset
    from gitstore.types import Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionMeta:
    """One row of a listing: what can be known of a session without reading all of it.

    `turn_count` does not count compacted turns. A session that cannot be read has its `problem`
    here, no name, no turns, and the time 1970-01-01.
    """

    id: SessionId
    name: str | None
    created_at: datetime
    updated_at: datetime
    project_path: str | None
    turn_count: int
    sync_state: SyncState = SyncState.LOCAL_ONLY
    revision: Revision | None = None
    problem: str | None = None

    @classmethod
    def from_asset(cls, asset: SessionAsset) -> Self:
        """Return the row of a session at hand; its `sync_state` is LocalOnly."""
        return cls(
            id=SessionId(asset.id),
            name=asset.project_context.name,
            created_at=asset.created_at,
            updated_at=asset.updated_at,
            project_path=asset.project_context.root_path,
            turn_count=len(asset.history.turns),
            revision=asset.revision,
        )

    def standing(self, state: SyncState) -> SessionMeta:
        """Return the row with another sync state."""
        # Spelled out: `dataclasses.replace` takes twice as long, for each row of a first listing.
        return SessionMeta(
            id=self.id,
            name=self.name,
            created_at=self.created_at,
            updated_at=self.updated_at,
            project_path=self.project_path,
            turn_count=self.turn_count,
            sync_state=state,
            revision=self.revision,
            problem=self.problem,
        )
