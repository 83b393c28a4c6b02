"""`SessionAsset`: everything one session holds, and its two written forms.

The parts it is made of are in `parts` and `skills`, and can be imported from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, Self, cast

from pydantic import Field, PrivateAttr, ValidationError

from gitstore.errors import SerializationError, UnsupportedVersionError
from gitstore.session.document import dump_document, dump_orcs
from gitstore.session.orcs import parse, render, to_fields
from gitstore.session.parts import (
    U32,
    CodingStylePreferences,
    CommunicationPreferences,
    CompactedTurn,
    ContextInjection,
    ConversationHistory,
    ConversationTurn,
    Json,
    LearnedFact,
    Moment,
    Part,
    ProjectContext,
    ToolCallRecord,
    UserPreferences,
    new_id,
    now_utc,
    refusal,
)
from gitstore.session.skills import (
    AutoTriggerConfig,
    CommandGrant,
    ComponentSnapshot,
    GrantKind,
    Interval,
    OnEvent,
    OnFileEdit,
    OnLLMPostResponse,
    OnLLMPreRequest,
    SkillConfig,
    TriggerCondition,
)
from gitstore.session.values import RefusedError, Value, is_list, is_map

if TYPE_CHECKING:
    from datetime import datetime

    from gitstore.session.checks import Dump
    from gitstore.types import Revision

__all__ = [
    "FORMAT_VERSION",
    "AutoTriggerConfig",
    "CodingStylePreferences",
    "CommandGrant",
    "CommunicationPreferences",
    "CompactedTurn",
    "ComponentSnapshot",
    "ContextInjection",
    "ConversationHistory",
    "ConversationTurn",
    "GrantKind",
    "Interval",
    "LearnedFact",
    "OnEvent",
    "OnFileEdit",
    "OnLLMPostResponse",
    "OnLLMPreRequest",
    "ProjectContext",
    "SessionAsset",
    "SkillConfig",
    "ToolCallRecord",
    "TriggerCondition",
    "UserPreferences",
]

#: The version this model reads and writes.
FORMAT_VERSION: Final = 1


class PathLike(Protocol):
    """A path of the standard library, named here without importing it."""

    def __fspath__(self) -> str:
        """Return the path as text."""
        ...


class SessionAsset(Part):  # noqa: PLW1641 - mutable, so without a hash
    """One session: its conversation, and what was learned and allowed in it.

    Two assets are equal when their content is; the revision they were loaded from does not count.
    The methods that change something also `touch()`; pass `now` to fix the time.
    """

    id: str
    version: U32 = FORMAT_VERSION
    created_at: Moment
    updated_at: Moment
    project_context: ProjectContext = Field(default_factory=ProjectContext)
    preferences: UserPreferences = Field(default_factory=UserPreferences)
    skill_configs: dict[str, SkillConfig] = Field(default_factory=dict[str, SkillConfig])
    component_snapshots: dict[str, ComponentSnapshot] = Field(
        default_factory=dict[str, ComponentSnapshot]
    )
    granted_commands: list[CommandGrant] = Field(default_factory=list[CommandGrant])
    metadata: dict[str, Json] = Field(default_factory=dict[str, Any])
    history: ConversationHistory = Field(default_factory=ConversationHistory)

    _revision: Revision | None = PrivateAttr(default=None)

    @classmethod
    def new(
        cls,
        project: str | PathLike | None = None,
        *,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - the field's name
        now: datetime | None = None,
    ) -> Self:
        """Return a fresh session, for the project at that path if one is given."""
        moment = now or now_utc()
        root = project if project is None or isinstance(project, str) else project.__fspath__()
        context = ProjectContext(root_path=root, name=name)
        return cls(id=id or new_id(), created_at=moment, updated_at=moment, project_context=context)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SessionAsset):
            return NotImplemented
        return (
            self.__dict__ == other.__dict__ and self.__pydantic_extra__ == other.__pydantic_extra__
        )

    @property
    def revision(self) -> Revision | None:
        """The stored revision this content was loaded from or last saved as; never stored."""
        return self._revision

    def mark_stored(self, revision: Revision | None) -> None:
        """Remember which stored revision this content comes from."""
        self._revision = revision

    def refresh(self, other: SessionAsset) -> None:
        """Take over all content of another asset, which must not be used afterwards.

        Parts, lists, maps and turns (by id) that the caller may hold on to stay the same objects,
        so that a turn added to a `history` taken out before is not added to nothing.
        """
        _take_over(self, other)

    def touch(self, now: datetime | None = None) -> None:
        """Set `updated_at`."""
        self.updated_at = now or now_utc()

    def add_turn(self, turn: ConversationTurn, now: datetime | None = None) -> None:
        """Append a turn to the history, whatever `max_turns` says."""
        self.history.turns.append(turn)
        self.touch(now)

    def set_skill_config(self, config: SkillConfig, now: datetime | None = None) -> None:
        """Set up a skill, under its `skill_id`."""
        self.skill_configs[config.skill_id] = config
        self.touch(now)

    def save_snapshot(self, snapshot: ComponentSnapshot, now: datetime | None = None) -> None:
        """Keep the state of a component, under its `component_fqn`."""
        self.component_snapshots[snapshot.component_fqn] = snapshot
        self.touch(now)

    def get_snapshot(self, component_fqn: str) -> ComponentSnapshot | None:
        """Return the kept state of a component, or None."""
        return self.component_snapshots.get(component_fqn)

    def remove_snapshot(
        self, component_fqn: str, now: datetime | None = None
    ) -> ComponentSnapshot | None:
        """Drop the kept state of a component and return it, or None if there was none."""
        snapshot = self.component_snapshots.pop(component_fqn, None)
        if snapshot is not None:
            self.touch(now)
        return snapshot

    def clear_snapshots(self, now: datetime | None = None) -> None:
        """Drop the kept state of all components."""
        if self.component_snapshots:
            self.component_snapshots.clear()
            self.touch(now)

    def save_grants(self, grants: list[CommandGrant], now: datetime | None = None) -> None:
        """Replace the granted commands; equal ones, in the same order, are no change."""
        if self.granted_commands != grants:
            self.granted_commands = list(grants)
            self.touch(now)

    def to_document(self) -> dict[str, Any]:
        """Return the plain value that goes to YAML: a deep copy, keys in their fixed order.

        Free-form values that JSON cannot say are passed on; the codec refuses them.

        Raises:
            SerializationError: a part was changed into what could not be read back.
        """
        return self._dump(dump_document)

    @classmethod
    def from_document(cls, document: object, *, session_id: str | None = None) -> Self:
        """Return the session that a plain value describes; the inverse of `to_document`.

        Shares nothing with the value. If `session_id` is given, the id inside must be the same.

        Raises:
            SerializationError: the value is no session; `where` is the path of what is wrong.
            UnsupportedVersionError: it was written in another format version.
        """
        name = session_id
        if not is_map(document):
            problem = f"must be a map, not {type(document).__name__}"
            raise SerializationError(problem, where="session", session_id=name)
        stored_id = document.get("id")
        if name is None and isinstance(stored_id, str):
            name = stored_id
        version = document.get("version")
        if type(version) is not int:
            problem = (
                f"must be a whole number, not {type(version).__name__}"
                if "version" in document
                else "is missing"
            )
            raise SerializationError(problem, where="version", session_id=name)
        if version != FORMAT_VERSION:
            raise UnsupportedVersionError(
                version=version, supported=FORMAT_VERSION, session_id=name
            )
        try:
            asset = cls.model_validate(document)
        except ValidationError as error:
            raise refusal(error, session_id=name) from error
        if session_id is not None and asset.id != session_id:
            problem = f"must be {session_id!a}, as the file is named, not {asset.id!a}"
            raise SerializationError(problem, where="id", session_id=session_id)
        return asset

    def to_orcs_json(self) -> str:
        """Return the session as ORCS JSON: every field written, unknown ones kept.

        Raises:
            SerializationError: ORCS' reader would refuse or change a value: a number that is not
                finite, an integer beyond 64 bits, a lone surrogate, a time before 1970, nesting
                of 128 levels, or a value that is no JSON.
        """
        value = self._dump(dump_orcs)
        try:
            return render(value)
        except SerializationError as error:
            raise SerializationError(
                error.problem, where=error.where, session_id=self.id
            ) from error

    @classmethod
    def from_orcs_json(cls, text: str | bytes) -> Self:
        """Return the session that ORCS wrote as JSON.

        Raises:
            SerializationError: the text is no JSON (`line` and `column` tell where), or the value
                is no session (`where` tells).
            UnsupportedVersionError: it was written in another format version.
        """
        return cls.from_document(to_fields(parse(text)))

    def _dump(self, dump: Dump) -> dict[str, Any]:
        if self.version != FORMAT_VERSION:
            raise UnsupportedVersionError(
                version=self.version, supported=FORMAT_VERSION, session_id=self.id
            )
        try:
            return cast("dict[str, Any]", dump(self))
        except RefusedError as error:
            raise SerializationError(
                error.problem, where=error.where, session_id=self.id
            ) from error


def _take_over(mine: Part, theirs: Part) -> None:
    fields = vars(mine)
    for name, value in vars(theirs).items():
        fields[name] = _taken(fields.get(name), value)
    old, new = mine.__pydantic_extra__, theirs.__pydantic_extra__
    if old is not None and new is not None:
        _taken(old, new)
    mine.__pydantic_fields_set__.update(theirs.__pydantic_fields_set__)


def _taken(mine: Value, theirs: Value) -> Value:
    """Return `mine` with the content of `theirs` where that can be, else `theirs`."""
    if mine is theirs:
        return theirs
    if isinstance(mine, Part) and type(mine) is type(theirs):
        _take_over(mine, theirs)
    elif is_list(mine) and is_list(theirs):
        mine[:] = _turns_by_id(mine, theirs)
    elif is_map(mine) and is_map(theirs):
        items = {key: _taken(mine.get(key), value) for key, value in theirs.items()}
        mine.clear()
        mine.update(items)
    else:
        return theirs
    return mine


def _turns_by_id(mine: list[Any], theirs: list[Any]) -> list[Any]:
    known = {item.id: item for item in mine if isinstance(item, ConversationTurn)}
    # Popped: two turns of one id must not become one object.
    return [
        _taken(known.pop(item.id, None), item) if isinstance(item, ConversationTurn) else item
        for item in theirs
    ]
