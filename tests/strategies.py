"""Hypothesis strategies: one per noun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from gitstore.session.model import (
    AutoTriggerConfig,
    CodingStylePreferences,
    CommandGrant,
    CommunicationPreferences,
    CompactedTurn,
    ComponentSnapshot,
    ContextInjection,
    ConversationHistory,
    ConversationTurn,
    GrantKind,
    Interval,
    LearnedFact,
    OnEvent,
    OnFileEdit,
    OnLLMPostResponse,
    OnLLMPreRequest,
    ProjectContext,
    SessionAsset,
    SkillConfig,
    ToolCallRecord,
    TriggerCondition,
    UserPreferences,
)
from gitstore.session.times import from_ms

if TYPE_CHECKING:
    from datetime import datetime

#: Text that some YAML or JSON tool is known to get wrong.
NASTY = (
    *("", " ", "yes", "No", "on", "null", "~", "true", "1_000", "0o7", "0x1F", "12:30", "1e3"),
    *("2026-01-01", "=", "<<", "-", "---", "...", "? a", "- a", "a: b", "a #b", "#", "!x", "&a"),
    *("*a", "|", ">", "%", "@", "`", "'", '"', "{", "[", ",", "\\", "\\u0041", ".nan", ".inf"),
    *("\t", "\ta", " a", "a ", "\n", "\na", "a\n", "a\n\n", "a\nb", " a\nb", "a\r\nb", "a\rb"),
    *("\u0085", "a\u0085b", "\u2028", "\u2029", "\ufeff", "a\ufeffb", "\0", "\x1b[0m", "\x7f"),
    *("é", "e\u0301", "😀", "\ud7ff", "\ue000", "\ufffe", "\U0010ffff", "a" * 130, "x\n" * 40),
)

_U64 = 2**64 - 1
_SMALL = 3


def texts() -> st.SearchStrategy[str]:
    """Text without lone surrogates: what UTF-8 can say."""
    return st.sampled_from(NASTY) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def session_ids() -> st.SearchStrategy[str]:
    """Ids that a session may have."""
    first = st.sampled_from("abcXYZ019_é界")
    rest = st.text(st.sampled_from("abcXYZ019._- é界"), max_size=20)
    return (
        st.builds(lambda a, b: f"{a}{b}x", first, rest)  # nothing bad at either end
        | st.uuids(version=4).map(str)
    )


def moments() -> st.SearchStrategy[datetime]:
    """Times that can be stored and exported."""
    return st.integers(0, 253_402_300_799_999).map(from_ms)


def json_values(
    integers: st.SearchStrategy[int] | None = None,
) -> st.SearchStrategy[Any]:
    """Values that JSON can say; integers fit 64 bits unless others are given."""
    whole = st.integers(-(2**63), _U64) if integers is None else integers
    leaves = (
        st.none()
        | st.booleans()
        | whole
        | st.floats(allow_nan=False, allow_infinity=False)
        | texts()
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=_SMALL) | st.dictionaries(texts(), inner, max_size=_SMALL)
        ),
        max_leaves=6,
    )


def json_maps() -> st.SearchStrategy[dict[str, Any]]:
    """Maps of free-form values, such as every `metadata`."""
    return st.dictionaries(texts(), json_values(), max_size=_SMALL)


@st.composite
def _with_unknown(draw: st.DrawFn, part: st.SearchStrategy[Any]) -> Any:
    """Add fields that this version does not know to some of the parts."""
    made = draw(part)
    if draw(st.integers(0, 4)) == 0:
        for name, value in draw(json_maps()).items():
            setattr(made, f"x-{name}", value)
    return made


def tool_calls() -> st.SearchStrategy[ToolCallRecord]:
    """Records of tool calls."""
    return _with_unknown(
        st.builds(
            ToolCallRecord,
            tool_name=texts(),
            args=json_values(),
            result=json_values(),
            success=st.booleans(),
            duration_ms=st.integers(0, _U64),
        )
    )


def turns() -> st.SearchStrategy[ConversationTurn]:
    """Turns of a conversation."""
    return _with_unknown(
        st.builds(
            ConversationTurn,
            id=texts(),
            timestamp=moments(),
            role=st.sampled_from(["user", "assistant", "system", "tool"]) | texts(),
            content=texts(),
            tool_calls=st.lists(tool_calls(), max_size=2),
            tags=st.lists(texts(), max_size=2),
            metadata=json_maps(),
        )
    )


def histories() -> st.SearchStrategy[ConversationHistory]:
    """Histories of a few turns."""
    compacted = st.builds(
        CompactedTurn,
        summary=texts(),
        turn_count=st.integers(0, _U64),
        start_time=moments(),
        end_time=moments(),
    )
    return _with_unknown(
        st.builds(
            ConversationHistory,
            compacted=st.lists(_with_unknown(compacted), max_size=2),
            max_turns=st.just(1000) | st.integers(0, _U64),
            turns=st.lists(turns(), max_size=_SMALL),
        )
    )


def facts() -> st.SearchStrategy[LearnedFact]:
    """Learned facts."""
    return _with_unknown(
        st.builds(
            LearnedFact,
            key=texts(),
            value=texts(),
            source=texts(),
            confidence=st.floats(0, 1),
            learned_at=moments(),
        )
    )


def projects() -> st.SearchStrategy[ProjectContext]:
    """Project contexts."""
    injection = st.builds(ContextInjection, id=texts(), timing=texts(), content=texts())
    return _with_unknown(
        st.builds(
            ProjectContext,
            root_path=st.none() | texts(),
            name=st.none() | texts(),
            technologies=st.lists(texts(), max_size=2),
            key_files=st.lists(texts(), max_size=2),
            architecture_notes=st.lists(texts(), max_size=2),
            learned_facts=st.lists(facts(), max_size=2),
            persistent_contexts=st.lists(_with_unknown(injection), max_size=2),
        )
    )


def preferences() -> st.SearchStrategy[UserPreferences]:
    """User preferences."""
    words = st.none() | texts()
    return _with_unknown(
        st.builds(
            UserPreferences,
            coding_style=st.builds(
                CodingStylePreferences,
                preferred_languages=st.lists(texts(), max_size=2),
                indent=words,
                indent_size=st.none() | st.integers(0, 255),
                naming_convention=words,
            ),
            communication=st.builds(
                CommunicationPreferences, verbosity=words, include_examples=st.booleans()
            ),
            frequent_tools=st.lists(texts(), max_size=2),
            custom=json_maps(),
        )
    )


def triggers() -> st.SearchStrategy[TriggerCondition]:
    """Triggers of every kind."""
    with_fields: st.SearchStrategy[TriggerCondition] = _with_unknown(
        st.builds(OnFileEdit, glob=texts())
        | st.builds(OnEvent, kind=texts())
        | st.builds(Interval, seconds=st.integers(0, _U64))
    )
    return with_fields | st.builds(OnLLMPreRequest) | st.builds(OnLLMPostResponse)


def skills() -> st.SearchStrategy[SkillConfig]:
    """Skill configurations."""
    return _with_unknown(
        st.builds(
            SkillConfig,
            skill_id=texts(),
            enabled=st.booleans(),
            auto_trigger=st.builds(
                AutoTriggerConfig,
                enabled=st.booleans(),
                triggers=st.lists(triggers(), max_size=_SMALL),
            ),
            params=json_maps(),
        )
    )


def snapshots() -> st.SearchStrategy[ComponentSnapshot]:
    """Component snapshots."""
    return _with_unknown(
        st.builds(
            ComponentSnapshot,
            component_fqn=texts(),
            version=st.integers(0, 2**32 - 1),
            state=json_values(),
            metadata=json_maps(),
        )
    )


def assets(ids: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[SessionAsset]:
    """Whole sessions, each part empty now and then."""
    grant = st.builds(CommandGrant, pattern=texts(), kind=st.sampled_from(GrantKind))
    return _with_unknown(
        st.builds(
            SessionAsset,
            id=session_ids() if ids is None else ids,
            created_at=moments(),
            updated_at=moments(),
            project_context=st.builds(ProjectContext) | projects(),
            preferences=st.builds(UserPreferences) | preferences(),
            skill_configs=st.dictionaries(texts(), skills(), max_size=1),
            component_snapshots=st.dictionaries(texts(), snapshots(), max_size=2),
            granted_commands=st.lists(grant, max_size=2),
            metadata=json_maps(),
            history=st.builds(ConversationHistory) | histories(),
        )
    )
