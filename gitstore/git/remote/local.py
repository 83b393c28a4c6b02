"""A repository on this machine where no git command is: dulwich reads and writes it in-process.

git's own `upload-pack` and `receive-pack` are used where they are: they run the hooks of the other
repository and keep its rules.
"""

from __future__ import annotations

from contextlib import closing

from dulwich.client import LocalGitClient
from dulwich.refs import HEADREF
from dulwich.repo import Repo

from gitstore.errors import PushRejectedError


class LocalClient(LocalGitClient):
    """dulwich's client of repositories on this machine. It runs no hooks."""


def check_not_checked_out(path: str, ref: str, *, remote: str) -> None:
    """Refuse to move a branch below somebody's working tree, as git does.

    Raises:
        PushRejectedError: the branch is checked out there.
    """
    with closing(Repo(path)) as repository:
        names, _ = repository.refs.follow(HEADREF)
        if not repository.bare and ref.encode() in names:
            raise PushRejectedError(
                remote=remote, ref=ref, reason="branch is currently checked out"
            )
