"""How large a store is, and what makes it so."""

from __future__ import annotations

import os
from dataclasses import dataclass
from heapq import nlargest
from typing import TYPE_CHECKING, Final

from gitstore.git.location import locate
from gitstore.git.maintain.maintenance import Maintenance
from gitstore.git.maintain.measure import measure, sizes
from gitstore.session.ids import DIRECTORY, session_id_of
from gitstore.types import CommitId

if TYPE_CHECKING:
    from gitstore.git.repository import Repository
    from gitstore.types import Runtime, SessionId

_LARGEST: Final = 10
_GROWTH_DAYS: Final = 30
_DAY_SECONDS: Final = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSize:
    """How many bytes a session's file has now."""

    session_id: SessionId
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What came in the last `days`: commits on the branch's first-parent line, and bytes.

    `bytes` is what all session files have now, less what they had then; histories are not in it.
    """

    days: int
    commits: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """How large a store is. Bytes on disk are what files take there; of sessions, what they hold.

    `garbage` are temporary files that a crash left. `last_problem` is what kept automatic
    maintenance from doing its work the last time, in any process.
    """

    packs: int
    pack_bytes: int
    loose: int
    loose_bytes: int
    garbage: int
    garbage_bytes: int
    cache_bytes: int
    sessions: int
    session_bytes: int
    #: On the first-parent line of the branch.
    commits: int
    growth: Growth
    #: At most ten, the largest first.
    largest: tuple[SessionSize, ...]
    last_problem: str | None = None


def stats(repository: Repository, *, runtime: Runtime) -> Stats:
    """Return how large the store is. Cost: a look at every file of objects, and at every commit."""
    location = locate(repository.path)
    footprint = measure(location)
    tip = repository.tip()
    commits, recent, then = _counted(repository, tip, runtime.clock())
    now, past = _sessions(repository, tip), _sessions(repository, then)
    bytes_of = sizes(location, {*now.values(), *past.values()})
    held = {session_id: bytes_of.get(blob, 0) for session_id, blob in now.items()}
    total = sum(held.values())
    before = sum(bytes_of.get(blob, 0) for blob in past.values())
    largest = nlargest(_LARGEST, held.items(), key=lambda item: (item[1], item[0]))
    work = Maintenance(location, runtime=runtime, lock_timeout_seconds=0)
    return Stats(
        packs=footprint.packs,
        pack_bytes=footprint.pack_bytes,
        loose=footprint.loose,
        loose_bytes=footprint.loose_bytes,
        garbage=footprint.garbage,
        garbage_bytes=footprint.garbage_bytes,
        cache_bytes=footprint.cache_bytes,
        sessions=len(held),
        session_bytes=total,
        commits=commits,
        growth=Growth(days=_GROWTH_DAYS, commits=recent, bytes=total - before),
        largest=tuple(SessionSize(session_id=name, bytes=size) for name, size in largest),
        last_problem=work.noted(),
    )


def _counted(
    repository: Repository, tip: CommitId | None, now: float
) -> tuple[int, int, CommitId | None]:
    """Return how many commits there are, how many are recent, and the last one that is not."""
    since = now - _GROWTH_DAYS * _DAY_SECONDS
    commits = recent = 0
    then: CommitId | None = None
    at = None if tip is None else bytes.fromhex(tip)
    while at is not None:
        parent, time = repository.first_parent(at)
        commits += 1
        if then is None and time >= since:
            recent += 1
        elif then is None:
            then = CommitId(at.hex())
        at = parent
    return commits, recent, then


def _sessions(repository: Repository, commit: CommitId | None) -> dict[SessionId, str]:
    """Return the blob of every session of a commit."""
    top = repository.find(repository.tree(commit), DIRECTORY)
    found: dict[SessionId, str] = {}
    for shard in [] if top is None or not top.is_folder else repository.entries(top.id):
        for entry in repository.entries(shard.id) if shard.is_folder else ():
            path = f"{DIRECTORY}/{os.fsdecode(shard.name)}/{os.fsdecode(entry.name)}"
            session_id = session_id_of(path)
            if session_id is not None:
                found[session_id] = entry.id
    return found
