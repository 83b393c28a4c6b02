"""One run: its options, the repositories it measures on, and the subjects that take turns on copies of them."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitstore import dump_session
from tests.benchmarks import sessions
from tests.benchmarks.measure import Row, Samples, absent, interleave
from tests.benchmarks.peers import gitsheets
from tests.benchmarks.peers.ours import Gitstore
from tests.benchmarks.peers.subject import Edit
from tests.benchmarks.repositories import build, check, commit_stream, copy, settle
from tests.benchmarks.sessions import LARGE, MIDDLE, SMALL, THOUSAND, Size
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.benchmarks.measure import Act
    from tests.benchmarks.peers.subject import Layout, Peer, Subject

_LARGER = {MIDDLE: "middle", LARGE: "large", THOUSAND: "thousand"}
_LARGER_COUNT = 3
#: Seeds of edits. gitstore's texts are its own: it keeps what it encoded, and may not find a peer's.
OURS_FROM = 30_000_001
_THEIRS_FROM = 10_000_019


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for."""

    quick: bool = False
    full: bool = False
    #: Numbers of sessions to measure with; of each workload's own choice if empty.
    sessions: tuple[int, ...] = ()
    #: Where `npm install gitsheets` was run.
    node: Path | None = None
    #: Measured rounds of a cell, where the budget allows them.
    rounds: int = 40
    #: About how long one subject may take for one cell.
    budget_seconds: float = 5.0


@dataclass
class Bench:
    """The options, a folder to work in, and the repositories made so far.

    Nothing is deleted before the end: a disk that is busy forgetting files is slow to sync others.
    """

    folder: Path
    options: Options
    _bases: dict[tuple[Layout, int, bool, bool], Path] = field(default_factory=dict)
    _made: int = 0

    def counts(self, default: Iterable[int]) -> list[int]:
        """Return the numbers of sessions to measure with."""
        if self.options.sessions:
            return [*self.options.sessions]
        return [50] if self.options.quick else [*default]

    def count(self, default: int) -> int:
        """Return the number of sessions of a workload that measures with one: the largest asked for."""
        return max(self.counts([default]))

    def scratch(self, name: str) -> Path:
        """Return a path that nobody has used."""
        self._made += 1
        return self.folder / f"{self._made:03}-{name.replace(' ', '-').replace(',', '')}"

    def base(
        self, count: int, *, bare: bool, layout: Layout = "sharded", larger: bool = False
    ) -> Path:
        """Return a repository of so many small sessions: to copy, not to change.

        With `larger` it also holds a few of each larger size.
        """
        key = (layout, count, bare, larger)
        if key not in self._bases:
            stream = commit_stream(_files(layout, count, larger=larger))
            self._bases[key] = build(self.scratch("base"), stream, bare=bare)
        return self._bases[key]


def _files(layout: Layout, count: int, *, larger: bool) -> Iterator[tuple[str, bytes]]:
    sharded = (
        (name, sessions.path_of(name), data) for name, data in _contents(count, larger=larger)
    )
    if layout == "toml":
        yield from gitsheets.files(sharded)
    else:
        for name, path, data in sharded:
            yield (path if layout == "sharded" else f"{name}.yaml"), data


def _contents(count: int, *, larger: bool) -> Iterator[tuple[str, bytes]]:
    yield from sessions.small_files(count)
    for size, name in _LARGER.items() if larger else ():
        for number in range(_LARGER_COUNT):
            each = f"{name}-{number}"
            yield each, dump_session(sessions.session(each, size, seed=number))


class Edits:
    """One edit for each round: the same for every peer, and one of the same size for gitstore."""

    def __init__(self, size: Size, count: int) -> None:
        self._size = size
        self._count = count

    def __call__(self, number: int, *, ours: bool) -> Edit:
        """Return the edit of that round."""
        seed = OURS_FROM + number if ours else _THEIRS_FROM + number
        if self._size is SMALL:
            chosen = random.Random(number).randrange(self._count)
            return Edit(name=sessions.name_of(chosen), number=chosen, size=SMALL, seed=seed)
        chosen = number % _LARGER_COUNT
        name = f"{_LARGER[self._size]}-{chosen}"
        return Edit(name=name, number=chosen, size=self._size, seed=seed)


class Open:
    """A subject on its own copy of a repository; counts what it was told to do."""

    def __init__(self, bench: Bench, subject: Subject, count: int, *, larger: bool) -> None:
        self.subject = subject
        self.folder = bench.scratch(subject.name)
        if subject.bare is None:
            self.folder.mkdir()
        else:
            base = bench.base(count, bare=subject.bare, layout=subject.layout, larger=larger)
            copy(base, self.folder, settings=subject.settings)
        try:
            self.writer: Peer | Gitstore = subject.open(self.folder)
        except ImportError:
            shutil.rmtree(self.folder)
            raise
        self.acts = 0
        self.last: Edit | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it is gitstore."""
        return isinstance(self.writer, Gitstore)

    def save(self, edit: Edit) -> Act:
        """Prepare a save, and count it."""
        self.acts += 1
        self.last = edit
        if isinstance(self.writer, Gitstore):
            return self.writer.save(edit)
        return self.writer.write(edit.name, edit.path, edit.data)

    def delete(self, name: str, path: str) -> Act:
        """Prepare a deletion, and count it."""
        self.acts += 1
        return self.writer.delete(name, path)

    def finish(self) -> None:
        """Close; raise unless the work was done: one commit for each act, and the last one's bytes."""
        self.writer.close()
        if self.subject.bare is not None:
            name = self.subject.name
            check(self.folder, added=self.acts, before=1, subject=name)
            if self.last is not None and self.subject.layout == "sharded":
                stored = run_git(self.folder, "show", f"main:{self.last.path}")
                assert stored.encode() == self.last.data, f"{name} stored something else"


class Arena:
    """Subjects that are measured together. Those that cannot be opened become rows that say why."""

    def __init__(
        self, bench: Bench, subjects: Iterable[Subject], count: int, *, larger: bool = False
    ) -> None:
        self._bench = bench
        self.open: list[Open] = []
        self.absent: dict[str, str] = {}
        for subject in subjects:
            try:
                self.open.append(Open(bench, subject, count, larger=larger))
            except ImportError as error:
                self.absent[subject.name] = str(error)
        if not bench.options.quick:
            settle()

    def measure(
        self,
        workload: str,
        parameters: dict[str, str | int],
        prepare: Callable[[Open, int], Act],
    ) -> list[Row]:
        """Let all act in turns; return a row for each."""
        options = self._bench.options

        def of(each: Open) -> Callable[[int], Act]:
            return lambda number: prepare(each, number)

        measured = interleave(
            {each.subject.name: of(each) for each in self.open},
            rounds=options.rounds,
            budget_seconds=options.budget_seconds,
        )
        return self.rows(workload, parameters, measured)

    def rows(
        self, workload: str, parameters: dict[str, str | int], measured: dict[str, Samples]
    ) -> list[Row]:
        """Return a row for each subject, also for those that are absent."""
        there = [
            measured[each.subject.name].row(
                workload,
                parameters,
                each.subject.name,
                durability=each.subject.durability,
                notes=each.subject.notes,
            )
            for each in self.open
        ]
        return there + [
            absent(workload, parameters, name, reason) for name, reason in self.absent.items()
        ]

    def finish(self) -> None:
        """Close and check all."""
        for each in self.open:
            each.finish()
