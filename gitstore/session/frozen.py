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
#: The texts of a turn: id, time, role, and content, in UTF-8 unless all of it is ASCII; then the bytes
#: of its calls of tools, its tags and its metadata, None if it has none of these.
_Usual: TypeAlias = tuple[str, str, str, str | bytes, bytes | None]
#: A turn that cannot change, and has a hash: another kind than the usual is bytes altogether.
FrozenTurn: TypeAlias = _Usual | bytes
_TEXTS: Final = ("id", "timestamp", "role", "content")
_REST: Final = ("tool_calls", "tags", "metadata")
#: The fields that a usual turn can have, in the order in which it has them.
_USUAL: Final = frozenset(
    _TEXTS + tuple(name for at, name in enumerate(_REST) if chosen >> at & 1) for chosen in range(8)
)
#: Only for times in UTC itself: in other zones, two times that are equal can differ.
_utc_text: Final = lru_cache(maxsize=8192)(format_time)


@dataclass(frozen=True, slots=True)
class FrozenDocument:
    """A document that cannot change, in two pieces."""

    #: The document, with None for the list of the turns.
    shell: dict[str, Any]
    #: The turns, as `freeze_turn` gives them.
    turns: list[FrozenTurn]

    def thaw(self) -> dict[str, Any]:
        """Return the document; what it holds beside the turns is shared with the shell."""
        turns = [_plain_turn(thaw_turn(each)) for each in self.turns]
        return {**self.shell, "history": {**self.shell["history"], "turns": turns}}


def freeze_turn(turn: Value) -> FrozenTurn:
    """Return a plain value, frozen: a function of it, telling all types and orders apart.

    Foreign values may pass, none of them as one that can be written: bytes for whatever has them.

    Raises:
        ValueError: it holds something that `marshal` does not know, or a subclass.
    """
    if turn.__class__ is dict and tuple(turn) in _USUAL:
        name, moment = turn["id"], turn["timestamp"]
        role, content = turn["role"], turn["content"]
        if type(name) is type(moment) is type(role) is type(content) is str:
            rest = {field: turn[field] for field in _REST if field in turn}
            bytes_of_rest = _marshalled(rest) if rest else None
            try:
                return name, moment, role, _compact(content), bytes_of_rest
            except UnicodeEncodeError:
                pass  # no text that can be written: told apart by its bytes all the same
    return _marshalled(turn)


def thaw_turn(frozen: FrozenTurn) -> Value:
    """Return the value of a frozen turn, a new one each time."""
    if isinstance(frozen, bytes):
        return _loaded(frozen)
    name, moment, role, content, rest = frozen
    said = content if isinstance(content, str) else content.decode()
    turn: dict[str, Any] = {"id": name, "timestamp": moment, "role": role, "content": said}
    return turn if rest is None else turn | _loaded(rest)


def _marshalled(value: Value) -> bytes:
    return marshal.dumps(value, _MARSHAL_VERSION)


def _loaded(data: bytes) -> Value:
    return marshal.loads(data)  # noqa: S302 - bytes made here


def _compact(text: str) -> str | bytes:
    """Return a text itself if it takes a byte for each character, as its UTF-8 does."""
    return text if text.isascii() else text.encode()


def freeze_document(document: dict[str, Any]) -> FrozenDocument | None:
    """Return a document in two pieces, or None if it has no turns, or some that are not plain."""
    history: Value = document.get("history")
    turns: Value = history.get("turns") if is_map(history) else None
    if not is_map(history) or not is_list(turns) or not turns:
        return None
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
            frozen = _usual(turn.__dict__)
            if frozen is not None:
                return frozen
    # Something is missing, or no text, no time with a zone, no plain value.
    except (KeyError, ValueError):
        pass
    return freeze_turn(dump_turn(turn))


def _usual(fields: Mapping[str, Any]) -> _Usual | None:
    """Return the fields of a turn, frozen, or None for one that is to be looked at closely."""
    name, role, content = fields["id"], fields["role"], fields["content"]
    moment, calls, tags = fields["timestamp"], fields["tool_calls"], fields["tags"]
    metadata = fields["metadata"]
    if (
        not (type(name) is type(role) is type(content) is str)
        or not (type(calls) is type(tags) is list)
        or not (type(moment) is datetime and moment.tzinfo is UTC)
        or metadata.__class__ is not dict
    ):
        return None
    rest: dict[str, Any] = {}
    if calls:
        rest["tool_calls"] = dumped = list(map(_call, calls))
        if None in dumped:
            return None
    if tags:
        if not _TEXT_ONLY.issuperset(map(type, tags)):
            return None
        rest["tags"] = tags
    if metadata:
        if not _TEXT_ONLY.issuperset(map(type, metadata)):
            return None
        keys = sorted(metadata)
        rest["metadata"] = (
            metadata if keys == list(metadata) else {key: metadata[key] for key in keys}
        )
    bytes_of_rest = _marshalled(rest) if rest else None
    return name, _utc_text(moment), role, _compact(content), bytes_of_rest


def _call(call: Value) -> dict[str, Any] | None:
    """Return the plain value of a call of a tool, not copied, or None as `_usual` does."""
    if type(call) is not ToolCallRecord or call.__pydantic_extra__:
        return None
    fields = call.__dict__
    name, args, result = fields["tool_name"], fields["args"], fields["result"]
    success, duration = fields["success"], fields["duration_ms"]
    if type(name) is not str or type(success) is not bool or type(duration) is not int:
        return None
    if not 0 <= duration <= U64_MAX:
        return None
    value: dict[str, Any] = {
        "tool_name": name,
        "args": args,
        "result": result,
        "success": success,
        "duration_ms": duration,
    }
    if args is None:
        del value["args"]
    if result is None:
        del value["result"]
    if not duration:
        del value["duration_ms"]
    return value


def _plain_turn(turn: Value) -> Value:
    """Return a turn with lists for its tuples."""
    try:
        return plain(turn)
    except RefusedError:
        return turn  # deeper than the codec writes: it says where
