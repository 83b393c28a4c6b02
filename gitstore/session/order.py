"""The order of merged lists: what both sides have in one order that keeps the order within each."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def interleave(
    base: list[str],
    ours: list[str],
    theirs: list[str],
    rank: Callable[[str], tuple[str, str]] | None,
) -> list[str]:
    """Return the keys of both sides in one order that keeps the order within each.

    What both have is the spine, in ours' order unless only theirs changed it. What one side alone
    has follows whatever of the spine it followed there; two such runs at one place are merged by
    rank, or else put one after the other.
    """
    common = set(ours).intersection(theirs)
    our_spine = [key for key in ours if key in common]
    their_spine = [key for key in theirs if key in common]
    shared = common.intersection(base)
    old, our_order, their_order = (
        [key for key in keys if key in shared] for keys in (base, our_spine, their_spine)
    )
    only_theirs_moved = old == our_order != their_order
    runs = _runs(ours, common), _runs(theirs, common)
    order: list[str] = []
    for anchor in [None, *(their_spine if only_theirs_moved else our_spine)]:
        if anchor is not None:
            order.append(anchor)
        first, second = (run.get(anchor, []) for run in runs)
        order += _by_rank(first, second, rank) if rank else [*first, *second]
    return order


def _runs(keys: list[str], common: set[str]) -> dict[str | None, list[str]]:
    """Return the runs of keys outside `common`, by the common key before each."""
    runs: dict[str | None, list[str]] = {}
    anchor = None
    for key in keys:
        if key in common:
            anchor = key
        else:
            runs.setdefault(anchor, []).append(key)
    return runs


def _by_rank(
    first: list[str], second: list[str], rank: Callable[[str], tuple[str, str]]
) -> list[str]:
    """Merge two runs as a merge sort does: by rank, and each in its own order even where unsorted."""
    merged: list[str] = []
    at = 0
    for key in first:
        while at < len(second) and rank(second[at]) < rank(key):
            merged.append(second[at])
            at += 1
        merged.append(key)
    return [*merged, *second[at:]]


def by_content(items: list[object]) -> list[str]:
    """Return keys that are equal for equal items; of equal items in one list the second differs."""
    seen: Counter[str] = Counter()
    keys: list[str] = []
    for item in items:
        # JSON keeps 1, 1.0 and true apart. NUL cannot begin the name of a record.
        text = json.dumps(item, sort_keys=True, default=repr)
        keys.append(f"\0{text}\0{seen[text]}")
        seen[text] += 1
    return keys
