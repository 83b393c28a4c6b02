"""In which order objects are packed: versions of one path next to each other, the newest first."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

from gitstore.git.maintain.sources import BLOB, COMMIT, TAG, TREE, UnreadableError
from gitstore.git.trail import time_of, tree_and_parents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gitstore.git.maintain.sources import Stored

_ENTRY: Final = re.compile(rb"[0-7]+ ([^\0]+)\0(.{20})", re.DOTALL)
#: Bytes of trees that are kept to be compared with older ones.
_NEWEST_BYTES_MAX: Final = 16 << 20


@dataclass(slots=True)
class Order:
    """What is packed one after another; every object is in one place."""

    #: Children before parents.
    commits: list[bytes] = field(default_factory=list[bytes])
    #: By path, newest first: trees, then files.
    trees: list[list[bytes]] = field(default_factory=list[list[bytes]])
    blobs: list[list[bytes]] = field(default_factory=list[list[bytes]])
    #: What no commit among these objects leads to.
    others: list[bytes] = field(default_factory=list[bytes])


def ordered(stored: Mapping[bytes, Stored], read: Callable[[bytes], bytes]) -> Order:
    """Return the order in which these objects are packed.

    Looks at the commits among them, and at their trees, each once: the cost follows what is there,
    not the length of the history.
    """
    roots: dict[bytes, bytes] = {}
    parents: dict[bytes, tuple[bytes, ...]] = {}
    times: dict[bytes, int] = {}
    for name, each in stored.items():
        if each.kind == COMMIT:
            data = read(name)
            try:
                roots[name], parents[name] = tree_and_parents(data)
            except ValueError as error:
                raise UnreadableError(name.hex(), error) from error
            times[name] = time_of(data)
    commits = _children_first(parents, times)
    left = {name for name, each in stored.items() if each.kind in (TREE, BLOB)}
    trees: defaultdict[bytes, list[bytes]] = defaultdict(list)
    blobs: defaultdict[bytes, list[bytes]] = defaultdict(list)
    versions = _Versions()
    for commit in commits:
        todo = [(roots[commit], b"")]
        while todo:
            name, path = todo.pop()
            if name not in left:
                continue
            left.discard(name)
            if stored[name].kind == BLOB:
                blobs[path].append(name)
                continue
            trees[path].append(name)
            todo += [
                (child, b"%s/%s" % (path, part))
                for part, child in versions.entries(path, read(name))
                if child in left
            ]
    # Tags, and what belongs to commits that are packed elsewhere, or to none.
    others = [name for name, each in stored.items() if name in left or each.kind == TAG]
    return Order(commits, [*trees.values()], [*blobs.values()], others)


class _Versions:
    """The trees of each path, newest first: of all but the newest, only what differs is looked at.

    What a tree has in common with one that was looked at before leads nowhere anew: children that
    were left then have been visited since.
    """

    def __init__(self) -> None:
        #: By path: the last tree, and, from the second on, where its entries begin and end.
        self._last: dict[bytes, tuple[bytes, list[int]]] = {}
        self._bytes = 0

    def entries(self, path: bytes, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return name and id of the entries of a tree that the version before it did not have."""
        before, borders = self._last.get(path, (None, list[int]()))
        self._bytes += len(data) - len(before or b"")
        if self._bytes > _NEWEST_BYTES_MAX:
            self._last.clear()
            self._bytes = len(data)
        if before is not None:
            borders = borders or _borders(before, 0, len(before)) or []
            found = _new_entries(before, borders, data) if borders else None
            if found is not None:
                self._last[path] = data, borders
                return found
        self._last[path] = data, []
        return _ENTRY.findall(data)


def _new_entries(
    before: bytes, borders: list[int], data: bytes
) -> list[tuple[bytes, bytes]] | None:
    """Return the entries between what two trees begin and end with, and bring the borders up to date.

    None if that cannot be told: what lies between must be whole entries, up to where the common end
    begins, since an id may hold any bytes and look like a border.
    """
    shift = len(data) - len(before)
    first, above = 0, len(borders)
    while above - first > 1:
        middle = (first + above) // 2
        part = slice(borders[first], borders[middle])
        first, above = (middle, above) if before[part] == data[part] else (first, middle)
    # The end must not reach into the beginning, in neither of them.
    low = borders[first]
    last, below = len(borders) - 1, first - 1
    while last - below > 1:
        middle = (last + below) // 2
        start, stop = borders[middle], borders[last]
        is_same = start + shift >= low and before[start:stop] == data[start + shift : stop + shift]
        last, below = (middle, below) if is_same else (last, middle)
    stop = borders[last] + shift
    between = _borders(data, low, stop)
    if between is None:
        return None
    if shift:
        borders[last + 1 :] = [each + shift for each in borders[last + 1 :]]
    borders[first : last + 1] = between
    return _ENTRY.findall(data, low, stop)


def _borders(data: bytes, start: int, stop: int) -> list[int] | None:
    """Return where entries begin and end; None if there is anything but whole entries."""
    found = [start]
    for each in _ENTRY.finditer(data, start, stop):
        if each.start() != found[-1]:
            return None
        found.append(each.end())
    return found if found[-1] == stop else None


def _children_first(
    parents: Mapping[bytes, tuple[bytes, ...]], times: Mapping[bytes, int]
) -> list[bytes]:
    """Return commits, latest first where ancestry leaves it open; times alone cannot be trusted."""
    waiting = dict.fromkeys(parents, 0)
    for above in parents.values():
        for parent in above:
            if parent in waiting:
                waiting[parent] += 1
    ready = [(-times[name], name) for name, children in waiting.items() if not children]
    heapify(ready)
    found: list[bytes] = []
    while ready:
        _, name = heappop(ready)
        found.append(name)
        for parent in parents[name]:
            if parent in waiting:
                waiting[parent] -= 1
                if not waiting[parent]:
                    heappush(ready, (-times[parent], parent))
    return found
