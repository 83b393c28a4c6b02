"""What the fields of a part may hold: each check copies a value plain, or refuses it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast

from gitstore.session.parts import U8_MAX, U32_MAX, U64_MAX
from gitstore.session.skills import GrantKind
from gitstore.session.values import RefusedError, Value, is_list, is_map, plain

#: Checks a value and copies it; raises RefusedError.
Dump: TypeAlias = Callable[[Any], Any]


def wrong_type(value: Value, wanted: str) -> RefusedError:
    """Return the error that a value is not what is wanted."""
    return RefusedError(f"must be {wanted}, not {type(value).__name__}")


def text(value: Value) -> str:
    """Take a text."""
    if type(value) is str:
        return value
    if not isinstance(value, str):
        raise wrong_type(value, "text")
    return str.__str__(value)


def maybe_text(value: Value) -> str | None:
    """Take a text or None."""
    return None if value is None else text(value)


def _integer(largest: int) -> Dump:
    def dump(value: Value) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong_type(value, "a whole number")
        if not 0 <= value <= largest:
            problem = f"must be from 0 to {largest}"
            raise RefusedError(problem)
        return int.__int__(value)

    return dump


_u8: Final = _integer(U8_MAX)
#: Whole numbers from 0 to 2**32 - 1.
u32: Final = _integer(U32_MAX)
#: Whole numbers from 0 to 2**64 - 1.
u64: Final = _integer(U64_MAX)


def maybe_u8(value: Value) -> int | None:
    """Take a whole number from 0 to 255, or None."""
    return None if value is None else cast("int", _u8(value))


def number(value: Value) -> float:
    """Take a finite number."""
    if isinstance(value, bool) or not isinstance(value, float | int):
        raise wrong_type(value, "a number")
    if not math.isfinite(value):
        problem = "must be a finite number"
        raise RefusedError(problem)
    return float(value)


def flag(value: Value) -> bool:
    """Take a bool."""
    if not isinstance(value, bool):
        raise wrong_type(value, "true or false")
    return value


def grant_kind(value: Value) -> str:
    """Take a kind of grant, or its name."""
    try:
        return GrantKind(value).value
    except ValueError as error:
        problem = "must be Persistent or OneTime"
        raise RefusedError(problem) from error


def list_of(dump: Dump) -> Dump:
    """Return the check of a list of such items."""

    def dump_all(value: Value) -> list[Any]:
        if not is_list(value):
            raise wrong_type(value, "a list")
        result: list[Any] = []
        try:
            for item in value:
                result.append(dump(item))  # noqa: PERF401 - its length tells where it went wrong
        except RefusedError as error:
            raise error.inside(len(result)) from None
        return result

    return dump_all


def map_of(dump: Dump) -> Dump:
    """Return the check of a map of such values; it is sorted by key, as ORCS writes these in any order."""

    def dump_all(value: Value) -> dict[str, Any]:
        if not is_map(value):
            raise wrong_type(value, "a map")
        if not value:
            return {}
        for key in value:
            if not isinstance(key, str):
                raise wrong_type(key, "a map with text as keys")
        result: dict[str, Any] = {}
        key = ""
        try:
            for key in sorted(value):
                result[text(key)] = dump(value[key])
        except RefusedError as error:
            raise error.inside(key) from None
        return result

    return dump_all


#: A list of texts.
texts: Final = list_of(text)
#: A map of free-form values.
free_map: Final = map_of(plain)
