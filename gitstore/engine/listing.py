"""The rows of the present, in the order of a listing, kept from one listing to the next."""

from __future__ import annotations

from bisect import insort
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gitstore.engine.standing import Standing
    from gitstore.session.meta import SessionMeta
    from gitstore.types import Revision, SessionId

#: More rows than these are put in order by sorting all again.
_INSERTS_MAX: Final = 64
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_by_id: Final = attrgetter("id")
_by_time: Final = attrgetter("updated_at")


def ordered(rows: Iterable[SessionMeta]) -> list[SessionMeta]:
    """Return rows latest `updated_at` first, those of one time by id."""
    result = sorted(rows, key=_by_id)
    result.sort(key=_by_time, reverse=True)
    return result


def with_states(rows: Iterable[SessionMeta], standing: Standing) -> list[SessionMeta]:
    """Return rows with their sync states; those that have theirs already stay the same object."""
    state_of, usual = standing.states.get, standing.usual
    return [
        row
        if row.sync_state is (state := state_of(row.id, usual))
        else replace(row, sync_state=state)
        for row in rows
    ]


class Listing:
    """One row for each session of one set of revisions. Not changed once it is made."""

    def __init__(
        self,
        committed: Mapping[SessionId, Revision],
        rows: dict[SessionId, SessionMeta],
        order: list[SessionMeta] | None = None,
    ) -> None:
        self.committed = committed
        self.rows = rows
        self.order = ordered(rows.values()) if order is None else order

    def followed_by(
        self, committed: Mapping[SessionId, Revision], rows: dict[SessionId, SessionMeta]
    ) -> Listing:
        """Return the listing of later rows: what did not change keeps its place."""
        before = self.rows.get
        new = [row for session_id, row in rows.items() if before(session_id) is not row]
        if len(new) > _INSERTS_MAX:
            return Listing(committed, rows)
        after = rows.get
        order = [row for row in self.order if after(row.id) is row]
        for row in new:
            insort(order, row, key=_place)
        return Listing(committed, rows, order)

    def standing(self, standing: Standing) -> Listing:
        """Return the listing with the sync states of now; the same one if it has them."""
        order = with_states(self.order, standing)
        if all(map(is_, order, self.order)):
            return self
        return Listing(self.committed, {**self.rows, **{row.id: row for row in order}}, order)


def _place(row: SessionMeta) -> tuple[timedelta, SessionId]:
    return _LAST - row.updated_at, row.id


NOTHING: Final = Listing({}, {}, [])
