"""How long the event loop stands still while a large session is saved and loaded."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from statistics import median
from typing import TYPE_CHECKING

from gitstore import GitSessionStore, SessionAsset
from gitstore.testing.promises import NOON, say

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

BOUND_MS = 50
_TICK_SECONDS = 0.001
_TURN_BYTES = 1100
_LINE = "All work and no play makes Jack a dull boy.\n"


def large_session(megabytes: float) -> SessionAsset:
    """Return a session of about that size, in turns of a kilobyte."""
    asset = SessionAsset.new(id="large", now=NOON)
    text = _LINE * (_TURN_BYTES // len(_LINE))
    for number in range(int(megabytes * (1 << 20) / _TURN_BYTES)):
        say(asset, f"{number}\n{text}", turn=f"t{number}")
    return asset


@asynccontextmanager
async def ticking(lags: list[float]) -> AsyncGenerator[None]:
    """Add the worst delay of a task that wants to run every millisecond."""
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            due = time.perf_counter() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            worst = max(worst, time.perf_counter() - due)

    task = asyncio.create_task(tick())
    await asyncio.sleep(0.01)
    worst = 0.0
    yield
    await asyncio.sleep(_TICK_SECONDS)
    task.cancel()
    lags.append(worst * 1000)


async def _measure(folder: Path, megabytes: float, rounds: int) -> dict[str, list[float]]:
    lags: dict[str, list[float]] = {"idle": [], "save": [], "load": [], "load, cold": []}
    took: dict[str, list[float]] = {name: [] for name in lags}

    @asynccontextmanager
    async def measured(name: str) -> AsyncGenerator[None]:
        async with ticking(lags[name]):
            began = time.perf_counter()
            yield
            took[name].append((time.perf_counter() - began) * 1000)

    asset = large_session(megabytes)
    store = await GitSessionStore.open(folder, create=True, bare=True)
    for number in range(rounds):
        async with measured("idle"):
            await asyncio.sleep(0.1)
        say(asset, "one more", turn=f"more-{number}")
        async with measured("save"):
            await store.save(asset)
        async with measured("load"):
            await store.load("large")
        await store.close()
        store = await GitSessionStore.open(folder)
        async with measured("load, cold"):
            await store.load("large")
    await store.close()
    print(f"\nEvent loop lag, {megabytes:g} MB session, asyncio, 1 ms ticker (bound {BOUND_MS} ms)")
    print(f"{'':12}{'worst lag':>12}{'median lag':>12}{'median time':>13}")
    for name, values in lags.items():
        print(
            f"{name:12}{max(values):9.1f} ms{median(values):9.1f} ms{median(took[name]):10.1f} ms"
        )
    return lags


def measure_lag(folder: Path, *, megabytes: float, rounds: int) -> dict[str, list[float]]:
    """Print the worst lag of each kind of call; return all, in milliseconds."""
    return asyncio.run(_measure(folder, megabytes, rounds))
