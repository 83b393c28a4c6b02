"""What can be saved from a damaged store, on a branch of its own.

    ...---A---B---x---x   the store's branch, which stays where it is
               \
                R         gitstore-repair-<date>: one commit with the newest readable sessions

B is the last commit of which, and of whose history, everything can be read. Damaged files are copied
to ``.git/gitstore/damaged`` and stay where they are, except that an object whose right bytes are
found again (in the working tree, say) is written again under its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gitstore.engine.salvage import Salvage
from gitstore.errors import CorruptRepositoryError, RepositoryError
from gitstore.session.ids import session_id_of
from gitstore.session.message import compose

if TYPE_CHECKING:
    from gitstore.git.draft import Draft, Sign
    from gitstore.git.repository import Repository
    from gitstore.types import Author, CommitId, Runtime, SessionId

_BRANCHES_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A session on the repair branch.

    `source` says where its bytes are from: ``branch`` when nothing of it was lost, ``working file``,
    or the commit that held the newest state that can be read.
    """

    session_id: SessionId
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What `repair` made.

    `base` is the last commit that is whole with all its history; `lost` are the sessions of which no
    state can be read; `damaged` are the copies of damaged files.
    """

    branch: str
    commit: CommitId
    base: CommitId | None
    restored: tuple[Restored, ...]
    lost: tuple[SessionId, ...]
    damaged: tuple[str, ...]


def repair(
    repository: Repository, *, author: Author, runtime: Runtime, sign: Sign | None = None
) -> RepairReport:
    """Put the newest readable state of every session on a new branch.

    The store's branch is not moved and nothing is deleted. Look at the new branch with ``git diff``,
    then move to it with ``git branch -f``, or fetch what is missing from a clone instead.

    Raises:
        CorruptRepositoryError: nothing can be read.
        RepositoryError: the branch could not be made.
    """
    with repository.writing():
        salvage = Salvage(repository)
        salvage.run()
        if not salvage.found and salvage.base is None:
            message = (
                f"nothing of {repository.ref} can be read; open the store with the name of its "
                "branch if HEAD is damaged, or make a clone from where it was pushed to"
            )
            raise CorruptRepositoryError(message, path=repository.path)
        draft = salvage.draft()
        files: dict[str, bytes | None] = {path: data for path, (data, _) in salvage.found.items()}
        for path in salvage.paths_at(draft.base):
            files.setdefault(path, None)
        message = compose(operation="repair", session_id=None, message=None, actor=None)
        now = int(runtime.clock())
        commit = draft.commit_all(files, author=author, time=now, message=message, sign=sign)
        # Kept before anything is written: what is found again takes the place of what is damaged.
        damaged = tuple(sorted(salvage.keep_damaged()))
        branch = _publish(
            repository, draft, day=datetime.fromtimestamp(now, UTC).date().isoformat()
        )
    return RepairReport(
        branch=branch,
        commit=commit,
        base=draft.base,
        restored=tuple(
            Restored(session_id=name, source=source)
            for path, (_, source) in sorted(salvage.found.items())
            if (name := session_id_of(path)) is not None
        ),
        lost=tuple(
            name for path in sorted(salvage.lost) if (name := session_id_of(path)) is not None
        ),
        damaged=damaged,
    )


def _publish(repository: Repository, draft: Draft, *, day: str) -> str:
    for number in range(1, _BRANCHES_MAX):
        branch = f"gitstore-repair-{day}" + (f"-{number}" if number > 1 else "")
        if repository.create_branch(branch, draft):
            return branch
    message = (
        f"there are {_BRANCHES_MAX} repair branches of {day}; delete some with `git branch -D`"
    )
    raise RepositoryError(message, path=repository.path)
