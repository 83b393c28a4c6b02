"""What a write wants, decided against the state it finds: no locks, no disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gitstore.errors import (
    SerializationError,
    SessionExistsError,
    SessionNotFoundError,
    StaleRevisionError,
    StorageError,
)
from gitstore.session import codec
from gitstore.session.files import read_session
from gitstore.session.frozen import thawed
from gitstore.session.merge import merge
from gitstore.types import (
    MISSING,
    CommitId,
    Conflict,
    Expect,
    Expected,
    Outcome,
    Revision,
    Saved,
    SessionId,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gitstore.session.frozen import FrozenDocument


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """One write waiting for its turn; `saved` or `error` is set when it has had it."""

    session_id: SessionId
    operation: str
    message: str | None = None
    actor: str | None = None
    #: Ends the subject that is made when there is no `message`.
    detail: str = ""
    #: Further trailers of the commit.
    extra: Mapping[str, str] = field(default_factory=dict[str, str])
    #: The commit of the hand edit that had to be kept first.
    adopted: CommitId | None = field(default=None, init=False)
    saved: Saved | None = field(default=None, init=False)
    error: StorageError | None = field(default=None, init=False)

    @property
    def is_settled(self) -> bool:
        """Whether the write has had its turn."""
        return self.saved is not None or self.error is not None

    def result(self) -> Saved:
        """Return what the write did, or raise why it did nothing."""
        if self.error is not None:
            raise self.error
        assert self.saved is not None
        return self.saved


@dataclass(slots=True, kw_only=True, eq=False)
class Adopt(Request):
    """Commit the hand edit of a session, if there still is one."""


@dataclass(slots=True, kw_only=True, eq=False)
class Delete(Request):
    """Remove a session."""

    expected: Expected


@dataclass(slots=True, kw_only=True, eq=False)
class Save(Request):
    """Store a session."""

    expected: Expected
    document: dict[str, Any] | FrozenDocument
    #: The canonical bytes of `document`.
    data: bytes
    #: The revision that the caller's asset was loaded from or saved as.
    loaded: Revision | None
    #: The document that was stored, when it is not the caller's: both sides, merged.
    merged: dict[str, Any] | None = field(default=None, init=False)


@dataclass(slots=True, kw_only=True)
class Put(Request):
    """Store a file byte for byte."""

    expected: Expected
    data: bytes


@dataclass(slots=True, kw_only=True)
class Revert(Request):
    """Take back the step from revision `before` to `after`; None where there was no session."""

    before: Revision | None
    after: Revision | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a write will put into the file; no `data` removes it."""

    data: bytes | None
    document: dict[str, Any] | None = None
    conflicts: tuple[Conflict, ...] = ()


def check_expected(session_id: SessionId, expected: Expected, actual: Revision | None) -> None:
    """Raise unless `actual` is what the caller expected."""
    if expected is Expect.ANY or actual == (None if expected is Expect.ABSENT else expected):
        return
    if expected is Expect.ABSENT:
        raise SessionExistsError(session_id=session_id, existing=session_id)
    raise StaleRevisionError(session_id=session_id, expected=expected, actual=actual)


def check_present(session_id: SessionId, actual: Revision | None) -> None:
    """Raise if there is no such session."""
    if actual is None:
        raise SessionNotFoundError(session_id=session_id)


def outcome_of(old: Revision | None, new: Revision | None) -> Outcome:
    """Name the change from `old` to `new`."""
    if old == new:
        return Outcome.UNCHANGED
    if old is None:
        return Outcome.CREATED
    return Outcome.DELETED if new is None else Outcome.UPDATED


def content_of(
    save: Save,
    current: Revision | None,
    *,
    read: Callable[[Revision], bytes | None],
    is_canonical: Callable[[Revision], bool],
) -> Content:
    """Return what to store when `current` is stored: merged with it if it moved on.

    `read` returns None for a revision that is not in the repository.
    """
    if current is None:
        return Content(data=save.data)
    moved_on = save.expected is Expect.ANY and save.loaded not in (None, current)
    theirs = _document(read(current), save.session_id) if moved_on else None
    if theirs is not None and save.loaded is not None:
        base = _document(read(save.loaded), save.session_id)
        merged = merge(base, thawed(save.document), theirs, session_id=save.session_id)
        document, conflicts = merged.document, merged.conflicts
    else:
        document, conflicts = None, ()
    wanted = save.document if document is None else document
    if not is_canonical(current):
        data = codec.encode(wanted, previous=read(current), session_id=save.session_id)
    elif document is None:
        data = save.data
    else:
        data = codec.encode(document, session_id=save.session_id)
    return Content(data=data, document=document, conflicts=conflicts)


def reverted(
    revert: Revert, current: Revision | None, *, read: Callable[[Revision], bytes | None]
) -> Content:
    """Return what to store when `current` is stored, so that a step is taken back.

    Exactly what was there before the step, if nothing happened since; else both are merged, with
    the step's result as base. Where one of the two is no session at all, what is stored now stays,
    and one conflict about the whole session says so.

    Raises:
        SerializationError: they must be merged, and one cannot be read.
    """
    session_id = revert.session_id
    if current in (revert.after, revert.before):
        return Content(data=_bytes(revert.before, read))
    now = _bytes(current, read)
    base, ours, theirs = (
        _strict_document(data, session_id)
        for data in (_bytes(revert.after, read), now, _bytes(revert.before, read))
    )
    if ours is None or theirs is None:
        conflict = Conflict(
            session_id=session_id,
            where="",
            base=MISSING if base is None else base,
            ours=MISSING if ours is None else ours,
            theirs=MISSING if theirs is None else theirs,
        )
        return Content(data=now, conflicts=(conflict,))
    merged = merge(base, ours, theirs, session_id=session_id)
    data = codec.encode(merged.document, previous=now, session_id=session_id)
    return Content(data=data, document=merged.document, conflicts=merged.conflicts)


def _bytes(revision: Revision | None, read: Callable[[Revision], bytes | None]) -> bytes | None:
    return None if revision is None else read(revision)


def _strict_document(data: bytes | None, session_id: SessionId) -> dict[str, Any] | None:
    if data is None:
        return None
    return read_session(data, session_id=session_id).to_document()


def _document(data: bytes | None, session_id: SessionId) -> dict[str, Any] | None:
    """Return the document in the bytes, or None if they cannot be read: nothing to merge with."""
    try:
        return _strict_document(data, session_id)
    except SerializationError:
        return None
