"""Writing a session as a plain value: for YAML, or for ORCS JSON.

One table says for every part which fields it has, in the order they are written, how each is
checked and copied, and which value is not worth writing. Two forms are made from it:

* the document (YAML): times as text, fields at their default left out;
* ORCS: times as milliseconds under ``name_ms``, every field written.

Every value is checked here although it was checked when it was set: a list can be changed after
that, and what is written must be readable. Nothing in the result is shared with the session.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from gitstore.session.parts import (
    U8_MAX,
    U32_MAX,
    U64_MAX,
    CodingStylePreferences,
    CommunicationPreferences,
    CompactedTurn,
    ContextInjection,
    ConversationHistory,
    ConversationTurn,
    LearnedFact,
    Part,
    ProjectContext,
    ToolCallRecord,
    UserPreferences,
)
from gitstore.session.skills import (
    NAME_TRIGGERS,
    AutoTriggerConfig,
    CommandGrant,
    ComponentSnapshot,
    GrantKind,
    Interval,
    OnEvent,
    OnFileEdit,
    SkillConfig,
)
from gitstore.session.times import format_time, to_ms
from gitstore.session.values import RefusedError, Value, is_list, is_map, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Checks a value and copies it; raises RefusedError.
Dump: TypeAlias = Callable[[Any], Any]

#: (field, how to write it) is always written; (field, how, default) is left out at that default.
_Field: TypeAlias = tuple[str, Dump] | tuple[str, Dump, Any]
#: Field, key, how, and the type and value that are left out.
_Step: TypeAlias = tuple[str, str, Dump, type[Any] | None, Any]


def _not(value: Value, wanted: str) -> RefusedError:
    return RefusedError(f"must be {wanted}, not {type(value).__name__}")


def _text(value: Value) -> str:
    if type(value) is str:
        return value
    if not isinstance(value, str):
        raise _not(value, "text")
    return str.__str__(value)


def _maybe_text(value: Value) -> str | None:
    return None if value is None else _text(value)


def _integer(largest: int) -> Dump:
    def dump(value: Value) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _not(value, "a whole number")
        if not 0 <= value <= largest:
            problem = f"must be from 0 to {largest}"
            raise RefusedError(problem)
        return int.__int__(value)

    return dump


_u8: Final = _integer(U8_MAX)
_u32: Final = _integer(U32_MAX)
_u64: Final = _integer(U64_MAX)


def _maybe_u8(value: Value) -> int | None:
    return None if value is None else cast("int", _u8(value))


def _number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, float | int):
        raise _not(value, "a number")
    if not math.isfinite(value):
        problem = "must be a finite number"
        raise RefusedError(problem)
    return float(value)


def _flag(value: Value) -> bool:
    if not isinstance(value, bool):
        raise _not(value, "true or false")
    return value


def _grant_kind(value: Value) -> str:
    try:
        return GrantKind(value).value
    except ValueError as error:
        problem = "must be Persistent or OneTime"
        raise RefusedError(problem) from error


def _list(dump: Dump) -> Dump:
    def dump_all(value: Value) -> list[Any]:
        if not is_list(value):
            raise _not(value, "a list")
        result: list[Any] = []
        try:
            for item in value:
                result.append(dump(item))  # noqa: PERF401 - its length tells where it went wrong
        except RefusedError as error:
            raise error.inside(len(result)) from None
        return result

    return dump_all


def _map(dump: Dump) -> Dump:
    """Write a map sorted by key: ORCS writes these in random order."""

    def dump_all(value: Value) -> dict[str, Any]:
        if not is_map(value):
            raise _not(value, "a map")
        if not value:
            return {}
        for key in value:
            if not isinstance(key, str):
                raise _not(key, "a map with text as keys")
        result: dict[str, Any] = {}
        key = ""
        try:
            for key in sorted(value):
                result[_text(key)] = dump(value[key])
        except RefusedError as error:
            raise error.inside(key) from None
        return result

    return dump_all


_texts: Final = _list(_text)
_values: Final = _map(plain)


class _Form:
    """One way to write the parts down."""

    def __init__(self, time: Callable[[datetime], Any], *, suffix: str, complete: bool) -> None:
        self._format = time
        self._suffix = suffix
        self._complete = complete

    def time(self, value: Value) -> Value:
        if not isinstance(value, datetime):
            raise _not(value, "a datetime")
        try:
            return self._format(value)
        except ValueError as error:
            raise RefusedError(str(error)) from error

    def part(self, kind: type[Part], fields: Sequence[_Field], last: _Field | None = None) -> Dump:
        """Return how to write one kind of part; unknown fields come before the `last` field."""
        steps = [self._step(field) for field in fields]
        tail = [] if last is None else [self._step(last)]

        def dump(part: Value) -> dict[str, Any]:
            if not isinstance(part, kind):
                raise _not(part, f"a {kind.__name__}")
            result: dict[str, Any] = {}
            _write(vars(part), steps, result)
            extra = part.__pydantic_extra__
            if extra:
                _write_extra(extra, steps + tail, result)
            if tail:
                _write(vars(part), tail, result)
            return result

        return dump

    def trigger(self) -> Dump:
        kinds: dict[type[Any], Dump] = {
            OnFileEdit: self.part(OnFileEdit, [("glob", _text)]),
            OnEvent: self.part(OnEvent, [("kind", _text)]),
            Interval: self.part(Interval, [("seconds", _u64)]),
        }

        def dump(value: Value) -> Value:
            kind: type[Any] = value.__class__
            if kind in kinds:
                try:
                    return {kind.__name__: kinds[kind](value)}
                except RefusedError as error:
                    raise error.inside(kind.__name__) from None
            if kind in NAME_TRIGGERS:
                return kind.__name__
            raise _not(value, "a trigger")

        return dump

    def _step(self, field: _Field) -> _Step:
        name, dump, *default = field
        # Bound methods are equal, not identical, each time they are looked up.
        key = name + self._suffix if dump == self.time else name
        if self._complete or not default:
            return (name, key, dump, None, None)
        (value,) = default
        return (name, key, dump, value.__class__, value)


def _write(values: dict[str, Any], steps: list[_Step], result: dict[str, Any]) -> None:
    key = ""
    try:
        for name, key, dump, kind, default in steps:
            value = values[name]
            # Types first: 1 == True, and foreign classes may compare as they like.
            if value.__class__ is not kind or value != default:
                value = dump(value)
                if value.__class__ is not kind or value != default:
                    result[key] = value
    except RefusedError as error:
        raise error.inside(key) from None
    except KeyError:
        raise RefusedError("is missing", where=key) from None


def _write_extra(extra: dict[str, Any], steps: list[_Step], result: dict[str, Any]) -> None:
    taken = {key for _, key, *_ in steps}
    for key, value in extra.items():
        if key in taken:
            problem = "is an unknown field that has the name of a known one in this form"
            raise RefusedError(problem, where=key)
        try:
            result[_text(key)] = plain(value)
        except RefusedError as error:
            raise error.inside(key) from None


def _history(form: _Form) -> Dump:
    call = form.part(
        ToolCallRecord,
        [
            ("tool_name", _text),
            ("args", plain, None),
            ("result", plain, None),
            ("success", _flag),
            ("duration_ms", _u64, 0),
        ],
    )
    turn = form.part(
        ConversationTurn,
        [
            ("id", _text),
            ("timestamp", form.time),
            ("role", _text),
            ("content", _text),
            ("tool_calls", _list(call), []),
            ("tags", _texts, []),
            ("metadata", _values, {}),
        ],
    )
    compacted = form.part(
        CompactedTurn,
        [
            ("summary", _text),
            ("turn_count", _u64),
            ("start_time", form.time),
            ("end_time", form.time),
        ],
    )
    return form.part(
        ConversationHistory,
        [("compacted", _list(compacted), []), ("max_turns", _u64, 1000)],
        last=("turns", _list(turn), []),
    )


def _project(form: _Form) -> Dump:
    fact = form.part(
        LearnedFact,
        [
            ("key", _text),
            ("value", _text),
            ("source", _text),
            ("confidence", _number, 1.0),
            ("learned_at", form.time),
        ],
    )
    injection = form.part(ContextInjection, [("id", _text), ("timing", _text), ("content", _text)])
    return form.part(
        ProjectContext,
        [
            ("root_path", _maybe_text, None),
            ("name", _maybe_text, None),
            ("technologies", _texts, []),
            ("key_files", _texts, []),
            ("architecture_notes", _texts, []),
            ("learned_facts", _list(fact), []),
            ("persistent_contexts", _list(injection), []),
        ],
    )


def _preferences(form: _Form) -> Dump:
    style = form.part(
        CodingStylePreferences,
        [
            ("preferred_languages", _texts, []),
            ("indent", _maybe_text, None),
            ("indent_size", _maybe_u8, None),
            ("naming_convention", _maybe_text, None),
            ("comment_style", _maybe_text, None),
        ],
    )
    communication = form.part(
        CommunicationPreferences,
        [
            ("verbosity", _maybe_text, None),
            ("language", _maybe_text, None),
            ("formality", _maybe_text, None),
            ("include_examples", _flag, False),
        ],
    )
    return form.part(
        UserPreferences,
        [
            ("coding_style", style, {}),
            ("communication", communication, {}),
            ("frequent_tools", _texts, []),
            ("custom", _values, {}),
        ],
    )


def _skill(form: _Form) -> Dump:
    auto = form.part(
        AutoTriggerConfig, [("enabled", _flag, False), ("triggers", _list(form.trigger()), [])]
    )
    return form.part(
        SkillConfig,
        [
            ("skill_id", _text),
            ("enabled", _flag),
            ("auto_trigger", auto, {}),
            ("params", _values, {}),
        ],
    )


def _session(form: _Form) -> Dump:
    snapshot = form.part(
        ComponentSnapshot,
        [
            ("component_fqn", _text),
            ("version", _u32, 1),
            ("state", plain, None),
            ("metadata", _values, {}),
        ],
    )
    grant = form.part(CommandGrant, [("pattern", _text), ("kind", _grant_kind)])
    return form.part(
        Part,
        [
            ("id", _text),
            ("version", _u32),
            ("created_at", form.time),
            ("updated_at", form.time),
            ("project_context", _project(form), {}),
            ("preferences", _preferences(form), {}),
            ("skill_configs", _map(_skill(form)), {}),
            ("component_snapshots", _map(snapshot), {}),
            ("granted_commands", _list(grant), []),
            ("metadata", _values, {}),
        ],
        last=("history", _history(form), {}),
    )


#: Writes a SessionAsset as the plain value that goes to YAML.
dump_document: Final = _session(_Form(format_time, suffix="", complete=False))
#: Writes a SessionAsset as the plain value that goes to ORCS JSON.
dump_orcs: Final = _session(_Form(to_ms, suffix="_ms", complete=True))
