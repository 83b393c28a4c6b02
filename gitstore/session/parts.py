"""The parts of a session: what ORCS keeps, as pydantic models, and the rules they share.

Fields that this version does not know are kept (`model_extra`), at every level. Types are strict:
the text '12' is no int, and neither is True. Values are checked when a part is made and when a
field is set, and again when the session is written, since a list can be changed in between.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from gitstore.errors import SerializationError
from gitstore.session.times import in_utc, parse_time
from gitstore.session.values import Value, path, plain

if TYPE_CHECKING:
    from collections.abc import Callable

U8_MAX: Final = 2**8 - 1
U32_MAX: Final = 2**32 - 1
U64_MAX: Final = 2**64 - 1


def now_utc() -> datetime:
    """Return this moment, cut to milliseconds: the only place in the model that asks the clock."""
    return in_utc(datetime.now(UTC))  # noqa: TID251 - the factories take `now=` from a clock's owner


def new_id() -> str:
    """Return a fresh id, a version 4 UUID: the only place in the model that asks for chance."""
    return str(uuid.uuid4())  # noqa: TID251 - the factories take `id=` from whoever has one


def refusal(error: ValidationError, *, session_id: str | None = None) -> SerializationError:
    """Return pydantic's findings as our own error: the first one, and how many more there are."""
    found = error.errors(include_url=False, include_context=False)
    first = found[0]
    if first["type"] == "missing":
        problem = "is missing"
    elif first["type"] in ("value_error", "assertion_error"):
        problem = first["msg"].partition(", ")[2]
    else:
        problem = first["msg"].replace("Input should", "must")
        problem = problem[0].lower() + problem[1:]
        if first["type"].endswith("_type"):
            problem += f", not {type(first['input']).__name__}"
    if len(found) > 1:
        problem += f" (and {len(found) - 1} more)"
    steps = [step for step in first["loc"] if step != "[key]"]
    return SerializationError(problem, where=path(steps) or "session", session_id=session_id)


if TYPE_CHECKING:
    _Base = BaseModel
else:

    class _RefusingMeta(type(BaseModel)):
        """Turns pydantic's error into ours where a part is made by hand.

        pydantic makes nested parts without calling their class, so that this costs a load nothing.
        """

        def __call__(cls, /, *args: object, **kwargs: object) -> object:
            try:
                return super().__call__(*args, **kwargs)
            except ValidationError as error:
                raise refusal(error) from error

    class _Base(BaseModel, metaclass=_RefusingMeta):
        def __setattr__(self, name: str, value: object) -> None:
            try:
                super().__setattr__(name, value)
            except ValidationError as error:
                raise refusal(error) from error


class Part(_Base):
    """What every part of a session has in common: unknown fields stay, types are strict."""

    model_config = ConfigDict(
        extra="allow", strict=True, validate_assignment=True, protected_namespaces=()
    )

    if not TYPE_CHECKING:
        # Typed for pydantic only: unknown fields are copied plain, as all free-form values are.
        __pydantic_extra__: dict[str, Annotated[Any, AfterValidator(plain)]]


def _moment(value: Value) -> Value:
    if isinstance(value, str):
        return parse_time(value)
    return in_utc(value) if isinstance(value, datetime) else value


#: An aware UTC datetime of millisecond precision; given as one of any zone, or as RFC 3339 text.
Moment: TypeAlias = Annotated[datetime, BeforeValidator(_moment)]
#: Anything JSON can say. Copied when it is given.
Json: TypeAlias = Annotated[Any, AfterValidator(plain)]
U8: TypeAlias = Annotated[int, Field(ge=0, le=U8_MAX)]
U32: TypeAlias = Annotated[int, Field(ge=0, le=U32_MAX)]
U64: TypeAlias = Annotated[int, Field(ge=0, le=U64_MAX)]


class ToolCallRecord(Part):
    """One call of a tool. A `result` of None also stands for "no result yet"."""

    tool_name: str
    args: Json = None
    result: Json = None
    success: bool = True
    duration_ms: U64 = 0


class ConversationTurn(Part):
    """One turn of the conversation. `role` is free text; user, assistant and system by custom."""

    id: str
    timestamp: Moment
    role: str
    content: str
    tool_calls: list[ToolCallRecord] = Field(default_factory=list[ToolCallRecord])
    tags: list[str] = Field(default_factory=list[str])
    metadata: dict[str, Json] = Field(default_factory=dict[str, Any])

    @classmethod
    def user(cls, text: str, *, now: datetime | None = None, id: str | None = None) -> Self:  # noqa: A002 - the field's name
        """Return a fresh turn of the user."""
        return cls(id=id or new_id(), timestamp=now or now_utc(), role="user", content=text)

    @classmethod
    def assistant(cls, text: str, *, now: datetime | None = None, id: str | None = None) -> Self:  # noqa: A002 - the field's name
        """Return a fresh turn of the assistant."""
        return cls(id=id or new_id(), timestamp=now or now_utc(), role="assistant", content=text)

    @classmethod
    def system(cls, text: str, *, now: datetime | None = None, id: str | None = None) -> Self:  # noqa: A002 - the field's name
        """Return a fresh turn of the system."""
        return cls(id=id or new_id(), timestamp=now or now_utc(), role="system", content=text)


class CompactedTurn(Part):
    """The summary that stands for turns taken out of the history."""

    summary: str
    turn_count: U64
    start_time: Moment
    end_time: Moment


class ConversationHistory(Part):
    """The turns, oldest first, and the summaries of those compacted away."""

    compacted: list[CompactedTurn] = Field(default_factory=list[CompactedTurn])
    max_turns: U64 = 1000
    turns: list[ConversationTurn] = Field(default_factory=list[ConversationTurn])

    def recent(self, count: int) -> list[ConversationTurn]:
        """Return the last turns, oldest first; fewer if there are fewer."""
        return self.turns[-count:] if count > 0 else []

    def search(self, text: str) -> list[ConversationTurn]:
        """Return the turns that hold the text in their content or in a tag, whatever its case."""
        wanted = text.casefold()
        return [
            turn
            for turn in self.turns
            if wanted in turn.content.casefold()
            or any(wanted in tag.casefold() for tag in turn.tags)
        ]

    def in_range(self, start: datetime, end: datetime) -> list[ConversationTurn]:
        """Return the turns from start to end, both included.

        Raises:
            SerializationError: `start` or `end` has no time zone.
        """
        for name, moment in (("start", start), ("end", end)):
            if moment.utcoffset() is None:
                raise SerializationError("must have a time zone, such as UTC", where=name)
        return [turn for turn in self.turns if start <= turn.timestamp <= end]

    def compact(
        self,
        summary: str | Callable[[list[ConversationTurn]], str],
        *,
        keep_recent: int | None = None,
    ) -> CompactedTurn | None:
        """Replace all but the most recent turns by one summary; return it, or None if none were.

        `keep_recent` is `max_turns` when not given. A callable gets the turns that go, and is
        asked only when there are any. They stay in the git history.

        Raises:
            SerializationError: `keep_recent` is negative.
        """
        keep = self.max_turns if keep_recent is None else keep_recent
        if keep < 0:
            raise SerializationError("must not be negative", where="keep_recent")
        old = self.turns[: max(len(self.turns) - keep, 0)]
        if not old:
            return None
        record = CompactedTurn(
            summary=summary if isinstance(summary, str) else summary(old),
            turn_count=len(old),
            start_time=min(turn.timestamp for turn in old),
            end_time=max(turn.timestamp for turn in old),
        )
        self.compacted.append(record)
        del self.turns[: len(old)]
        return record


class CodingStylePreferences(Part):
    """How the user likes code to look."""

    preferred_languages: list[str] = Field(default_factory=list[str])
    indent: str | None = None
    indent_size: U8 | None = None
    naming_convention: str | None = None
    comment_style: str | None = None


class CommunicationPreferences(Part):
    """How the user likes to be spoken to."""

    verbosity: str | None = None
    language: str | None = None
    formality: str | None = None
    include_examples: bool = False


class UserPreferences(Part):
    """What was learned about the user."""

    coding_style: CodingStylePreferences = Field(default_factory=CodingStylePreferences)
    communication: CommunicationPreferences = Field(default_factory=CommunicationPreferences)
    frequent_tools: list[str] = Field(default_factory=list[str])
    custom: dict[str, Json] = Field(default_factory=dict[str, Any])


class LearnedFact(Part):
    """A fact learned about the project. `confidence` is 0 to 1 by custom, and not clamped."""

    key: str
    value: str
    source: str
    confidence: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    learned_at: Moment

    @classmethod
    def new(cls, key: str, value: str, *, source: str, now: datetime | None = None) -> Self:
        """Return a fact learned just now, with full confidence."""
        return cls(key=key, value=value, source=source, learned_at=now or now_utc())


class ContextInjection(Part):
    """Text to put into conversations. `timing` is free text such as "always"."""

    id: str
    timing: str
    content: str


class ProjectContext(Part):
    """What is known of the project the session is about."""

    root_path: str | None = None
    name: str | None = None
    technologies: list[str] = Field(default_factory=list[str])
    key_files: list[str] = Field(default_factory=list[str])
    architecture_notes: list[str] = Field(default_factory=list[str])
    learned_facts: list[LearnedFact] = Field(default_factory=list[LearnedFact])
    persistent_contexts: list[ContextInjection] = Field(default_factory=list[ContextInjection])

    def learn(self, fact: LearnedFact) -> None:
        """Add a fact; one of the same key gives up its place to it."""
        for index, known in enumerate(self.learned_facts):
            if known.key == fact.key:
                self.learned_facts[index] = fact
                return
        self.learned_facts.append(fact)

    def find_facts(self, text: str) -> list[LearnedFact]:
        """Return the facts that hold the text in their key or value, whatever its case."""
        wanted = text.casefold()
        return [
            fact
            for fact in self.learned_facts
            if wanted in fact.key.casefold() or wanted in fact.value.casefold()
        ]
