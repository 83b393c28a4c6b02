"""What changed between two moments: in one session, or in the whole store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitstore.engine.moments import resolve, resolve_for
from gitstore.errors import SessionNotFoundError
from gitstore.session.diff import SessionDiff, diff_documents
from gitstore.session.files import read_session
from gitstore.session.ids import DIRECTORY, path_of, session_id_of

if TYPE_CHECKING:
    from gitstore.git.repository import Repository
    from gitstore.session.merge import Document
    from gitstore.types import At, CommitId, Revision, SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDiff:
    """Which sessions differ between two commits; ids in order.

    A commit is None where the store had none yet.
    """

    old_commit: CommitId | None
    new_commit: CommitId | None
    created: tuple[SessionId, ...]
    updated: tuple[SessionId, ...]
    deleted: tuple[SessionId, ...]

    @property
    def is_empty(self) -> bool:
        """Whether every session is the same."""
        return not (self.created or self.updated or self.deleted)


def diff(repository: Repository, session_id: SessionId, a: At | None, b: At | None) -> SessionDiff:
    """Compare a session at two moments.

    `b` is the tip of the branch unless given, and `a` the moment before the session last changed
    up to `b`; finding that costs three trees for each commit since. Defaults that were left out
    in a file are no change.

    Raises:
        SessionNotFoundError: the session is at neither moment.
        SerializationError: the file of one of them is no session.
        UnknownCommitError: and what else `moments.resolve` raises.
    """
    path = path_of(session_id)
    after = resolve_for(repository, session_id, b)
    before = (
        _before(repository, after, path) if a is None else resolve_for(repository, session_id, a)
    )
    old, new = (repository.blob_at(commit, path) for commit in (before, after))
    if old is None and new is None:
        raise SessionNotFoundError(session_id=session_id, at=b)
    document = None if new is None else _document(repository, session_id, new)
    return diff_documents(
        # The same bytes need not be read twice.
        document if old == new else _document(repository, session_id, old) if old else None,
        document,
        session_id=session_id,
        old_revision=old,
        new_revision=new,
    )


def diff_store(repository: Repository, a: At | None, b: At | None) -> StoreDiff:
    """Compare the whole store at two moments.

    `b` is the tip of the branch unless given, and `a` the first parent of `b`. Costs two trees
    for each of the 256 folders that differ; no session is read.

    Raises:
        UnknownCommitError: and what else `moments.resolve` raises.
    """
    after = resolve(repository, b)
    before = _first_parent(repository, after) if a is None else resolve(repository, a)
    old, new = _sessions_that_may_differ(repository, before, after)
    return StoreDiff(
        old_commit=before,
        new_commit=after,
        created=tuple(sorted(new.keys() - old.keys())),
        updated=tuple(sorted(each for each in old.keys() & new.keys() if old[each] != new[each])),
        deleted=tuple(sorted(old.keys() - new.keys())),
    )


def _before(repository: Repository, commit: CommitId | None, path: str) -> CommitId | None:
    """Return the parent of the commit, up to this one, that last changed what is at `path`."""
    found = repository.blob_at(commit, path)
    while commit is not None:
        parents = repository.facts(commit).parents
        same = (parent for parent in parents if repository.blob_at(parent, path) == found)
        unchanged = next(same, None)
        if unchanged is None:
            return parents[0] if parents else None
        commit = unchanged
    return None


def _first_parent(repository: Repository, commit: CommitId | None) -> CommitId | None:
    parents = () if commit is None else repository.facts(commit).parents
    return parents[0] if parents else None


def _document(repository: Repository, session_id: SessionId, revision: Revision) -> Document:
    return read_session(repository.read_blob(revision), session_id=session_id).to_document()


def _sessions_that_may_differ(
    repository: Repository, a: CommitId | None, b: CommitId | None
) -> tuple[dict[SessionId, str], dict[SessionId, str]]:
    """Return the sessions of both commits, without those in folders that both have alike."""
    shards = [_shards(repository, commit) for commit in (a, b)]
    common = set(shards[0].items()) & set(shards[1].items())
    found: tuple[dict[SessionId, str], dict[SessionId, str]] = ({}, {})
    for sessions, folders in zip(found, shards, strict=True):
        for name, tree in folders.items():
            if (name, tree) not in common:
                for entry in repository.entries(tree):
                    path = f"{DIRECTORY}/{name}/{entry.name.decode(errors='replace')}"
                    session_id = None if entry.is_folder else session_id_of(path)
                    if session_id is not None:
                        sessions[session_id] = entry.id
    return found


def _shards(repository: Repository, commit: CommitId | None) -> dict[str, str]:
    """Return the folders of the sessions folder: tree ids by name."""
    top = repository.find(repository.tree(commit), DIRECTORY)
    if top is None or not top.is_folder:
        return {}
    return {
        entry.name.decode(errors="replace"): entry.id
        for entry in repository.entries(top.id)
        if entry.is_folder
    }
