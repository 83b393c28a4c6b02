"""The history of sessions, from git's."""

from __future__ import annotations

from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from gitstore.session.ids import DIRECTORY, path_of
from gitstore.session.message import parse
from gitstore.types import Author, Change, CommitId, Revision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitstore.git.repository import Repository
    from gitstore.types import SessionId


def history(repository: Repository, session_id: SessionId | None) -> Iterator[Change]:
    """Return the commits that changed a session, or any session, newest first.

    The same commits as `git log -- PATH`, which leaves out a side of a merge that did not matter
    (git-log(1), "History Simplification"). Cost: one commit and at most three trees each.
    """
    path = DIRECTORY if session_id is None else path_of(session_id)
    tip = repository.tip()
    if tip is None:
        return
    order = 0
    waiting: list[tuple[int, int, CommitId]] = [(-repository.facts(tip).time, order, tip)]
    seen = {tip}
    while waiting:
        _, _, commit = heappop(waiting)
        found = _object_at(repository, commit, path)
        parents = repository.facts(commit).parents
        same = [parent for parent in parents if _object_at(repository, parent, path) == found]
        if not same and (parents or found is not None):
            yield _change(repository, commit, Revision(found) if session_id and found else None)
        for parent in same[:1] or parents:
            if parent not in seen:
                seen.add(parent)
                order += 1
                heappush(waiting, (-repository.facts(parent).time, order, parent))


def _object_at(repository: Repository, commit: CommitId, path: str) -> str | None:
    entry = repository.find(repository.tree(commit), path)
    return None if entry is None else entry.id


def _change(repository: Repository, commit: CommitId, revision: Revision | None) -> Change:
    headers = repository.commit(commit)
    who, _, when = headers["author"][0].rpartition("> ")
    name, _, email = who.rpartition(" <")
    seconds = when.partition(" ")[0]
    said = parse(headers[""][0])
    return Change(
        commit=commit,
        session_id=said.session_id,
        revision=revision,
        operation=said.operation,
        author=Author(name=name, email=email),
        actor=said.actor,
        time=datetime.fromtimestamp(int(seconds) if seconds.isdigit() else 0, UTC),
        subject=said.subject,
    )
