"""The commits that changed a path: the walk that `git log -- PATH` makes, and what shortens it.

git leaves out a side of a merge that did not matter (git-log(1), "History Simplification"): at a
commit that holds the path as one of its parents does, it goes on to that parent alone.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from gitstore.engine.historycache import Walk, cache_of
from gitstore.errors import CorruptRepositoryError
from gitstore.git.trail import ID_BYTES
from gitstore.session.ids import DIRECTORY
from gitstore.types import Revision

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from gitstore.engine.historycache import HistoryCache
    from gitstore.git.repository import Repository
    from gitstore.git.trail import RawCommit, Trail

#: Begins the entry of a folder.
FOLDER: Final = b"40000 "
#: A walk that looked at fewer commits is as quickly made again as read from a file.
_WORTH_STORING: Final = 200


class Step(NamedTuple):
    """A commit that changed the path, and what its parents and it hold there (None: nothing)."""

    commit: RawCommit
    parents: tuple[RawCommit, ...]
    entry: bytes | None
    before: tuple[bytes | None, ...]


def walk(repository: Repository, path: str) -> Generator[Step]:
    """Return the commits that changed a path, newest first.

    Costs a look at each commit of history, about twenty microseconds; at those since the last walk
    of this path, if there was one. What was walked is kept when the iterator is closed.
    """
    tip = repository.tip()
    if tip is None:
        return
    cache = cache_of(repository)
    walker = _Walker(repository.trail(path), bytes.fromhex(tip))
    # All of it in one file would be as large as history, and gain little: most commits change it.
    stored = path != DIRECTORY
    shortcut = cache.known(path)
    if shortcut is None and stored:
        shortcut = _checked(walker.trail, cache, path)
    try:
        for commit in walker.run(shortcut):
            yield _step(walker.trail, commit)
    finally:
        found = walker.so_far()
        if found is not None and found != cache.known(path):
            cache.keep(path, found, store=stored and walker.looked >= _WORTH_STORING)


def agrees(repository: Repository, path: str, kept: Walk) -> bool:
    """Whether a walk that was kept is the one that the repository gives, made anew."""
    walker = _Walker(repository.trail(path), kept.tip)
    try:
        rows = tuple(islice(walker.run(None), len(kept.rows) + (kept.rest is None)))
    except CorruptRepositoryError:
        return False
    return rows == kept.rows


def revision_of(entry: bytes | None) -> Revision | None:
    """Return the revision that an entry of a tree names; None for nothing, or a folder."""
    if entry is None or entry.startswith(FOLDER):
        return None
    return Revision(entry[-ID_BYTES:].hex())


def _step(trail: Trail, commit: RawCommit) -> Step:
    parents, entry = trail.look(commit)
    return Step(commit, parents, entry, tuple(trail.look(parent)[1] for parent in parents))


class _Walker:
    """One walk: what waits, what was found, and where it could be taken up again."""

    def __init__(self, trail: Trail, tip: RawCommit) -> None:
        self.trail = trail
        self.looked = 0
        self._tip = tip
        self._seen = {tip}
        #: Newest first; of equal times the one that came first.
        self._waiting: list[tuple[int, int, RawCommit]] = []
        #: The only commit that waits: it needs no time, and no place in a queue.
        self._alone: RawCommit | None = tip
        self._queued = 0
        self._rows: list[RawCommit] = []

    def run(self, shortcut: Walk | None) -> Iterator[RawCommit]:
        """Return the commits that changed the path; `shortcut` is a walk from an older tip."""
        while True:
            if self._alone is None and not self._waiting:
                return
            if self._alone is None and len(self._waiting) == 1:
                self._alone = self._waiting.pop()[2]
            if self._alone is not None:
                self._alone = self._skip(self._alone, None if shortcut is None else shortcut.tip)
            if self._alone is None:
                commit = heappop(self._waiting)[2]
            elif shortcut is not None and self._alone == shortcut.tip:
                rows, shortcut = self._take(shortcut), None
                yield from rows
                continue
            else:
                commit, self._alone = self._alone, None
            if self._pass(commit):
                self._rows.append(commit)
                yield commit

    def so_far(self) -> Walk | None:
        """Return what was found, if it can be kept: when at most one commit waits."""
        if self._waiting:
            return None
        return Walk(tip=self._tip, rows=tuple(self._rows), rest=self._alone)

    def _take(self, shortcut: Walk) -> list[RawCommit]:
        """Go on where an older walk stopped, with all that it had found."""
        # All of it is in the past of the one commit that waits. Something of it was met before only
        # where clocks disagree; then it was returned before, too.
        rows = [row for row in shortcut.rows if row == shortcut.tip or row not in self._seen]
        self._rows += rows
        self._seen.update(rows)
        self._alone = shortcut.rest
        if shortcut.rest is not None:
            self._seen.add(shortcut.rest)
        return rows

    def _skip(self, commit: RawCommit, stop: RawCommit | None) -> RawCommit:
        """Return the next commit on a line of single parents that is worth a look.

        Nearly all of history is passed by here. Nothing leads back to it, so that none of it need
        be remembered.
        """
        look, seen, looked = self.trail.look, self._seen, 0
        parents, entry = look(commit)
        while len(parents) == 1 and commit != stop:
            (parent,) = parents
            following, before = look(parent)
            if before != entry or parent in seen:
                break
            commit, parents = parent, following
            looked += 1
        self.looked += looked
        return commit

    def _pass(self, commit: RawCommit) -> bool:
        """Queue the parents that matter; return whether the commit changed the path."""
        look = self.trail.look
        self.looked += 1
        parents, entry = look(commit)
        same = next((parent for parent in parents if look(parent)[1] == entry), None)
        following = parents if same is None else (same,)
        fresh = [parent for parent in dict.fromkeys(following) if parent not in self._seen]
        self._seen.update(fresh)
        if len(fresh) == 1 and not self._waiting:
            self._alone = fresh[0]
        else:
            for parent in fresh:
                self._queued += 1
                heappush(self._waiting, (-self.trail.time(parent), self._queued, parent))
        return same is None and (bool(parents) or entry is not None)


def _checked(trail: Trail, cache: HistoryCache, path: str) -> Walk | None:
    """Return the walk in the file, if the repository bears it out.

    Each row must be a change, and must find at its parent what the next row left there.
    """
    found = cache.stored(path)
    if found is None:
        return None
    try:
        steps = [_step(trail, row) for row in found.rows]
    except CorruptRepositoryError:
        steps = []
    changed = all(
        step.entry not in step.before and (step.parents or step.entry is not None) for step in steps
    )
    if len(steps) == len(found.rows) and changed and _is_unbroken(trail, found, steps):
        return found
    cache.forget()
    return None


def _is_unbroken(trail: Trail, found: Walk, steps: list[Step]) -> bool:
    """Whether what one row leaves is what the newer row changed, all the way down."""
    try:
        now = trail.look(found.tip)[1]
        rest = None if found.rest is None else trail.look(found.rest)[1]
    except CorruptRepositoryError:
        return False
    for step in steps:
        if step.entry != now:
            return False
        if len(step.before) > 1:
            return True  # its sides are told in turns
        now = step.before[0] if step.before else None
    return now == rest
