"""Compares plain values, and finds the items of a list again in another."""

from __future__ import annotations

from typing import Any

from gitstore.session.values import Value, is_map


def same(left: Value, right: Value) -> bool:
    """Whether two values are equal, with the same types, whatever order their keys have."""
    kind: object = left.__class__
    if kind is not type(right):
        return False
    if kind is dict:
        return len(left) == len(right) and all(
            name in right and same(value, right[name]) for name, value in left.items()
        )
    if kind is list:
        return len(left) == len(right) and all(map(same, left, right))
    if kind is float:
        return repr(left) == repr(right)  # tells -0.0 from 0.0
    return bool(left == right)


def pair_items(old: list[Any], new: list[Any]) -> list[int | None]:
    """Return for each new item which old one it comes from: by id, else by its place."""
    old_ids, new_ids = _ids(old), _ids(new)
    if old_ids is not None and new_ids is not None:
        return [old_ids.get(name) for name in new_ids]
    shorter = min(len(old), len(new))
    front = 0
    while front < shorter and same(old[front], new[front]):
        front += 1
    back = 0
    while back < shorter - front and same(old[-1 - back], new[-1 - back]):
        back += 1
    sources: list[int | None] = [None] * len(new)
    sources[: shorter - back] = range(shorter - back)
    for index in range(back):
        sources[-1 - index] = len(old) - 1 - index
    return sources


def _ids(items: list[Any]) -> dict[str, int] | None:
    """Return the place of each item by its id, when all have one and no two the same."""
    ids: dict[str, int] = {}
    for index, item in enumerate(items):
        name = item.get("id") if is_map(item) else None
        if type(name) is not str or name in ids:
            return None
        ids[name] = index
    return ids
