"""A store that keeps everything in memory, and its promises."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint
from typing_extensions import override

from gitstore.contract import SessionStore
from gitstore.engine.requests import (
    Save,
    check_expected,
    check_present,
    content_of,
    outcome_of,
)
from gitstore.errors import (
    AmbiguousCommitError,
    BeforeHistoryError,
    NaiveTimeError,
    SessionExistsError,
    SessionNotFoundError,
    UnknownCommitError,
)
from gitstore.git.objects import object_id
from gitstore.session import codec
from gitstore.session.files import read_session
from gitstore.session.ids import clash_key, parse_session_id
from gitstore.session.meta import SessionMeta
from gitstore.session.model import SessionAsset
from gitstore.types import CommitId, Expect, Outcome, Revision, Saved

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Mapping

    from gitstore.types import At, Expected, SessionId

_PATH = "memory"
_ABBREVIATION_MIN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Commit:
    """What was stored after one write."""

    id: CommitId
    time: datetime
    revisions: Mapping[SessionId, Revision]


class MemorySessionStore(SessionStore):
    """Sessions in memory: for tests of what uses a store. Nothing is shared with the caller.

    Revisions are those of `GitSessionStore`; commits have ids of the same form, but nothing behind
    them. For one event loop; `clock` gives the seconds since 1970.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,  # noqa: TID251 -- the caller's to replace
    ) -> None:
        self._clock = clock
        self._data: dict[Revision, bytes] = {}
        self._history: list[_Commit] = []

    @override
    async def save(
        self,
        asset: SessionAsset,
        *,
        expected: Expected = Expect.ANY,
        message: str | None = None,
        actor: str | None = None,
    ) -> Saved:
        session_id = parse_session_id(asset.id)
        document = asset.to_document()
        request = Save(
            session_id=session_id,
            operation="save",
            message=message,
            actor=actor,
            expected=expected,
            document=document,
            data=codec.encode(document, session_id=session_id),
            loaded=asset.revision,
        )
        await checkpoint()
        current = self._revisions.get(session_id)
        check_expected(session_id, expected, current)
        if current is None:
            self._check_clash(session_id)
        content = content_of(request, current, read=self._data.get, is_canonical=lambda _: True)
        assert content.data is not None, "a save never removes"
        revision = Revision(object_id("blob", content.data))
        self._data[revision] = content.data
        outcome = outcome_of(current, revision)
        changed = outcome is not Outcome.UNCHANGED
        commit = self._commit({**self._revisions, session_id: revision}) if changed else None
        if content.document is not None:
            asset.refresh(SessionAsset.from_document(content.document))
        asset.mark_stored(revision)
        return Saved(
            session_id=session_id,
            outcome=outcome,
            revision=revision,
            commit=commit,
            merged=content.document is not None,
            conflicts=content.conflicts,
        )

    @override
    async def load(self, session_id: str, *, at: At | None = None) -> SessionAsset:
        name = parse_session_id(session_id)
        await checkpoint()
        stored = self._revisions if at is None else self._at(at).revisions
        if name not in stored:
            raise SessionNotFoundError(session_id=name, at=at)
        return self._read(name, stored[name])

    @override
    async def list(
        self,
        *,
        limit: int | None = None,
        where: Callable[[SessionMeta], bool] | None = None,
    ) -> builtins.list[SessionMeta]:
        await checkpoint()
        rows = [
            replace(SessionMeta.from_asset(self._read(*stored)), revision=stored[1])
            for stored in sorted(self._revisions.items())
        ]
        rows.sort(key=lambda row: row.updated_at, reverse=True)
        return [row for row in rows if where is None or where(row)][:limit]

    @override
    async def delete(
        self,
        session_id: str,
        *,
        expected: Expected = Expect.ANY,
        message: str | None = None,
        actor: str | None = None,
    ) -> Saved:
        name = parse_session_id(session_id)
        await checkpoint()
        current = self._revisions.get(name)
        check_present(name, current)
        check_expected(name, expected, current)
        left = {other: each for other, each in self._revisions.items() if other != name}
        return Saved(
            session_id=name, outcome=Outcome.DELETED, revision=None, commit=self._commit(left)
        )

    @override
    async def exists(self, session_id: str) -> bool:
        name = parse_session_id(session_id)
        await checkpoint()
        return name in self._revisions

    @property
    def _revisions(self) -> Mapping[SessionId, Revision]:
        return self._history[-1].revisions if self._history else {}

    def _read(self, session_id: SessionId, revision: Revision) -> SessionAsset:
        asset = read_session(self._data[revision], session_id=session_id)
        asset.mark_stored(revision)
        return asset

    def _commit(self, revisions: Mapping[SessionId, Revision]) -> CommitId:
        number = len(self._history)
        commit = CommitId(object_id("commit", f"{number} {sorted(revisions.items())}".encode()))
        # Git keeps whole seconds.
        when = datetime.fromtimestamp(int(self._clock()), UTC)
        self._history.append(_Commit(id=commit, time=when, revisions=revisions))
        return commit

    def _at(self, at: At) -> _Commit:
        if isinstance(at, datetime):
            return self._at_time(at)
        found = [commit for commit in self._history if commit.id.startswith(at.lower())]
        if not found or len(at) < _ABBREVIATION_MIN:
            raise UnknownCommitError(path=_PATH, at=at)
        if len(found) > 1:
            names = tuple(commit.id for commit in found)
            raise AmbiguousCommitError(path=_PATH, at=at, candidates=names)
        return found[0]

    def _at_time(self, at: datetime) -> _Commit:
        if at.tzinfo is None:
            raise NaiveTimeError(path=_PATH, at=at)
        found = [commit for commit in self._history if commit.time <= at]
        if not found:
            first = self._history[0].time if self._history else None
            raise BeforeHistoryError(path=_PATH, at=at, first=first)
        return found[-1]

    def _check_clash(self, session_id: SessionId) -> None:
        key = clash_key(session_id)
        for other in self._revisions:
            if clash_key(other) == key:
                raise SessionExistsError(session_id=session_id, existing=other)
