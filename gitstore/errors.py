"""Every exception gitstore raises. All carry fields, and say what to do next.

* StorageError
  * SessionError                 about one session; carries ``session_id``
    * SessionNotFoundError       also a LookupError; carries ``at``
    * SessionExistsError         it was expected not to exist, or its name clashes with another
    * StaleRevisionError         carries ``expected`` and ``actual``
    * InvalidSessionIdError      also a ValueError; carries ``problem``
    * SerializationError         also a ValueError; carries ``where``, ``problem``, ``line``, ``column``
      * UnsupportedVersionError  carries ``version`` and ``supported``
  * RepositoryError              about the repository as a whole; carries ``path``
    * RepositoryNotFoundError    also a LookupError
    * RepositoryLockedError      retryable; carries ``lock``
    * ConcurrentUpdateError      retryable
    * CorruptRepositoryError     an object is missing or damaged; carries ``object_id``
    * PermissionDeniedError
    * OutOfSpaceError
    * UnsupportedRepositoryError carries ``feature``
    * UntrustedOwnerError        the repository is another user's; carries ``owner``
    * UnsafePathError            a symbolic link, or no regular file, where a session should be
    * UnknownCommitError         also a LookupError; carries ``at``
    * AmbiguousCommitError       also a LookupError; carries ``at`` and ``candidates``
    * BeforeHistoryError         also a LookupError; carries ``at`` and ``first``
    * NaiveTimeError             also a ValueError; carries ``at``
    * StoreClosedError
    * SigningError               nothing was committed; carries ``key`` and ``problem``
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from datetime import datetime

    from gitstore.types import At, Expected, Revision


class StorageError(Exception):
    """Base of every gitstore exception."""

    #: Whether the same call may succeed later, unchanged.
    retryable: ClassVar[bool] = False


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


class RepositoryError(StorageError):
    """Something is wrong with the repository as a whole."""

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


class RepositoryNotFoundError(RepositoryError, LookupError):
    """There is no git repository there."""


class RepositoryLockedError(RepositoryError):
    """Somebody else holds a lock for too long."""

    retryable = True

    def __init__(self, message: str, *, path: str, lock: str) -> None:
        super().__init__(message, path=path)
        self.lock = lock


class ConcurrentUpdateError(RepositoryError):
    """Other writers kept moving the branch."""

    retryable = True


class CorruptRepositoryError(RepositoryError):
    """An object or a file of the repository is missing or damaged."""

    def __init__(self, message: str, *, path: str, object_id: str | None = None) -> None:
        super().__init__(message, path=path)
        self.object_id = object_id


class PermissionDeniedError(RepositoryError):
    """The operating system refuses to read or write there."""


class OutOfSpaceError(RepositoryError):
    """The disk or the quota is full."""


class UnsupportedRepositoryError(RepositoryError):
    """The repository uses a feature that gitstore cannot keep right."""

    def __init__(self, *, path: str, feature: str, advice: str) -> None:
        super().__init__(f"{feature} is not supported; {advice}", path=path)
        self.feature = feature


class UntrustedOwnerError(RepositoryError):
    """The repository belongs to another user, who could make it do harm."""

    def __init__(self, *, path: str, owner: int) -> None:
        super().__init__(
            f"the repository belongs to user {owner}; "
            "open it with trust_owner=True if you trust them with what you store",
            path=path,
        )
        self.owner = owner


class UnsafePathError(RepositoryError):
    """A symbolic link, or something else than a file or folder, stands in the way."""


class UnknownCommitError(RepositoryError, LookupError):
    """No commit of that name."""

    def __init__(self, *, path: str, at: str) -> None:
        super().__init__(f"unknown commit: {at[:80]!a}; `git log` lists them", path=path)
        self.at = at


class AmbiguousCommitError(RepositoryError, LookupError):
    """The abbreviation fits several commits."""

    def __init__(self, *, path: str, at: str, candidates: tuple[str, ...]) -> None:
        super().__init__(f"{at} is short for {', '.join(candidates)}; give more digits", path=path)
        self.at = at
        self.candidates = candidates


class BeforeHistoryError(RepositoryError, LookupError):
    """The store did not exist at that time."""

    def __init__(self, *, path: str, at: datetime, first: datetime | None) -> None:
        begins = "has no commit" if first is None else f"begins {first.isoformat()}"
        super().__init__(f"nothing at {at.isoformat()}: the history {begins}", path=path)
        self.at = at
        self.first = first


class NaiveTimeError(RepositoryError, ValueError):
    """The time has no time zone."""

    def __init__(self, *, path: str, at: datetime) -> None:
        super().__init__(f"{at.isoformat()} has no time zone; give one, such as UTC", path=path)
        self.at = at


class StoreClosedError(RepositoryError):
    """The store was used after it was closed."""


class SigningError(RepositoryError):
    """A commit was to be signed and could not be: nothing was committed."""

    def __init__(self, *, path: str, key: str | None, problem: str) -> None:
        name = "" if key is None else f" with {key}"
        super().__init__(f"cannot sign{name}: {problem}; nothing was committed", path=path)
        self.key = key
        self.problem = problem
