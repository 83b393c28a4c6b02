"""What must be measured in a process of its own: ``python -m tests.benchmarks.child NAME JSON``.

Prints one JSON object. A fresh process has nothing in memory, and its peak is its own.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gitstore import BlockingSessionStore, dump_session
from tests.benchmarks.measure import Samples, cpu_seconds, timed
from tests.benchmarks.sessions import LARGE, SMALL, add_turn, change, name_of, session, text

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT = Path(__file__).parents[2]


def call(
    name: str, /, *, environment: dict[str, str] | None = None, **arguments: Any
) -> dict[str, Any]:
    """Run one of the functions below in a fresh process; return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.child", name, json.dumps(arguments)],
        cwd=_ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stderr.decode())
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def peak_megabytes() -> float:
    """Return the most memory that this process held at once.

    Not by getrusage: it starts with what the parent held when it made the process.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def load_cold(folder: str, name: str) -> dict[str, Any]:
    """Load a session first thing; then read the same file as YAML."""
    with BlockingSessionStore.open(folder) as store:
        store.load(name_of(0))
        ours = timed(lambda: store.load(name))
        again = timed(lambda: store.load(name))
        data = dump_session(store.load(name))
    peer = timed(lambda: yaml.load(data, yaml.CSafeLoader))
    return {"ours": ours, "again": again, "peer": peer}


def list_cold(folder: str) -> dict[str, Any]:
    """List a store whose caches were deleted, again, and again after one save."""
    store = BlockingSessionStore.open(folder)
    rows: list[Any] = []
    cold = timed(lambda: rows.extend(store.list()))
    warm = [timed(store.list) for _ in range(5)]
    changed = []
    for number in range(5):
        asset = store.load(name_of(number))
        change(asset, seed=number + 77, size=SMALL)
        store.save(asset)
        changed.append(timed(store.list))
    store.close()
    return {"cold": cold, "warm": warm, "changed": changed, "rows": len(rows)}


def parse_files(folder: str, share: int) -> dict[str, Any]:
    """Read and parse every file, or every so-manyth, as somebody without an index would."""
    paths = sorted(Path(folder).glob("sessions/*/session-*.yaml"))[::share]

    def parse() -> None:
        for path in paths:
            yaml.load(path.read_bytes(), yaml.CSafeLoader)

    return {"all": timed(parse) * share, "files": len(paths)}


def memory_list(folder: str) -> dict[str, Any]:
    """Open a store, list it, and tell the peak before and after."""
    before = peak_megabytes()
    with BlockingSessionStore.open(folder) as store:
        rows = len(store.list())
    return {"before": before, "after": peak_megabytes(), "rows": rows}


def memory_save(folder: str) -> dict[str, Any]:
    """Load a session of 1 MB, change and save it; tell the peak before the save and after it."""
    with BlockingSessionStore.open(folder) as store:
        asset = store.load("large-0")
        before = peak_megabytes()
        change(asset, seed=9, size=LARGE)
        store.save(asset)
    return {"before": before, "after": peak_megabytes()}


def _opened(folder: str, **options: Any) -> BlockingSessionStore:
    """Open a store that does not maintain itself, so that what maintenance does is seen at once."""
    opens: Any = BlockingSessionStore.open
    if "auto_maintain" in inspect.signature(opens).parameters:
        options["auto_maintain"] = False
    store: BlockingSessionStore = opens(folder, **options)
    return store


def grow(folder: str, saves: int, lines: int) -> dict[str, Any]:
    """Save one session so many times, a turn longer each time; tell its commits."""
    commits = []
    store = _opened(folder, create=True, bare=True, durability="process")
    asset = session("grown", SMALL)
    began = time.perf_counter()
    for number in range(saves):
        add_turn(asset, seed=number, lines=lines)
        commits.append(store.save(asset).commit)
    took = time.perf_counter() - began
    store.close()
    return {"commits": commits, "ms": took * 1000 / saves, "bytes": len(dump_session(asset))}


def grow_more(folder: str, saves: int, lines: int) -> dict[str, Any]:
    """Save the grown session some more times."""
    with _opened(folder, durability="process") as store:
        asset = store.load("grown")
        for number in range(saves):
            add_turn(asset, seed=5000 + number, lines=lines)
            store.save(asset)
    return {}


def save_for_long(folder: str, saves: int, a_second: int | None = None) -> dict[str, Any]:
    """Save small sessions in a store that maintains itself; tell the most it held at once."""
    objects = Path(folder, "objects")
    loose = packs = 0
    with BlockingSessionStore.open(folder, durability="process") as store:
        began = time.monotonic()
        for number in range(saves):
            if a_second is not None:
                time.sleep(max(0.0, began + number / a_second - time.monotonic()))
            asset = store.load(name_of(number % 50))
            change(asset, seed=number, size=SMALL)
            store.save(asset)
            if number % 10 == 0:
                loose = max(loose, sum(1 for _ in objects.glob("[0-9a-f][0-9a-f]/*")))
                packs = max(packs, sum(1 for _ in objects.glob("pack/*.pack")))
    return {"loose": loose, "packs": packs}


def maintain(folder: str, *, full: bool) -> dict[str, Any]:
    """Maintain a store; tell how long, how much processor time and how much memory it took."""
    store = BlockingSessionStore.open(folder)
    act: Callable[..., object] | None = getattr(store, "maintain", None)
    if act is None:
        return {"absent": "the store has no maintain()"}
    cpu = cpu_seconds()
    took = timed(partial(act, full=full))
    cpu = (cpu_seconds() - cpu) * 1000
    store.close()
    return {"ms": took, "cpu": cpu, "peak": peak_megabytes()}


def read_versions(folder: str, commits: list[str]) -> dict[str, Any]:
    """Load old versions of the grown session, each once."""
    with BlockingSessionStore.open(folder) as store:
        store.load("grown", at=commits[0])
        samples = Samples()
        for commit in commits[1:]:
            timed(partial(store.load, "grown", at=commit), samples)
    return {"ms": samples.wall, "cpu": samples.cpu}


def exchange(folder: str, verb: str, times: int, seed: int | None = None) -> dict[str, Any]:
    """Fetch, pull, push or sync so many times, each after a save if there is a seed.

    Tells the processor time of this process alone: a remote by path is a program, as it is to git.
    """
    samples = Samples()
    with _opened(folder) as store:
        act: Callable[[], object] = getattr(store, verb)
        for number in range(times):
            if seed is not None:
                asset = store.load(name_of(0))
                change(asset, seed=seed + number, size=SMALL)
                store.save(asset)
            cpu = time.process_time()
            samples.wall.append(timed(act))
            samples.cpu.append((time.process_time() - cpu) * 1000)
    return {"ms": samples.wall, "cpu": samples.cpu, "peak": peak_megabytes()}


def stand(folder: str, times: int, seed: int) -> dict[str, Any]:
    """Ask how a store stands: first thing, again, and after a save each."""
    with _opened(folder) as store:
        first = timed(store.sync_status)
        warm = [timed(store.sync_status) for _ in range(times)]
        status = store.sync_status()
        saved = []
        for number in range(times):
            asset = store.load(name_of(0))
            change(asset, seed=seed + number, size=SMALL)
            store.save(asset)
            saved.append(timed(store.sync_status))
    return {
        "first": first, "warm": warm, "saved": saved, "ahead": status.ahead, "behind": status.behind,
    }  # fmt: skip


def saves(folder: str, count: int, durability: Any, seed: int) -> dict[str, Any]:
    """Save so many small sessions one after another: for counting what the system is asked to do."""
    with BlockingSessionStore.open(folder, durability=durability) as store:
        for number in range(count):
            asset = store.load(name_of(number))
            asset.history.turns[-1].content = text(number + seed, SMALL.lines)
            store.save(asset)
    return {}


_FUNCTIONS = {
    function.__name__: function
    for function in (
        load_cold, list_cold, parse_files, memory_list, memory_save, grow, grow_more, save_for_long, maintain,
        read_versions, exchange, stand, saves,
    )
}  # fmt: skip

if __name__ == "__main__":
    print(json.dumps(_FUNCTIONS[sys.argv[1]](**json.loads(sys.argv[2]))))
