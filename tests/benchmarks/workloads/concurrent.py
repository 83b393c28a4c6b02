"""Sixty-four saves at once, each of another session and each its own commit: what one of them costs."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from gitstore import GitSessionStore, dump_session
from tests.benchmarks.bench import OURS_FROM, Arena, Open
from tests.benchmarks.measure import OURS, interleave
from tests.benchmarks.peers import floor, gitcli, libgit2, ours, plain
from tests.benchmarks.peers.subject import Edit
from tests.benchmarks.sessions import SMALL, change, name_of, session

if TYPE_CHECKING:
    from gitstore import SessionAsset
    from tests.benchmarks.bench import Bench
    from tests.benchmarks.measure import Act, Row
    from tests.benchmarks.peers.subject import Subject

_SAVES = 64
_SAVES_QUICK = 8
LONE = "gitstore, one after another"
TASKS = "gitstore, asyncio tasks"
_DEFAULT = 10_000


class _Way(Protocol):
    """How one subject does a round of 64."""

    def prepare(self, number: int) -> Act: ...

    def finish(self) -> None: ...


class _Locked:
    """A peer that has one writer at a time: 64 threads behind one lock, as the Agents SDK does it."""

    def __init__(self, opened: Open, saves: int, pool: ThreadPoolExecutor) -> None:
        self._open = opened
        self._saves = saves
        self._pool = pool
        self._lock = threading.Lock()

    def prepare(self, number: int) -> Act:
        edits = [_edit(number, each, ours=False) for each in range(self._saves)]
        acts = [self._open.save(edit) for edit in edits]
        return lambda: [*self._pool.map(self._do, acts)]

    def _do(self, act: Act) -> None:
        with self._lock:
            act()

    def finish(self) -> None:
        self._open.finish()


class _Threads:
    """gitstore: 64 threads, or one after another."""

    def __init__(self, opened: Open, saves: int, pool: ThreadPoolExecutor | None) -> None:
        self._open = opened
        self._saves = saves
        self._pool = pool

    def prepare(self, number: int) -> Act:
        acts = [self._open.save(_edit(number, each, ours=True)) for each in range(self._saves)]
        if self._pool is None:
            return lambda: [act() for act in acts]
        pool = self._pool
        return lambda: [*pool.map(lambda act: act(), acts)]

    def finish(self) -> None:
        self._open.finish()


class _Tasks:
    """gitstore's async face: 64 tasks of one loop."""

    def __init__(self, opened: Open, saves: int) -> None:
        self._open = opened
        self._saves = saves
        self._runner = asyncio.Runner()
        assert isinstance(opened.writer, ours.Gitstore)
        self._store = GitSessionStore(opened.writer.store)

    def prepare(self, number: int) -> Act:
        assets = []
        for each in range(self._saves):
            edit = _edit(number, each, ours=True)
            asset = self._runner.run(self._store.load(edit.name))
            change(asset, seed=edit.seed, size=SMALL)
            assets.append(asset)
        self._open.acts += self._saves
        return lambda: self._runner.run(self._all(assets))

    async def _all(self, assets: list[SessionAsset]) -> None:
        async with asyncio.TaskGroup() as group:
            for asset in assets:
                group.create_task(self._store.save(asset))

    def finish(self) -> None:
        self._runner.close()
        self._open.finish()


class _Floor:
    """What the bytes of a round cost that no thought goes into."""

    def __init__(self, opened: Open, saves: int) -> None:
        assert isinstance(opened.writer, floor.Calls)
        self._calls = opened.writer
        self._saves = saves

    def prepare(self, number: int) -> Act:
        edits = [_edit(number, each, ours=True) for each in range(self._saves)]
        return self._calls.group(
            [dump_session(session(edit.name, SMALL, seed=edit.seed)) for edit in edits]
        )

    def finish(self) -> None:
        """Nothing is open."""


def _edit(number: int, each: int, *, ours: bool) -> Edit:
    seed = (number + 3) * _SAVES + each + (OURS_FROM if ours else 0)
    return Edit(name=name_of(each), number=each, size=SMALL, seed=seed)


def _subjects() -> list[Subject]:
    durable = ours.subjects(bare=True)[0]
    return [
        durable,
        replace(durable, name=LONE),
        replace(durable, name=TASKS),
        *libgit2.subjects(bare=True),
        *plain.subjects(),
        floor.group(),
        replace(gitcli.subjects()[0], notes="in a working tree: it needs one"),
    ]


def _way(opened: Open, saves: int, pool: ThreadPoolExecutor) -> _Way:
    if opened.subject.name == TASKS:
        return _Tasks(opened, saves)
    if opened.subject.name == floor.GROUP:
        return _Floor(opened, saves)
    if opened.is_ours:
        return _Threads(opened, saves, pool if opened.subject.name == OURS else None)
    return _Locked(opened, saves, pool)


def concurrent(bench: Bench) -> list[Row]:
    """Measure rounds of 64 saves; the figures are of one save, a 64th of its round."""
    saves = _SAVES_QUICK if bench.options.quick else _SAVES
    count = max(bench.count(_DEFAULT), saves)
    arena = Arena(bench, _subjects(), count)
    parameters: dict[str, str | int] = {"sessions": count, "place": "bare", "at once": saves}
    with ThreadPoolExecutor(saves) as pool:
        ways = {opened.subject.name: _way(opened, saves, pool) for opened in arena.open}
        measured = interleave(
            {name: way.prepare for name, way in ways.items()},
            rounds=max(bench.options.rounds // 2, 3),
            budget_seconds=bench.options.budget_seconds * 2,
        )
        for way in ways.values():
            way.finish()
    for samples in measured.values():
        samples.wall = [each / saves for each in samples.wall]
        samples.cpu = [each / saves for each in samples.cpu]
    rows = arena.rows("concurrent", parameters, measured)
    return [
        row
        if row.subject.startswith(OURS)  # the floor, too
        else replace(row, notes="; ".join(filter(None, [row.notes, "threads behind one lock"])))
        for row in rows
    ]
