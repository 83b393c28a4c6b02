"""Every exception gitstore raises. All carry fields, and say what to do next.

* StorageError
  * SessionError                 about one session; carries ``session_id``
    * SessionNotFoundError       also a LookupError; carries ``at``
    * NoConflictError            also a LookupError; carries ``where``
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
    * UnfinishedMergeError       a merge or the like waits in the working tree to be finished
    * DirtyWorkingTreeError      files that a person changed stand in the way; carries ``paths``
  * SyncError                    about a remote; carries ``remote``
    * InvalidRemoteError         also a ValueError; the URL or the name cannot be used
    * RemoteNotFoundError        also a LookupError; no such remote, or no repository there
    * RemoteUnavailableError     retryable; it cannot be reached, hung up, or took too long
    * AuthenticationError        it refused the credentials, or there were none
    * HostKeyError               the host's key is unknown, or another than the known one
    * PushRejectedError          retryable; carries ``ref`` and ``reason``
    * RemoteBranchGoneError      also a LookupError; the branch was deleted there; carries ``branch``
    * HistoryRewrittenError      carries ``old`` and ``new``
    * UnrelatedHistoriesError    both sides have sessions, and no commit in common
    * UntrustedContentError      what came in was refused; carries ``commit``, ``where``, ``problem``
    * ForeignConflictError       both sides changed files that are no sessions; carries ``paths``
    * MergeConflictError         nothing was moved; carries ``conflicts``
"""

from __future__ import annotations

from gitstore.errors.base import (
    StorageError,
)
from gitstore.errors.repository import (
    AmbiguousCommitError,
    BeforeHistoryError,
    ConcurrentUpdateError,
    CorruptRepositoryError,
    DirtyWorkingTreeError,
    NaiveTimeError,
    OutOfSpaceError,
    PermissionDeniedError,
    RepositoryError,
    RepositoryLockedError,
    RepositoryNotFoundError,
    SigningError,
    StoreClosedError,
    UnfinishedMergeError,
    UnknownCommitError,
    UnsafePathError,
    UnsupportedRepositoryError,
    UntrustedOwnerError,
)
from gitstore.errors.session import (
    InvalidSessionIdError,
    NoConflictError,
    SerializationError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
    StaleRevisionError,
    UnsupportedVersionError,
)
from gitstore.errors.sync import (
    AuthenticationError,
    ForeignConflictError,
    HistoryRewrittenError,
    HostKeyError,
    InvalidRemoteError,
    MergeConflictError,
    PushRejectedError,
    RemoteBranchGoneError,
    RemoteNotFoundError,
    RemoteUnavailableError,
    SyncError,
    UnrelatedHistoriesError,
    UntrustedContentError,
)

__all__ = [
    "AmbiguousCommitError",
    "AuthenticationError",
    "BeforeHistoryError",
    "ConcurrentUpdateError",
    "CorruptRepositoryError",
    "DirtyWorkingTreeError",
    "ForeignConflictError",
    "HistoryRewrittenError",
    "HostKeyError",
    "InvalidRemoteError",
    "InvalidSessionIdError",
    "MergeConflictError",
    "NaiveTimeError",
    "NoConflictError",
    "OutOfSpaceError",
    "PermissionDeniedError",
    "PushRejectedError",
    "RemoteBranchGoneError",
    "RemoteNotFoundError",
    "RemoteUnavailableError",
    "RepositoryError",
    "RepositoryLockedError",
    "RepositoryNotFoundError",
    "SerializationError",
    "SessionError",
    "SessionExistsError",
    "SessionNotFoundError",
    "SigningError",
    "StaleRevisionError",
    "StorageError",
    "StoreClosedError",
    "SyncError",
    "UnfinishedMergeError",
    "UnknownCommitError",
    "UnrelatedHistoriesError",
    "UnsafePathError",
    "UnsupportedRepositoryError",
    "UnsupportedVersionError",
    "UntrustedContentError",
    "UntrustedOwnerError",
]
