"""Saves of one event loop that are begun while another is under way: one thread makes them together."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import CancelScope, create_task_group, move_on_after
from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync

from gitstore import (
    BlockingSessionStore,
    Expect,
    GitSessionStore,
    OutOfSpaceError,
    SerializationError,
    SessionAsset,
    SessionExistsError,
    StaleRevisionError,
)
from gitstore.engine.turns import GROUP_MAX
from gitstore.testing.promises import say, session, turns
from gitstore.types import Outcome, Revision
from tests.conftest import Git
from tests.store.gated import gated_async_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence
    from pathlib import Path

    from gitstore import Saved
    from gitstore.engine.requests import Request


async def outcome(call: Awaitable[Saved], into: list[Any], at: int) -> None:
    """Note what a save gives."""
    try:
        into[at] = await call
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 -- it is what the tests look at
        into[at] = error


async def all_at_once(calls: Iterable[Awaitable[Saved]]) -> list[Any]:
    """Begin all in one step of the loop; return what each gave."""
    calls = [*calls]
    results: list[Any] = [None] * len(calls)
    async with create_task_group() as group:
        for at, call in enumerate(calls):
            group.start_soon(outcome, call, results, at)
    return results


async def until_queued(store: GitSessionStore, count: int) -> None:
    while len(store._workers._waiting) < count:
        await checkpoint()


def is_forgotten(reference: weakref.ref[Any]) -> bool:
    """Whether nobody holds it any more; threads that end let go of it last."""
    pause = threading.Event()
    for _ in range(500):
        gc.collect()
        if reference() is None:
            return True
        pause.wait(0.01)
    return False


def subjects(path: Path) -> list[str]:
    """Return the sessions that were saved, first to last."""
    return Git(path)("log", "--reverse", "--format=%(trailers:key=Session-Id,valueonly)").split()


# --- groups ---------------------------------------------------------------------


@pytest.mark.anyio
async def test_saves_that_begin_together_take_one_thread_and_one_publication(
    tmp_path: Path,
) -> None:
    store, repository = await gated_async_store(tmp_path)
    before = threading.active_count()
    repository.shut()
    results: list[Any] = [None] * GROUP_MAX
    async with store:
        async with create_task_group() as group:
            for at in range(GROUP_MAX):
                group.start_soon(outcome, store.save(session(f"s-{at}")), results, at)
            await run_sync(repository.wait_reached)
            # One that saves, and the one that has just waited.
            assert threading.active_count() <= before + 2
            assert store._workers.limiter.borrowed_tokens == 1
            repository.gate.set()
        assert repository.published == 1
        assert {each.outcome for each in results} == {Outcome.CREATED}
        assert len({each.commit for each in results}) == GROUP_MAX
    await run_sync(Git(tmp_path).assert_sound)


@pytest.mark.anyio
async def test_a_thread_takes_no_more_than_one_publication_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, repository = await gated_async_store(tmp_path)
    writer = store._blocking._writer
    run, sizes = writer.run, list[int]()

    def noted(requests: Sequence[Request]) -> None:
        sizes.append(len(requests))
        run(requests)

    monkeypatch.setattr(writer, "run", noted)
    async with store:
        await all_at_once(store.save(session(f"s-{at}")) for at in range(2 * GROUP_MAX + 1))
        assert sizes == [GROUP_MAX, GROUP_MAX, 1]
        assert repository.published == 3
        assert len(await store.list()) == 2 * GROUP_MAX + 1


@pytest.mark.anyio
async def test_a_save_that_finds_nobody_begins_at_once(tmp_path: Path) -> None:
    """It is in its thread although nobody lets the loop's clock go on, and though others come later."""
    store, repository = await gated_async_store(tmp_path)
    repository.shut()
    async with store, create_task_group() as group:
        for number in range(3):
            group.start_soon(store.save, session(f"s-{number}"))
            if not number:
                await run_sync(repository.wait_reached)
        await until_queued(store, 2)
        assert repository.published == 1
        repository.gate.set()
    assert repository.published == 2, "those that came meanwhile are one group"


@pytest.mark.anyio
async def test_saves_are_made_in_the_order_in_which_they_were_begun(tmp_path: Path) -> None:
    store, repository = await gated_async_store(tmp_path)
    repository.shut()
    wanted = [f"s-{number}" for number in range(70)]
    async with store, create_task_group() as group:
        group.start_soon(store.save, session("first"))
        await run_sync(repository.wait_reached)
        for number, name in enumerate(wanted):
            group.start_soon(store.save, session(name))
            await until_queued(store, number + 1)
        repository.gate.set()
    assert await run_sync(subjects, tmp_path) == ["first", *wanted]


@pytest.mark.anyio
async def test_what_is_saved_is_what_was_there_when_the_save_was_queued(tmp_path: Path) -> None:
    store, repository = await gated_async_store(tmp_path)
    one, two = session("first"), session("s-1", "hello")
    repository.shut()
    async with store:
        async with create_task_group() as group:
            group.start_soon(store.save, one)
            await run_sync(repository.wait_reached)
            group.start_soon(store.save, two)
            await until_queued(store, 1)
            say(two, "too late", turn="late", minute=1)
            repository.gate.set()
        assert turns(await store.load("s-1")) == ["t0"]
        assert turns(two) == ["t0", "late"]


@pytest.mark.anyio
async def test_each_save_of_a_group_fails_alone(tmp_path: Path) -> None:
    store, repository = await gated_async_store(tmp_path)
    bad = session("bad")
    bad.metadata["x"] = float("nan")
    async with store:
        await store.save(session("present", "hello"))
        before = repository.published
        results = await all_at_once(
            [
                store.save(session("s-1", "hi")),
                store.save(bad),
                store.save(session("present", "x"), expected=Revision("1" * 40)),
                store.save(session("present", "x"), expected=Expect.ABSENT),
                store.save(session("s-2", "hi")),
            ]
        )
        assert repository.published == before + 1
        assert [getattr(each, "outcome", type(each)) for each in results] == [
            Outcome.CREATED,
            SerializationError,
            StaleRevisionError,
            SessionExistsError,
            Outcome.CREATED,
        ]
        assert bad.revision is None
        full = OutOfSpaceError("the disk is full", path=str(tmp_path))
        repository.failure = full
        assets = [session(f"later-{number}") for number in range(3)]
        assert await all_at_once(map(store.save, assets)) == [full] * 3
        assert [asset.revision for asset in assets] == [None] * 3
        repository.failure = None
        assert {each.id for each in await store.list()} == {"present", "s-1", "s-2"}


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
async def test_what_ends_a_thread_ends_one_save_of_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    store, repository = await gated_async_store(tmp_path)
    publish, raised = repository.publish, list[int]()

    def once(*args: Any, **kwargs: Any) -> bool:
        if not raised:
            raised.append(1)
            raise kind
        return publish(*args, **kwargs)

    monkeypatch.setattr(repository, "publish", once)
    async with store:
        assets = [session(f"s-{number}") for number in range(5)]
        results = await all_at_once(map(store.save, assets))
        kinds = [getattr(each, "outcome", type(each)) for each in results]
        assert sorted(map(str, kinds)) == sorted(map(str, [kind, *[Outcome.CREATED] * 4]))
        there = {each.id for each in await store.list()}
        assert there == {asset.id for asset in assets if asset.revision}
        await store.save(session("after"))


# --- cancellation in a group: on both loops, then asyncio's own ----------------------


@pytest.mark.anyio
async def test_who_waits_for_a_thread_and_is_cancelled_passes_the_lead_on(tmp_path: Path) -> None:
    store, repository = await gated_async_store(tmp_path)
    await store.save(session("gone"))
    store._workers.limiter.total_tokens = 1
    first, second = session("first"), session("second")
    scope = CancelScope()
    repository.shut()

    async def save_first() -> None:
        with scope:
            await store.save(first)

    async with store:
        async with create_task_group() as group:
            group.start_soon(store.delete, "gone")
            await run_sync(repository.wait_reached)
            group.start_soon(save_first)
            await until_queued(store, 1)
            group.start_soon(store.save, second)
            await until_queued(store, 2)
            scope.cancel()
            for _ in range(5):
                await checkpoint()
            repository.gate.set()
        assert first.revision is None
        assert second.revision is not None
        assert {each.id for each in await store.list()} == {"second"}


@pytest.mark.anyio
async def test_a_member_that_a_thread_has_is_finished_before_its_scope_is_left(
    tmp_path: Path,
) -> None:
    """And it returns, as one that has a thread of its own does: the scope cancels what comes after."""
    store, repository = await gated_async_store(tmp_path)
    assets = [session(f"s-{number}") for number in range(4)]
    scopes = [CancelScope() for _ in assets]
    ended = list[int]()
    returned = list[int]()
    repository.shut()

    async def save(number: int) -> None:
        with scopes[number]:
            await store.save(assets[number])
            returned.append(number)
            await checkpoint()
            pytest.fail("it goes on in a cancelled scope")
        ended.append(repository.inside)

    async with store:
        async with create_task_group() as group:
            for number in range(4):
                group.start_soon(save, number)
            await run_sync(repository.wait_reached)
            assert not store._workers._waiting
            for scope in scopes:
                scope.cancel()
            for _ in range(20):
                await checkpoint()
            assert not ended, "a scope was left while its save was running"
            repository.gate.set()
        assert sorted(returned) == [0, 1, 2, 3]
        assert ended == [0] * 4
        assert all(asset.revision for asset in assets)
        assert len(await store.list()) == 4


@pytest.mark.anyio
async def test_wherever_members_are_cancelled_their_assets_tell(tmp_path: Path) -> None:
    """Of each group the even ones are cancelled, after every number of steps; the odd are all saved."""
    store = await GitSessionStore.open(tmp_path, create=True, durability="process")
    async with store:
        told = set[bool]()
        for steps in range(16):
            assets = [session(f"s-{steps}-{number}") for number in range(6)]
            scopes = [CancelScope() for _ in assets]

            async def save(
                number: int,
                assets: list[SessionAsset] = assets,
                scopes: list[CancelScope] = scopes,
            ) -> None:
                with scopes[number]:
                    await store.save(assets[number])

            async with create_task_group() as group:
                for number in range(6):
                    group.start_soon(save, number)
                for _ in range(steps * 4):
                    await checkpoint()
                for scope in scopes[::2]:
                    scope.cancel()
            there = {each.id for each in await store.list()}
            assert [asset.id in there for asset in assets] == [
                asset.revision is not None for asset in assets
            ]
            assert all(asset.revision for asset in assets[1::2])
            told |= {asset.revision is not None for asset in assets[::2]}
        assert told == {True, False}
    await run_sync(Git(tmp_path).assert_sound)


@pytest.mark.parametrize("cancelled", [{0}, {1}, {0, 1, 2}], ids=["leader", "other", "all"])
def test_task_cancel_of_members_that_a_thread_has(tmp_path: Path, cancelled: set[int]) -> None:
    async def main() -> None:
        store, repository = await gated_async_store(tmp_path)
        assets = [session(f"s-{number}") for number in range(3)]
        repository.shut()
        tasks = [asyncio.create_task(store.save(asset)) for asset in assets]
        await run_sync(repository.wait_reached)
        assert not store._workers._waiting
        for _ in range(3):
            for number in cancelled:
                tasks[number].cancel()
            for _ in range(5):
                await asyncio.sleep(0)
            assert not any(task.done() for task in tasks), "a caller went on during its save"
        late = asyncio.create_task(store.save(session("late")))
        await until_queued(store, 1)
        repository.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for number, result in enumerate(results):
            assert isinstance(result, asyncio.CancelledError) == (number in cancelled)
            assert assets[number].revision is not None
        assert (await late).outcome is Outcome.CREATED
        assert len(await store.list()) == 4
        await store.close()

    asyncio.run(main(), debug=True)


def test_task_cancel_of_one_that_was_just_called_upon_to_lead(tmp_path: Path) -> None:
    """Cancelled after it was woken and before it ran: the next one leads."""

    async def main() -> None:
        store, repository = await gated_async_store(tmp_path)
        repository.shut()
        first = asyncio.create_task(store.save(session("first")))
        await run_sync(repository.wait_reached)
        heir, other = session("heir"), session("other")
        waiting = [asyncio.create_task(store.save(asset)) for asset in (heir, other)]
        await until_queued(store, 2)
        workers = store._workers
        pass_on = workers._pass_on

        def and_cancel() -> None:
            pass_on()
            waiting[0].cancel()

        workers._pass_on = and_cancel  # type: ignore[method-assign] # to be there at that instant
        repository.gate.set()
        await first
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        await asyncio.wait_for(waiting[1], 10)
        assert heir.revision is None
        assert other.revision is not None
        assert not await store.exists("heir")
        await store.close()

    asyncio.run(main(), debug=True)


# --- loops -------------------------------------------------------------------------


def test_loops_of_both_kinds_share_a_store_and_nothing_else(tmp_path: Path) -> None:
    blocking = BlockingSessionStore.open(tmp_path, create=True, durability="process")
    store = GitSessionStore(blocking)
    seen = list[int]()

    async def work(name: str) -> None:
        seen.append(id(store._workers))
        for round_ in range(3):
            saved = await all_at_once(
                store.save(session(f"{name}-{round_}-{number}")) for number in range(12)
            )
            assert {each.outcome for each in saved} == {Outcome.CREATED}
        with move_on_after(0):
            await store.save(session(f"{name}-never"))

    def run(number: int) -> None:
        anyio.run(work, f"s{number}", backend=("asyncio", "trio")[number % 2])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    assert len({*seen}) == 4
    assert len(blocking.list()) == 4 * 36
    blocking.close()
    Git(tmp_path).assert_sound()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_that_ends_with_saves_queued_leaves_nothing(tmp_path: Path, backend: str) -> None:
    """The main task fails while one save is held and another waits; the next loop saves."""
    kept = list[Any]()

    async def main() -> None:
        store, repository = await gated_async_store(tmp_path)
        kept.extend([store, repository, weakref.ref(store._workers)])
        repository.shut()
        async with create_task_group() as group:
            group.start_soon(store.save, session("first"))
            await run_sync(repository.wait_reached)
            group.start_soon(store.save, session("queued"))
            await until_queued(store, 1)
            threading.Timer(0.05, repository.gate.set).start()
            raise ArithmeticError

    with pytest.raises(ExceptionGroup):
        anyio.run(main, backend=backend)
    store, _, workers = kept
    assert is_forgotten(workers), "the loop is gone, and its queue with it"

    async def again() -> None:
        assert (await store.save(session("next"))).outcome is Outcome.CREATED
        assert {each.id for each in await store.list()} == {"first", "next"}
        await store.close()

    for other in ("asyncio", "trio"):
        if other != backend:
            anyio.run(again, backend=other)


def test_workers_go_with_their_store(tmp_path: Path) -> None:
    async def main() -> None:
        store = await GitSessionStore.open(tmp_path, create=True, durability="process")
        await store.save(session("s-1"))
        workers = weakref.ref(store._workers)
        await store.close()
        del store
        assert await run_sync(is_forgotten, workers)

    asyncio.run(main())


# --- redaction: patterns are ours to run, functions are the caller's --------------------

_user: ContextVar[str] = ContextVar("_user", default="nobody")


@pytest.mark.anyio
async def test_a_function_of_the_callers_holds_its_own_save_only(tmp_path: Path) -> None:
    """It may take its time, ask for the caller's context, and for the loop."""
    asked, go_on = threading.Event(), threading.Event()
    seen = set[str]()

    def find(text: str) -> list[tuple[int, int]]:
        if text == "slow":
            asked.set()
            assert go_on.wait(20)
        if text == "quick":
            seen.add(_user.get())
            anyio.from_thread.run(checkpoint)
            return [(0, 5)]
        return []

    store = await GitSessionStore.open(
        tmp_path, create=True, durability="process", redact={"own": find}
    )

    async def quick(user: str) -> None:
        _user.set(user)
        saved = await store.save(session(f"s-{user}", "quick"))
        assert [each.name for each in saved.masked] == ["own"]

    async with store:
        async with create_task_group() as group:
            group.start_soon(store.save, session("slow", "slow"))
            await run_sync(asked.wait)
            async with create_task_group() as others:
                others.start_soon(quick, "one")
                others.start_soon(quick, "two")
            go_on.set()
        assert seen == {"one", "two"}
        assert len(await store.list()) == 3


@pytest.mark.anyio
async def test_saves_that_patterns_mask_are_made_together(tmp_path: Path) -> None:
    _, repository = await gated_async_store(tmp_path)
    rules = {"own": re.compile("secret")}
    blocking = await run_sync(partial(BlockingSessionStore, repository, redact=rules))
    async with GitSessionStore(blocking) as store:
        results = await all_at_once(
            store.save(session(f"s-{number}", "a secret" if number else "none"))
            for number in range(4)
        )
        assert repository.published == 1
        assert [sum(mask.count for mask in each.masked) for each in results] == [0, 1, 1, 1]
        text = (await store.load("s-1")).history.turns[0].content
    assert "secret" not in str(text)
