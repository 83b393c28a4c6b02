"""Which commits one side lacks: a walk that ends where what is known begins, over a lookup."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

#: Parents and time of a commit, by the 20 bytes of its id; None if we do not have it.
LookUp: TypeAlias = "Callable[[bytes], tuple[tuple[bytes, ...], int] | None]"

#: Before all that is ordered by time, newest first.
_FIRST: Final = -(1 << 62)


def commits_beyond(
    tip: bytes, known: Collection[bytes], look: LookUp, *, missing: Callable[[bytes], Exception]
) -> list[bytes]:
    """Return the commits reachable from `tip` and from none of `known`, parents before children.

    Two walks take turns, one from the tip and one from what is known, so that whichever is shorter
    ends both: the cost is that of what lies on this side of the point where they meet, whatever
    the clocks say, and nothing but a test of membership when a known commit is met right away.
    Only where the tip has a root that is not known, the other walk goes on to its end. The answer
    may hold some known commits too many. What is known and cannot be looked up counts as known, and
    leads no further.

    Raises:
        Exception: `missing` says which, for a commit that is reachable and cannot be looked up.
    """
    walk = _Meeting(known, look)
    ahead: list[tuple[int, bytes]] = [(_FIRST, tip)]
    while ahead or walk.may_reach_a_root():
        if ahead:
            _, commit = heapq.heappop(ahead)
            if commit not in walk.ours and commit not in walk.found:
                facts = look(commit)
                if facts is None:
                    raise missing(commit)
                walk.find(commit, facts[0])
                for parent in facts[0]:
                    heapq.heappush(ahead, (-facts[1], parent))
        if ahead or walk.unknown_roots:
            walk.step()
    return walk.parents_first(tip)


class _Meeting:
    """The walk from what is known, and what the other one has found so far."""

    def __init__(self, known: Collection[bytes], look: LookUp) -> None:
        self.ours = set(known)
        self.found: dict[bytes, tuple[bytes, ...]] = {}
        self.unknown_roots = 0
        self._look = look
        self._behind: list[tuple[int, bytes]] = [(_FIRST, commit) for commit in self.ours]

    def may_reach_a_root(self) -> bool:
        """Whether a root that was found may still turn out to be known."""
        return bool(self.unknown_roots and self._behind)

    def find(self, commit: bytes, parents: tuple[bytes, ...]) -> None:
        """Note a commit that is not known, so far."""
        self.found[commit] = parents
        self.unknown_roots += not parents

    def step(self) -> None:
        """Mark the parents of the newest known commit."""
        if not self._behind:
            return
        _, commit = heapq.heappop(self._behind)
        facts = self._look(commit)
        todo = [] if facts is None else list(facts[0])
        while facts is not None and todo:
            commit = todo.pop()
            if commit not in self.ours:
                self.ours.add(commit)
                parents = self.found.get(commit)
                if parents is None:
                    heapq.heappush(self._behind, (-facts[1], commit))
                else:
                    # Down to where the other walk is now.
                    self.unknown_roots -= not parents
                    todo.extend(parents)

    def parents_first(self, tip: bytes) -> list[bytes]:
        """Return what was found and is not known, each commit behind its parents."""
        ordered: list[bytes] = []
        done = self.ours.copy()
        todo = [tip]
        while todo:
            commit = todo[-1]
            waiting = () if commit in done else [p for p in self.found[commit] if p not in done]
            if waiting:
                todo += waiting
                continue
            todo.pop()
            if commit not in done:
                done.add(commit)
                ordered.append(commit)
        return ordered
