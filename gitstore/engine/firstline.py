"""The first-parent line of a branch, kept in memory, so that a time is found without walking."""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from gitstore.git.trail import ID_BYTES
from gitstore.types import CommitId

if TYPE_CHECKING:
    from gitstore.git.repository import Repository
    from gitstore.git.trail import RawCommit

#: Commits: further back than this a tip is looked for in all of the line, not only at its end.
_NEAR: Final = 256


class FirstLine:
    """The commits from the first one to a tip, and their times. Safe to share between threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._ids = bytearray()
        self._times = array("q")
        #: For each commit, the earliest time of it and all that follow. It never falls, so the last
        #: place where it is not after a time is the last commit that is not after it.
        self._earliest = array("q")

    def as_of(self, repository: Repository, tip: CommitId, time: int) -> CommitId | None:
        """Return the last commit up to `tip` that is not after `time`; None if there is none.

        Costs a look at each commit that is new on the line, and a few comparisons.
        """
        with self._mutex:
            self._follow(repository, bytes.fromhex(tip))
            place = bisect_right(self._earliest, time) - 1
            return None if place < 0 else CommitId(self._at(place).hex())

    def first_time(self, repository: Repository, tip: CommitId) -> int:
        """Return the time of the first commit of the line."""
        with self._mutex:
            self._follow(repository, bytes.fromhex(tip))
            return self._times[0]

    def _at(self, place: int) -> RawCommit:
        return bytes(self._ids[place * ID_BYTES : (place + 1) * ID_BYTES])

    def _follow(self, repository: Repository, tip: RawCommit) -> None:
        """Bring the line up to a tip."""
        fresh: list[tuple[RawCommit, int]] = []
        places: dict[RawCommit, int] | None = None
        newest = self._at(len(self._times) - 1) if self._times else None
        commit: RawCommit | None = tip
        keep = 0
        while commit is not None:
            if commit == newest:
                keep = len(self._times)
                break
            if len(fresh) == _NEAR:
                places = {self._at(place): place for place in range(len(self._times))}
            if places is not None and commit in places:
                keep = places[commit] + 1
                break
            parent, time = repository.first_parent(commit)
            fresh.append((commit, time))
            commit = parent
        if keep < len(self._times):
            del self._ids[keep * ID_BYTES :], self._times[keep:]
            self._earliest = array("q", accumulate(reversed(self._times), min))
            self._earliest.reverse()
        for commit, time in reversed(fresh):
            self._ids += commit
            self._times.append(time)
            self._earliest.append(time)
            self._settle(len(self._times) - 1)

    def _settle(self, place: int) -> None:
        """Carry the time at a place back to what precedes it, as far as that is later."""
        earliest = self._earliest
        while place > 0 and earliest[place - 1] > earliest[place]:
            earliest[place - 1] = earliest[place]
            place -= 1


_lines: WeakKeyDictionary[Repository, FirstLine] = WeakKeyDictionary()
_mutex = threading.Lock()


def first_line_of(repository: Repository) -> FirstLine:
    """Return the line of a repository's branch, one for as long as it is open."""
    with _mutex:
        found = _lines.get(repository)
        if found is None:
            found = _lines[repository] = FirstLine()
        return found
