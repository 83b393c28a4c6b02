"""The session's model: what it takes, what it refuses, and its document."""

from __future__ import annotations

import copy
import enum
import time
from collections import OrderedDict
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitstore.errors import SerializationError, UnsupportedVersionError
from gitstore.session.model import (
    AutoTriggerConfig,
    CommandGrant,
    ComponentSnapshot,
    ConversationHistory,
    ConversationTurn,
    GrantKind,
    Interval,
    LearnedFact,
    OnFileEdit,
    OnLLMPreRequest,
    ProjectContext,
    SessionAsset,
    SkillConfig,
    ToolCallRecord,
    UserPreferences,
)
from gitstore.session.times import format_time, from_ms, in_utc, parse_time, to_ms
from gitstore.types import Revision
from tests import strategies as make

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
TEXT = "2026-11-23T12:00:00.000Z"
LEAST = {"id": "x", "version": 1, "created_at": TEXT, "updated_at": TEXT}


def session(**fields: Any) -> SessionAsset:
    return SessionAsset(id="x", created_at=NOON, updated_at=NOON, **fields)


def turn(id: str = "t", content: str = "hi", seconds: int = 0) -> ConversationTurn:  # noqa: A002 - the field's name
    return ConversationTurn.user(content, id=id, now=NOON + timedelta(seconds=seconds))


# --- times ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2026-11-23T11:29:27.990Z", "2026-11-23T11:29:27.990Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        ("2026-11-23t11:29:27z", "2026-11-23T11:29:27.000Z"),
        ("2026-11-23 11:29:27.1+05:30", "2026-11-23T05:59:27.100Z"),
        ("2026-11-23T11:29:27.9999999999-00:00", "2026-11-23T11:29:27.999Z"),
        ("2026-12-31T23:59:59.9996Z", "2026-12-31T23:59:59.999Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999Z"),
        ("2024-02-29T00:00:00-23:59", "2024-02-29T23:59:00.000Z"),
    ],
)
def test_times_are_read_whatever_their_offset_and_cut_to_milliseconds(
    text: str, stored: str
) -> None:
    moment = parse_time(text)
    assert moment.tzinfo is UTC
    assert moment.microsecond % 1000 == 0
    assert format_time(moment) == stored


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2026-11-23", "2026-11-23T11:29:27", "2026-11-23T11:29Z", "20261123T112927Z"),
        *("2026-02-30T00:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T11:60:00Z"),
        *("2016-12-31T23:59:60Z", "2026-11-23T11:29:27.Z", "2026-11-23T11:29:27,5Z"),
        *("2026-11-23T11:29:27+24:00", "2026-11-23T11:29:27+0530", " 2026-11-23T11:29:27Z"),
        *("2026-11-23T11:29:27Z\n", "2026-11-23T11:29:27\u066b5Z", "٢٠٢٦-11-23T11:29:27Z"),
        *("0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "10000-01-01T00:00:00Z"),
        *("0000-01-01T00:00:00Z", "2026-W48-1T00:00:00Z"),
    ],
)
def test_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|names no instant"):
        parse_time(text)


@given(milliseconds=st.integers(0, 253_402_300_799_999))
def test_milliseconds_survive_both_forms(milliseconds: int) -> None:
    moment = from_ms(milliseconds)
    assert to_ms(moment) == milliseconds
    assert to_ms(parse_time(format_time(moment))) == milliseconds


@pytest.mark.parametrize("milliseconds", [-1, 253_402_300_800_000, 2**64 - 1, 10**40])
def test_milliseconds_that_are_no_datetime_are_refused(milliseconds: int) -> None:
    with pytest.raises(ValueError, match="milliseconds since 1970"):
        from_ms(milliseconds)


def test_naive_and_early_datetimes_are_refused() -> None:
    for function in (format_time, to_ms, in_utc):
        with pytest.raises(ValueError, match="time zone"):
            function(datetime(2026, 1, 1))  # noqa: DTZ001 - naive on purpose
    with pytest.raises(ValueError, match="before 1970"):
        to_ms(datetime(1969, 12, 31, tzinfo=UTC))
    assert format_time(datetime(1969, 12, 31, tzinfo=UTC)) == "1969-12-31T00:00:00.000Z"


def test_foreign_datetime_classes_become_plain_ones() -> None:
    class Odd(datetime):
        def isoformat(self, *args: Any, **kwargs: Any) -> str:
            return "odd"

    made = session(metadata={}).model_copy()
    made.updated_at = Odd(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert type(made.updated_at) is datetime
    assert made.to_document()["updated_at"] == "2026-01-01T10:00:00.000Z"


# --- what parts take and refuse ------------------------------------------

NOTHING: dict[str, Any] = {}
UNKNOWN: dict[str, Any] = {"a": 1}
TOOL: dict[str, Any] = {"tool_name": "ls"}
FACT: dict[str, Any] = {"key": "k", "value": "v", "source": "s", "learned_at": NOON}


@pytest.mark.parametrize(
    ("build", "where", "problem"),
    [
        (lambda: ToolCallRecord(**TOOL, duration_ms="12"), "duration_ms", "not str"),
        (lambda: ToolCallRecord(**TOOL, duration_ms=True), "duration_ms", "not bool"),
        (lambda: ToolCallRecord(**TOOL, duration_ms=1.0), "duration_ms", "not float"),
        (lambda: ToolCallRecord(**TOOL, duration_ms=-1), "duration_ms", "greater than"),
        (lambda: ToolCallRecord(**TOOL, duration_ms=2**64), "duration_ms", "less than"),
        (lambda: ToolCallRecord(**TOOL, success=1), "success", "not int"),
        (lambda: ToolCallRecord(tool_name=None), "tool_name", "not NoneType"),
        (lambda: ToolCallRecord(**NOTHING), "tool_name", "is missing"),
        (lambda: LearnedFact(**FACT, confidence=float("nan")), "confidence", "finite"),
        (lambda: LearnedFact(**FACT, confidence=True), "confidence", "not bool"),
        (lambda: LearnedFact(**{**FACT, "learned_at": 5}), "learned_at", "not int"),
        (lambda: LearnedFact(**{**FACT, "learned_at": "now"}), "learned_at", "RFC|time such"),
        (
            lambda: LearnedFact(**{**FACT, "learned_at": datetime(2026, 1, 1)}),  # noqa: DTZ001 - naive on purpose
            "learned_at",
            "time zone",
        ),
        (lambda: CommandGrant(pattern="ls", kind="onetime"), "kind", "'OneTime'"),
        (lambda: AutoTriggerConfig(triggers=["OnFileEdit"]), "triggers[0]", "must be OnLLM"),
        (lambda: AutoTriggerConfig(triggers=[{"Odd": 1}]), "triggers[0]", "must be OnLLM"),
        (lambda: AutoTriggerConfig(triggers=[{}]), "triggers[0]", "must be OnLLM"),
        (
            lambda: AutoTriggerConfig(triggers=[{"OnFileEdit": {}}]),
            "triggers[0].OnFileEdit.glob",
            "is missing",
        ),
        (
            lambda: AutoTriggerConfig(triggers=[{"OnLLMPreRequest": {"a": 1}}]),
            "triggers[0].OnLLMPreRequest.a",
            "not permitted",
        ),
        (lambda: OnLLMPreRequest(**UNKNOWN), "a", "not permitted"),
        (lambda: Interval(seconds=-1), "seconds", "greater than"),
        (lambda: ConversationHistory(turns=[turn(), 3]), "turns[1]", "not int"),
        (lambda: ConversationHistory(turns=(turn(),)), "turns", "not tuple"),
        (
            lambda: UserPreferences(coding_style={"indent_size": 256}),
            "coding_style.indent_size",
            "less than",
        ),
        (lambda: session(metadata={1: 2}), "metadata[1]", "not int"),
        (lambda: session(history={"turns": [{"id": 1}]}), "history.turns[0].id", "and 3 more"),
        (lambda: ConversationTurn.user(5), "content", "not int"),  # type: ignore[arg-type] # on purpose
    ],
)
def test_a_wrong_type_is_refused_where_the_part_is_made(
    build: Callable[[], Any], where: str, problem: str
) -> None:
    with pytest.raises(SerializationError, match=problem) as caught:
        build()
    assert caught.value.where == where
    assert "pydantic" not in str(caught.value)


def test_a_wrong_type_is_refused_where_a_field_is_set() -> None:
    made = turn()
    with pytest.raises(SerializationError) as caught:
        made.role = 5  # type: ignore[assignment] # on purpose
    assert caught.value.where == "role"
    assert made.role == "user"


def test_times_are_kept_in_utc_and_milliseconds() -> None:
    local = datetime(2026, 11, 23, 14, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    made = ConversationTurn.user("hi", now=local)
    assert made.timestamp == NOON + timedelta(milliseconds=999)
    assert made.timestamp.tzinfo is UTC


def test_free_form_values_are_copied_plain() -> None:
    class Level(enum.IntEnum):
        HIGH = 3

    class Name(str):
        __slots__ = ()

    given_args: dict[str, Any] = {
        Name("a"): (Name("b"), Level.HIGH, True),
        "c": OrderedDict(d=[1, 1.0, -0.0]),
    }
    made = ToolCallRecord(tool_name=Name("t"), args=given_args, unknown=given_args)
    given_args["c"]["d"].append(4)
    expected = "{'a': ['b', 3, True], 'c': {'d': [1, 1.0, -0.0]}}"
    document = session(history=ConversationHistory(turns=[turn()])).to_document()
    assert repr(made.args) == repr(made.model_extra["unknown"]) == expected  # type: ignore[index] # never None
    assert type(next(iter(made.args))) is str
    assert document["history"]["turns"][0]["content"] == "hi"


def test_triggers_have_one_class_each() -> None:
    made = AutoTriggerConfig(
        triggers=[OnFileEdit(glob="*.py"), OnLLMPreRequest(), Interval(seconds=60)]
    )
    config = SkillConfig(skill_id="lint", auto_trigger=made)
    document = session(skill_configs={"lint": config}).to_document()
    written = [{"OnFileEdit": {"glob": "*.py"}}, "OnLLMPreRequest", {"Interval": {"seconds": 60}}]
    assert document["skill_configs"]["lint"]["auto_trigger"] == {"triggers": written}
    again = SessionAsset.from_document(document).skill_configs["lint"].auto_trigger
    assert again == made
    assert [type(item) for item in again.triggers] == [OnFileEdit, OnLLMPreRequest, Interval]


# --- factories, mutators, searches ---------------------------------------


def test_factories_make_fresh_ids_and_this_moment() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    one, two = SessionAsset.new(), SessionAsset.new()
    said = ConversationTurn.assistant("hello")
    assert one.id != two.id
    assert before <= one.created_at == one.updated_at <= datetime.now(UTC)
    assert before <= said.timestamp
    assert said.role == "assistant"
    assert ConversationTurn.system("s").role == "system"
    fixed = SessionAsset.new("/p", name="n", id="i", now=NOON)
    assert fixed.to_document() == {
        "id": "i",
        "version": 1,
        "created_at": TEXT,
        "updated_at": TEXT,
        "project_context": {"root_path": "/p", "name": "n"},
    }


def test_a_path_object_is_taken_as_project() -> None:
    class Path:
        def __fspath__(self) -> str:
            return "/from/path"

    assert SessionAsset.new(Path()).project_context.root_path == "/from/path"


def test_mutators_change_and_touch() -> None:
    asset = session()
    moment = NOON
    snapshot = ComponentSnapshot(component_fqn="skill::x", state={"n": 1})
    grants = [CommandGrant(pattern="ls", kind=GrantKind.ONE_TIME)]
    acts: list[Callable[[datetime], Any]] = [
        asset.touch,
        lambda now: asset.add_turn(turn(), now),
        lambda now: asset.set_skill_config(SkillConfig(skill_id="lint"), now),
        lambda now: asset.save_snapshot(snapshot, now),
        lambda now: asset.remove_snapshot("skill::x", now),
        lambda now: asset.save_snapshot(snapshot, now),
        asset.clear_snapshots,
        lambda now: asset.save_grants(grants, now),
    ]
    for act in acts:
        moment += timedelta(seconds=1)
        act(moment)
        assert asset.updated_at == moment
    assert asset.history.turns == [turn()]
    assert list(asset.skill_configs) == ["lint"]
    assert asset.granted_commands == grants


def test_mutators_that_change_nothing_do_not_touch() -> None:
    asset = session(granted_commands=[CommandGrant(pattern="ls", kind=GrantKind.ONE_TIME)])
    later = NOON + timedelta(days=1)
    assert asset.remove_snapshot("none", later) is None
    asset.clear_snapshots(later)
    asset.save_grants([CommandGrant(pattern="ls", kind="OneTime")], later)
    assert asset.get_snapshot("none") is None
    assert asset.updated_at == NOON


def test_history_is_searched_by_text_count_and_time() -> None:
    turns = [turn("a", "Hello RUST", 0), turn("b", "python", 1), turn("c", "Straße", 2)]
    turns[1].tags.append("Rusty")
    history = ConversationHistory(turns=turns)
    assert [found.id for found in history.search("rust")] == ["a", "b"]
    assert [found.id for found in history.search("STRASSE")] == ["c"]
    assert [found.id for found in history.recent(2)] == ["b", "c"]
    assert history.recent(0) == history.recent(-1) == []
    assert len(history.recent(9)) == 3
    second = timedelta(seconds=1)
    assert [found.id for found in history.in_range(NOON, NOON + second)] == ["a", "b"]
    with pytest.raises(SerializationError, match="time zone"):
        history.in_range(datetime(2026, 1, 1), NOON)  # noqa: DTZ001 - naive on purpose


def test_compacting_replaces_the_oldest_turns() -> None:
    history = ConversationHistory(turns=[turn(str(n), seconds=n) for n in range(5)], max_turns=3)
    record = history.compact(lambda old: " ".join(item.id for item in old))
    assert record is not None
    assert record is history.compacted[0]
    assert (record.summary, record.turn_count) == ("0 1", 2)
    assert (record.start_time, record.end_time) == (NOON, NOON + timedelta(seconds=1))
    assert [kept.id for kept in history.turns] == ["2", "3", "4"]
    assert history.compact("nothing to do") is None
    assert history.compact("all", keep_recent=0) is not None
    assert history.turns == []
    assert len(history.compacted) == 2
    with pytest.raises(SerializationError) as caught:
        history.compact("x", keep_recent=-1)
    assert caught.value.where == "keep_recent"


def test_a_fact_of_the_same_key_is_replaced_in_its_place() -> None:
    project = ProjectContext()
    for key, value in (("db", "MySQL"), ("web", "Actix"), ("db", "PostgreSQL")):
        project.learn(LearnedFact.new(key, value, source="user", now=NOON))
    assert [(fact.key, fact.value) for fact in project.learned_facts] == [
        ("db", "PostgreSQL"),
        ("web", "Actix"),
    ]
    assert [fact.key for fact in project.find_facts("POSTGRE")] == ["db"]
    assert [fact.key for fact in project.find_facts("We")] == ["web"]


# --- revision, equality, refresh -----------------------------------------


def test_the_revision_is_remembered_and_never_stored_or_compared() -> None:
    assert session().revision is None
    asset, other = session(), session()
    asset.mark_stored(Revision("a" * 40))
    assert asset.revision == "a" * 40
    assert asset == other
    assert asset.to_document() == other.to_document()
    assert copy.deepcopy(asset).revision == asset.revision
    other.history.turns.append(turn())
    assert asset != other
    assert asset != 5
    with pytest.raises(TypeError):
        hash(asset)


def test_unknown_fields_may_have_any_name() -> None:
    names = ("_revision", "revision", "touch", "model_config", "self", "cls", "__class__", "copy")
    document = {**LEAST, **dict.fromkeys(names, "kept")}
    asset = SessionAsset.from_document(document)
    assert asset.revision is None
    assert asset.to_document() == document


@settings(max_examples=25)  # two sessions each time: drawing them is what takes long
@given(mine=make.assets(), theirs=make.assets())
def test_refresh_takes_over_everything(mine: SessionAsset, theirs: SessionAsset) -> None:
    expected = theirs.to_document()
    mine.mark_stored(Revision("b" * 40))
    mine.refresh(theirs)
    assert repr(mine.to_document()) == repr(expected)
    assert mine.revision == "b" * 40


def test_refresh_keeps_the_objects_a_caller_may_hold() -> None:
    asset = session(history=ConversationHistory(turns=[turn("a"), turn("b")]))
    history, turns, second = asset.history, asset.history.turns, asset.history.turns[1]
    other = session(history=ConversationHistory(turns=[turn("new"), turn("b", "changed")]))
    asset.refresh(other)
    assert asset.history is history
    assert history.turns is turns
    assert turns[1] is second
    assert second.content == "changed"
    turns.append(turn("later"))
    assert [item["id"] for item in asset.to_document()["history"]["turns"]] == [
        "new",
        "b",
        "later",
    ]


def test_refresh_keeps_two_turns_of_one_id_apart() -> None:
    asset = session(history=ConversationHistory(turns=[turn("a")]))
    asset.refresh(session(history=ConversationHistory(turns=[turn("a", "1"), turn("a", "2")])))
    assert [item.content for item in asset.history.turns] == ["1", "2"]


# --- the document --------------------------------------------------------


@given(asset=make.assets())
def test_a_document_says_everything(asset: SessionAsset) -> None:
    document = asset.to_document()
    again = SessionAsset.from_document(document, session_id=asset.id)
    assert again == asset
    # repr tells 1 from 1.0 and True, -0.0 from 0.0, and one order of keys from another
    assert repr(again.to_document()) == repr(document)


def scramble(value: Any) -> None:
    """Change everything that can be changed inside a value."""
    if isinstance(value, dict):
        for item in list(value.values()):
            scramble(item)
        value["scrambled"] = True
    elif isinstance(value, list):
        for item in value:
            scramble(item)
        value.append("scrambled")


@given(asset=make.assets())
def test_a_document_shares_nothing_with_its_session(asset: SessionAsset) -> None:
    document = asset.to_document()
    before = repr(document)
    again = SessionAsset.from_document(document)
    scramble(document)
    assert repr(asset.to_document()) == before
    assert repr(again.to_document()) == before


def test_the_order_of_keys_is_fixed() -> None:
    call = ToolCallRecord(tool_name="t", args={"z": 1, "a": 2}, result=0, duration_ms=1, late=1)
    said = turn()
    said.tool_calls.append(call)
    said.tags.append("tag")
    said.metadata.update({"z": {"z": 1, "a": 2}, "a": 1})
    said.zzz = said.aaa = 1  # type: ignore[attr-defined] # unknown fields
    asset = session(zzz=1, aaa=2, metadata={"z": 1, "a": 2}, granted_commands=[])
    asset.history.turns.append(said)
    asset.history.later = 1  # type: ignore[attr-defined] # unknown field
    asset.history.max_turns = 5
    asset.history.compact("s", keep_recent=1)
    asset.set_skill_config(SkillConfig(skill_id="lint"))
    asset.save_snapshot(ComponentSnapshot(component_fqn="z"))
    asset.save_snapshot(ComponentSnapshot(component_fqn="a"))
    asset.save_grants([CommandGrant(pattern="ls", kind=GrantKind.PERSISTENT)])
    asset.preferences.communication.include_examples = True
    asset.project_context.name = "n"
    asset.project_context.root_path = "/p"
    document = asset.to_document()
    assert " ".join(document) == (
        "id version created_at updated_at project_context preferences skill_configs "
        "component_snapshots granted_commands metadata zzz aaa history"
    )
    assert list(document["project_context"]) == ["root_path", "name"]
    assert list(document["history"]) == ["max_turns", "later", "turns"]
    written = document["history"]["turns"][0]
    assert " ".join(written) == "id timestamp role content tool_calls tags metadata zzz aaa"
    assert list(written["metadata"]) == ["a", "z"]
    assert list(written["metadata"]["z"]) == ["z", "a"]
    assert list(written["tool_calls"][0]["args"]) == ["z", "a"]
    assert " ".join(written["tool_calls"][0]) == "tool_name args result success duration_ms late"
    assert list(document["component_snapshots"]) == ["a", "z"]
    assert list(document["metadata"]) == ["a", "z"]
    assert document["skill_configs"] == {"lint": {"skill_id": "lint", "enabled": True}}


def test_defaults_are_left_out_and_false_is_no_zero() -> None:
    assert session().to_document() == LEAST
    made = session(history=ConversationHistory(turns=[turn()]))
    made.history.turns[0].tool_calls.append(ToolCallRecord(tool_name="t", args=[], result=False))
    assert made.to_document()["history"] == {
        "turns": [
            {
                "id": "t",
                "timestamp": TEXT,
                "role": "user",
                "content": "hi",
                "tool_calls": [{"tool_name": "t", "args": [], "result": False, "success": True}],
            }
        ]
    }


@pytest.mark.parametrize(
    ("change", "where", "problem"),
    [
        ({"id": 5}, "id", "not int"),
        ({"id": "y"}, "id", "must be 'x'"),
        ({"version": "1"}, "version", "not str"),
        ({"version": True}, "version", "not bool"),
        ({"version": 1.0}, "version", "not float"),
        ({"created_at": 0}, "created_at", "not int"),
        ({"created_at": "2026-11-23"}, "created_at", "must be a time"),
        ({"history": None}, "history", "not NoneType"),
        ({"history": {"turns": [{}]}}, "history.turns[0].id", "is missing"),
        ({"history": {"turns": {}}}, "history.turns", "not dict"),
        ({"metadata": []}, "metadata", "not list"),
        ({"granted_commands": [["ls", "OneTime"]]}, "granted_commands[0]", "not list"),
        ({"skill_configs": {"a b": {"enabled": 1}}}, "skill_configs.a b.skill_id", "is missing"),
        ({"component_snapshots": {"s": {"component_fqn": "s", "version": 2**32}}}, "", "less than"),
        ({3: 4}, "[3]", "keys should be strings"),
        ({"\ud800": 1}, "session", "unicode"),
        ({"skill_configs": {"a\nb": 1}}, r"skill_configs.a\nb", "not int"),
    ],
)
def test_a_bad_document_is_refused(change: dict[Any, Any], where: str, problem: str) -> None:
    with pytest.raises(SerializationError, match=problem) as caught:
        SessionAsset.from_document({**LEAST, **change}, session_id="x")
    assert caught.value.where.startswith(where)
    assert caught.value.session_id == "x"


@pytest.mark.parametrize("name", list(LEAST))
def test_what_must_be_there_must_be_there(name: str) -> None:
    document = {key: value for key, value in LEAST.items() if key != name}
    with pytest.raises(SerializationError, match="is missing") as caught:
        SessionAsset.from_document(document)
    assert caught.value.where == name


@pytest.mark.parametrize("document", [None, [], "text", 5])
def test_a_document_is_a_map(document: Any) -> None:
    with pytest.raises(SerializationError, match="must be a map"):
        SessionAsset.from_document(document)


@pytest.mark.parametrize("version", [0, 2, 99, -1])
def test_another_version_is_neither_read_nor_written(version: int) -> None:
    with pytest.raises(UnsupportedVersionError) as caught:
        SessionAsset.from_document({"version": version, "shape": "unknown"})
    assert caught.value.version == version
    if version >= 0:
        with pytest.raises(UnsupportedVersionError):
            session(version=version).to_document()


@given(asset=make.assets(), data=st.data())
def test_a_spoilt_document_raises_one_kind_of_error(asset: SessionAsset, data: Any) -> None:
    node: Any = asset.to_document()
    document = node
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            node[key] = data.draw(make.json_values(st.integers()))
            break
        node = node[key]
    try:
        read = SessionAsset.from_document(document)
    except SerializationError:
        return
    assert SessionAsset.from_document(read.to_document()) == read


def force(part: Any, **fields: Any) -> None:
    """Set fields unchecked, as `model_construct` or a changed `__dict__` would."""
    vars(part).update(fields)


def drop(part: Any, name: str) -> None:
    """Remove a field."""
    del vars(part)[name]


def recursive() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("change", "where", "problem"),
    [
        (lambda a: a.history.turns.append({"id": "t"}), "history.turns[1]", "ConversationTurn"),
        (lambda a: a.history.turns[0].tags.append(5), "history.turns[0].tags[0]", "not int"),
        (lambda a: a.metadata.update({5: 1}), "metadata", "text as keys"),
        (lambda a: a.metadata.update({"k": recursive()}), "metadata.k", "nested deeper"),
        (lambda a: a.model_extra.update({"k": recursive()}), "k", "nested deeper"),
        (lambda a: force(a, id=5), "id", "not int"),
        (lambda a: drop(a, "metadata"), "metadata", "is missing"),
        (lambda a: force(a, metadata=[]), "metadata", "must be a map"),
        (lambda a: force(a.history, turns={}), "history.turns", "must be a list"),
        (lambda a: force(a.history, max_turns=-1), "history.max_turns", "from 0 to"),
        (lambda a: force(a.history, max_turns=True), "history.max_turns", "not bool"),
        (lambda a: force(a, updated_at=TEXT), "updated_at", "must be a datetime"),
        (
            lambda a: force(a, updated_at=datetime(2026, 1, 1)),  # noqa: DTZ001 - naive on purpose
            "updated_at",
            "time zone",
        ),
        (lambda a: force(a.granted_commands[0], kind="x"), "granted_commands[0].kind", "One"),
        (
            lambda a: a.skill_configs["s"].auto_trigger.triggers.append("OnFileEdit"),
            "skill_configs.s.auto_trigger.triggers[1]",
            "a trigger",
        ),
        (
            lambda a: force(a.skill_configs["s"].auto_trigger.triggers[0], seconds="1"),
            "skill_configs.s.auto_trigger.triggers[0].Interval.seconds",
            "not str",
        ),
        (
            lambda a: force(a.preferences.communication, include_examples=1),
            "preferences.communication.include_examples",
            "true or false",
        ),
    ],
)
def test_what_could_not_be_read_back_is_not_written(
    change: Callable[[SessionAsset], Any], where: str, problem: str
) -> None:
    auto = AutoTriggerConfig(triggers=[Interval(seconds=1)])
    asset = session(
        history=ConversationHistory(turns=[turn()]),
        granted_commands=[CommandGrant(pattern="ls", kind=GrantKind.ONE_TIME)],
        skill_configs={"s": SkillConfig(skill_id="s", auto_trigger=auto)},
    )
    asset.to_document()
    change(asset)
    for write in (asset.to_document, asset.to_orcs_json):
        with pytest.raises(SerializationError, match=problem) as caught:
            write()
        assert caught.value.where.startswith(where)


def test_speed_is_told() -> None:
    asset = session()
    for number in range(1000):
        said = turn(str(number), "x" * 800, number)
        said.metadata["model"] = "m"
        if number % 2:
            said.tool_calls.append(ToolCallRecord(tool_name="t", args={"a": [1, 2]}, result="y"))
        asset.history.turns.append(said)
    document = asset.to_document()
    acts: list[Callable[[], Any]] = [
        asset.to_document,
        lambda: SessionAsset.from_document(document),
    ]
    for act in acts:
        best = 1e9
        for _ in range(5):
            start = time.perf_counter()
            act()
            best = min(best, time.perf_counter() - start)
        print(f"1,000 turns: {best * 1000:.1f} ms")
