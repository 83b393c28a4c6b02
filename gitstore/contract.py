"""The contract of a session store, as the ORCS runtime states it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from gitstore.types import Expect, SyncStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitstore.session.meta import SessionMeta
    from gitstore.session.model import SessionAsset
    from gitstore.types import At, Expected, Saved


class SessionStore(ABC):
    """Keeps sessions by id. `gitstore.testing` holds the tests that every implementation passes."""

    @abstractmethod
    async def save(
        self,
        asset: SessionAsset,
        *,
        expected: Expected = Expect.ANY,
        message: str | None = None,
        actor: str | None = None,
    ) -> Saved:
        """Store a session as it is now; storing what is stored already changes nothing.

        An asset remembers the revision it was loaded from or last saved as. If the stored session
        has moved on since, both are merged: turns of both sides stay, on a field that both changed
        the saved value wins and is listed in `Saved.conflicts`, and `asset` is brought up to date.
        An asset that was never loaded overwrites. `expected` states what must be stored now:
        a revision, or `Expect.ABSENT`.

        Raises:
            InvalidSessionIdError: the id cannot be a file name.
            SessionExistsError: `expected` is ABSENT and there is one, or the id clashes with another.
            StaleRevisionError: another revision than the expected one is stored.
            SerializationError: the asset holds values that cannot be stored.
        """

    @abstractmethod
    async def load(self, session_id: str, *, at: At | None = None) -> SessionAsset:
        """Return a session, as it is now or as it was at a commit or a time.

        Raises:
            SessionNotFoundError: there is none.
            SerializationError: what is stored cannot be read.
        """

    @abstractmethod
    async def list(
        self,
        *,
        limit: int | None = None,
        where: Callable[[SessionMeta], bool] | None = None,
    ) -> list[SessionMeta]:
        """Return a row for each session, latest `updated_at` first; unreadable ones say so."""

    @abstractmethod
    async def delete(
        self,
        session_id: str,
        *,
        expected: Expected = Expect.ANY,
        message: str | None = None,
        actor: str | None = None,
    ) -> Saved:
        """Remove a session.

        Raises:
            SessionNotFoundError: there is none.
            StaleRevisionError: another revision than the expected one is stored.
        """

    @abstractmethod
    async def exists(self, session_id: str) -> bool:
        """Whether there is such a session."""

    async def sync_status(self) -> SyncStatus:
        """Return how the store stands with its remote, without asking it."""
        return SyncStatus.offline()
