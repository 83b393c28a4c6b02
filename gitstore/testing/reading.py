"""Checks: what was saved is what is loaded, now and later, and nothing is shared."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gitstore.errors import (
    BeforeHistoryError,
    InvalidSessionIdError,
    NaiveTimeError,
    SerializationError,
    SessionNotFoundError,
    UnknownCommitError,
)
from gitstore.session.model import (
    AutoTriggerConfig,
    CommandGrant,
    CompactedTurn,
    ComponentSnapshot,
    ConversationTurn,
    GrantKind,
    LearnedFact,
    OnEvent,
    SessionAsset,
    SkillConfig,
    ToolCallRecord,
)
from gitstore.testing.promises import NOON, equal, raises, require, say, session, turns

if TYPE_CHECKING:
    from gitstore.contract import SessionStore
    from gitstore.testing.promises import Check

_TEXTS: Final = (
    *("", " ", "yes", "null", "~", "1_000", "0x1F", "12:30", "2026-01-01", "a: b", "a #b", "- a"),
    *("\n", "\na", "a\n", "a\n\n", " a\nb", "a\r\nb", "\t", "\ta", "---", "...", "%", "'", '"'),
    *(
        "\0",
        "\x1b[0m",
        "\x7f",
        "\u0085",
        "\u2028",
        "\ufeff",
        "é",
        "e\u0301",
        "日本語",
        "😀",
        "a" * 200,
    ),
)
_NUMBERS: Final = (0, -1, 2**53 + 1, 2**63, 1.0, -0.0, 0.1, 5e-324, 1e17, True, False, None)
HOSTILE_IDS: Final = (
    *("", ".", "..", ".hidden", "-rf", "a/b", "../a", "/etc/passwd", "a\\b", "a:b", "a*", "a?"),
    *("a\0b", "a\nb", "a\x1bb", "a.", "a ", "a.lock", "a.yaml", "CON", "nul.txt", "com1", "git~1"),
    *("e\u0301", "a\u200bb", "a\u202eb", "\ud800", "a" * 201, "é" * 101),
)


def full_session() -> SessionAsset:
    """Return a session that uses every kind of part."""
    asset = session("full", "hello")
    call = ToolCallRecord(tool_name="sh", args={"cmd": "ls"}, result=["a", 1, 1.5], duration_ms=3)
    turn = ConversationTurn.assistant("done", id="t1", now=NOON)
    turn.tool_calls.append(call)
    turn.tags.append("tested")
    turn.metadata["tokens"] = 12
    asset.add_turn(turn, now=NOON)
    asset.history.compacted.append(
        CompactedTurn(summary="before", turn_count=2, start_time=NOON, end_time=NOON)
    )
    asset.project_context.root_path = "/home/me/project"
    asset.project_context.learn(LearnedFact.new("db", "sqlite", source="user", now=NOON))
    asset.preferences.coding_style.preferred_languages.append("python")
    triggers = AutoTriggerConfig(enabled=True, triggers=[OnEvent(kind="push")])
    asset.set_skill_config(SkillConfig(skill_id="review", auto_trigger=triggers), now=NOON)
    asset.save_snapshot(ComponentSnapshot(component_fqn="a.b", state={"x": [1]}), now=NOON)
    asset.save_grants([CommandGrant(pattern="git *", kind=GrantKind.PERSISTENT)], now=NOON)
    asset.metadata["any"] = {"thing": [True, None]}
    return asset


async def what_is_saved_is_loaded(store: SessionStore) -> None:
    """A loaded session equals the saved one, in every part."""
    asset = full_session()
    await store.save(asset)
    equal(asset, full_session(), "the asset after its save")
    equal(await store.load("full"), asset, "the loaded session")


async def an_empty_session_is_loaded(store: SessionStore) -> None:
    """A session without turns is one too, and saving does not touch its times."""
    await store.save(session())
    loaded = await store.load("s-1")
    equal(loaded, session(), "the loaded session")
    equal((loaded.created_at, loaded.updated_at), (NOON, NOON), "times")


async def every_text_survives(store: SessionStore) -> None:
    """Text is kept to the character, as content, as key and as value."""
    asset = session("texts", *_TEXTS)
    asset.metadata.update({f"k{text}": text for text in _TEXTS})
    await store.save(asset)
    loaded = await store.load("texts")
    equal([turn.content for turn in loaded.history.turns], [*_TEXTS], "contents")
    equal(loaded.metadata, asset.metadata, "metadata")


async def every_number_survives(store: SessionStore) -> None:
    """Numbers keep their value and their type."""
    asset = session()
    asset.metadata["numbers"] = [*_NUMBERS]
    await store.save(asset)
    loaded = (await store.load("s-1")).metadata["numbers"]
    equal([repr(each) for each in loaded], [repr(each) for each in _NUMBERS], "numbers")


async def unknown_fields_survive(store: SessionStore) -> None:
    """Fields of a newer version are kept through a load and a save."""
    plain = session("s-1", "hello").to_document()
    plain["future"] = {"list": [1, {"deep": "er"}]}
    plain["history"]["turns"][0]["mood"] = "good"
    await store.save(SessionAsset.from_document(plain))
    loaded = await store.load("s-1")
    say(loaded, "more", turn="t9")
    await store.save(loaded)
    again = (await store.load("s-1")).to_document()
    equal(again["future"], plain["future"], "unknown field of the session")
    equal(again["history"]["turns"][0]["mood"], "good", "unknown field of a turn")


async def a_thousand_turns_are_loaded(store: SessionStore) -> None:
    """A long session keeps every turn, in its order."""
    asset = session("long", *(f"turn {number}\nof many" for number in range(1000)))
    await store.save(asset)
    equal(await store.load("long"), asset, "the loaded session")


async def loaded_sessions_are_not_shared(store: SessionStore) -> None:
    """Each load returns an asset of its own, and none is the store's."""
    await store.save(session("s-1", "hello"))
    first, second = await store.load("s-1"), await store.load("s-1")
    first.history.turns[0].content = "changed"
    first.metadata["x"] = 1
    equal(second, session("s-1", "hello"), "another loaded asset")
    equal(await store.load("s-1"), second, "the stored session")


async def a_saved_session_is_not_shared(store: SessionStore) -> None:
    """What is done to an asset after its save is not stored."""
    asset = session("s-1", "hello")
    await store.save(asset)
    asset.history.turns[0].content = "changed"
    asset.metadata["x"] = [1]
    equal(await store.load("s-1"), session("s-1", "hello"), "the stored session")


async def a_missing_session_is_not_found(store: SessionStore) -> None:
    """Loading what is not there is a LookupError that names it."""
    await store.save(session("other"))
    error = await raises(SessionNotFoundError, store.load("missing"))
    equal((error.session_id, error.at), ("missing", None), "fields of the error")
    require(LookupError in type(error).__mro__, "SessionNotFoundError is a LookupError")


async def hostile_ids_are_refused(store: SessionStore) -> None:
    """No method takes an id that could not be one file name everywhere."""
    for bad in HOSTILE_IDS:
        asset = session()
        asset.id = bad
        for call in (store.save(asset), store.load(bad), store.exists(bad), store.delete(bad)):
            error = await raises(InvalidSessionIdError, call)
            require(ValueError in type(error).__mro__, "InvalidSessionIdError is a ValueError")
            require(error.problem, "the error says what is wrong with the id")
    equal(await store.list(), [], "what is stored")


async def unusual_ids_are_kept(store: SessionStore) -> None:
    """Ids may be long, and in any script."""
    ids = sorted(["a b", "é", "日本語", "A.b_c-1", "x" * 200, "1e3", "null", "😀"])
    for name in ids:
        await store.save(session(name, "hello"))
    for name in ids:
        equal((await store.load(name)).id, name, "id of the loaded session")
    equal(sorted(row.id for row in await store.list()), ids, "listed ids")


async def values_that_cannot_be_stored_are_refused(store: SessionStore) -> None:
    """A save of what YAML cannot say names the place, and changes nothing."""
    asset = session("s-1", "hello")
    await store.save(asset)
    for bad in (float("nan"), float("inf"), object(), b"bytes"):
        asset.metadata["bad"] = [bad]
        error = await raises(SerializationError, store.save(asset))
        equal(error.session_id, "s-1", "session of the error")
        require(error.where.startswith("metadata.bad"), f"the error says where: {error.where}")
    equal(await store.load("s-1"), session("s-1", "hello"), "the stored session")


async def earlier_commits_can_be_loaded(store: SessionStore) -> None:
    """Every acknowledged state can be loaded by its commit, a deleted session too."""
    asset = session("s-1", "one")
    first = await store.save(asset)
    say(asset, "two", turn="t1")
    second = await store.save(asset)
    gone = await store.delete("s-1")
    loaded = await store.load("s-1", at=str(first.commit))
    equal((turns(loaded), loaded.revision), (["t0"], first.revision), "the first state")
    equal(turns(await store.load("s-1", at=str(second.commit))), ["t0", "t1"], "the second state")
    error = await raises(SessionNotFoundError, store.load("s-1", at=str(gone.commit)))
    equal(error.at, gone.commit, "the commit that the error names")
    equal(turns(await store.load("s-1", at=str(second.commit)[:20])), ["t0", "t1"], "abbreviated")


async def unknown_commits_and_times_are_refused(store: SessionStore) -> None:
    """What cannot be an `at` is an error that carries it: no such commit, too early, no zone."""
    await store.save(session())
    unknown = await raises(UnknownCommitError, store.load("s-1", at="0" * 40))
    equal(unknown.at, "0" * 40, "the commit that the error names")
    early = datetime(1971, 1, 1, tzinfo=UTC)
    before = await raises(BeforeHistoryError, store.load("s-1", at=early))
    equal(before.at, early, "the time that the error names")
    require(before.first is not None and before.first > early, "the error says when it began")
    naive = early.replace(tzinfo=None)
    equal((await raises(NaiveTimeError, store.load("s-1", at=naive))).at, naive, "naive time")
    later = datetime(2900, 1, 1, tzinfo=UTC)
    equal(await store.load("s-1", at=later), session(), "as of the far future")


CHECKS: Final[tuple[Check, ...]] = (
    what_is_saved_is_loaded,
    an_empty_session_is_loaded,
    every_text_survives,
    every_number_survives,
    unknown_fields_survive,
    a_thousand_turns_are_loaded,
    loaded_sessions_are_not_shared,
    a_saved_session_is_not_shared,
    a_missing_session_is_not_found,
    hostile_ids_are_refused,
    unusual_ids_are_kept,
    values_that_cannot_be_stored_are_refused,
    earlier_commits_can_be_loaded,
    unknown_commits_and_times_are_refused,
)
