"""Promise 6: a cancelled save left either no commit or the whole one, and the caller can tell."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from anyio import CancelScope, create_task_group, move_on_after
from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync

from gitstore import GitSessionStore, SessionAsset, StaleRevisionError
from gitstore.session.ids import parse_session_id, path_of
from gitstore.testing.promises import say, session
from tests.conftest import Git
from tests.store.gated import gated_async_store

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path


def stored(path: Path, name: str) -> str | None:
    """Return the revision that git has of a session."""
    found = Git(path).run(
        "rev-parse", "-q", "--verify", f"main:{path_of(parse_session_id(name))}", check=False
    )
    return found.stdout.decode().strip() or None


def commits(path: Path) -> int:
    return int(Git(path)("rev-list", "--count", "main"))


# --- anyio scopes, on both loops -----------------------------------------------


@pytest.mark.anyio
async def test_a_save_that_began_is_finished_before_the_scope_is_left(tmp_path: Path) -> None:
    store, repository = await gated_async_store(tmp_path)
    asset, ended = session("s-1", "hello"), []
    repository.shut()

    async def save() -> None:
        with CancelScope() as scope:
            scopes.append(scope)
            await store.save(asset)
        ended.append(repository.inside)

    scopes: list[CancelScope] = []
    async with store, create_task_group() as group:
        group.start_soon(save)
        await run_sync(repository.wait_reached)
        scopes[0].cancel()
        scopes[0].cancel()
        for _ in range(20):
            await checkpoint()
        assert not ended, "the scope was left while the save was running"
        assert asset.revision is None
        repository.gate.set()
    assert ended == [0]
    assert asset.revision == await run_sync(stored, tmp_path, "s-1") is not None
    await run_sync(Git(tmp_path).assert_sound)


@pytest.mark.anyio
async def test_a_save_that_waits_for_a_thread_never_comes(tmp_path: Path) -> None:
    store, repository = await gated_async_store(tmp_path)
    store._workers.limiter.total_tokens = 1
    first, second = session("first"), session("second")
    repository.shut()
    async with store:
        async with create_task_group() as group:
            group.start_soon(store.save, first)
            await run_sync(repository.wait_reached)
            with move_on_after(0) as scope:
                await store.save(second)
            assert scope.cancelled_caught
            assert repository.inside == 1, "the other save is still held"
            repository.gate.set()
        assert second.revision is None
        assert not await store.exists("second")
        assert first.revision == await run_sync(stored, tmp_path, "first")


@pytest.mark.anyio
async def test_of_those_that_wait_only_the_cancelled_are_not_saved(tmp_path: Path) -> None:
    """The one that is being saved, and one of two that wait for it, are cancelled."""
    store, repository = await gated_async_store(tmp_path)
    assets = [session(f"s-{number}", "hello") for number in range(3)]
    scopes = [CancelScope() for _ in assets]
    repository.shut()

    async def save(number: int) -> None:
        with scopes[number]:
            await store.save(assets[number])

    async with store:
        async with create_task_group() as group:
            group.start_soon(save, 0)
            await run_sync(repository.wait_reached)
            group.start_soon(save, 1)
            group.start_soon(save, 2)
            await _until_queued(store, 2)
            scopes[0].cancel()
            scopes[1].cancel()
            await checkpoint()
            repository.gate.set()
        for number, asset in enumerate(assets):
            assert asset.revision == await run_sync(stored, tmp_path, f"s-{number}")
            assert (asset.revision is None) == (number == 1)
    assert await run_sync(commits, tmp_path) == 1 + 2


async def _until_queued(store: GitSessionStore, count: int) -> None:
    while len(store._workers._waiting) < count:
        await checkpoint()


@pytest.mark.anyio
async def test_wherever_a_save_is_cancelled_the_asset_tells(tmp_path: Path) -> None:
    """Cancel after every number of steps of the loop: revision and repository always agree."""
    store = await GitSessionStore.open(tmp_path, create=True, durability="process")
    told: list[bool] = []
    async with store:
        for steps in range(24):
            asset = session(f"s-{steps}", "hello")

            async def save(asset: SessionAsset = asset) -> None:
                await store.save(asset)

            async with create_task_group() as group:
                group.start_soon(save)
                for _ in range(steps * 6):
                    await checkpoint()
                group.cancel_scope.cancel()
            there = await store.exists(asset.id)
            assert there == (asset.revision is not None), f"after {steps * 6} steps"
            told.append(there)
    assert not told[0], "a save that was cancelled before its first step was made"
    await run_sync(Git(tmp_path).assert_sound)


@pytest.mark.anyio
async def test_an_edit_that_is_cancelled_saves_nothing(tmp_path: Path) -> None:
    async with await GitSessionStore.open(tmp_path, create=True, durability="process") as store:
        await store.save(session("s-1", "hello"))
        with CancelScope() as scope:
            async with store.edit("s-1") as asset:
                say(asset, "half", turn="t1")
                scope.cancel()
                await checkpoint()
        assert scope.cancelled_caught
        assert await store.load("s-1") == session("s-1", "hello")


@pytest.mark.anyio
async def test_a_store_is_closed_although_its_scope_is_cancelled(tmp_path: Path) -> None:
    store = await GitSessionStore.open(tmp_path, create=True, durability="process")
    with CancelScope() as scope:
        async with store:
            scope.cancel()
            await checkpoint()
    assert store._blocking._closed


# --- asyncio's own cancellation, which goes through every shield -----------------


def run_quietly(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run on asyncio in debug mode; fail if the loop had anything to complain about."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: complaints.append(context)
        )
        await main()
        gc.collect()  # what is never retrieved is told when it is forgotten

    asyncio.run(watched(), debug=True)
    gc.collect()
    assert complaints == []


@pytest.mark.parametrize("times", [1, 2, 3])
def test_task_cancel_waits_for_a_save_that_began(tmp_path: Path, times: int) -> None:
    async def main() -> None:
        store, repository = await gated_async_store(tmp_path)
        asset = session("s-1", "hello")
        repository.shut()
        task = asyncio.create_task(store.save(asset))
        await run_sync(repository.wait_reached)
        for _ in range(times):
            task.cancel()
            for _ in range(10):
                await asyncio.sleep(0)
            assert not task.done(), "the caller went on while its save was running"
        repository.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert repository.inside == 0
        assert asset.revision == await run_sync(stored, tmp_path, "s-1") is not None
        await store.close()

    run_quietly(main)


def test_task_cancel_of_a_save_that_waits_for_a_thread(tmp_path: Path) -> None:
    async def main() -> None:
        store, repository = await gated_async_store(tmp_path)
        store._workers.limiter.total_tokens = 1
        first, second = session("first"), session("second")
        repository.shut()
        running = asyncio.create_task(store.save(first))
        await run_sync(repository.wait_reached)
        waiting = asyncio.create_task(store.save(second))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert repository.inside == 1
        repository.gate.set()
        await running
        assert second.revision is None
        assert not await store.exists("second")
        await store.close()

    run_quietly(main)


async def _wait_for(store: GitSessionStore, asset: SessionAsset) -> None:
    await asyncio.wait_for(store.save(asset), 0.05)


async def _timeout(store: GitSessionStore, asset: SessionAsset) -> None:
    async with asyncio.timeout(0.05):
        await store.save(asset)


@pytest.mark.parametrize("limited", [_wait_for, _timeout])
def test_a_timeout_leaves_nothing_undecided(tmp_path: Path, limited: Any) -> None:
    async def main() -> None:
        store, repository = await gated_async_store(tmp_path)
        asset = session("s-1", "hello")
        repository.shut()
        loop = asyncio.get_running_loop()
        loop.call_later(0.15, repository.gate.set)
        with suppress(TimeoutError):
            await limited(store, asset)
        assert repository.inside == 0, "left while the save was running"
        assert asset.revision == await run_sync(stored, tmp_path, "s-1")
        await store.close()

    run_quietly(main)


def test_a_save_that_fails_while_it_is_cancelled(tmp_path: Path) -> None:
    async def main() -> None:
        store, repository = await gated_async_store(tmp_path)
        asset = session("s-1", "hello")
        await store.save(asset)
        stale = asset.revision
        assert stale is not None
        say(asset, "more", turn="t1")
        repository.shut()
        first = asyncio.create_task(store.save(asset))
        await run_sync(repository.wait_reached)
        late = session("s-1", "late")
        second = asyncio.create_task(store.save(late, expected=stale))
        await _until_queued(store, 1)
        second.cancel()
        await asyncio.sleep(0)
        repository.gate.set()
        await first
        with pytest.raises((asyncio.CancelledError, StaleRevisionError)):
            await second
        assert late.revision is None
        assert (await store.load("s-1")).revision == asset.revision
        await store.close()

    run_quietly(main)


def test_asyncio_cancel_after_any_number_of_steps(tmp_path: Path) -> None:
    async def main() -> None:
        store = await GitSessionStore.open(tmp_path, create=True, durability="process")
        for steps in range(24):
            asset = session(f"s-{steps}", "hello")
            task = asyncio.create_task(store.save(asset))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert await store.exists(asset.id) == (asset.revision is not None)
        await store.close()

    run_quietly(main)


def test_threads_of_cancelled_saves_end(tmp_path: Path) -> None:
    before = threading.active_count()

    async def main() -> None:
        store, repository = await gated_async_store(tmp_path)
        repository.shut()
        tasks = [asyncio.create_task(store.save(session(f"s-{number}"))) for number in range(8)]
        await run_sync(repository.wait_reached)
        for task in tasks:
            task.cancel()
        repository.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        await store.close()

    run_quietly(main)
    for thread in threading.enumerate():
        if thread.name.startswith("AnyIO worker"):
            thread.join(5)
    assert threading.active_count() <= before
