"""The parts of a session that belong to its tools: skills, triggers, snapshots, grants."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag

from gitstore.session.parts import U32, U64, Json, Part
from gitstore.session.values import is_map

if TYPE_CHECKING:
    from gitstore.session.values import Value


class OnFileEdit(Part):
    """Fires when a file that fits the glob is edited."""

    glob: str


class OnLLMPreRequest(Part):
    """Fires before a request to the model."""

    model_config = ConfigDict(extra="forbid")  # written as a bare name: no room for fields


class OnLLMPostResponse(Part):
    """Fires after a response of the model."""

    model_config = ConfigDict(extra="forbid")  # written as a bare name: no room for fields


class OnEvent(Part):
    """Fires on an event of that kind."""

    kind: str


class Interval(Part):
    """Fires every so many seconds."""

    seconds: U64


#: When a skill starts by itself.
TriggerCondition: TypeAlias = OnFileEdit | OnLLMPreRequest | OnLLMPostResponse | OnEvent | Interval

#: Written as a bare name; the others as a map of one key, their name.
NAME_TRIGGERS: Final = (OnLLMPreRequest, OnLLMPostResponse)

_NAMES: Final = frozenset(kind.__name__ for kind in NAME_TRIGGERS)
_FIELD_NAMES: Final = frozenset(kind.__name__ for kind in (OnFileEdit, OnEvent, Interval))


def _tag(value: Value) -> str | None:
    """Return the name of the trigger that a value stands for."""
    if isinstance(value, Part):
        return type(value).__name__
    if isinstance(value, str):
        return value if value in _NAMES else None
    if is_map(value):
        name = next(iter(value), None)
        return name if len(value) == 1 and name in _NAMES | _FIELD_NAMES else None
    return None


def _body(value: Value) -> Value:
    """Return what stands under the name of a trigger; nothing or null for a bare name."""
    if isinstance(value, str):
        return {}
    if is_map(value):
        ((name, body),) = value.items()
        return {} if body is None and name in _NAMES else body
    return value


_unwrap: Final = BeforeValidator(_body)
_Trigger: TypeAlias = Annotated[
    Annotated[OnFileEdit, _unwrap, Tag("OnFileEdit")]
    | Annotated[OnLLMPreRequest, _unwrap, Tag("OnLLMPreRequest")]
    | Annotated[OnLLMPostResponse, _unwrap, Tag("OnLLMPostResponse")]
    | Annotated[OnEvent, _unwrap, Tag("OnEvent")]
    | Annotated[Interval, _unwrap, Tag("Interval")],
    Discriminator(
        _tag,
        custom_error_type="trigger_type",
        custom_error_message=(
            "must be OnLLMPreRequest, OnLLMPostResponse, {OnFileEdit: {glob}}, {OnEvent: {kind}} "
            "or {Interval: {seconds}}"
        ),
    ),
]


class AutoTriggerConfig(Part):
    """Whether and when a skill starts by itself."""

    enabled: bool = False
    triggers: list[_Trigger] = Field(default_factory=list[TriggerCondition])


class SkillConfig(Part):
    """How a skill is set up in this session."""

    skill_id: str
    enabled: bool = True
    auto_trigger: AutoTriggerConfig = Field(default_factory=AutoTriggerConfig)
    params: dict[str, Json] = Field(default_factory=dict[str, Any])


class ComponentSnapshot(Part):
    """The state of a component, to resume from. `component_fqn` reads ``namespace::name``."""

    component_fqn: str
    version: U32 = 1
    state: Json = None
    metadata: dict[str, Json] = Field(default_factory=dict[str, Any])


class GrantKind(StrEnum):
    """How long a grant holds."""

    PERSISTENT = "Persistent"
    ONE_TIME = "OneTime"


class CommandGrant(Part):
    """A command pattern that the user allowed; the kind may be given by its value."""

    pattern: str
    kind: Annotated[GrantKind, Field(strict=False)]
