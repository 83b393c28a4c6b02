"""What a small save costs in a small and in a large repository."""

from __future__ import annotations

import random
import subprocess
import time
from itertools import product
from statistics import median
from typing import TYPE_CHECKING

from gitstore import BlockingSessionStore, SessionAsset, dump_session
from gitstore.session.ids import parse_session_id, path_of
from gitstore.testing.promises import NOON, say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitstore.types import Durability

TARGETS = {"bare": 1.3, "working tree": 2.0}
_BYTES = 2048
_WORDS = "the agent reads a file and changes one line of it\n"


def small_session(number: int) -> SessionAsset:
    """Return a session of about two kilobytes."""
    asset = SessionAsset.new(id=f"session-{number:06}", name=f"Session {number}", now=NOON)
    for turn in range(4):
        say(asset, _WORDS * (_BYTES // 5 // len(_WORDS)), turn=f"t{turn}")
    return asset


def _stream(count: int) -> Iterator[bytes]:
    yield b"commit refs/heads/main\ncommitter Bench <b@example.org> 1700000000 +0000\ndata 5\nbuild\n"
    for number in range(count):
        data = dump_session(small_session(number))
        path = path_of(parse_session_id(f"session-{number:06}"))
        yield b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)
    yield b"done\n"


def build(folder: Path, *, count: int, bare: bool) -> None:
    """Make a repository that holds many sessions in one commit, with git alone."""
    kind = ["--bare"] if bare else []
    folder.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "-b", "main", *kind, "."], cwd=folder, check=True)
    stream = b"".join(_stream(count))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input=stream, check=True)
    if not bare:
        subprocess.run(["git", "reset", "-q", "--hard"], cwd=folder, check=True)


def measure_saves(folder: Path, *, sizes: list[int], saves: int) -> dict[tuple[str, str], float]:
    """Print the median save of each kind and size; return how each grows with the size.

    The kinds take turns, so that whatever else the machine does slows all of them.
    """
    chance = random.Random(1)
    kinds: list[Durability] = ["full", "process"]
    times: dict[tuple[str, Durability, int], list[float]] = {}
    stores: dict[tuple[str, Durability, int], BlockingSessionStore] = {}
    for (place, size), durability in product(product(TARGETS, sizes), kinds):
        path = folder / f"{place}-{size}-{durability}".replace(" ", "-")
        build(path, count=size, bare=place == "bare")
        key = (place, durability, size)
        stores[key] = BlockingSessionStore.open(path, durability=durability)
        times[key] = []
    for number in range(-2, saves):
        for key, store in stores.items():
            asset = store.load(f"session-{chance.randrange(key[2]):06}")
            say(asset, f"round {number}", turn=f"round-{number}")
            began = time.perf_counter()
            store.save(asset)
            if number >= 0:  # the first ones read what later ones find in memory
                times[key].append((time.perf_counter() - began) * 1000)
    for store in stores.values():
        store.close()
    return _print(times, sizes)


def _print(
    times: dict[tuple[str, Durability, int], list[float]], sizes: list[int]
) -> dict[tuple[str, str], float]:
    print("\nMedian of a 2 KB save, by the number of stored sessions")
    heads = "".join(f"{f'{size:,}':>12}" for size in sizes)
    print(f"{'':24}{heads}{'ratio':>9}{'target':>9}")
    ratios: dict[tuple[str, str], float] = {}
    for place, durability in sorted({key[:2] for key in times}):
        medians = [median(times[place, durability, size]) for size in sizes]
        ratio = ratios[place, durability] = medians[-1] / medians[0]
        cells = "".join(f"{value:9.2f} ms" for value in medians)
        print(f"{place:13} {durability:10}{cells}{ratio:9.2f}{TARGETS[place]:9.1f}")
    return ratios
