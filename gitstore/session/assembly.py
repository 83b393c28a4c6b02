"""Makes sessions of frozen documents: what `SessionAsset.from_document` makes, in half the time.

Nearly all of a large session is turns of the usual kind, which `freeze_turn` has checked already, and
what is thawed belongs to nobody else yet. So they are neither checked nor copied again here.
"""

from __future__ import annotations

import marshal
from itertools import compress, product
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from gitstore.errors import SerializationError
from gitstore.session.frozen import thaw_turn
from gitstore.session.model import SessionAsset
from gitstore.session.parts import ConversationTurn, ToolCallRecord
from gitstore.session.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitstore.session.frozen import FrozenDocument

_new: Final = object.__new__
_slots: Final = vars(BaseModel)
# The descriptors of a part's slots: what `setattr` would look up for every part.
_set_fields: Final = _slots["__dict__"].__set__
_set_given: Final = _slots["__pydantic_fields_set__"].__set__
_set_extra: Final = _slots["__pydantic_extra__"].__set__
_set_private: Final = _slots["__pydantic_private__"].__set__


def _given(always: set[str], *optional: str) -> dict[tuple[bool, ...], set[str]]:
    """Return which fields are given, by which of the optional ones are."""
    return {
        chosen: always | set(compress(optional, chosen))
        for chosen in product((False, True), repeat=len(optional))
    }


_texts_given: Final = {"id", "timestamp", "role", "content"}
_turn_given: Final = _given(_texts_given, "tool_calls", "tags", "metadata")
_call_given: Final = _given({"tool_name", "success"}, "args", "result", "duration_ms")


def assemble(document: FrozenDocument, *, session_id: str | None = None) -> SessionAsset:
    """Return the session that a document describes, as `SessionAsset.from_document` does.

    Raises:
        SerializationError: the document is no session; `where` is the path of what is wrong.
        UnsupportedVersionError: it was written in another format version.
    """
    try:
        asset = SessionAsset.from_document(document.whole([]), session_id=session_id)
        if document.turns:
            vars(asset.history)["turns"] = list(_turns(document))
    # Once more, all of it: whoever mends it wants to know how much is wrong.
    except (SerializationError, ValueError):
        return SessionAsset.from_document(document.thaw(), session_id=session_id)
    return asset


def _turns(document: FrozenDocument) -> Iterator[ConversationTurn]:
    """Give the turns. One function without another inside: that takes a fifth off the load.

    Raises:
        ValueError: one is no turn.
    """
    for frozen in document.turns:
        if isinstance(frozen, bytes):
            yield ConversationTurn.model_validate(thaw_turn(frozen))
            continue
        turn_id, moment, role, content, rest = frozen
        calls: list[ToolCallRecord] = []
        if rest is None:
            tags: list[str] = []
            metadata: dict[str, Any] = {}
            given = _texts_given
        else:
            called, tags, metadata = marshal.loads(rest)  # noqa: S302 - bytes made here
            given = _turn_given[bool(called), bool(tags), bool(metadata)]
            for name, args, result, success, duration in called:
                call = _new(ToolCallRecord)
                fields = {
                    "tool_name": name,
                    "args": args,
                    "result": result,
                    "success": success,
                    "duration_ms": duration,
                }
                _set_fields(call, fields)
                _set_given(
                    call, _call_given[args is not None, result is not None, duration != 0].copy()
                )
                _set_extra(call, {})
                _set_private(call, None)
                calls.append(call)
        turn = _new(ConversationTurn)
        fields = {
            "id": turn_id,
            "timestamp": parse_time(moment),
            "role": role,
            "content": content if isinstance(content, str) else content.decode(),
            "tool_calls": calls,
            "tags": tags,
            "metadata": metadata,
        }
        _set_fields(turn, fields)
        _set_given(turn, given.copy())
        _set_extra(turn, {})
        _set_private(turn, None)
        yield turn
