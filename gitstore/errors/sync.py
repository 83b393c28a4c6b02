"""What can go wrong with a remote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitstore.errors.base import StorageError

if TYPE_CHECKING:
    from gitstore.types import CommitId, Conflict


class SyncError(StorageError):
    """Something went wrong with a remote; `remote` is its name or its URL without credentials."""

    def __init__(self, message: str, *, remote: str) -> None:
        super().__init__(f"{remote}: {message}")
        self.remote = remote


class InvalidRemoteError(SyncError, ValueError):
    """The URL or the name of the remote cannot be used."""


class RemoteNotFoundError(SyncError, LookupError):
    """No remote of that name is configured, or there is no repository at its URL."""


class RemoteUnavailableError(SyncError):
    """The remote cannot be reached, hung up in the middle, or took too long."""

    retryable = True


class AuthenticationError(SyncError):
    """The remote refused the credentials, or wants some and there were none."""


class HostKeyError(SyncError):
    """The key of an ssh host is unknown, or another than the known one."""


class PushRejectedError(SyncError):
    """The remote did not take the push: it moved on, a hook declined, the branch is protected."""

    retryable = True

    def __init__(self, *, remote: str, ref: str, reason: str) -> None:
        super().__init__(f"{ref} was not updated: {reason}; pull, then push again", remote=remote)
        self.ref = ref
        self.reason = reason


class RemoteBranchGoneError(SyncError, LookupError):
    """The branch was there at the last contact, and has been deleted since."""

    def __init__(self, *, remote: str, branch: str) -> None:
        super().__init__(
            f"the branch {branch} was deleted there; nothing was changed here. "
            "push(recreate=True) makes it again",
            remote=remote,
        )
        self.branch = branch


class HistoryRewrittenError(SyncError):
    """The remote's branch no longer holds a commit it held: somebody forced it.

    With `here` it is the other way round: ours was rewritten, by a purge, and the remote's branch,
    at `new`, still holds `old`, so that a merge would bring back what was purged.
    """

    def __init__(self, *, remote: str, old: CommitId, new: CommitId, here: bool = False) -> None:
        message = (
            f"its history was rewritten: {old} is no ancestor of {new}; nothing was moved. "
            "Ask who did it, then fetch(accept_rewrite=True)"
        )
        if here:
            message = (
                f"it has the history that was rewritten here, from {old} on; nothing was moved. "
                "Replace it with `git push --force-with-lease`, or pull(join=True) to bring all back"
            )
        super().__init__(message, remote=remote)
        self.old = old
        self.new = new
        self.here = here


class UnrelatedHistoriesError(SyncError):
    """Both sides have sessions, and no commit in common."""

    def __init__(self, *, remote: str) -> None:
        super().__init__(
            "its history has no commit in common with this store's; is it the right remote? "
            "pull(join=True) merges them all the same",
            remote=remote,
        )


class UntrustedContentError(SyncError):
    """What came in is damaged or could do harm; it was refused, and nothing was moved.

    `where` is a path in the commit, or an object id.
    """

    def __init__(self, *, remote: str, commit: CommitId | None, where: str, problem: str) -> None:
        place = where if commit is None else f"{where} in commit {commit}"
        super().__init__(f"refused: {place} {problem}; nothing was moved", remote=remote)
        self.commit = commit
        self.where = where
        self.problem = problem


class ForeignConflictError(SyncError):
    """Both sides changed files outside sessions/, which gitstore does not merge."""

    def __init__(self, *, remote: str, paths: tuple[str, ...]) -> None:
        shown = ", ".join(paths[:5]) + (", ..." if len(paths) > 5 else "")  # noqa: PLR2004 -- enough to see
        super().__init__(
            f"both sides changed {shown}; nothing was moved. Merge with `git pull`, "
            'or pull with on_conflict="ours" or "theirs"',
            remote=remote,
        )
        self.paths = paths


class MergeConflictError(SyncError):
    """Both sides changed the same fields differently; nothing was moved."""

    def __init__(self, *, remote: str, conflicts: tuple[Conflict, ...]) -> None:
        first = conflicts[0]
        more = f" and {len(conflicts) - 1} more" if len(conflicts) > 1 else ""
        super().__init__(
            f"both sides changed {first.session_id} {first.where or '(as a whole)'}{more}; nothing "
            "was moved. conflicts() lists them; decide with resolve(), or pull(on_conflict=...)",
            remote=remote,
        )
        self.conflicts = conflicts
