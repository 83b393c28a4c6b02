"""Questions about the commit graph, answered over a lookup: no repository needed."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from gitstore.types import CommitId

#: Seconds by which the clocks behind two commit times may disagree.
SKEW_MAX: Final = 86_400

_LOCAL: Final = 1
_REMOTE: Final = 2
_BOTH: Final = _LOCAL | _REMOTE


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitFacts:
    """What the graph needs of one commit; `time` is its commit time, in seconds since 1970."""

    parents: tuple[CommitId, ...]
    time: int


Lookup: TypeAlias = Callable[[CommitId], CommitFacts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """How two commits stand to each other.

    `ahead` and `behind` count the commits that only the local and only the remote side has.
    `bases` are the best common ancestors: no other common ancestor descends from them.
    """

    ahead: int
    behind: int
    bases: tuple[CommitId, ...]


def compare(local: CommitId | None, remote: CommitId | None, lookup: Lookup) -> Divergence:
    """Count what each side lacks of the other and find the merge bases, in one walk.

    None is a side without commits. Every commit is looked up at most once, and when times are
    sane only what is ahead, behind, and a little of what is shared. The answer is exact if clocks
    disagree by at most `SKEW_MAX`. If they disagree by more it is exact too when the walk ends
    because the shared history narrows to one commit, or meets a commit that is older than its
    parent by more than that.
    """
    walk = _Walk(lookup)
    for tip, colour in ((local, _LOCAL), (remote, _REMOTE)):
        if tip is not None:
            walk.mark(tip, colour)
    while walk.is_open():
        walk.step()
    counts = list(walk.colours.values())
    return Divergence(
        ahead=counts.count(_LOCAL), behind=counts.count(_REMOTE), bases=tuple(walk.bases())
    )


def is_ancestor(a: CommitId, b: CommitId, lookup: Lookup) -> bool:
    """Tell whether `b` is `a` or descends from it; as exact, and as cheap, as `compare`."""
    return compare(a, b, lookup).ahead == 0


def as_of(tip: CommitId, time: int, lookup: Lookup) -> CommitId | None:
    """Return the last commit on the first-parent line whose time is not after `time`.

    None if the line begins later. Looks up every commit from the tip to the answer.
    """
    commit: CommitId | None = tip
    while commit is not None:
        facts = lookup(commit)
        if facts.time <= time:
            return commit
        commit = facts.parents[0] if facts.parents else None
    return None


class _Walk:
    """Paints commits in the colours of the tips that reach them, newest first.

    A commit waits in the queue until its parents are painted. When a commit that no longer waits
    gets its second colour, so does at once everything below it up to the queue: else the paint
    could run after the queue, without ever reaching it, through a history of equal times.

    What is asked is about the *subjects*: the commits of one colour, and those of both colours
    that no commit of both descends from (the bases). Once only commits of both colours wait, the
    answer is wrong only if a subject is reached from one of them by a path not yet walked. The
    walk ends when that cannot be:

    1. One commit waits, and no path ended at a root. Every path walked so far then leads to that
       commit: all subjects are its descendants, and none can be its ancestor too.
    2. All that wait are older than every subject, by more than clocks disagree. Not used once a
       commit was met that is older than its parent by more than that.
    """

    def __init__(self, lookup: Lookup) -> None:
        self.colours: dict[CommitId, int] = {}
        self._lookup = lookup
        self._facts: dict[CommitId, CommitFacts] = {}
        # Newest first; of equal times the one that came first, so that both sides advance.
        self._queue: list[tuple[int, int, CommitId]] = []
        self._waiting: set[CommitId] = set()
        self._one_coloured = 0  # how many of those that wait
        self._met_root = False
        self._times_hold = True
        self._below_common: set[CommitId] = set()
        # Oldest first, with some that are no subjects any more. None becomes one later.
        self._subjects: list[tuple[int, CommitId]] = []

    def mark(self, commit: CommitId, colours: int) -> None:
        """Paint a commit in these colours, and all below it that was painted before."""
        todo = [(commit, colours)]
        while todo:
            commit, colours = todo.pop()
            if colours == _BOTH:
                self._below_common.add(commit)
            before = self.colours.get(commit, 0)
            after = before | colours
            if after == before:
                continue
            self.colours[commit] = after
            if not before:
                self._meet(commit)
            elif commit in self._waiting:
                self._one_coloured -= 1  # what is painted again has both
            else:
                todo.extend((parent, after) for parent in self._facts[commit].parents)

    def step(self) -> None:
        """Paint the parents of the newest commit that waits."""
        _, _, commit = heapq.heappop(self._queue)
        self._waiting.remove(commit)
        colours = self.colours[commit]
        self._one_coloured -= colours != _BOTH
        facts = self._facts[commit]
        self._met_root = self._met_root or not facts.parents
        for parent in facts.parents:
            self.mark(parent, colours)
            if self._facts[parent].time > facts.time + SKEW_MAX:
                self._times_hold = False

    def is_open(self) -> bool:
        """Tell whether the commits that wait could still change the answer."""
        if self._one_coloured or not self._queue:
            return bool(self._queue)
        if len(self._queue) == 1 and not self._met_root:
            return False
        if not self._times_hold:
            return True
        while not self._is_subject(self._subjects[0][1]):
            heapq.heappop(self._subjects)
        newest = -self._queue[0][0]
        return newest >= self._subjects[0][0] - SKEW_MAX

    def bases(self) -> list[CommitId]:
        """Return the common commits that no common commit descends from, newest first."""
        found = [
            c for c, colours in self.colours.items() if colours == _BOTH and self._is_subject(c)
        ]
        return sorted(found, key=lambda commit: (-self._facts[commit].time, commit))

    def _meet(self, commit: CommitId) -> None:
        facts = self._facts[commit] = self._lookup(commit)
        heapq.heappush(self._queue, (-facts.time, len(self._facts), commit))
        self._waiting.add(commit)
        self._one_coloured += self.colours[commit] != _BOTH
        if self._is_subject(commit):
            heapq.heappush(self._subjects, (facts.time, commit))

    def _is_subject(self, commit: CommitId) -> bool:
        return self.colours[commit] != _BOTH or commit not in self._below_common
