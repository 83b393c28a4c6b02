"""The listing row of a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from gitstore.types import SessionId, SyncState

if TYPE_CHECKING:
    from datetime import datetime

    from gitstore.session.model import SessionAsset
    from gitstore.types import Revision


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
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

    def __init__(  # noqa: PLR0913 - one for each field; keyword-only
        self,
        *,
        id: SessionId,  # noqa: A002 - the field's name
        name: str | None,
        created_at: datetime,
        updated_at: datetime,
        project_path: str | None,
        turn_count: int,
        sync_state: SyncState = SyncState.LOCAL_ONLY,
        revision: Revision | None = None,
        problem: str | None = None,
    ) -> None:
        # As a frozen dataclass does it, in two thirds of the time: a listing makes one for each session.
        _set_id(self, id)
        _set_name(self, name)
        _set_created_at(self, created_at)
        _set_updated_at(self, updated_at)
        _set_project_path(self, project_path)
        _set_turn_count(self, turn_count)
        _set_sync_state(self, sync_state)
        _set_revision(self, revision)
        _set_problem(self, problem)

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


_fields: Final = vars(SessionMeta)
# The descriptors of the slots: what `object.__setattr__` would look up for every row.
_set_id: Final = _fields["id"].__set__
_set_name: Final = _fields["name"].__set__
_set_created_at: Final = _fields["created_at"].__set__
_set_updated_at: Final = _fields["updated_at"].__set__
_set_project_path: Final = _fields["project_path"].__set__
_set_turn_count: Final = _fields["turn_count"].__set__
_set_sync_state: Final = _fields["sync_state"].__set__
_set_revision: Final = _fields["revision"].__set__
_set_problem: Final = _fields["problem"].__set__
