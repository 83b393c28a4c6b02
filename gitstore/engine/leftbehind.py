"""Which histories of the branch were rewritten here: so that a remote does not bring them back.

A purge, or `prune_history`, takes commits out of the branch. A remote that has them still looks like
one that is ahead, and merging it would undo the purge without a word.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, cast

from gitstore.git.graph import is_ancestor
from gitstore.types import CommitId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitstore.git.repository import Repository

_FILE: Final = "leftbehind.json"
#: Commits kept; of more, the oldest are forgotten.
_KEPT_MAX: Final = 1000


class LeftBehind:
    """The commits by which rewritten histories are known, in ``.git/gitstore/leftbehind.json``.

    Of each history the oldest commits that are no more: whoever has any later one has these.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._note = repository.note(_FILE)

    def add(self, commits: Iterable[CommitId]) -> None:
        """Remember such commits, durably. Only inside `Repository.writing`."""
        known = dict.fromkeys((*self._all(), *commits))
        self._note.replace(json.dumps(list(known)[-_KEPT_MAX:], indent=1).encode())

    def in_history(self, theirs: CommitId, ours: CommitId | None) -> CommitId | None:
        """Return such a commit that `theirs` holds and `ours` does not; None if there is none.

        Costs nothing where nothing was rewritten, else a walk over what is newer than the commit.
        """
        repository = self._repository
        for commit in self._all():
            if repository.kind_of(commit) != "commit":
                continue
            if not is_ancestor(commit, theirs, repository.facts):
                continue
            if ours is None or not is_ancestor(commit, ours, repository.facts):
                return commit
        return None

    def _all(self) -> list[CommitId]:
        try:
            plain = cast("list[object]", list(json.loads(self._note.read() or b"[]")))
        except (ValueError, TypeError):
            return []
        return [CommitId(each) for each in plain if isinstance(each, str)]
