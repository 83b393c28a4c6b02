"""The event loop stays free: no call of a store blocks it, and a save begins with a snapshot."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from anyio import create_task_group
from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync
from blockbuster import BlockingError

from gitstore import BlockingSessionStore, GitSessionStore
from gitstore.blocking import system_runtime
from gitstore.testing.promises import say, session, turns
from tests.store.gated import gated_async_store
from tests.store.test_concurrency import CALLS, ENDING

if TYPE_CHECKING:
    from pathlib import Path

_MEGABYTE = 1 << 20


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_call_that_blocks_the_loop_would_be_seen(tmp_path: Path) -> None:
    """The watch of `no_blocking_in_the_loop` works."""
    with pytest.raises(BlockingError):
        BlockingSessionStore.open(tmp_path, create=True)


@pytest.mark.anyio
async def test_all_work_is_done_in_worker_threads(tmp_path: Path) -> None:
    """Whoever asks for the time or for a new name is at work; nobody does in the loop."""
    real, seen = system_runtime(), set[int]()

    def clock() -> float:
        seen.add(threading.get_ident())
        return real.clock()

    def token() -> str:
        seen.add(threading.get_ident())
        return real.token()

    runtime = replace(real, clock=clock, token=token)
    store = await GitSessionStore.open(tmp_path, create=True, durability="process", runtime=runtime)
    async with store:
        for name, call in CALLS.items():
            if name not in ENDING:
                await call(store)
        async with store.edit("s-1") as asset:
            say(asset, "x", turn="t1")
        await store.delete("s-1")
    assert seen
    assert threading.get_ident() not in seen


@pytest.mark.anyio
async def test_other_tasks_run_while_a_save_waits_for_the_disk(tmp_path: Path) -> None:
    store, repository = await gated_async_store(tmp_path)
    repository.shut()
    async with store, create_task_group() as group:
        group.start_soon(store.save, session("s-1"))
        await run_sync(repository.wait_reached)
        assert await store.list() == [], "reading does not wait for a writer"
        assert not await store.exists("s-1")
        repository.gate.set()


@pytest.mark.anyio
async def test_a_large_session_does_not_stop_the_loop(tmp_path: Path) -> None:
    """A bound that only a call on the loop's own thread would break; the benchmarks measure."""
    text = "All work and no play makes Jack a dull boy.\n" * 26
    asset = session("large", *[text] * (_MEGABYTE // len(text)))
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await checkpoint()
            gaps.append(time.perf_counter() - before)

    store = await GitSessionStore.open(tmp_path, create=True, durability="process")
    async with store, create_task_group() as group:
        group.start_soon(tick)
        await store.save(asset)
        await store.load("large")
        group.cancel_scope.cancel()
    assert len(gaps) > 20, "nobody else had a turn"


@pytest.mark.anyio
async def test_a_save_stores_what_the_asset_was_when_it_was_called(tmp_path: Path) -> None:
    store, repository = await gated_async_store(tmp_path)
    asset = session("s-1", "hello")
    repository.shut()
    async with store:
        async with create_task_group() as group:
            group.start_soon(store.save, asset)
            await run_sync(repository.wait_reached)
            say(asset, "too late", turn="late", minute=1)
            repository.gate.set()
        assert turns(await store.load("s-1")) == ["t0"]
        assert turns(asset) == ["t0", "late"], "what was added meanwhile is still there"
        await store.save(asset)
        assert turns(await store.load("s-1")) == ["t0", "late"]
