"""Free-form values (what JSON can say), copied plain, and what is said when a value is refused."""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Iterable

#: A value of any type at all, before it is checked.
Value: TypeAlias = Any

#: How deep lists and maps may stand in each other in one free-form value.
DEPTH_MAX: Final = 128

_SCALARS: Final = frozenset({str, int, float, bool, NoneType})


class RefusedError(ValueError):
    """A value cannot be stored; the callers on the way out add `where`. Never leaves this layer."""

    def __init__(self, problem: str, *, where: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.where = where

    def inside(self, step: str | int) -> Self:
        """Return self, seen from one level further out."""
        self.where = path((step,)) + _joint(self.where) + self.where
        return self


def path(steps: Iterable[str | int]) -> str:
    """Return a path such as ``history.turns[3].role``."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    # A key may hold anything; a message must not fail to print or break its line.
    return text if text.isprintable() else ascii(text)[1:-1]


def _joint(rest: str) -> str:
    return "" if not rest or rest.startswith("[") else "."


def is_map(value: object) -> TypeGuard[dict[Any, Any]]:
    """Whether the value is a dict."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether the value is a list."""
    return isinstance(value, list)


def plain(value: Value) -> Value:
    """Return a deep copy made of plain str, int, float, bool, None, list and dict.

    Subclasses of these lose their class, a tuple becomes a list. Anything else is returned as it
    is: whoever writes the value down refuses it there.

    Raises:
        RefusedError: lists and maps stand in each other deeper than `DEPTH_MAX`, or in themselves.
    """
    return value if type(value) in _SCALARS else _copy(value, DEPTH_MAX)


def _copy(value: Value, room: int) -> Value:
    """Copy what is no plain scalar: usual maps and lists first, by their own `copy`."""
    kind: type[Any] = value.__class__
    if kind is list and room:
        items: list[Any] = value.copy()
        for index, item in enumerate(items):
            if type(item) not in _SCALARS:
                items[index] = _copy(item, room - 1)
        return items
    if kind is dict and room:
        entries: dict[Any, Any] = value.copy()
        for key, item in value.items():
            if type(key) is not str:
                return _copy_slowly(value, room)
            if type(item) not in _SCALARS:
                entries[key] = _copy(item, room - 1)
        return entries
    return _copy_slowly(value, room)


def _copy_slowly(value: Value, room: int) -> Value:
    if is_map(value):
        if not room:
            raise _too_deep()
        return {_bare(key): _copy_any(item, room - 1) for key, item in value.items()}
    if is_list(value) or _is_tuple(value):
        if not room:
            raise _too_deep()
        return [_copy_any(item, room - 1) for item in value]
    return _bare(value)


def _copy_any(value: Value, room: int) -> Value:
    return value if type(value) in _SCALARS else _copy(value, room)


def _is_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple)


def _too_deep() -> RefusedError:
    return RefusedError(f"is nested deeper than {DEPTH_MAX} levels")


def _bare(value: Value) -> Value:
    """Take the subclass off a scalar, by the base's own methods: a subclass may override them."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    return value
