"""The history of sessions, from git's."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from gitstore.engine.pathwalk import FOLDER, revision_of, walk
from gitstore.engine.versions import Versions
from gitstore.errors import NaiveTimeError, SerializationError
from gitstore.git.graph import SKEW_MAX
from gitstore.git.trail import ID_BYTES
from gitstore.session.diff import diff_documents
from gitstore.session.ids import DIRECTORY, path_of, session_id_of
from gitstore.session.message import parse
from gitstore.types import Author, Change, CommitId, SignatureState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gitstore.engine.pathwalk import Step
    from gitstore.git.repository import Repository
    from gitstore.git.signing import Checker
    from gitstore.types import Revision, SessionId

#: Of a commit that changed more sessions than this only the first are described.
_DESCRIBED_MAX: Final = 3
_VERSIONS_KEPT: Final = 256
_FOLDERS_KEPT: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def history(  # noqa: PLR0913 -- each filter has a default; keyword-only
    repository: Repository,
    session_id: SessionId | None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    author: str | None = None,
    operation: str | None = None,
    limit: int | None = None,
    reverse: bool = False,
    checker: Checker | None = None,
) -> list[Change]:
    """Return the commits that changed a session, or any session, newest first.

    The same commits as `git log -- PATH`. Those made from `since` to `until` (both included; commit
    time, as in git), by an `author` whose name or mail contains this text in any case, of this
    `operation`; at most `limit` of them. `reverse` turns round what is left, as git does.
    With `checker` every signature is checked, about 12 ms each; without, whether there is one is told.

    Raises:
        NaiveTimeError: `since` or `until` has no time zone.
        CorruptRepositoryError: a commit or a tree is missing or damaged.
    """
    for moment in (since, until):
        if moment is not None and moment.tzinfo is None:
            raise NaiveTimeError(path=repository.path, at=moment)
    wanted = _Filter(since=since, until=until, author=author, operation=operation)
    teller = _Teller(repository, session_id, checker)
    path = DIRECTORY if session_id is None else path_of(session_id)
    with closing(walk(repository, path)) as steps:
        found = [*islice(_filtered(teller, steps, wanted), limit)]
    # Told when it is known which are returned, and in order: neighbours share what is read.
    changes = [teller.change(step, commit) for step, commit in found]
    return changes[::-1] if reverse else changes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filter:
    since: datetime | None
    until: datetime | None
    author: str | None
    operation: str | None


def _filtered(
    teller: _Teller, steps: Iterator[Step], wanted: _Filter
) -> Iterator[tuple[Step, _Commit]]:
    sought = None if wanted.author is None else wanted.author.casefold()
    for step in steps:
        commit = teller.commit(step)
        if wanted.since is not None and commit.committed < wanted.since:
            # Older commits may still wait, made where clocks were ahead; not by more than a day.
            if commit.committed < wanted.since - timedelta(seconds=SKEW_MAX):
                return
            continue
        if wanted.until is not None and commit.committed > wanted.until:
            continue
        if sought is not None and not any(
            sought in text.casefold() for text in (commit.author.name, commit.author.email)
        ):
            continue
        if wanted.operation is None or teller.operation(step, commit) == wanted.operation:
            yield step, commit


@dataclass(frozen=True, slots=True, kw_only=True)
class _Commit:
    """What a commit says of itself."""

    author: Author
    time: datetime
    committed: datetime
    message: str
    is_signed: bool


class _Teller:
    """Puts the changes of one history into words."""

    def __init__(
        self, repository: Repository, session_id: SessionId | None, checker: Checker | None
    ) -> None:
        self._repository = repository
        self._session_id = session_id
        self._checker = checker
        self._versions: dict[SessionId, Versions] = {}
        self._changed: tuple[Step, dict[SessionId, tuple[Revision | None, Revision | None]]] | None
        self._changed = None
        self._folders: dict[bytes, dict[bytes, bytes]] = {}

    def commit(self, step: Step) -> _Commit:
        """Return what the commit of a step says of itself."""
        headers = self._repository.commit(CommitId(step.commit.hex()))
        author, time = _signed(headers.get("author", headers["committer"])[0])
        return _Commit(
            author=author,
            time=time,
            committed=_signed(headers["committer"][0])[1],
            message=headers[""][0],
            is_signed="gpgsig" in headers,
        )

    def signature(self, step: Step, commit: _Commit) -> SignatureState:
        """Return what is known of the signature of a commit."""
        if not commit.is_signed:
            return SignatureState.UNSIGNED
        if self._checker is None:
            return SignatureState.UNCHECKED
        return self._checker.check(self._repository.commit_data(CommitId(step.commit.hex()))).state

    def operation(self, step: Step, commit: _Commit) -> str:
        """Return what the trailer calls the change, or what it looks like."""
        said = parse(commit.message).operation
        if said is not None:
            return said
        if len(step.parents) > 1:
            return "merge"
        pairs: list[tuple[object, object]]
        if self._session_id is None:
            pairs = [*self._sessions(step).values()]
        else:
            pairs = [(step.before[0] if step.before else None, step.entry)]
        if pairs and all(old is None for old, _ in pairs):
            return "create"
        return "delete" if pairs and all(new is None for _, new in pairs) else "update"

    def change(self, step: Step, commit: _Commit) -> Change:
        """Return a step as a change."""
        said = parse(commit.message)
        revision = None if self._session_id is None else revision_of(step.entry)
        if self._session_id is None:
            told = self._sessions(step)
            summary = self._store_summary(step, told)
        else:
            old = revision_of(step.before[0]) if step.before else None
            told = {self._session_id: (old, revision)}
            summary = self._summary(self._session_id, old, revision)
        return Change(
            commit=CommitId(step.commit.hex()),
            session_id=said.session_id,
            revision=revision,
            operation=self.operation(step, commit),
            author=commit.author,
            actor=said.actor,
            time=commit.time,
            signature=self.signature(step, commit),
            subject=said.subject,
            parents=tuple(CommitId(parent.hex()) for parent in step.parents),
            summary=summary,
            sessions=tuple(told),
        )

    def _store_summary(
        self, step: Step, told: Mapping[SessionId, tuple[Revision | None, Revision | None]]
    ) -> str:
        if not told:
            return "merged" if len(step.parents) > 1 else "no session changed"
        parts = [
            f"{name}: {self._summary(name, old, new)}"
            for name, (old, new) in islice(told.items(), _DESCRIBED_MAX)
        ]
        if len(told) > _DESCRIBED_MAX:
            parts.append(f"and {len(told) - _DESCRIBED_MAX} more")
        return "; ".join(parts)

    def _summary(self, session_id: SessionId, old: Revision | None, new: Revision | None) -> str:
        if new is None:
            return "deleted"
        versions = self._versions.get(session_id)
        if versions is None:
            if len(self._versions) >= _VERSIONS_KEPT:
                self._versions.clear()
            versions = self._versions[session_id] = Versions(self._repository, session_id)
        try:
            before, after = versions.pair(old, new)
        except SerializationError:
            return "created, not readable" if old is None else "changed, not readable"
        return diff_documents(before, after, session_id=session_id).summary

    def _sessions(self, step: Step) -> dict[SessionId, tuple[Revision | None, Revision | None]]:
        """Return the sessions whose content no parent had: before, in the first parent, and after."""
        if self._changed is not None and self._changed[0] is step:
            return self._changed[1]
        found: dict[SessionId, tuple[Revision | None, Revision | None]] = {}
        changed = [self._paths(before, step.entry) for before in step.before or (None,)]
        for path, pair in changed[0].items():
            session_id = session_id_of(path)
            if session_id is not None and all(path in others for others in changed[1:]):
                found[session_id] = pair
        found = dict(sorted(found.items()))
        self._changed = step, found
        return found

    def _paths(
        self, old: bytes | None, new: bytes | None
    ) -> dict[str, tuple[Revision | None, Revision | None]]:
        """Return the files that differ between two trees of the sessions folder, by path."""
        found: dict[str, tuple[Revision | None, Revision | None]] = {}
        shards, others = self._entries(old), self._entries(new)
        for shard in _differing(shards, others):
            before, after = self._entries(shards.get(shard)), self._entries(others.get(shard))
            for name in _differing(before, after):
                path = f"{DIRECTORY}/{os.fsdecode(shard)}/{os.fsdecode(name)}"
                found[path] = revision_of(before.get(name)), revision_of(after.get(name))
        return found

    def _entries(self, folder: bytes | None) -> dict[bytes, bytes]:
        if folder is None or not folder.startswith(FOLDER):
            return {}
        found = self._folders.get(folder)
        if found is None:
            found = self._repository.raw_entries(folder[-ID_BYTES:].hex())
            if len(self._folders) >= _FOLDERS_KEPT:
                self._folders.clear()
            self._folders[folder] = found
        return found


def _differing(one: Mapping[bytes, bytes], two: Mapping[bytes, bytes]) -> list[bytes]:
    """Return the names whose entries differ, sorted."""
    return sorted({name for name, _ in one.items() ^ two.items()})


def signed_by(repository: Repository, commit: CommitId) -> tuple[Author, datetime]:
    """Return who a commit is by, and when they made it."""
    headers = repository.commit(commit)
    return _signed(headers.get("author", headers["committer"])[0])


def _signed(line: str) -> tuple[Author, datetime]:
    """Return who and when of an author or committer line; 1970 where it has no time."""
    who, _, when = line.rpartition("> ")
    name, _, email = who.rpartition(" <")
    seconds = when.partition(" ")[0]
    try:
        time = _EPOCH + timedelta(seconds=int(seconds))
    except (ValueError, OverflowError):
        time = _EPOCH
    return Author(name=name, email=email), time
