r"""Three-way merge of sessions by meaning, on plain documents.

          base            what both sides began with
         /    \
      ours    theirs      what each made of it
         \    /
         merged           what both wanted; where they cannot both have it, ours, and a conflict

A side that did not change a part takes the other's. What both changed is merged by what it is:
turns by id, facts by key, maps by key, sets as sets, times by the later; anything else is one
value. Nothing vanishes that neither side deleted, and what ours wins over theirs is told.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeGuard, cast

from gitstore.session.order import by_content, interleave
from gitstore.types import MISSING, Conflict, SessionId

#: A session as plain data: maps with text keys, lists, text, numbers, booleans, None.
Document: TypeAlias = dict[str, Any]


#: Chooses what stands at a place that both sides changed; `MISSING` removes it.
Decide: TypeAlias = Callable[[Conflict], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The merged session, and the places where both sides wanted something else.

    `document` shares parts with the documents it was made of: treat it as read-only.
    """

    document: Document
    conflicts: tuple[Conflict, ...]


def merge(
    base: Document | None,
    ours: Document,
    theirs: Document,
    *,
    session_id: SessionId,
    decide: Decide | None = None,
) -> Merged:
    """Merge two versions of a session; `base` is None when each was created on its own.

    Of a turn, fact or context that one side deleted and the other edited, the edit stays. Of a
    granted command it is a conflict: a grant that was taken back must not come back unseen. Where
    both sides put the same things in another order, ours stands. `decide` is asked at each conflict
    for the value that is to stand there; without it that is ours.
    """
    notes = _Notes(session_id, decide)
    sides = _Sides(MISSING if base is None else base, ours, theirs)
    document = cast("Document", _SESSION(sides, "", notes))
    return Merged(document=document, conflicts=tuple(notes.conflicts))


def same(one: object, other: object) -> bool:
    """Tell whether two plain values are equal and of the same types: 1 is not 1.0, nor 0.0 -0.0."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if _is_map(one) and _is_map(other):
        return len(one) == len(other) and all(
            key in other and same(value, other[key]) for key, value in one.items()
        )
    if _is_list(one) and _is_list(other):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other) if isinstance(one, float) else bool(one == other)


@dataclass(frozen=True, slots=True)
class _Sides:
    """The three versions of one part, each a plain value or `MISSING`."""

    base: object
    ours: object
    theirs: object

    def settled(self) -> object:
        """Return the part if at most one side changed it or both did the same, else `_OPEN`."""
        if same(self.base, self.theirs) or same(self.ours, self.theirs):
            return self.ours
        return self.theirs if same(self.base, self.ours) else _OPEN

    def member(self, key: str) -> _Sides:
        """Return the three versions of one member of what are maps, or absent."""
        return _Sides(
            *(
                side.get(key, MISSING) if _is_map(side) else MISSING
                for side in (self.base, self.ours, self.theirs)
            )
        )

    def emptied(self, merged: object) -> object:
        """Leave an empty container out, if a side did: a default is not written."""
        return MISSING if not merged and MISSING in (self.ours, self.theirs) else merged


class _Notes:
    """The conflicts of one merge, and who decides them."""

    def __init__(self, session_id: SessionId, decide: Decide | None) -> None:
        self.conflicts: list[Conflict] = []
        self._session_id = session_id
        self._decide = decide

    def settle(self, where: str, sides: _Sides) -> object:
        """Note a conflict, and return what is to stand there."""
        conflict = Conflict(
            session_id=self._session_id,
            where=where,
            base=sides.base,
            ours=sides.ours,
            theirs=sides.theirs,
        )
        self.conflicts.append(conflict)
        return sides.ours if self._decide is None else self._decide(conflict)


#: Stands for a part that both sides changed.
_OPEN: Final = object()
#: How one kind of part is merged: returns the part or `MISSING`, and adds conflicts to the notes.
_Rule: TypeAlias = Callable[[_Sides, str, _Notes], object]


def _value(sides: _Sides, where: str, notes: _Notes) -> object:
    """Merge one value that cannot be taken apart."""
    if (settled := sides.settled()) is not _OPEN:
        return settled
    return notes.settle(where, sides)


def _equal(sides: _Sides, where: str, notes: _Notes) -> object:
    """Merge one value that both sides must agree on."""
    return sides.ours if same(sides.ours, sides.theirs) else notes.settle(where, sides)


def _set(sides: _Sides, where: str, notes: _Notes) -> object:
    """Merge lists in which only what they hold counts: never a conflict. Doubles are kept."""
    lists = None if sides.settled() is not _OPEN else _lists(sides)
    if lists is None:
        return _value(sides, where, notes)
    base, ours, theirs = (dict(zip(by_content(items), items, strict=True)) for items in lists)
    order = interleave(
        list(base),
        [key for key in ours if key in theirs or key not in base],
        [key for key in theirs if key in ours or key not in base],
        None,
    )
    return sides.emptied([ours[key] if key in ours else theirs[key] for key in order])


@dataclass(frozen=True, slots=True)
class _Time:
    """A time of which both sides may have another: RFC 3339 text, which compares as it sorts."""

    pick: Callable[[str, str], str]

    def __call__(self, sides: _Sides, where: str, notes: _Notes) -> object:
        if isinstance(sides.ours, str) and isinstance(sides.theirs, str):
            return self.pick(sides.ours, sides.theirs)
        return _value(sides, where, notes)


@dataclass(frozen=True, slots=True)
class _Map:
    """A map, merged key by key.

    `absent_is_empty`: always there, only not written when empty. Of any other map a deletion
    against an edit is one conflict, since an edit alone is no whole record.
    """

    rules: Mapping[str, _Rule] = field(default_factory=dict[str, _Rule])
    each: _Rule | None = None
    absent_is_empty: bool = False
    last: str | None = None

    def __call__(self, sides: _Sides, where: str, notes: _Notes) -> object:
        if (settled := sides.settled()) is not _OPEN:
            return settled
        optional = (True, self.absent_is_empty, self.absent_is_empty)
        versions = (sides.base, sides.ours, sides.theirs)
        for version, may_be_absent in zip(versions, optional, strict=True):
            if not _is_map(version) and not (version is MISSING and may_be_absent):
                return _value(sides, where, notes)
        ours, theirs = (side if _is_map(side) else {} for side in versions[1:])
        merged: Document = {}
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            rule = self.rules.get(key) or self.each or _ANY
            part = rule(sides.member(key), _member(where, key), notes)
            if part is not MISSING:
                merged[key] = part
        if self.last in merged:
            merged[self.last] = merged.pop(self.last)
        return sides.emptied(merged)


#: Whatever it is: maps by key, all else as one value.
_ANY: Final = _Map()
#: The same, for a map that is always there.
_FREE: Final = _Map(absent_is_empty=True)


@dataclass(frozen=True, slots=True)
class _Items:
    """A list of records that are known by some of their fields.

    A record without these, or with those of another, is known by all it holds: its edit is then a
    deletion and an addition, and no two records are ever taken for one.
    """

    names: tuple[str, ...]
    item: _Map = _ANY
    time: str | None = None
    edit_wins: bool = True

    def __call__(self, sides: _Sides, where: str, notes: _Notes) -> object:
        lists = None if sides.settled() is not _OPEN else _lists(sides)
        if lists is None:
            return _value(sides, where, notes)
        base, ours, theirs = self._keyed(lists)
        keyed = _Sides(base, ours, theirs)

        def rank(key: str) -> tuple[str, str]:
            item = ours[key] if key in ours else theirs[key]
            time = item.get(self.time or "") if _is_map(item) else None
            # Equal times go by key, so that both sides' merges give one order.
            return (time if isinstance(time, str) else "", key)

        kept = self._kept({**ours, **theirs}, keyed, where, notes)
        order = interleave(
            list(base),
            [key for key in ours if key in kept],
            [key for key in theirs if key in kept],
            rank if self.time else None,
        )
        merged: list[object] = []
        for key in order:
            if key in ours and key in theirs:
                record = self.item(keyed.member(key), f"{where}[{_label(key)}]", notes)
            else:
                record = kept[key]
            if record is not MISSING:
                merged.append(record)
        return sides.emptied(merged)

    def _kept(self, keys: Iterable[str], keyed: _Sides, where: str, notes: _Notes) -> Document:
        """Return the records that stay, by key; those that both sides have are not merged yet."""
        kept: Document = {}
        for key in keys:
            item = keyed.member(key)
            record = item.theirs if item.ours is MISSING else item.ours
            if item.base is not MISSING and MISSING in (item.ours, item.theirs):
                if item.settled() is not _OPEN:  # deleted on one side, untouched on the other
                    continue
                if not self.edit_wins:
                    record = notes.settle(f"{where}[{_label(key)}]", item)
            if record is not MISSING:
                kept[key] = record
        return kept

    def _keyed(self, lists: Sequence[list[object]]) -> list[dict[str, object]]:
        """Return each list by the keys of its records; a key means the same in all lists."""
        named = [[self._name(item) for item in items] for items in lists]
        doubled = {key for keys in named for key, count in Counter(keys).items() if count > 1}
        return [
            {
                content if name is None or name in doubled else name: item
                for name, content, item in zip(names, by_content(items), items, strict=True)
            }
            for names, items in zip(named, lists, strict=True)
        ]

    def _name(self, item: object) -> str | None:
        values = [item.get(name) for name in self.names] if _is_map(item) else [None]
        texts = [value for value in values if isinstance(value, str)]
        usable = texts == values and texts[0] and not any("\0" in text for text in texts)
        return "\0".join(texts) if usable else None


def _lists(sides: _Sides) -> list[list[object]] | None:
    """Return the sides as lists, absent ones as empty; None if one is something else."""
    lists: list[list[object]] = []
    for side in (sides.base, sides.ours, sides.theirs):
        if not _is_list(side) and side is not MISSING:
            return None
        lists.append(side if _is_list(side) else [])
    return lists


def _is_map(value: object) -> TypeGuard[Document]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _member(where: str, key: str) -> str:
    if re.fullmatch(r'[^\s.\[\]"]+', key) is None:
        return f"{where}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{where}.{key}" if where else key


def _label(key: str) -> str:
    text = "..".join(key.split("\0")[:2])
    return text if re.fullmatch(r'[^\s\[\]"]+', text) else json.dumps(text, ensure_ascii=False)


_TURN: Final = _Map({"tags": _set, "metadata": _FREE})
_SESSION: Final = _Map(
    {
        "id": _equal,
        "version": _equal,
        "created_at": _Time(min),
        "updated_at": _Time(max),
        "project_context": _Map(
            {
                "technologies": _set,
                "key_files": _set,
                "architecture_notes": _set,
                "learned_facts": _Items(("key",)),
                "persistent_contexts": _Items(("id",)),
            },
            absent_is_empty=True,
        ),
        "preferences": _Map(
            {
                "coding_style": _Map({"preferred_languages": _set}, absent_is_empty=True),
                "communication": _FREE,
                "frequent_tools": _set,
                "custom": _FREE,
            },
            absent_is_empty=True,
        ),
        "skill_configs": _Map(
            each=_Map({"auto_trigger": _FREE, "params": _FREE}), absent_is_empty=True
        ),
        "component_snapshots": _Map(each=_Map({"metadata": _FREE}), absent_is_empty=True),
        "granted_commands": _Items(("pattern",), edit_wins=False),
        "metadata": _FREE,
        "history": _Map(
            {
                "compacted": _Items(("start_time", "end_time", "summary"), time="start_time"),
                "turns": _Items(("id",), item=_TURN, time="timestamp"),
            },
            absent_is_empty=True,
            last="turns",
        ),
    },
    last="history",
)
