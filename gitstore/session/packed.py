"""Sessions packed into bytes: quick to unpack, again and again, into sessions that share nothing.

For caches: what is packed cannot be changed through a session that was unpacked before, and is
nothing that the garbage collector has to walk. A session unpacks in a third of the time that it
takes to be copied or to be made from its document.
"""

from __future__ import annotations

import marshal
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from gitstore.session.model import SessionAsset
from gitstore.session.parts import Part
from gitstore.session.values import Value, is_list, is_map

if TYPE_CHECKING:
    from collections.abc import Iterator

#: `marshal` writes a text that stands in several places once from this version on.
_MARSHAL_VERSION: Final = 4
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
#: Number of the kind, fields, names of the fields that hold parts or shared values, and unknown
#: fields.
_State = tuple[int, dict[str, Any], tuple[str, ...], dict[str, Any] | None]
#: Class of a part, and the fields that it was given.
_Kind = tuple[type[Part], frozenset[str]]

_new: Final = object.__new__
_set: Final = object.__setattr__
_slots: Final = vars(BaseModel)
# The descriptors of a part's slots: a third of the time of setting each by its name.
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
        state = packer.part(asset)
        self._data = marshal.dumps(state, _MARSHAL_VERSION)
        self._kinds = tuple(packer.kinds)
        self._shared = tuple(packer.shared)

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        return len(self._data) + 64 * len(self._shared)

    def unpack(self) -> SessionAsset:
        """Return a session that equals the one it was taken from, without a revision."""
        state: _State = marshal.loads(self._data)  # noqa: S302 - bytes made here
        asset = _unpacked(state, self._kinds, iter(self._shared))
        _set_private(asset, {"_revision": None})
        assert isinstance(asset, SessionAsset)
        return asset


class _Packer:
    """Collects what `marshal` cannot write, or would write again and again."""

    def __init__(self) -> None:
        self.kinds: dict[_Kind, int] = {}
        self.shared: list[datetime | Enum] = []

    def part(self, part: Part) -> _State:
        fields: dict[str, Any] = {}
        special: list[str] = []
        for name, value in vars(part).items():
            if type(value) in _SCALARS:
                fields[name] = value
            elif isinstance(value, datetime | Enum):
                self.shared.append(value)
                special.append(name)
                fields[name] = None
            else:
                fields[name] = self._field(value)
                if fields[name] is not value:
                    special.append(name)
        kind = type(part), frozenset(part.__pydantic_fields_set__)
        number = self.kinds.setdefault(kind, len(self.kinds))
        return number, fields, tuple(special), part.__pydantic_extra__

    def _field(self, value: Value) -> Value:
        """Return the states of the parts in a field, or the same value when it holds none."""
        if isinstance(value, Part):
            return self.part(value)
        if is_list(value) and value and isinstance(value[0], Part):
            return [self.part(each) for each in value]
        if is_map(value) and value and isinstance(next(iter(value.values())), Part):
            return {name: self.part(each) for name, each in value.items()}
        return value


def _unpacked(state: _State, kinds: tuple[_Kind, ...], shared: Iterator[datetime | Enum]) -> Part:
    """Return a part around the fields of its state, which are nobody else's."""
    number, fields, special, extra = state
    for name in special:
        value = fields[name]
        kind: type[Any] = value.__class__
        if value is None:
            fields[name] = next(shared)
        elif kind is list:
            fields[name] = [_unpacked(each, kinds, shared) for each in value]
        elif kind is dict:
            for key, each in value.items():
                value[key] = _unpacked(each, kinds, shared)
        else:
            fields[name] = _unpacked(value, kinds, shared)
    of_part, given = kinds[number]
    part = _new(of_part)
    _set(part, "__dict__", fields)
    _set_given(part, set(given))
    _set_extra(part, extra)
    _set_private(part, None)
    return part
