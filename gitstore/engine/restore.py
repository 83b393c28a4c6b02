"""Getting things back: what was deleted, an old state, what a commit took away, a copy.

Nothing here rewrites history: each is a new commit, and can itself be undone.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gitstore.engine.moments import resolve, resolve_for
from gitstore.engine.requests import Put, Revert
from gitstore.errors import SessionExistsError, SessionNotFoundError, UnknownCommitError
from gitstore.git.graph import is_ancestor
from gitstore.session import codec
from gitstore.session.files import read_session
from gitstore.session.ids import DIRECTORY, path_of, session_id_of
from gitstore.session.message import parse
from gitstore.session.model import SessionAsset
from gitstore.types import Author, CommitId, Expect, Revision, SessionId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitstore.engine.reading import Reader
    from gitstore.engine.transactions import Writer
    from gitstore.git.graph import CommitFacts
    from gitstore.git.repository import Repository
    from gitstore.types import At, Saved

_SHORT = 10
#: Where in a session's metadata a copy says what it is a copy of.
_COPIED_FROM = "copied_from"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A session that was deleted and is not there now.

    `commit` deleted it, `last_commit` is the parent that still had it, as `last_revision`.
    `author`, `actor` and `time` are those of the deletion.
    """

    session_id: SessionId
    commit: CommitId
    last_commit: CommitId
    last_revision: Revision
    author: Author
    actor: str | None
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loss:
    """A commit without a session that a parent of it has."""

    session_id: SessionId
    commit: CommitId
    parent: CommitId
    revision: Revision
    #: Whether all parents had it: else another parent's side deleted it, or never had it.
    certain: bool


def deleted(repository: Repository) -> list[Deleted]:
    """Return what was deleted and is absent at the tip, latest deletion first; one row a session.

    A merge deletes what all its parents have. What it dropped of one side alone is told only when
    no other commit deleted it. Cost: every commit and each distinct tree once; no file is read.
    """
    tip = repository.tip()
    stored = _sessions_below(repository, _top(repository, tip))
    found: dict[SessionId, _Loss] = {}
    for loss in _losses(repository, tip):
        if loss.session_id in stored:
            continue
        known = found.get(loss.session_id)
        if known is None or (loss.certain and not known.certain):
            found[loss.session_id] = loss
    rows = [_described(repository, loss) for loss in found.values()]
    rows.sort(key=lambda row: row.time, reverse=True)
    return rows


def restore(
    repository: Repository,
    writer: Writer,
    *,
    session_id: SessionId,
    at: At | None = None,
    message: str | None = None,
    actor: str | None = None,
) -> Saved:
    """Store a session as it was, byte for byte, as a new commit; a hand edit is kept first.

    By default as it was before its latest deletion. A file of history that cannot be read as a
    session comes back too: whoever wants to mend it needs it.

    Raises:
        SessionExistsError: it exists, and `at` does not say which state is wanted.
        SessionNotFoundError: it was never deleted, or was not there `at` that time.
        StorageError: what `resolve` raises.
    """
    path = path_of(session_id)
    if at is None and repository.blob_at(repository.tip(), path) is not None:
        raise SessionExistsError(session_id=session_id, existing=session_id)
    source = (
        _before_deletion(repository, session_id)
        if at is None
        else resolve_for(repository, session_id, at)
    )
    revision = repository.blob_at(source, path)
    if source is None or revision is None:
        raise SessionNotFoundError(session_id=session_id, at=at)
    request = Put(
        session_id=session_id,
        operation="restore",
        expected=Expect.ABSENT if at is None else Expect.ANY,
        data=repository.read_blob(revision),
        message=message,
        actor=actor,
        detail=f"from {source[:_SHORT]}",
        extra={"Restored-From": source},
    )
    writer.run([request])
    return request.result()


def undo(
    repository: Repository,
    writer: Writer,
    *,
    commit: At,
    message: str | None = None,
    actor: str | None = None,
) -> list[Saved]:
    """Take back what a commit did, as a new commit for each session that it changed.

    A session that has not changed since is put back exactly: a creation is undone by a deletion, a
    deletion by the file that was there. Else it is merged by meaning, with the commit's result as
    base; what was written since wins, and `Saved.conflicts` lists where. What a merge did is its
    difference to its first parent: undoing it takes the other side's sessions back. Undoing the
    undo brings all back. When a session cannot be undone, the others are done before it raises.

    Raises:
        UnknownCommitError: the branch's history holds no such commit.
        SerializationError: a session must be merged, and one of its versions cannot be read.
    """
    target, tip = resolve(repository, commit), repository.tip()
    if target is None or tip is None or not is_ancestor(target, tip, repository.facts):
        raise UnknownCommitError(path=repository.path, at=str(commit))
    parent = next(iter(repository.facts(target).parents), None)
    requests = [
        Revert(
            session_id=session_id,
            operation="undo",
            before=before,
            after=after,
            message=message,
            actor=actor,
            detail=f"in {target[:_SHORT]}",
            extra={"Undoes": target},
        )
        for session_id, before, after in _changes(repository, parent, target)
    ]
    writer.run(requests)
    return [request.result() for request in requests]


def copy(
    repository: Repository,
    writer: Writer,
    reader: Reader,
    *,
    session_id: SessionId,
    new_id: SessionId,
    at: At | None = None,
    message: str | None = None,
    actor: str | None = None,
) -> Saved:
    """Store a session under another id too; trailer and ``metadata["copied_from"]`` say from where.

    Times and turns, and a person's comments, stay as they are. A hand edit is committed first, so
    that the commit named holds what was copied.

    Raises:
        SessionNotFoundError: there is no such session there.
        SessionExistsError: there is one called `new_id`.
        SerializationError: it cannot be read.
    """
    if at is None:
        reader.load(session_id, None)
    source = resolve_for(repository, session_id, at)
    revision = repository.blob_at(source, path_of(session_id))
    if source is None or revision is None:
        raise SessionNotFoundError(session_id=session_id, at=at)
    data = repository.read_blob(revision)
    document = read_session(data, session_id=session_id).to_document()
    document["id"] = new_id
    origin = {"id": session_id, "commit": source}
    document["metadata"] = {**document.get("metadata", {}), _COPIED_FROM: origin}
    # Through the model again: it knows where `metadata` belongs.
    document = SessionAsset.from_document(document, session_id=new_id).to_document()
    request = Put(
        session_id=new_id,
        operation="copy",
        expected=Expect.ABSENT,
        data=codec.encode(document, previous=data, session_id=new_id),
        message=message,
        actor=actor,
        detail=f"from {session_id} at {source[:_SHORT]}",
        extra={"Copied-From": f"{session_id}@{source}"},
    )
    writer.run([request])
    return request.result()


def _before_deletion(repository: Repository, session_id: SessionId) -> CommitId:
    """Return the commit that had the session when it was last deleted."""
    dropped: CommitId | None = None
    for loss in _losses(repository, repository.tip()):
        if loss.session_id != session_id:
            continue
        if loss.certain:
            return loss.parent
        if dropped is None:
            dropped = loss.parent
    if dropped is None:
        raise SessionNotFoundError(session_id=session_id)
    return dropped


def _losses(repository: Repository, tip: CommitId | None) -> Iterator[_Loss]:
    """Return what each commit lacks that a parent has, descendants first, by tree ids alone."""
    tops: dict[str | None, str | None] = {}

    def top(commit: CommitId) -> str | None:
        root = repository.tree(commit)
        if root not in tops:
            tops[root] = _top(repository, commit)
        return tops[root]

    for commit, facts in _newest_first(repository, tip):
        after = top(commit)
        lost = [(p, _difference(repository, top(p), after)) for p in facts.parents]
        for index, (parent, changes) in enumerate(lost):
            for session_id, (old, new) in changes.items():
                if old is None or new is not None:
                    continue
                holders = [i for i, (_, other) in enumerate(lost) if session_id in other]
                if holders[0] == index:
                    yield _Loss(
                        session_id=session_id,
                        commit=commit,
                        parent=parent,
                        revision=old,
                        certain=len(holders) == len(lost),
                    )


def _newest_first(
    repository: Repository, tip: CommitId | None
) -> Iterator[tuple[CommitId, CommitFacts]]:
    """Return every commit after all its descendants, whatever the clocks said; else by time."""
    facts: dict[CommitId, CommitFacts] = {}
    children: dict[CommitId, int] = {}
    todo = [] if tip is None else [tip]
    while todo:
        commit = todo.pop()
        if commit not in facts:
            facts[commit] = repository.facts(commit)
            for parent in facts[commit].parents:
                children[parent] = children.get(parent, 0) + 1
                todo.append(parent)
    ready = [] if tip is None else [(-facts[tip].time, 0, tip)]
    order = 0
    while ready:
        _, _, commit = heapq.heappop(ready)
        yield commit, facts[commit]
        for parent in facts[commit].parents:
            children[parent] -= 1
            if not children[parent]:
                order += 1
                heapq.heappush(ready, (-facts[parent].time, order, parent))


def _changes(
    repository: Repository, old: CommitId | None, new: CommitId
) -> list[tuple[SessionId, Revision | None, Revision | None]]:
    """Return the sessions that differ between two commits, with both revisions."""
    found = _difference(repository, _top(repository, old), _top(repository, new))
    return [(session_id, *found[session_id]) for session_id in sorted(found)]


def _difference(
    repository: Repository, old: str | None, new: str | None
) -> dict[SessionId, tuple[Revision | None, Revision | None]]:
    """Compare two sessions folders; equal shards are not opened."""
    if old == new:
        return {}
    before, after = (_shards(repository, top) for top in (old, new))
    found: dict[SessionId, tuple[Revision | None, Revision | None]] = {}
    for name in before.keys() | after.keys():
        if before.get(name) == after.get(name):
            continue
        ours = _shard(repository, name, before.get(name))
        theirs = _shard(repository, name, after.get(name))
        for session_id in ours.keys() | theirs.keys():
            pair = ours.get(session_id), theirs.get(session_id)
            if pair[0] != pair[1]:
                found[session_id] = pair
    return found


def _top(repository: Repository, commit: CommitId | None) -> str | None:
    entry = repository.find(repository.tree(commit), DIRECTORY)
    return entry.id if entry is not None and entry.is_folder else None


def _shards(repository: Repository, top: str | None) -> dict[str, str]:
    entries = [] if top is None else repository.entries(top)
    return {each.name.decode(errors="replace"): each.id for each in entries if each.is_folder}


def _shard(repository: Repository, name: str, tree: str | None) -> dict[SessionId, Revision]:
    above = f"{DIRECTORY}/{name}/"
    return {
        session_id: Revision(each.id)
        for each in ([] if tree is None else repository.entries(tree))
        if not each.is_folder
        and (session_id := session_id_of(above + each.name.decode(errors="replace")))
    }


def _sessions_below(repository: Repository, top: str | None) -> set[SessionId]:
    return {
        session_id
        for name, tree in _shards(repository, top).items()
        for session_id in _shard(repository, name, tree)
    }


def _described(repository: Repository, loss: _Loss) -> Deleted:
    headers = repository.commit(loss.commit)
    who, _, when = headers.get("author", [""])[0].rpartition("> ")
    name, _, email = who.rpartition(" <")
    seconds = when.partition(" ")[0]
    return Deleted(
        session_id=loss.session_id,
        commit=loss.commit,
        last_commit=loss.parent,
        last_revision=loss.revision,
        author=Author(name=name, email=email),
        actor=parse(headers[""][0]).actor,
        time=datetime.fromtimestamp(int(seconds) if seconds.isdigit() else 0, UTC),
    )
