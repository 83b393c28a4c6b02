"""Who last set each turn and each field of a session."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from gitstore.engine.audit import signed_by
from gitstore.engine.pathwalk import revision_of
from gitstore.engine.versions import Versions
from gitstore.errors import SerializationError, SessionNotFoundError
from gitstore.session.ids import path_of
from gitstore.session.merge import same
from gitstore.types import CommitId, Revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from gitstore.git.repository import Repository
    from gitstore.git.trail import RawCommit, Trail
    from gitstore.session.merge import Document
    from gitstore.types import Author, SessionId

_HISTORY: Final = "history"
_TURNS: Final = "turns"
_TURN_PREFIX: Final = f"{_HISTORY}.{_TURNS}["
_BLAMES_KEPT: Final = 32
_SIGNED_KEPT: Final = 1 << 14
#: Ends the name of the second of several turns with one id.
_NUMBERED: Final = "]#2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blamed:
    """One part of a session, and the commit that last set it; `time` is the author's.

    `where` is ``history.turns[ID]`` for a turn, and the name of a top-level field, such as
    ``project_context``, or ``history.compacted``.
    """

    where: str
    commit: CommitId
    author: Author
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """Every turn of a session in order, and every field it has, with who last set it."""

    session_id: SessionId
    revision: Revision
    turns: tuple[Blamed, ...]
    fields: tuple[Blamed, ...]


def blame(repository: Repository, session_id: SessionId, *, at: CommitId | None = None) -> Blame:
    """Return who last set each part of a session, as of a commit or the tip of the branch.

    What a merge took from a parent is the parent's, and of two that have it the first one's, as in
    `git blame`. Costs a look at each commit since the oldest part was set, and at what differs
    between revisions; after that, at what is new.

    Raises:
        SessionNotFoundError: there is no such session there.
        SerializationError: what is there is no session.
        CorruptRepositoryError: an object is missing or damaged.
    """
    commit = at or repository.tip()
    trail = repository.trail(path_of(session_id))
    start = b"" if commit is None else bytes.fromhex(commit)
    revision = None if commit is None else revision_of(trail.look(start)[1])
    if revision is None:
        raise SessionNotFoundError(session_id=session_id, at=at)
    memory = _memory_of(repository)
    known = memory.found.get((session_id, start))
    if known is not None:
        return known[0]
    versions = Versions(repository, session_id)
    parts = _parts(versions.document(revision))
    found = _Walk(trail, versions, memory, session_id).run(start, parts)
    told = _told(repository, memory, session_id, revision, found)
    memory.keep(session_id, start, told, found)
    return told


def _told(
    repository: Repository,
    memory: _Memory,
    session_id: SessionId,
    revision: Revision,
    found: Mapping[str, RawCommit],
) -> Blame:
    """Return what was found with the names and times of the commits."""
    turns: list[Blamed] = []
    fields: list[Blamed] = []
    for where, raw in found.items():
        signed = memory.signed.get(raw)
        if signed is None:
            if len(memory.signed) >= _SIGNED_KEPT:
                memory.signed.clear()
            signed = memory.signed[raw] = signed_by(repository, CommitId(raw.hex()))
        author, time = signed
        into = turns if where.startswith(_TURN_PREFIX) else fields
        into.append(Blamed(where=where, commit=CommitId(raw.hex()), author=author, time=time))
    return Blame(session_id=session_id, revision=revision, turns=tuple(turns), fields=tuple(fields))


def _parts(document: Document | None) -> dict[str, Any]:
    """Return every part that can be blamed, in the order of the file."""
    parts: dict[str, Any] = {}
    for name, value in (document or {}).items():
        if name != _HISTORY:
            parts[name] = value
            continue
        for key, below in value.items():
            if key == _TURNS:
                parts.update((where, turn) for where, turn in _named(below))
            else:
                parts[f"{_HISTORY}.{key}"] = below
    return parts


def _named(turns: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, Any]]:
    """Return the turns by name; of several with one id the later ones are told by a number."""
    met: dict[str, int] = {}
    for turn in turns:
        name = str(turn["id"])
        met[name] = met.get(name, 0) + 1
        yield f"{_TURN_PREFIX}{name}]" + (f"#{met[name]}" if met[name] > 1 else ""), turn


class _Walk:
    """Hands the parts of a session down from commit to parent, as long as the parent has them.

    Each part is with exactly one commit at a time, so that no order of the commits is wrong.
    """

    def __init__(
        self, trail: Trail, versions: Versions, memory: _Memory, session_id: SessionId
    ) -> None:
        self._trail = trail
        self._versions = versions
        self._memory = memory
        self._session_id = session_id
        self._waiting: dict[RawCommit, set[str]] = {}
        self._whole = False

    def run(self, start: RawCommit, parts: Mapping[str, Any]) -> dict[str, RawCommit]:
        """Return the commit that set each part, in the order of the parts."""
        found: dict[str, RawCommit | None] = dict.fromkeys(parts)
        # Turns that share an id are told apart by their number, which needs all of them.
        self._whole = any(where.endswith(_NUMBERED) for where in parts)
        self._waiting = {start: set(parts)}
        while self._waiting:
            commit = self._next()
            here = self._waiting.pop(commit)
            known = self._memory.found.get((self._session_id, commit))
            if known is None:
                found.update(dict.fromkeys(self._hand_down(commit, here), commit))
            else:
                found.update((where, known[1][where]) for where in here)
        return {where: commit for where, commit in found.items() if commit is not None}

    def _next(self) -> RawCommit:
        """Return the newest commit that waits: what reaches it on two ways then comes at once."""
        if len(self._waiting) == 1:
            return next(iter(self._waiting))
        return max(self._waiting, key=self._trail.time)

    def _hand_down(self, commit: RawCommit, here: set[str]) -> set[str]:
        """Give the parents what they have; return what is the commit's own."""
        parents, entry = self._trail.look(commit)
        for parent in parents:
            before = self._trail.look(parent)[1]
            kept = here if before == entry else self._kept(here, entry, before)
            if kept:
                waiting = self._waiting.get(parent)
                self._waiting[parent] = kept if waiting is None else waiting | kept
            if kept is here:
                return set()
            here = here - kept
        return here

    def _kept(self, here: set[str], entry: bytes | None, before: bytes | None) -> set[str]:
        """Return those of some parts that the parent has too, with the same value."""
        old, new = revision_of(before), revision_of(entry)
        if old is None or new is None:
            return set()
        try:
            if self._whole:
                one, two = self._versions.document(old), self._versions.document(new)
            else:
                one, two = self._versions.pair(old, new)
        except SerializationError:
            return set()
        return here - _changed(_parts(one), _parts(two))


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    """Return the parts of `new` that `old` does not have, or has with another value."""
    return {
        where for where, value in new.items() if where not in old or not same(old[where], value)
    }


class _Memory:
    """What was found before in one repository; all of it a function of the commit."""

    def __init__(self) -> None:
        self.found: OrderedDict[
            tuple[SessionId, RawCommit], tuple[Blame, Mapping[str, RawCommit]]
        ] = OrderedDict()
        self.signed: dict[RawCommit, tuple[Author, datetime]] = {}

    def keep(
        self,
        session_id: SessionId,
        commit: RawCommit,
        told: Blame,
        found: Mapping[str, RawCommit],
    ) -> None:
        with _mutex:
            self.found[session_id, commit] = told, found
            while len(self.found) > _BLAMES_KEPT:
                self.found.popitem(last=False)


_memories: WeakKeyDictionary[Repository, _Memory] = WeakKeyDictionary()
_mutex = threading.Lock()


def _memory_of(repository: Repository) -> _Memory:
    with _mutex:
        found = _memories.get(repository)
        if found is None:
            found = _memories[repository] = _Memory()
        return found
