"""What can be wrong with the repository as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitstore.errors.base import StorageError

if TYPE_CHECKING:
    from datetime import datetime


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


class UnfinishedMergeError(RepositoryError):
    """A merge, cherry-pick or revert waits in the working tree to be finished."""


class DirtyWorkingTreeError(RepositoryError):
    """Files that a person changed, and that are no sessions, would have been overwritten."""

    def __init__(self, *, path: str, paths: tuple[str, ...]) -> None:
        shown = ", ".join(paths[:5]) + (", ..." if len(paths) > 5 else "")  # noqa: PLR2004 -- enough to see
        super().__init__(
            f"the remote changed files that you changed too: {shown}; nothing was moved. "
            "Commit them, or put them away with `git stash`, and pull again",
            path=path,
        )
        self.paths = paths
