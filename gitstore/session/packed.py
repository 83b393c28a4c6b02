"""Sessions packed into bytes: quick to unpack, again and again, into sessions that share nothing.

For caches: what is packed cannot be changed through a session that was unpacked before, and is
little that the garbage collector has to walk. A session unpacks in a quarter of the time that it
takes to be copied or to be made from its document.

Parts that are alike stand together, so that what they have in common is kept and looked up once.

    group   the parts of one kind: a class, the fields that were given, and its links
    row     the fields of one part, with None for what a link holds
    link    a field whose values have numbers: parts by 0, 1, ... group after group; times and
            enumerated values, which nobody can change and all sessions share, by -1, -2, ...
"""

from __future__ import annotations

import marshal
from datetime import datetime
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_args

from pydantic import BaseModel

from gitstore.session.model import SessionAsset
from gitstore.session.parts import Part
from gitstore.session.values import Value, is_list, is_map

if TYPE_CHECKING:
    from collections.abc import Callable

#: `marshal` writes a text that stands in several places once from this version on.
_MARSHAL_VERSION: Final = 4
_UNCHANGING: Final = (datetime, Enum)
#: Rows, unknown fields, and for each link the numbers in each row.
_State: TypeAlias = tuple[list[dict[str, Any]], list[dict[str, Any] | None], list[list[Any]]]
#: Replaces numbers by what they stand for.
_Follow: TypeAlias = "Callable[[Any, list[Any]], Any]"
_Kind: TypeAlias = tuple[type[Part], frozenset[str], tuple[tuple[str, _Follow], ...]]

_new: Final = object.__new__
_slots: Final = vars(BaseModel)
# The descriptors of a part's slots: what `setattr` would look up for every part.
_set_fields: Final = _slots["__dict__"].__set__
_set_given: Final = _slots["__pydantic_fields_set__"].__set__
_set_extra: Final = _slots["__pydantic_extra__"].__set__
_set_private: Final = _slots["__pydantic_private__"].__set__


class PackedAsset:
    """The content of one session, and nothing of the session that it was taken from."""

    __slots__ = ("_data", "_kinds", "_shared")

    def __init__(self, asset: SessionAsset) -> None:
        """Take the content of a session as it was loaded.

        Raises:
            ValueError: it holds something else than a file can say.
        """
        packer = _Packer()
        packer.part(asset)
        self._data = marshal.dumps(packer.states(), _MARSHAL_VERSION)
        self._kinds = list(packer.groups)
        self._shared = packer.shared[::-1]

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        return len(self._data) + 64 * len(self._shared)

    def unpack(self) -> SessionAsset:
        """Return a session that equals the one it was taken from, without a revision."""
        states: list[_State] = marshal.loads(self._data)  # noqa: S302 - bytes made here
        things: list[Any] = []
        for (of, given, _), (rows, extras, _) in zip(self._kinds, states, strict=True):
            for row, extra in zip(rows, extras, strict=True):
                part = _new(of)
                _set_fields(part, row)
                _set_given(part, set(given))
                _set_extra(part, extra)
                _set_private(part, None)
                things.append(part)
        things += self._shared
        for (_, _, links), (rows, _, columns) in zip(self._kinds, states, strict=True):
            for (name, follow), column in zip(links, columns, strict=True):
                for row, numbers in zip(rows, column, strict=True):
                    row[name] = follow(numbers, things)
        asset = things[0]
        assert isinstance(asset, SessionAsset)
        _set_private(asset, {"_revision": None})
        return asset


def _one(number: int, things: list[Any]) -> Value:
    return things[number]


def _listed(numbers: list[int], things: list[Any]) -> list[Any]:
    return [things[number] for number in numbers]


def _named(numbers: dict[str, int], things: list[Any]) -> dict[str, Any]:
    return {name: things[number] for name, number in numbers.items()}


@cache
def _linked(of: type[Part]) -> tuple[str, ...]:
    """Return the fields of a kind of part that can hold what has a number."""
    return tuple(name for name, field in of.model_fields.items() if _has_number(field.annotation))


def _has_number(annotation: Value) -> bool:
    """Whether a value of that annotation can have a number, or hold something that has one."""
    if isinstance(annotation, type) and issubclass(annotation, (Part, *_UNCHANGING)):
        return True
    return any(map(_has_number, get_args(annotation)))


class _Packer:
    """Groups the parts of a session."""

    def __init__(self) -> None:
        self.groups: dict[_Kind, tuple[_State, list[int]]] = {}
        self.shared: list[datetime | Enum] = []
        self._parts = 0

    def part(self, part: Part) -> int:
        """Add a part and all that is in it, numbered as they are met."""
        number = self._parts
        self._parts += 1
        row = vars(part).copy()
        links: list[tuple[str, _Follow]] = []
        held: list[Any] = []
        for name in _linked(type(part)):
            follow, numbers = self._link(row[name])
            if follow is not None:
                links.append((name, follow))
                held.append(numbers)
                row[name] = None
        kind = type(part), frozenset(part.__pydantic_fields_set__), tuple(links)
        if kind not in self.groups:
            self.groups[kind] = ([], [], [[] for _ in links]), []
        (rows, extras, columns), met = self.groups[kind]
        rows.append(row)
        extras.append(part.__pydantic_extra__)
        for column, numbers in zip(columns, held, strict=True):
            column.append(numbers)
        met.append(number)
        return number

    def _link(self, value: Value) -> tuple[_Follow | None, Value]:
        """Return the numbers that stand for what a field holds, unless it is a plain value."""
        if isinstance(value, _UNCHANGING):
            self.shared.append(value)
            return _one, -len(self.shared)
        if isinstance(value, Part):
            return _one, self.part(value)
        if not value:
            return None, value
        if is_list(value) and isinstance(value[0], Part):
            return _listed, [self.part(each) for each in value]
        if is_map(value) and isinstance(next(iter(value.values())), Part):
            return _named, {name: self.part(each) for name, each in value.items()}
        return None, value

    def states(self) -> list[_State]:
        """Return the groups, the parts numbered anew as they stand in them, the session first."""
        groups = sorted(self.groups.items(), key=lambda group: group[1][1][0])
        self.groups = dict(groups)
        numbers = [0] * self._parts
        for new, met in enumerate(met for _, (_, group) in groups for met in group):
            numbers[met] = new
        numbers += range(-len(self.shared), 0)
        for (_, _, links), ((_, _, columns), _) in groups:
            for (_, follow), column in zip(links, columns, strict=True):
                column[:] = [follow(held, numbers) for held in column]
        return [state for _, (state, _) in groups]
