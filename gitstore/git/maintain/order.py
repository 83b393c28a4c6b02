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

_entries: Final = re.compile(rb"[0-7]+ ([^\0]+)\0(.{20})", re.DOTALL).findall


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
                for part, child in _entries(read(name))
                if child in left
            ]
    # Tags, and what belongs to commits that are packed elsewhere, or to none.
    others = [name for name, each in stored.items() if name in left or each.kind == TAG]
    return Order(commits, [*trees.values()], [*blobs.values()], others)


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
