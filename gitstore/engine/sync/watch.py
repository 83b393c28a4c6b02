"""What changes on the branch, whoever changes it: noticed by looking at the ref now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gitstore.session.ids import session_id_of
from gitstore.types import Changed, ChangeKind, Revision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitstore.engine.catalog import Catalog
    from gitstore.git.repository import Repository
    from gitstore.git.trees import Entry
    from gitstore.types import CommitId, SessionId

#: Commits since the last look that are told one by one; of more, only what came of them.
COMMITS_MAX: Final = 1000


class Watcher:
    """Tells, look by look, what became of the sessions since a commit. For one thread at a time."""

    def __init__(
        self, repository: Repository, catalog: Catalog, *, since: CommitId | None = None
    ) -> None:
        self._repository = repository
        self._catalog = catalog
        self._tip = repository.tip() if since is None else since
        #: Kept by content, so that a history that was rewritten and removed can still be compared.
        self._known = dict(catalog.committed(self._tip))

    def look(self) -> list[Changed]:
        """Return the changes since the last look, oldest first. Costs one small file if nothing moved.

        The branch is followed along first parents, as ``git log --first-parent`` does. When that
        way does not lead back to what was seen last (a rewrite, a fast-forward over somebody's
        merge), or is long, what the branch was then is compared with what it is now.
        """
        tip = self._repository.tip()
        if tip is None or tip == self._tip:
            return []
        line = self._line(tip)
        if line is None:
            changes = self._leap(tip)
        else:
            changes = [change for commit in line for change in self._step(commit)]
        self._tip = tip
        return changes

    def _line(self, tip: CommitId) -> list[CommitId] | None:
        """Return the commits from the one seen last to the tip, or None if there is no such way."""
        line: list[CommitId] = []
        commit: CommitId | None = tip
        while commit is not None and commit != self._tip:
            if len(line) == COMMITS_MAX:
                return None
            line.append(commit)
            parents = self._repository.facts(commit).parents
            commit = parents[0] if parents else None
        return line[::-1] if commit == self._tip else None

    def _step(self, commit: CommitId) -> list[Changed]:
        """Tell what one commit did to its first parent's sessions."""
        parents = self._repository.facts(commit).parents
        trees = [self._repository.tree(each) for each in (parents[0] if parents else None, commit)]
        entries = self._repository.changes_between(*trees).items()
        sessions = {session_id_of(path): new for path, (_, new) in entries}
        return [
            change
            for session_id in sorted(each for each in sessions if each is not None)
            for change in self._became(session_id, _revision(sessions[session_id]), commit)
        ]

    def _leap(self, tip: CommitId) -> list[Changed]:
        """Tell what became of the sessions in all."""
        now = self._catalog.committed(tip)
        sessions = sorted(self._known.keys() | now.keys())
        return [
            change
            for session_id in sessions
            for change in self._became(session_id, now.get(session_id), tip)
        ]

    def _became(
        self, session_id: SessionId, new: Revision | None, commit: CommitId
    ) -> Iterator[Changed]:
        old = self._known.pop(session_id, None)
        if new is not None:
            self._known[session_id] = new
        if old == new:
            return
        kind = ChangeKind.UPDATED
        if old is None or new is None:
            kind = ChangeKind.CREATED if old is None else ChangeKind.DELETED
        yield Changed(session_id=session_id, kind=kind, commit=commit)


def _revision(entry: Entry | None) -> Revision | None:
    return None if entry is None or entry.is_folder else Revision(entry.id)
