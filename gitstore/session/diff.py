"""What changed between two versions of a session, in the words of sessions and turns.

Turns are told apart by id, maps by key, and the records of a few lists by what names them; any
other value is a *leaf*. Each leaf that changed is told once: inside its turn, or by its path.
`gitstore.session.difftext` writes a diff down for people.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gitstore.session.merge import same
from gitstore.session.values import is_list, is_map
from gitstore.types import MISSING, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gitstore.session.merge import Document
    from gitstore.types import Revision, SessionId

#: What would make a terminal or a page show something else than what is stored: control
#: characters, lone surrogates, line separators, and what is invisible or turns text around. The
#: joiners U+200C and U+200D stay: scripts and emoji are spelled with them.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ud800-\udfff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_BYTE_MAX: Final = 0xFF
_BMP_MAX: Final = 0xFFFF
_ITEMS_TOLD: Final = 4
_NAME_MAX: Final = 60
#: Moves with every save: worth a word only when nothing else changed.
_CLOCK: Final = "updated_at"
_TURNS: Final = "history.turns"
#: Maps that are always there, and only not written when empty: what they hold came one by one.
_ALWAYS: Final = frozenset(
    {
        *("project_context", "preferences", "preferences.coding_style"),
        *("preferences.communication", "preferences.custom", "skill_configs"),
        *("component_snapshots", "metadata", "history"),
    }
)
#: Lists of records, and the fields that name one.
_RECORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "project_context.learned_facts": ("key",),
    "project_context.persistent_contexts": ("id",),
    "granted_commands": ("pattern",),
    "history.compacted": ("start_time", "end_time"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One value that changed. `old` and `new` are plain data, or `MISSING`.

    `where` is a path such as ``project_context.name`` or ``metadata["a.b"]``; inside a
    `TurnChange` it begins at the turn.
    """

    where: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedTurn:
    """A turn as plain data, and its index in the list of turns that it is in."""

    position: int
    turn: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnChange:
    """One turn that both versions have, with other content."""

    id: str
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnMove:
    """One turn that changed its place among those that both versions have.

    `old` and `new` are its indexes. `id` is None for a turn without a usable id. As few turns as
    possible are called moved.
    """

    id: str | None
    old: int
    new: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDiff:
    """What changed between two versions of a session.

    It shares parts with the two documents: treat it as read-only.
    """

    session_id: SessionId
    old_revision: Revision | None
    new_revision: Revision | None
    #: CREATED and DELETED when one version is no session at all.
    outcome: Outcome
    turns_added: tuple[PlacedTurn, ...] = ()
    turns_removed: tuple[PlacedTurn, ...] = ()
    turns_changed: tuple[TurnChange, ...] = ()
    turns_moved: tuple[TurnMove, ...] = ()
    #: Every other value, by path.
    fields: tuple[FieldChange, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether both versions are the same."""
        return self.outcome is Outcome.UNCHANGED

    @property
    def summary(self) -> str:
        """The diff in one line such as ``+2 turns, 1 turn edited, name changed``."""
        added, removed = len(self.turns_added), len(self.turns_removed)
        if self.outcome is Outcome.UNCHANGED:
            return "nothing changed"
        if self.outcome is not Outcome.UPDATED:
            turns = f" with {_count(added + removed)}" if added + removed else ""
            return f"{self.outcome.value}{turns}"
        items = [
            *([f"+{_count(added)}"] if added else []),
            *([f"-{_count(removed)}"] if removed else []),
            *([f"{_count(len(self.turns_changed))} edited"] if self.turns_changed else []),
            *([f"{_count(len(self.turns_moved))} moved"] if self.turns_moved else []),
            *(_told(change) for change in self.fields if change.where != _CLOCK),
        ] or [f"{_CLOCK} changed"]
        if len(items) > _ITEMS_TOLD + 1:  # "and 1 more" is no shorter than the item
            items[_ITEMS_TOLD:] = [f"and {len(items) - _ITEMS_TOLD} more"]
        return ", ".join(items)


def diff_documents(
    old: Document | None,
    new: Document | None,
    *,
    session_id: SessionId,
    old_revision: Revision | None = None,
    new_revision: Revision | None = None,
) -> SessionDiff:
    """Compare two versions of a session; None is no session.

    Neither the order of keys in a map nor the place of a record among others is a change; the
    order of turns is.
    """
    before, after = old or {}, new or {}
    turns = _Turns.of(before, after)
    fields = tuple(_members(before, after, "", without="" if turns is None else _TURNS))
    changed = () if turns is None else turns.changed()
    moved = () if turns is None else turns.moved()
    added = () if turns is None else _placed(turns.new, without=turns.old)
    removed = () if turns is None else _placed(turns.old, without=turns.new)
    if old is None or new is None:
        ends = {(True, False): Outcome.CREATED, (False, True): Outcome.DELETED}
        outcome = ends.get((old is None, new is None), Outcome.UNCHANGED)
    else:
        differs = fields or changed or moved or added or removed
        outcome = Outcome.UPDATED if differs else Outcome.UNCHANGED
    return SessionDiff(
        session_id=session_id,
        old_revision=old_revision,
        new_revision=new_revision,
        outcome=outcome,
        turns_added=added,
        turns_removed=removed,
        turns_changed=changed,
        turns_moved=moved,
        fields=fields,
    )


def visible(text: str, *, keep: str = "") -> str:
    r"""Return the text with what cannot be seen spelled out, such as ``\x1b``, but for `keep`."""

    def spelled(found: re.Match[str]) -> str:
        code = ord(character := found[0])
        if character in keep:
            return character
        if code > _BMP_MAX:
            return f"\\U{code:08x}"
        return f"\\u{code:04x}" if code > _BYTE_MAX else f"\\x{code:02x}"

    return _UNSAFE.sub(spelled, text)


class _Turns:
    """The turns of both versions by key, in order, each with its index."""

    def __init__(self, old: list[Any], new: list[Any]) -> None:
        names = [[_turn_id(turn) for turn in turns] for turns in (old, new)]
        # Ids that stand twice in one list name nothing; a key means the same in both lists.
        doubled = {name for each in names for name, count in Counter(each).items() if count > 1}
        self.old, self.new = (
            {
                key: PlacedTurn(position=position, turn=turn)
                for position, (key, turn) in enumerate(
                    zip(_keys(turns, ids, doubled), turns, strict=True)
                )
            }
            for turns, ids in zip((old, new), names, strict=True)
        )

    @classmethod
    def of(cls, old: Document, new: Document) -> _Turns | None:
        """Return the turns, or None if they are to be compared as any other value."""
        histories = [document.get("history", {}) for document in (old, new)]
        if not all(is_map(history) for history in histories):
            return None
        turns = [history.get("turns", MISSING) for history in histories]
        lists = [each for each in turns if is_list(each)]
        if any(not is_list(each) and each is not MISSING for each in turns) or not any(lists):
            return None
        empty: list[Any] = []
        return cls(*(each if is_list(each) else empty for each in turns))

    def changed(self) -> tuple[TurnChange, ...]:
        found: list[TurnChange] = []
        for key, placed in self.new.items():
            before = self.old.get(key)
            # By content, no two that match differ.
            if before is not None and (name := _turn_id(placed.turn)) is not None:
                if same(before.turn, placed.turn):
                    continue
                fields = tuple(_members(before.turn, placed.turn, ""))
                found.append(TurnChange(id=name, fields=fields))
        return tuple(found)

    def moved(self) -> tuple[TurnMove, ...]:
        common = [key for key in self.new if key in self.old]
        places = [self.old[key].position for key in common]
        still = set(common) if places == sorted(places) else _still(common, places)
        return tuple(
            TurnMove(
                id=_turn_id(self.new[key].turn),
                old=self.old[key].position,
                new=self.new[key].position,
            )
            for key in common
            if key not in still
        )


def _turn_id(turn: object) -> str | None:
    name = turn.get("id") if is_map(turn) else None
    return name if isinstance(name, str) and name else None


def _keys(turns: list[Any], names: list[str | None], doubled: set[str | None]) -> list[object]:
    """Return a key for each turn: its id, or else its content and how often that came before."""
    seen: Counter[str] = Counter()
    keys: list[object] = []
    for turn, name in zip(turns, names, strict=True):
        if name is not None and name not in doubled:
            keys.append(name)
            continue
        # JSON keeps 1, 1.0 and true apart.
        text = json.dumps(turn, sort_keys=True, default=repr)
        keys.append((text, seen[text]))
        seen[text] += 1
    return keys


def _placed(
    turns: Mapping[object, PlacedTurn], *, without: Mapping[object, PlacedTurn]
) -> tuple[PlacedTurn, ...]:
    return tuple(placed for key, placed in turns.items() if key not in without)


def _still(keys: Sequence[object], places: Sequence[int]) -> set[object]:
    """Return the longest run of keys that both versions have in the same order.

    `places` are where the keys, in new order, stood before. Of several such runs the choice is by
    key at each step, so that it does not depend on which version is called the old one.
    """
    # How long a run can get that begins at each key, seen from the end.
    lengths = [0] * len(keys)
    ends: list[int] = []  # negated places, growing
    for at in range(len(keys) - 1, -1, -1):
        length = bisect_left(ends, -places[at])
        ends[length : length + 1] = [-places[at]]
        lengths[at] = length + 1
    levels: dict[int, list[int]] = {}
    for at, length in enumerate(lengths):
        levels.setdefault(length, []).append(at)
    kept: set[object] = set()
    last, place = -1, -1
    for length in range(len(ends), 0, -1):
        fitting = [at for at in levels[length] if at > last and places[at] > place]
        last = min(fitting, key=lambda at: repr(keys[at]))
        place = places[last]
        kept.add(keys[last])
    return kept


def _members(
    old: Mapping[str, Any], new: Mapping[str, Any], where: str, *, without: str = ""
) -> Iterator[FieldChange]:
    """Compare two maps member by member; what is at the path `without` is left out."""
    for key in [*old, *(key for key in new if key not in old)]:
        before, after = old.get(key, MISSING), new.get(key, MISSING)
        if not same(before, after) and (path := _member(where, key)) != without:
            yield from _values(before, after, path, without)


def _values(old: object, new: object, where: str, without: str = "") -> Iterator[FieldChange]:
    """Compare two values that differ."""
    if where in _ALWAYS:
        old, new = _or_empty(old, new), _or_empty(new, old)
    if is_map(old) and is_map(new):
        yield from _members(old, new, where, without=without)
    elif where in _RECORDS and (named := _both_named(old, new, _RECORDS[where])):
        before, after = named
        for label in [*before, *(label for label in after if label not in before)]:
            sides = before.get(label, MISSING), after.get(label, MISSING)
            if not same(*sides):
                yield from _values(*sides, f"{where}[{label}]")
    else:
        yield FieldChange(where=where, old=old, new=new)


def _or_empty(side: object, other: object) -> object:
    """Return an empty map for one that is not written, if the other has members to tell."""
    return {} if side is MISSING and is_map(other) and other else side


def _both_named(
    old: object, new: object, names: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return two lists of records by label; None if labels or order say more than the records."""
    before, after = (_named(side, names) for side in (old, new))
    if before is None or after is None or not (before or after):
        return None
    in_order = [key for key in before if key in after] == [key for key in after if key in before]
    return (before, after) if in_order else None


def _named(side: object, names: tuple[str, ...]) -> dict[str, Any] | None:
    if side is MISSING:
        return {}
    if not is_list(side) or not all(is_map(item) for item in side):
        return None
    values = [[item.get(name) for name in names] for item in side]
    if not all(isinstance(value, str) and value for each in values for value in each):
        return None
    labelled = {_label("..".join(each)): item for each, item in zip(values, side, strict=True)}
    return labelled if len(labelled) == len(side) else None


def _member(where: str, key: str) -> str:
    """Return the path of a member, as `Conflict.where` spells it."""
    if re.fullmatch(r'[^\s.\[\]"]+', key) is None:
        return f"{where}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{where}.{key}" if where else key


def _label(text: str) -> str:
    """Return what stands in the brackets of a record, as `Conflict.where` spells it."""
    plain = re.fullmatch(r'[^\s\[\]"]+', text)
    return text if plain else json.dumps(text, ensure_ascii=False)


def _told(change: FieldChange) -> str:
    name = visible(change.where).removeprefix("project_context.").removeprefix("history.")
    name = name if len(name) <= _NAME_MAX else name[: _NAME_MAX - 1] + "…"
    if change.old is MISSING:
        return f"{name} added"
    return f"{name} {'removed' if change.new is MISSING else 'changed'}"


def _count(turns: int) -> str:
    return f"{turns} turn" if turns == 1 else f"{turns} turns"
