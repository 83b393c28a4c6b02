"""The rows of the present, in the order of a listing, kept from one listing to the next."""

from __future__ import annotations

from bisect import bisect_left, insort
from datetime import UTC, datetime, timedelta
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Final

from gitstore.engine.folders import NO_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gitstore.engine.folders import Folder
    from gitstore.engine.standing import Standing
    from gitstore.session.meta import SessionMeta
    from gitstore.types import SessionId, SyncState

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
        row if row.sync_state is (state := state_of(row.id, usual)) else row.standing(state)
        for row in rows
    ]


class Listing:
    """One row for each session of one folder, with the sync states of some time. Never changed."""

    def __init__(
        self,
        folder: Folder,
        rows: dict[SessionId, SessionMeta],
        order: list[SessionMeta] | None = None,
        *,
        stood: Standing | None = None,
        fresh: frozenset[SessionId] = frozenset(),
    ) -> None:
        """Put rows in order; all but the `fresh` ones have the states of `stood`."""
        self.folder = folder
        self.rows = rows
        self.order = ordered(rows.values()) if order is None else order
        self._stood = stood
        self._fresh = fresh

    def followed_by(
        self, folder: Folder, changes: Mapping[SessionId, SessionMeta | None]
    ) -> Listing:
        """Return the listing of a later folder: what did not change keeps its place.

        `changes` are the rows that did; None removes one.
        """
        fresh = self._fresh.union(changes)
        there = {session_id: row for session_id, row in changes.items() if row is not None}
        rows = {**self.rows, **there}
        for session_id in changes.keys() - there.keys():
            rows.pop(session_id, None)
        order: list[SessionMeta] | None = None
        if len(changes) <= _INSERTS_MAX:
            order = list(self.order)
            for session_id, row in changes.items():
                _move(order, self.rows.get(session_id), row)
        return Listing(folder, rows, order, stood=self._stood, fresh=fresh)

    def standing(self, standing: Standing) -> Listing:
        """Return the listing with the sync states of now; the same one if it has them."""
        stood = self._stood
        if standing is stood and not self._fresh:
            return self
        if stood is None or standing.usual is not stood.usual:
            return self._all_standing(standing)
        ids = self._fresh.union(_differing(stood.states, standing.states))
        if len(ids) > _INSERTS_MAX:
            return self._all_standing(standing)
        rows, order = self.rows, self.order
        for session_id in ids:
            old = rows.get(session_id)
            if old is None or old.sync_state is standing.of(session_id):
                continue
            if rows is self.rows:
                rows, order = dict(rows), list(order)
            rows[session_id] = old.standing(standing.of(session_id))
            _move(order, old, rows[session_id])
        return Listing(self.folder, rows, order, stood=standing)

    def _all_standing(self, standing: Standing) -> Listing:
        order = with_states(self.order, standing)
        rows = self.rows
        if not all(map(is_, order, self.order)):
            rows = {**rows, **{row.id: row for row in order}}
        return Listing(self.folder, rows, order, stood=standing)


def _move(order: list[SessionMeta], old: SessionMeta | None, new: SessionMeta | None) -> None:
    """Take one row out of a list in order, and put another one in."""
    if old is not None:
        del order[bisect_left(order, _place(old), key=_place)]
    if new is not None:
        insort(order, new, key=_place)


def _differing(
    one: Mapping[SessionId, SyncState], other: Mapping[SessionId, SyncState]
) -> list[SessionId]:
    if one is other:
        return []
    return [name for name in one.keys() | other.keys() if one.get(name) is not other.get(name)]


def _place(row: SessionMeta) -> tuple[timedelta, SessionId]:
    return _LAST - row.updated_at, row.id


NOTHING: Final = Listing(NO_FOLDER, {}, [])
