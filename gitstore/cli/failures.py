"""From an error to one line on standard error, and an exit code."""

from __future__ import annotations

from typing import Final

from gitstore import (
    AmbiguousCommitError,
    BeforeHistoryError,
    ConcurrentUpdateError,
    ForeignConflictError,
    HistoryRewrittenError,
    InvalidRemoteError,
    InvalidSessionIdError,
    MergeConflictError,
    NaiveTimeError,
    NoConflictError,
    RemoteBranchGoneError,
    RemoteNotFoundError,
    RepositoryError,
    RepositoryLockedError,
    SerializationError,
    SessionExistsError,
    SessionNotFoundError,
    StaleRevisionError,
    StorageError,
    SyncError,
    UnknownCommitError,
    UnrelatedHistoriesError,
)

UNEXPECTED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
CONFLICT: Final = 4
INVALID_INPUT: Final = 5
REPOSITORY: Final = 6
BUSY: Final = 7
PROBLEMS: Final = 8
UNCHECKED: Final = 9
REMOTE: Final = 10
INTERRUPTED: Final = 130
OUTPUT_CLOSED: Final = 141

#: What `--help` prints.
EXIT_CODES: Final = """\b
Exit codes:
  0    done
  1    unexpected: a bug of gitstore, or output that cannot be written
  2    usage: the command line, or an id or commit that is short for several
  3    not found: no such session, commit, time, conflict, remote or branch there
  4    stale, exists or conflict: something else is stored than was expected, here or there
  5    invalid input: a session that cannot be read or stored, or its id; a remote's URL
  6    repository: missing, damaged, not permitted, unsupported, disk full
  7    busy: somebody else holds a lock; the same command may work later
  8    verify or doctor found problems
  9    verify could not check: the repository is too damaged to be opened or walked
  10   remote: out of reach, refuses us, or sends what is not safe
  130  interrupted
  141  whoever read the output went away
"""

_ADVICE: Final = {
    "list() shows what is stored": "`gitstore list` shows what is stored",
    "load it, or save with expected=Expect.ANY": "save it without --expected to overwrite it",
    "load it again and repeat the change": "`gitstore show --json ID` tells what is stored now",
    "`git log` lists them": "`gitstore log` lists them",
    "give one, such as UTC": "give one, such as a Z at its end",
    "give force=True": "give --force",
    "open it with create=True, or run `gitstore init`": "make one with `gitstore init`",
    "conflicts() lists them; decide with resolve(), or pull(on_conflict=...)": (
        "`gitstore conflicts` lists them; decide with `gitstore resolve`, or pull with --ours, "
        "--theirs or --newest"
    ),
    "conflicts() lists the fields; decide with resolve(), or pull(on_conflict=...)": (
        "`gitstore conflicts` lists the fields; decide with `gitstore resolve`, or pull with "
        "--ours, --theirs or --newest"
    ),
    'or pull with on_conflict="ours" or "theirs"': "or pull with --ours or --theirs",
    "conflicts() lists them": "`gitstore conflicts` lists them",
    "push(recreate=True) makes it again": "`gitstore push --recreate` makes it again",
    "then fetch(accept_rewrite=True)": "then `gitstore fetch --accept-rewrite`",
    "pull(join=True) to bring all back": "`gitstore pull --join` to bring all back",
    "pull(join=True) merges them all the same": "`gitstore pull --join` merges them all the same",
}


class AmbiguousPrefixError(StorageError):
    """The beginning of an id fits several sessions."""

    #: More are counted, not listed.
    LISTED_MAX: Final = 5

    def __init__(self, prefix: str, candidates: list[str]) -> None:
        listed = ", ".join(candidates[: self.LISTED_MAX])
        more = len(candidates) - self.LISTED_MAX
        rest = f" and {more} more" if more > 0 else ""
        super().__init__(f"{prefix} is short for {listed}{rest}; give more characters")


class FileExistsAlreadyError(StorageError):
    """A file that a command was to write is there."""

    def __init__(self, file: str) -> None:
        super().__init__(f"{file} exists; --force replaces it")


class FileNotWrittenError(StorageError):
    """A file could not be written."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(
            f"{file}: cannot be written: {problem}; check the path and its permissions"
        )


class NotDeletedError(StorageError):
    """A session was to come back, and is there."""

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"session exists: {session_id}; --at says which of its states is to be stored again"
        )


#: The first that fits counts.
_CODES: Final[tuple[tuple[tuple[type[StorageError], ...], int], ...]] = (
    (
        (
            SessionNotFoundError,
            UnknownCommitError,
            BeforeHistoryError,
            RemoteNotFoundError,
            RemoteBranchGoneError,
            NoConflictError,
        ),
        NOT_FOUND,
    ),
    (
        (
            SessionExistsError,
            StaleRevisionError,
            NotDeletedError,
            FileExistsAlreadyError,
            MergeConflictError,
            ForeignConflictError,
            UnrelatedHistoriesError,
            HistoryRewrittenError,
        ),
        CONFLICT,
    ),
    ((InvalidSessionIdError, SerializationError, InvalidRemoteError), INVALID_INPUT),
    ((AmbiguousPrefixError, AmbiguousCommitError, NaiveTimeError), USAGE),
    ((RepositoryLockedError, ConcurrentUpdateError), BUSY),
    ((RepositoryError,), REPOSITORY),
    ((SyncError,), REMOTE),
)


def exit_code(error: StorageError) -> int:
    """Return the exit code that stands for an error."""
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), UNEXPECTED)


def explain(error: StorageError) -> str:
    """Return what is wrong, with the advice put in terms of commands."""
    return explain_text(str(error))


def explain_text(text: str) -> str:
    """Return a text with advice in terms of the library put in terms of commands."""
    for method, command in _ADVICE.items():
        text = text.replace(method, command)
    return text
