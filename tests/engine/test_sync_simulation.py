"""Replicas that save, delete, edit, sync, crash and are cut off in any order end equal, with all turns."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.replicas import ended_well, examine, heal, make_world, step
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMORY = Path("/dev/shm")


@contextmanager
def _arena() -> Iterator[Path]:
    """Lend a folder in memory, where there is one: thousands of commits are made."""
    above = _MEMORY if _MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="gitstore-replicas-", dir=above))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _simulate(seeds: range, *, steps: int) -> Counter[str]:
    happened: Counter[str] = Counter()
    for seed in seeds:
        with _arena() as folder:
            world, replicas = make_world(folder / "world", seed)
            try:
                for _ in range(steps):
                    step(world, replicas)
                heal(world, replicas)
                examine(world, replicas)
                merges = run_git(world.remote, "rev-list", "--merges", "--count", "main")
                heal(world, replicas)
                assert run_git(world.remote, "rev-list", "--merges", "--count", "main") == merges
                ended_well(world, replicas)
            except BaseException as error:
                error.add_note(f"seed {seed}, step {world.steps}")
                raise
            happened.update(world.happened)
            happened["turns"] += sum(map(len, world.acknowledged.values()))
            happened["merges"] += int(merges)
    return happened


def test_one_seed() -> None:
    happened = _simulate(range(1), steps=20)
    assert happened["turns"] > 3


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_twenty_seeds_of_a_hundred_steps() -> None:
    happened = _simulate(range(100, 120), steps=100)
    assert all(happened[what] for what in ("turns", "merges", "crash", "cut", "conflict"))
    print(dict(happened))


@pytest.mark.deep
@pytest.mark.faults
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("first", range(1000, 1500, 50))
def test_five_hundred_seeds(first: int) -> None:
    print(dict(_simulate(range(first, first + 50), steps=100)))
