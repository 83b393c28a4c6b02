"""What reads: load, list, exists, the standing with the remote."""

from __future__ import annotations

import asyncio
import os
import shutil
from functools import partial
from importlib import import_module
from statistics import median
from typing import TYPE_CHECKING, Any

import yaml
from anyio import to_thread

from gitstore import BlockingSessionStore, GitSessionStore
from tests.benchmarks import child
from tests.benchmarks.measure import OURS, Row, Samples, absent, interleave, timed
from tests.benchmarks.repositories import copy
from tests.benchmarks.sessions import SMALL, THOUSAND, change, name_of, path_of
from tests.benchmarks.workloads.saving import PLACES
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.benchmarks.bench import Bench
    from tests.benchmarks.measure import Prepare

YAML_C = "file + PyYAML CSafeLoader"
PYGIT2 = "pygit2 + PyYAML CSafeLoader"
HOP = "gitstore, async"
EMPTY_HOP = "empty call in a worker thread"
COLD, WARM, CHANGED = "cold, fresh clone", "warm", "after one change"
PARSED = f"every {YAML_C}"
LOOKED = "stat of every file"
_COLD_ROUNDS = 5
#: Beyond so many sessions only every so-manyth file is parsed for comparison.
_PARSED_MAX = 10_000
_SHARE = 10


def _rows(
    bench: Bench,
    workload: str,
    parameters: dict[str, str | int],
    acts: dict[str, Callable[[int], object]],
) -> list[Row]:
    """Measure acts that need no preparation but the number of the round."""

    def of(act: Callable[[int], object]) -> Prepare:
        return lambda number: partial(act, number)

    measured = interleave(
        {name: of(act) for name, act in acts.items()},
        rounds=bench.options.rounds,
        budget_seconds=bench.options.budget_seconds,
    )
    return [samples.row(workload, parameters, name) for name, samples in measured.items()]


def load(bench: Bench) -> list[Row]:
    """Load a small session that was read before; a large one first thing in a process, and again."""
    count = bench.count(10_000)
    folder = copy(bench.base(count, bare=False, larger=True), bench.scratch("load"))
    rows = _load_small(bench, folder, count)
    rows += _load_large(bench, folder)
    return rows


def _load_small(bench: Bench, folder: Path, count: int) -> list[Row]:
    path = folder / path_of(name_of(0))
    name = name_of(0)
    with BlockingSessionStore.open(folder) as store, asyncio.Runner() as runner:
        awaited = GitSessionStore(store)

        async def measured(number: int) -> None:
            del number
            await awaited.load(name)

        acts: dict[str, Callable[[int], object]] = {
            OURS: lambda _: store.load(name),
            HOP: lambda number: runner.run(measured(number)),
            # The same hop: anyio starts a thread for a task that has none yet, asyncio keeps a pool.
            EMPTY_HOP: lambda _: runner.run(to_thread.run_sync(int)),
            YAML_C: lambda _: yaml.load(path.read_bytes(), yaml.CSafeLoader),
            "git show": lambda _: run_git(folder, "show", f"main:{path_of(name)}"),
        }
        parameters: dict[str, str | int] = {"sessions": count, "size": "2 KB", "state": "warm"}
        missing: list[Row] = []
        try:
            acts[PYGIT2] = _pygit2_load(folder, path_of(name))
        except ImportError as error:
            missing = [absent("load", parameters, PYGIT2, str(error))]
        return _rows(bench, "load", parameters, acts) + missing


def _pygit2_load(folder: Path, path: str) -> Callable[[int], object]:
    repository: Any = import_module("pygit2").Repository(str(folder))

    def read(_: int) -> object:
        blob = repository[repository.references["refs/heads/main"].target].tree[path]
        return yaml.load(blob.data, yaml.CSafeLoader)

    return read


def _load_large(bench: Bench, folder: Path) -> list[Row]:
    cold, again, peer = Samples(), Samples(), Samples()
    for _ in range(3 if bench.options.quick else _COLD_ROUNDS):
        said = child.call("load_cold", folder=str(folder), name="thousand-0")
        cold.wall.append(said["ours"])
        again.wall.append(said["again"])
        peer.wall.append(said["peer"])
    what = "in a fresh process; PyYAML gives plain data, gitstore the checked model"
    first: dict[str, str | int] = {"size": THOUSAND.name, "state": "cold"}
    return [
        cold.row("load", first, OURS, notes=what),
        peer.row("load", first, YAML_C),
        again.row("load", {"size": THOUSAND.name, "state": "again, unchanged"}, OURS),
    ]


def list_(bench: Bench) -> list[Row]:
    """List fresh clones: first thing in a process, again, and after one save."""
    rows: list[Row] = []
    for count in bench.counts([10_000, 100_000]):
        for bare, place in PLACES.items():
            folder = bench.scratch("list")
            kind = ["--bare"] if bare else []
            base = bench.base(count, bare=False)
            run_git(bench.folder, "clone", "-q", *kind, str(base), str(folder))
            run_git(folder, "config", "user.name", "Bench")
            run_git(folder, "config", "user.email", "bench@example.org")
            rows += _list(bench, folder, count, place)
    return rows


def _list(bench: Bench, folder: Path, count: int, place: str) -> list[Row]:
    cold, warm, changed = Samples(), Samples(), Samples()
    peers: dict[str, Samples] = {}
    share = _SHARE if count > _PARSED_MAX else 1
    for _ in range(1 if bench.options.quick else 3):
        for cache in (folder / ".git/gitstore", folder / "gitstore"):
            shutil.rmtree(cache, ignore_errors=True)
        said = child.call("list_cold", folder=str(folder))
        assert said["rows"] >= count, "sessions are missing in the listing"
        cold.wall.append(said["cold"])
        warm.wall.append(median(said["warm"]))
        changed.wall.append(median(said["changed"]))
        if place != PLACES[True]:
            for name, took in _looked(folder, count, share).items():
                peers.setdefault(name, Samples()).wall.append(took)

    def row(subject: str, state: str, samples: Samples, notes: str = "") -> Row:
        parameters: dict[str, str | int] = {"sessions": count, "place": place, "state": state}
        return samples.row("list", parameters, subject, notes=notes)

    rows = [row(OURS, COLD, cold), row(OURS, WARM, warm), row(OURS, CHANGED, changed)]
    if peers:
        sampled = f"every {share}th file, times {share}" if share > 1 else ""
        rows.insert(1, row(PARSED, COLD, peers[PARSED], sampled))
        floor = "what it costs to see that nobody edited a file"
        rows += [row(name, WARM, peers[name], floor) for name in (LOOKED, "git status")]
    return rows


def _looked(folder: Path, count: int, share: int) -> dict[str, float]:
    """Return what it takes to parse every file, to look at every file, and to let git do so."""
    read = child.call("parse_files", folder=str(folder), share=share)
    assert read["files"] == -(-count // share), "files are missing in the working tree"
    return {
        PARSED: read["all"],
        LOOKED: timed(partial(_look, folder / "sessions")),
        "git status": timed(partial(run_git, folder, "status", "--porcelain")),
    }


def _look(folder: Path) -> None:
    for shard in os.scandir(folder):
        for file in os.scandir(shard):
            file.stat(follow_symlinks=False)


def exists(bench: Bench) -> list[Row]:
    """Ask for a session that is there."""
    count = bench.count(10_000)
    folder = copy(bench.base(count, bare=False), bench.scratch("exists"))
    path = path_of(name_of(0))
    with BlockingSessionStore.open(folder) as store:
        return _rows(
            bench,
            "exists",
            {"sessions": count},
            {
                OURS: lambda _: store.exists(name_of(0)),
                "git cat-file -e": lambda _: run_git(folder, "cat-file", "-e", f"main:{path}"),
                "stat of the file": lambda _: (folder / path).exists(),
            },
        )


def sync_status(bench: Bench) -> list[Row]:
    """Ask how a clone stands that is three saves ahead."""
    count = bench.count(10_000)
    folder = bench.scratch("status")
    run_git(bench.folder, "clone", "-q", str(bench.base(count, bare=False)), str(folder))
    with BlockingSessionStore.open(folder) as store:
        for number in range(3):
            asset = store.load(name_of(number))
            change(asset, seed=number + 5, size=SMALL)
            store.save(asset)
        assert store.sync_status().ahead == 3
        counted = ("rev-list", "--left-right", "--count", "main...origin/main")
        return _rows(
            bench,
            "sync_status",
            {"sessions": count, "state": "warm"},
            {
                OURS: lambda _: store.sync_status(),
                "git rev-list --count": lambda _: run_git(folder, *counted),
            },
        )
