"""ORCS JSON, read and written without loss, within the limits of ORCS' own reader.

ORCS' reader (serde_json) takes UTF-8 without a byte order mark and without lone surrogates, at
most 127 lists and objects in each other, and integers from -2**63 to 2**64 - 1: larger ones it
reads as floats. What it would refuse or change is refused here, on both sides. A key given twice
is refused too; ORCS refuses it in its own structures and keeps the last one in free maps.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from gitstore.errors import SerializationError
from gitstore.session.times import from_ms
from gitstore.session.values import Value, is_list, is_map, path

#: One less than serde_json refuses.
_DEPTH_MAX: Final = 127
_I64_MIN: Final = -(2**63)
_U64_MAX: Final = 2**64 - 1
#: An integer of more digits is beyond both; Python would also refuse to read 4,301.
_INTEGER_DIGITS_MAX: Final = 20
#: What `where` says about the text as a whole.
_WHOLE: Final = "json"

_Steps: TypeAlias = tuple[str | int, ...]


class _Doubled(dict[str, Any]):
    """An object in which a key stood twice."""

    doubled: str = ""


def parse(text: str | bytes) -> Value:
    """Return the value of JSON text.

    Raises:
        SerializationError: the text is not JSON that ORCS reads; `line` and `column` tell where
            when it is no JSON at all, `where` when the value is refused.
    """
    source = _decode(text) if isinstance(text, bytes) else text
    if source.startswith("\ufeff"):
        raise SerializationError("begins with a byte order mark", where=_WHOLE, line=1, column=1)
    try:
        value = json.loads(
            source, parse_int=_integer, parse_constant=float, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        problem = f"is no JSON: {error.msg}"
        raise SerializationError(
            problem, where=_WHOLE, line=error.lineno, column=error.colno
        ) from error
    except RecursionError as error:
        problem = f"is nested deeper than {_DEPTH_MAX} levels"
        raise SerializationError(problem, where=_WHOLE) from error
    check(value)
    return value


def render(value: Value) -> str:
    """Return plain values as JSON text, indented as ORCS writes it.

    Raises:
        SerializationError: ORCS would refuse or change a value in it.
    """
    check(value)
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)


def check(value: Value) -> None:
    """Refuse what ORCS' reader refuses or changes.

    Raises:
        SerializationError: with the path of the first such value.
    """
    _check(value, ())


def _check(value: Value, steps: _Steps) -> None:
    if is_map(value):
        if isinstance(value, _Doubled):
            raise SerializationError("stands twice", where=path((*steps, value.doubled)))
        _check_depth(steps)
        for key, item in value.items():
            if not isinstance(key, str):
                problem = f"must have text as keys, not {type(key).__name__}"
                raise SerializationError(problem, where=path(steps) or _WHOLE)
            _check_text(key, (*steps, key))
            _check(item, (*steps, key))
    elif is_list(value):
        _check_depth(steps)
        for index, item in enumerate(value):
            _check(item, (*steps, index))
    else:
        _check_scalar(value, steps)


def _check_depth(steps: _Steps) -> None:
    if len(steps) >= _DEPTH_MAX:
        problem = f"is nested deeper than {_DEPTH_MAX} levels"
        # The path itself is as long as the nesting is deep: its beginning says enough.
        raise SerializationError(problem, where=path(steps[:4]))


def _check_scalar(value: Value, steps: _Steps) -> None:
    where = path(steps) or _WHOLE
    if isinstance(value, str):
        _check_text(value, steps)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise SerializationError("must be a finite number", where=where)
    elif isinstance(value, int):
        if not _I64_MIN <= value <= _U64_MAX:
            problem = "must be from -2**63 to 2**64 - 1: ORCS reads others as floats"
            raise SerializationError(problem, where=where)
    elif value is not None:
        problem = f"must be a JSON value, not {type(value).__name__}"
        raise SerializationError(problem, where=where)


def _check_text(text: str, steps: _Steps) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        problem = f"has a lone surrogate at character {error.start + 1}"
        raise SerializationError(problem, where=path(steps)) from error


def _decode(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        before = text[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
        problem = f"is not UTF-8: {error.reason}"
        raise SerializationError(problem, where=_WHOLE, line=line, column=column) from error


def _integer(digits: str) -> int | float:
    """Read an integer as serde_json does: -0 and what fits no 64 bits are floats."""
    if digits == "-0" or len(digits) > _INTEGER_DIGITS_MAX:
        return float(digits)
    value = int(digits)
    return value if _I64_MIN <= value <= _U64_MAX else float(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    doubled = _Doubled(value)
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            doubled.doubled = key
            break
        seen.add(key)
    return doubled


@dataclass(frozen=True, slots=True, kw_only=True)
class _Struct:
    """What ORCS' reader asks of one structure, and where it differs from the document."""

    required: tuple[str, ...]
    #: Names without ``_ms``; all of them required.
    times: tuple[str, ...] = ()
    one: dict[str, _Struct] = field(default_factory=dict[str, "_Struct"])
    lists: dict[str, _Struct] = field(default_factory=dict[str, "_Struct"])
    maps: dict[str, _Struct] = field(default_factory=dict[str, "_Struct"])
    #: Names of the fields when written as a list.
    as_list: tuple[str, ...] = ()


_CALL: Final = _Struct(required=("tool_name", "args", "success", "duration_ms"))
_TURN: Final = _Struct(
    required=("id", "role", "content", "tool_calls", "tags", "metadata"),
    times=("timestamp",),
    lists={"tool_calls": _CALL},
)
_COMPACTED: Final = _Struct(required=("summary", "turn_count"), times=("start_time", "end_time"))
_HISTORY: Final = _Struct(
    required=("turns", "compacted"), lists={"turns": _TURN, "compacted": _COMPACTED}
)
_PREFERENCES: Final = _Struct(
    required=("coding_style", "communication", "frequent_tools", "custom"),
    one={"coding_style": _Struct(required=("preferred_languages",))},
)
_PROJECT: Final = _Struct(
    required=(
        "technologies",
        "key_files",
        "architecture_notes",
        "learned_facts",
        "persistent_contexts",
    ),
    lists={
        "learned_facts": _Struct(
            required=("key", "value", "source", "confidence"), times=("learned_at",)
        ),
        "persistent_contexts": _Struct(required=("id", "timing", "content")),
    },
)
_SKILL: Final = _Struct(
    required=("skill_id", "enabled", "auto_trigger", "params"),
    one={"auto_trigger": _Struct(required=("enabled", "triggers"))},
)
_SNAPSHOT: Final = _Struct(required=("component_fqn", "version", "state", "metadata"))
_GRANT: Final = _Struct(required=("pattern", "kind"), as_list=("pattern", "kind"))
_SESSION: Final = _Struct(
    required=(
        "id",
        "version",
        "history",
        "preferences",
        "project_context",
        "skill_configs",
        "metadata",
    ),
    times=("created_at", "updated_at"),
    one={"history": _HISTORY, "preferences": _PREFERENCES, "project_context": _PROJECT},
    lists={"granted_commands": _GRANT},
    maps={"skill_configs": _SKILL, "component_snapshots": _SNAPSHOT},
)


def to_fields(value: Value) -> Value:
    """Return the value of ORCS JSON with the names and times of our model.

    Only what ORCS names differently or requires is looked at; the model checks all the rest.

    Raises:
        SerializationError: a required field is missing, or a time cannot be read.
    """
    return _convert(value, _SESSION, ())


def _convert(value: Value, struct: _Struct, steps: _Steps) -> Value:
    if is_list(value) and struct.as_list:
        if len(value) != len(struct.as_list):
            problem = f"must be a list of {' and '.join(struct.as_list)}, or a map"
            raise SerializationError(problem, where=path(steps))
        fields: dict[str, Any] = dict(zip(struct.as_list, value, strict=True))
        return fields
    if not is_map(value):
        return value
    result: dict[str, Any] = dict(value)
    for name in (*struct.required, *(f"{name}_ms" for name in struct.times)):
        if name not in result:
            raise SerializationError("is missing", where=path((*steps, name)))
    for name in struct.times:
        _convert_time(result, name, steps)
    _convert_inner(result, struct, steps)
    return result


def _convert_inner(result: dict[str, Any], struct: _Struct, steps: _Steps) -> None:
    for name, inner in struct.one.items():
        result[name] = _convert(result[name], inner, (*steps, name))
    for name, inner in struct.lists.items():
        if isinstance(result.get(name), list):
            result[name] = [
                _convert(item, inner, (*steps, name, index))
                for index, item in enumerate(result[name])
            ]
    for name, inner in struct.maps.items():
        if isinstance(result.get(name), dict):
            result[name] = {
                key: _convert(item, inner, (*steps, name, key))
                for key, item in result[name].items()
            }


def _convert_time(result: dict[str, Any], name: str, steps: _Steps) -> None:
    if name in result:
        problem = f"is an unknown field, and the name of {name}_ms here; rename or remove it"
        raise SerializationError(problem, where=path((*steps, name)))
    where = path((*steps, f"{name}_ms"))
    milliseconds = result.pop(f"{name}_ms")
    if type(milliseconds) is not int:
        problem = f"must be a whole number, not {type(milliseconds).__name__}"
        raise SerializationError(problem, where=where)
    try:
        result[name] = from_ms(milliseconds)
    except ValueError as error:
        raise SerializationError(str(error), where=where) from error
