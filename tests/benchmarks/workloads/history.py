"""What history costs, beside git: its rows, a session at a time, who wrote what."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from gitstore import BlockingSessionStore, SessionAsset, dump_session
from gitstore.testing.promises import say
from tests.benchmarks.measure import OURS, Row, timed
from tests.benchmarks.repositories import build
from tests.benchmarks.sessions import NOON, path_of
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.benchmarks.bench import Bench

_START = 1_700_000_000
_STEP = 10
_CACHE = "gitstore/history.sqlite"


def _name(number: int) -> str:
    return f"session-{number:05}"


def _commit(number: int, name: str, data: bytes) -> bytes:
    """Return a commit of one session, for git fast-import."""
    said = b"Update session\n\nSession-Id: %s\nOperation: update\n" % name.encode()
    return b"commit refs/heads/main\ncommitter B <b@e> %d +0000\ndata %d\n%sM 100644 inline %s\ndata %d\n%s\n" % (
        _START + number * _STEP, len(said), said, path_of(name).encode(), len(data), data,
    )  # fmt: skip


def _many_sessions(commits: int, sessions: int) -> Iterator[bytes]:
    chance = random.Random(1)
    assets: dict[str, SessionAsset] = {}
    for number in range(commits):
        name = _name(number if number < sessions else chance.randrange(sessions))
        asset = assets.setdefault(name, SessionAsset.new(id=name, now=NOON))
        say(asset, f"commit {number}", turn=f"t{number}")
        yield _commit(number, name, dump_session(asset))


def _one_session(turns: int) -> Iterator[bytes]:
    asset = SessionAsset.new(id="long", now=NOON)
    for number in range(turns):
        say(asset, f"turn {number}\nthat says some words\n", turn=f"t{number}")
        yield _commit(number, "long", dump_session(asset))


def _small_commits(commits: int) -> Iterator[bytes]:
    yield from _one_session(1)
    for number in range(1, commits):
        yield b"commit refs/heads/main\ncommitter B <b@e> %d +0000\ndata 0\n\n" % (
            _START + number * _STEP
        )


def _git(folder: Path, *arguments: str) -> float:
    return timed(partial(run_git, folder, *arguments))


class _Table:
    """Figures by what was done and by whom."""

    def __init__(self, **parameters: str | int) -> None:
        self._parameters = parameters
        self._times: dict[tuple[str, str], list[float]] = {}

    def note(self, what: str, subject: str, took: float) -> None:
        self._times.setdefault((what, subject), []).append(took)

    def rows(self) -> list[Row]:
        return [
            Row(
                workload="history",
                parameters={"act": what, **self._parameters},
                subject=subject,
                median=median(times),
                n=len(times),
            )
            for (what, subject), times in self._times.items()
        ]


def _measure_history(folder: Path, rounds: int, *, packed: str) -> list[Row]:
    name = _name(5)
    table = _Table(repository=packed)
    for number in range(rounds):
        for limit, arguments in ((20, ["-20"]), (None, [])):
            (folder / _CACHE).unlink(missing_ok=True)
            what = "all rows, cold" if limit is None else f"first {limit} rows, cold"
            table.note(what, "git log", _git(folder, "log", *arguments, "--", path_of(name)))
            with BlockingSessionStore.open(folder) as store:
                table.note(what, OURS, timed(partial(store.history, name, limit=limit)))
                if limit is None:
                    _save_more(store, number)
                    again = timed(partial(store.history, name))
                    table.note("again after 10 commits", OURS, again)
        with BlockingSessionStore.open(folder) as store:
            table.note("again, store opened anew", OURS, timed(partial(store.history, name)))
    return table.rows()


def _save_more(store: BlockingSessionStore, number: int) -> None:
    for more in range(10):
        asset = SessionAsset.new(id=_name(6 + more), now=NOON)
        say(asset, f"round {number}", turn=f"more-{number}")
        store.save(asset)


def _measure_moments(folder: Path, commits: int, rounds: int) -> list[Row]:
    chance = random.Random(1)
    table = _Table(commits=commits)
    with BlockingSessionStore.open(folder) as store:
        for number in range(rounds + 1):
            moment = datetime.fromtimestamp(_START + chance.randrange(commits * _STEP), UTC)
            what = "load(at=time), " + ("warm" if number else "cold")
            table.note(what, OURS, timed(partial(store.load, "long", at=moment)))
            before = f"--before={moment.isoformat()}"
            listed = ("rev-list", "-1", "--first-parent", before, "main")
            table.note(what, "git rev-list", _git(folder, *listed))
    return table.rows()


def _measure_blame(folder: Path, turns: int, rounds: int) -> list[Row]:
    table = _Table(turns=turns)
    for _ in range(rounds):
        table.note("blame, cold", "git blame", _git(folder, "blame", "main", "--", path_of("long")))
        with BlockingSessionStore.open(folder) as store:
            blame: Callable[[], object] = partial(store.blame, "long")
            table.note("blame, cold", OURS, timed(blame))
            table.note("blame, warm", OURS, timed(blame))
    return table.rows()


def history(bench: Bench) -> list[Row]:
    """Measure the history of a session, moments, and blame; git's figures hold the start of its process."""
    quick = bench.options.quick
    commits, sessions, turns, line = (200, 50, 30, 500) if quick else (10_000, 1000, 1000, 100_000)
    rounds = 2 if quick else 5
    made = build(bench.scratch("many"), _many_sessions(commits, sessions))
    rows = _measure_history(made, rounds, packed=f"{commits} commits, as imported")
    run_git(made, "gc", "-q")
    rows += _measure_history(made, rounds, packed=f"{commits} commits, after git gc")
    straight = build(bench.scratch("line"), _small_commits(line))
    rows += _measure_moments(straight, line, rounds * 3)
    grown = build(bench.scratch("long"), _one_session(turns))
    return rows + _measure_blame(grown, turns, rounds)
