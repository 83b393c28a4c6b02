"""Documents with their turns frozen: what a save takes of a session before its caller goes on.

A snapshot must be taken at once, and nearly all of a session is turns. What was said in one is text,
which cannot change and need not be copied; of the rest the bytes are made. The codec knows the turn
again by both, and nothing is left that the garbage collector has to walk.
"""

from __future__ import annotations

import marshal
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gitstore.session.document import dump_shell, dump_turn
from gitstore.session.model import FORMAT_VERSION
from gitstore.session.parts import U64_MAX, ConversationHistory, ConversationTurn, ToolCallRecord
from gitstore.session.times import format_time
from gitstore.session.values import RefusedError, Value, is_list, is_map, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitstore.session.model import SessionAsset

#: The last version of `marshal` that depends on nothing but the value.
_MARSHAL_VERSION: Final = 2
_TEXT_ONLY: Final = {str}
#: The values of the fields of a call of a tool, as they stand in `_call_fields`.
Call: TypeAlias = tuple[str, Any, Any, bool, int]
#: The texts of a turn: id, time, role, and content, in UTF-8 unless all of it is ASCII; then the bytes
#: of the list of its calls of tools, its tags and its metadata, None if all of these are empty.
UsualTurn: TypeAlias = tuple[str, str, str, str | bytes, bytes | None]
#: A turn that cannot change, and has a hash: another kind than the usual is bytes altogether.
FrozenTurn: TypeAlias = UsualTurn | bytes
_TEXTS: Final = ("id", "timestamp", "role", "content")
_REST: Final = ("tool_calls", "tags", "metadata")
#: The fields that a usual turn can have, in the order in which it has them.
_USUAL: Final = frozenset(
    _TEXTS + tuple(name for at, name in enumerate(_REST) if chosen >> at & 1) for chosen in range(8)
)
_turn_fields: Final = itemgetter("id", "timestamp", "role", "content", *_REST)
_call_fields: Final = itemgetter("tool_name", "args", "result", "success", "duration_ms")
#: Only for times in UTC itself: in other zones, two times that are equal can differ.
_utc_text: Final = lru_cache(maxsize=8192)(format_time)


@dataclass(frozen=True, slots=True)
class FrozenDocument:
    """A document that cannot change, in two pieces."""

    #: The document, with None for the list of the turns if there are any.
    shell: dict[str, Any]
    #: The turns, as `freeze_turn` gives them.
    turns: list[FrozenTurn]

    def thaw(self) -> dict[str, Any]:
        """Return the document; what it holds beside the turns is shared with the shell."""
        return self.whole([_plain_turn(thaw_turn(each)) for each in self.turns])

    def whole(self, turns: list[Any]) -> dict[str, Any]:
        """Return the document with these for the turns, if it has any."""
        if not self.turns:
            return self.shell
        return {**self.shell, "history": {**self.shell["history"], "turns": turns}}


def freeze_turn(turn: Value) -> FrozenTurn:
    """Return a plain value, frozen: a function of it, telling all types and orders apart.

    Foreign values may pass, none of them as one that can be written: bytes for whatever has them.

    Raises:
        ValueError: it holds something that `marshal` does not know, or a subclass.
    """
    frozen = _usual_value(turn) if turn.__class__ is dict and tuple(turn) in _USUAL else None
    return _marshalled(turn) if frozen is None else frozen


def thaw_turn(frozen: FrozenTurn) -> Value:
    """Return the value of a frozen turn, a new one each time."""
    if isinstance(frozen, bytes):
        return _loaded(frozen)
    name, moment, role, content, rest = frozen
    turn: dict[str, Any] = {
        "id": name,
        "timestamp": moment,
        "role": role,
        "content": content if isinstance(content, str) else content.decode(),
    }
    if rest is not None:
        calls, tags, metadata = _loaded(rest)
        if calls:
            turn["tool_calls"] = list(map(_call_value, calls))
        if tags:
            turn["tags"] = tags
        if metadata:
            turn["metadata"] = metadata
    return turn


def _marshalled(value: Value) -> bytes:
    return marshal.dumps(value, _MARSHAL_VERSION)


def _loaded(data: bytes) -> Value:
    return marshal.loads(data)  # noqa: S302 - bytes made here


def freeze_document(document: dict[str, Any]) -> FrozenDocument | None:
    """Return a document in two pieces, or None if it has turns that are not plain."""
    history: Value = document.get("history")
    turns: Value = history.get("turns") if is_map(history) else None
    if not is_map(history) or not is_list(turns) or not turns:
        return FrozenDocument(document, [])
    try:
        frozen = list(map(freeze_turn, turns))
    except ValueError:
        return None
    return FrozenDocument({**document, "history": {**history, "turns": None}}, frozen)


def thawed(document: dict[str, Any] | FrozenDocument) -> dict[str, Any]:
    """Return a document in one piece."""
    return document.thaw() if isinstance(document, FrozenDocument) else document


def freeze(asset: SessionAsset) -> FrozenDocument | dict[str, Any]:
    """Return what `to_document` returns now, whatever becomes of the session; in bytes if that can be.

    Raises:
        SerializationError: a part was changed into what could not be read back.
    """
    fields = vars(asset)
    history: Value = fields.get("history")
    turns: Value = vars(history).get("turns") if type(history) is ConversationHistory else None
    if not is_list(turns) or not turns or fields.get("version") != FORMAT_VERSION:
        return asset.to_document()
    try:
        frozen = [_frozen(turn) for turn in turns]
        shell = dump_shell(asset)
    except (RefusedError, ValueError):
        return asset.to_document()
    return FrozenDocument(shell, frozen)


def _frozen(turn: Value) -> FrozenTurn:
    """Return what `dump_turn` gives, frozen: the usual kinds of turns without its detours."""
    try:
        if type(turn) is ConversationTurn and not turn.__pydantic_extra__:
            frozen = _usual_part(turn.__dict__)
            if frozen is not None:
                return frozen
    # Something is missing, or no text, no time with a zone, no plain value.
    except (KeyError, ValueError):
        pass
    return freeze_turn(dump_turn(turn))


def _usual_part(fields: Mapping[str, Any]) -> UsualTurn | None:
    """Return the fields of a turn, frozen, or None for one that is to be looked at closely."""
    name, moment, role, content, calls, tags, metadata = _turn_fields(fields)
    if (
        not (type(calls) is type(tags) is list)
        or not (type(moment) is datetime and moment.tzinfo is UTC)
        or metadata.__class__ is not dict
    ):
        return None
    if calls:
        calls = list(map(_call_of_part, calls))
    if metadata and _is_texts(metadata):
        keys = sorted(metadata)
        if keys != list(metadata):
            metadata = {key: metadata[key] for key in keys}
    return _usual(name, _utc_text(moment), role, content, calls, tags, metadata)


def _usual_value(turn: dict[str, Any]) -> UsualTurn | None:
    """Return a plain value that has the fields of a usual turn, frozen, or None as `_usual_part` does."""
    calls, tags, metadata = (
        turn.get("tool_calls", []),
        turn.get("tags", []),
        turn.get("metadata", {}),
    )
    if not (type(calls) is type(tags) is list) or metadata.__class__ is not dict:
        return None
    # An empty one that is written down is told apart from one that is left out.
    if len(turn) != len(_TEXTS) + bool(calls) + bool(tags) + bool(metadata):
        return None
    calls = list(map(_call_of_value, calls))
    try:
        return _usual(
            turn["id"], turn["timestamp"], turn["role"], turn["content"], calls, tags, metadata
        )
    except UnicodeEncodeError:
        return None  # no text that can be written: told apart by its bytes all the same


def _usual(
    name: Value,
    moment: Value,
    role: Value,
    content: Value,
    calls: list[Call | None],
    tags: list[Any],
    metadata: dict[Any, Any],
) -> UsualTurn | None:
    if not (type(name) is type(moment) is type(role) is type(content) is str):
        return None
    rest = None
    if calls or tags or metadata:
        if not all(calls) or not _is_texts(tags) or not _is_texts(metadata):
            return None
        rest = _marshalled((calls, tags, metadata))
    return name, moment, role, content if content.isascii() else content.encode(), rest


def _is_texts(values: list[Any] | dict[Any, Any]) -> bool:
    return not values or _TEXT_ONLY.issuperset(map(type, values))


def _call_of_part(call: Value) -> Call | None:
    """Return a call of a tool, not copied, or None for one that is to be looked at closely."""
    if type(call) is not ToolCallRecord or call.__pydantic_extra__:
        return None
    fields: Any = _call_fields(call.__dict__)
    return fields if _is_valid(fields) else None


def _call_of_value(call: Value) -> Call | None:
    """Do as `_call_of_part` with the plain value of a call."""
    if call.__class__ is not dict:
        return None
    fields: Any = (
        call.get("tool_name"),
        call.get("args"),
        call.get("result"),
        call.get("success"),
        call.get("duration_ms", 0),
    )
    # Nothing else is in it, in no other order, and no default that is written down.
    return fields if _is_valid(fields) and list(_call_value(fields)) == list(call) else None


def _is_valid(fields: tuple[Any, ...]) -> bool:
    name, _, _, success, duration = fields
    return (
        type(name) is str
        and type(success) is bool
        and type(duration) is int
        and 0 <= duration <= U64_MAX
    )


def _call_value(fields: Call) -> dict[str, Any]:
    """Return the plain value of a call of a tool."""
    name, args, result, success, duration = fields
    value: dict[str, Any] = {"tool_name": name}
    if args is not None:
        value["args"] = args
    if result is not None:
        value["result"] = result
    value["success"] = success
    if duration:
        value["duration_ms"] = duration
    return value


def _plain_turn(turn: Value) -> Value:
    """Return a turn with lists for its tuples."""
    try:
        return plain(turn)
    except RefusedError:
        return turn  # deeper than the codec writes: it says where
