"""What a save needs but time: syncs, memory, the attention of the event loop."""

from __future__ import annotations

import asyncio
import subprocess
import time
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from gitstore import GitSessionStore
from tests.benchmarks import child
from tests.benchmarks.measure import OURS, Row, absent
from tests.benchmarks.repositories import copy
from tests.benchmarks.sessions import THOUSAND, add_turn
from tests.benchmarks.workloads.saving import PLACES
from tests.gitcommand import environment

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.benchmarks.bench import Bench

_COUNTER = Path(__file__).parents[1] / "countfsync.c"
_TICK_SECONDS = 0.001
_COUNTED = 5


# --- syncs ---------------------------------------------------------------------------


def fsyncs(bench: Bench) -> list[Row]:
    """Count the calls of fsync and fdatasync of a lone small save, by a library put under the programs."""
    library = bench.scratch("counter").with_suffix(".so")
    rows: list[Row] = []
    for bare, place in PLACES.items():
        parameters: dict[str, str | int] = {"place": place, "size": "2 KB"}
        try:
            command = ["cc", "-shared", "-fPIC", "-o", str(library), str(_COUNTER), "-ldl"]
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            return [absent("fsyncs", parameters, OURS, f"no C compiler: {error}")]
        subjects: dict[str, dict[str, str]] = {OURS: {}}
        if not bare:
            subjects |= {
                "git add + commit": {},
                "git add + commit, core.fsync=all": {"core.fsync": "all"},
            }
        for name, settings in subjects.items():
            folder = copy(bench.base(50, bare=bare), bench.scratch("count"), settings=settings)
            counted = _counted(folder, library, ours=name == OURS)
            rows.append(
                Row(
                    workload="fsyncs",
                    parameters=parameters,
                    subject=name,
                    median=counted,
                    n=_COUNTED,
                    unit="calls",
                )
            )
    return rows


def _counted(folder: Path, library: Path, *, ours: bool) -> float:
    """Return the calls a save: what more saves ask for than one does."""
    one, more = (_calls(folder, library, saves, ours=ours) for saves in (1, 1 + _COUNTED))
    return (more - one) / _COUNTED


def _calls(folder: Path, library: Path, saves: int, *, ours: bool) -> int:
    count = folder.with_suffix(".count")
    count.unlink(missing_ok=True)
    preload = {"LD_PRELOAD": str(library), "COUNT_FSYNC": str(count)}
    if ours:
        before = saves * 100
        child.call(
            "saves",
            environment=preload,
            folder=str(folder),
            count=saves,
            durability="full",
            seed=before,
        )
    else:
        for number in range(saves):
            path = next(folder.glob("sessions/*/session-*.yaml"))
            path.write_bytes(path.read_bytes() + b"# %d\n" % number)
            _git(folder, preload, "add", str(path))
            _git(folder, preload, "commit", "-q", "-m", "Update session")
    return count.stat().st_size if count.exists() else 0


def _git(folder: Path, preload: dict[str, str], *arguments: str) -> None:
    command = ["git", "-C", str(folder), *arguments]
    subprocess.run(command, check=True, env=environment(**preload))


# --- memory --------------------------------------------------------------------------


def memory(bench: Bench) -> list[Row]:
    """Take the peak of a process that opens and lists, and of one that saves 1 MB."""
    rows: list[Row] = []
    for count in bench.counts([100_000]):
        folder = copy(bench.base(count, bare=False), bench.scratch("memory"))
        said = child.call("memory_list", folder=str(folder))
        assert said["rows"] >= count, "sessions are missing in the listing"
        rows += _peaks({"sessions": count, "act": "open and list"}, said)
    folder = copy(bench.base(50, bare=False, larger=True), bench.scratch("memory"))
    said = child.call("memory_save", folder=str(folder))
    rows += _peaks({"sessions": 50, "act": "save 1 MB"}, said)
    return rows


def _peaks(parameters: dict[str, str | int], said: dict[str, float]) -> list[Row]:
    return [
        Row(
            workload="memory",
            parameters=parameters,
            subject=subject,
            median=said[when],
            n=1,
            unit="MB",
            notes=notes,
        )
        for subject, when, notes in (
            (OURS, "after", "peak of the process"),
            ("gitstore, before", "before", "peak of the process before the act"),
        )
    ]


# --- the event loop ------------------------------------------------------------------


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


async def _lags(folder: Path, rounds: int) -> dict[str, list[float]]:
    lags: dict[str, list[float]] = {"idle": [], "append and save": [], "load": [], "load, cold": []}
    store = await GitSessionStore.open(folder)
    asset = await store.load("thousand-0")
    for number in range(rounds):
        async with ticking(lags["idle"]):
            await asyncio.sleep(0.1)
        add_turn(asset, seed=number, lines=THOUSAND.lines)
        async with ticking(lags["append and save"]):
            await store.save(asset)
        async with ticking(lags["load"]):
            await store.load("thousand-0")
        await store.close()
        store = await GitSessionStore.open(folder)
        async with ticking(lags["load, cold"]):
            await store.load("thousand-0")
    await store.close()
    return lags


def lag(bench: Bench) -> list[Row]:
    """Measure how long the event loop stands still while a session of 1,000 turns is worked on."""
    folder = copy(bench.base(50, bare=True, larger=True), bench.scratch("lag"))
    measured = asyncio.run(_lags(folder, max(bench.options.rounds // 4, 2)))
    rows: list[Row] = []
    for act, lags in measured.items():
        for figure, value in (("worst", max(lags)), ("median", median(lags))):
            parameters: dict[str, str | int] = {"act": act, "size": THOUSAND.name, "lag": figure}
            rows.append(
                Row(workload="lag", parameters=parameters, subject=OURS, median=value, n=len(lags))
            )
    return rows
