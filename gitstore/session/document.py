"""Writing a session as a plain value: for YAML, or for ORCS JSON.

One table says for every part which fields it has, in the order they are written, how each is
checked and copied, and which value is not worth writing. Two forms are made from it:

* the document (YAML): times as text, fields at their default left out;
* ORCS: times as milliseconds under ``name_ms``, every field written.

Every value is checked here although it was checked when it was set: a list can be changed after
that, and what is written must be readable. Nothing in the result is shared with the session.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gitstore.session.checks import (
    Dump,
    flag,
    free_map,
    grant_kind,
    list_of,
    map_of,
    maybe_text,
    maybe_u8,
    number,
    text,
    texts,
    u32,
    u64,
    wrong_type,
)
from gitstore.session.parts import (
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
    Interval,
    OnEvent,
    OnFileEdit,
    SkillConfig,
)
from gitstore.session.times import format_time, to_ms
from gitstore.session.values import RefusedError, Value, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: (field, how to write it) is always written; (field, how, default) is left out at that default.
_Field: TypeAlias = tuple[str, Dump] | tuple[str, Dump, Any]
#: Field, key, how, and the type and value that are left out.
_Step: TypeAlias = tuple[str, str, Dump, type[Any] | None, Any]


class _Form:
    """One way to write the parts down."""

    def __init__(self, time: Callable[[datetime], Any], *, suffix: str, complete: bool) -> None:
        self._format = time
        self._suffix = suffix
        self._complete = complete

    def time(self, value: Value) -> Value:
        if not isinstance(value, datetime):
            raise wrong_type(value, "a datetime")
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
                raise wrong_type(part, f"a {kind.__name__}")
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
            OnFileEdit: self.part(OnFileEdit, [("glob", text)]),
            OnEvent: self.part(OnEvent, [("kind", text)]),
            Interval: self.part(Interval, [("seconds", u64)]),
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
            raise wrong_type(value, "a trigger")

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
            result[text(key)] = plain(value)
        except RefusedError as error:
            raise error.inside(key) from None


def _turn(form: _Form) -> Dump:
    call = form.part(
        ToolCallRecord,
        [
            ("tool_name", text),
            ("args", plain, None),
            ("result", plain, None),
            ("success", flag),
            ("duration_ms", u64, 0),
        ],
    )
    return form.part(
        ConversationTurn,
        [
            ("id", text),
            ("timestamp", form.time),
            ("role", text),
            ("content", text),
            ("tool_calls", list_of(call), []),
            ("tags", texts, []),
            ("metadata", free_map, {}),
        ],
    )


def _history(form: _Form, turns: _Field) -> Dump:
    compacted = form.part(
        CompactedTurn,
        [
            ("summary", text),
            ("turn_count", u64),
            ("start_time", form.time),
            ("end_time", form.time),
        ],
    )
    return form.part(
        ConversationHistory,
        [("compacted", list_of(compacted), []), ("max_turns", u64, 1000)],
        last=turns,
    )


def _project(form: _Form) -> Dump:
    fact = form.part(
        LearnedFact,
        [
            ("key", text),
            ("value", text),
            ("source", text),
            ("confidence", number, 1.0),
            ("learned_at", form.time),
        ],
    )
    injection = form.part(ContextInjection, [("id", text), ("timing", text), ("content", text)])
    return form.part(
        ProjectContext,
        [
            ("root_path", maybe_text, None),
            ("name", maybe_text, None),
            ("technologies", texts, []),
            ("key_files", texts, []),
            ("architecture_notes", texts, []),
            ("learned_facts", list_of(fact), []),
            ("persistent_contexts", list_of(injection), []),
        ],
    )


def _preferences(form: _Form) -> Dump:
    style = form.part(
        CodingStylePreferences,
        [
            ("preferred_languages", texts, []),
            ("indent", maybe_text, None),
            ("indent_size", maybe_u8, None),
            ("naming_convention", maybe_text, None),
            ("comment_style", maybe_text, None),
        ],
    )
    communication = form.part(
        CommunicationPreferences,
        [
            ("verbosity", maybe_text, None),
            ("language", maybe_text, None),
            ("formality", maybe_text, None),
            ("include_examples", flag, False),
        ],
    )
    return form.part(
        UserPreferences,
        [
            ("coding_style", style, {}),
            ("communication", communication, {}),
            ("frequent_tools", texts, []),
            ("custom", free_map, {}),
        ],
    )


def _skill(form: _Form) -> Dump:
    auto = form.part(
        AutoTriggerConfig, [("enabled", flag, False), ("triggers", list_of(form.trigger()), [])]
    )
    return form.part(
        SkillConfig,
        [
            ("skill_id", text),
            ("enabled", flag),
            ("auto_trigger", auto, {}),
            ("params", free_map, {}),
        ],
    )


def _turns(form: _Form) -> _Field:
    return ("turns", list_of(_turn(form)), [])


def _session(form: _Form, turns: _Field) -> Dump:
    snapshot = form.part(
        ComponentSnapshot,
        [
            ("component_fqn", text),
            ("version", u32, 1),
            ("state", plain, None),
            ("metadata", free_map, {}),
        ],
    )
    grant = form.part(CommandGrant, [("pattern", text), ("kind", grant_kind)])
    return form.part(
        Part,
        [
            ("id", text),
            ("version", u32),
            ("created_at", form.time),
            ("updated_at", form.time),
            ("project_context", _project(form), {}),
            ("preferences", _preferences(form), {}),
            ("skill_configs", map_of(_skill(form)), {}),
            ("component_snapshots", map_of(snapshot), {}),
            ("granted_commands", list_of(grant), []),
            ("metadata", free_map, {}),
        ],
        last=("history", _history(form, turns), {}),
    )


_yaml: Final = _Form(format_time, suffix="", complete=False)
_orcs: Final = _Form(to_ms, suffix="_ms", complete=True)
#: Writes a SessionAsset as the plain value that goes to YAML.
dump_document: Final = _session(_yaml, _turns(_yaml))
#: Writes a SessionAsset as `dump_document` does one that has turns, but with None for the list of them.
dump_shell: Final = _session(_yaml, ("turns", lambda _: None))
#: Writes one turn as `dump_document` does.
dump_turn: Final = _turn(_yaml)
#: Writes a SessionAsset as the plain value that goes to ORCS JSON.
dump_orcs: Final = _session(_orcs, _turns(_orcs))
