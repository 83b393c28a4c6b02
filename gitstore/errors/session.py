"""What can be wrong with one session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitstore.errors.base import StorageError

if TYPE_CHECKING:
    from gitstore.types import At, Expected, Revision


class SessionError(StorageError):
    """Something is wrong with one session."""

    def __init__(self, message: str, *, session_id: str | None) -> None:
        super().__init__(message)
        self.session_id = session_id


class SessionNotFoundError(SessionError, LookupError):
    """There is no such session there."""

    def __init__(self, *, session_id: str, at: At | None = None) -> None:
        when = "" if at is None else f" at {at}"
        super().__init__(
            f"session not found: {session_id}{when}; list() shows what is stored",
            session_id=session_id,
        )
        self.at = at


class NoConflictError(SessionError, LookupError):
    """There is no such conflict to decide: not any more, or not in that field."""

    def __init__(self, *, session_id: str, where: str | None) -> None:
        place = session_id if where is None else f"{session_id} {where or '(as a whole)'}"
        super().__init__(
            f"no open conflict: {place}; conflicts() lists them", session_id=session_id
        )
        self.where = where


class SessionExistsError(SessionError):
    """The session was expected not to exist, or its id clashes with a stored one."""

    def __init__(self, *, session_id: str, existing: str) -> None:
        if existing == session_id:
            message = f"session exists: {session_id}; load it, or save with expected=Expect.ANY"
        else:
            message = (
                f"{session_id} differs from the stored {existing} only by case, "
                "which many file systems cannot tell apart; choose another id"
            )
        super().__init__(message, session_id=session_id)
        self.existing = existing


class StaleRevisionError(SessionError):
    """The stored revision is not the one the caller expected."""

    def __init__(self, *, session_id: str, expected: Expected, actual: Revision | None) -> None:
        found = "no such session" if actual is None else actual
        super().__init__(
            f"{session_id}: expected {expected}, found {found}; load it again and repeat the change",
            session_id=session_id,
        )
        self.expected = expected
        self.actual = actual


class InvalidSessionIdError(SessionError, ValueError):
    """The text cannot be a session id: it would not be one file name on every system."""

    def __init__(self, *, session_id: str, problem: str) -> None:
        super().__init__(f"not a session id: {session_id!a}: {problem}", session_id=session_id)
        self.problem = problem


class SerializationError(SessionError, ValueError):
    """The bytes or values are not a session.

    `where` is a path such as ``history.turns[3].role``; `line` and `column` count from 1 and are
    None when the problem is in a value and not in a file.
    """

    def __init__(
        self,
        problem: str,
        *,
        where: str,
        session_id: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        place = where if line is None else f"{where} (line {line}, column {column})"
        name = "" if session_id is None else f"{session_id}: "
        super().__init__(f"{name}{place}: {problem}", session_id=session_id)
        self.problem = problem
        self.where = where
        self.line = line
        self.column = column


class UnsupportedVersionError(SerializationError):
    """The session was written in a format version this gitstore does not know."""

    def __init__(self, *, version: int, supported: int, session_id: str | None = None) -> None:
        super().__init__(
            f"format version {version} is not supported (this gitstore reads {supported}); "
            "update gitstore",
            where="version",
            session_id=session_id,
        )
        self.version = version
        self.supported = supported
