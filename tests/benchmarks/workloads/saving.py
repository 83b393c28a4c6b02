"""One session is changed and stored, by each subject on its own copy of the same repository."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from gitstore import dump_session
from tests.benchmarks.bench import OURS_FROM, Arena, Edits, Open
from tests.benchmarks.measure import OURS, Row, Samples
from tests.benchmarks.peers import floor, gitcli, gitsheets, libgit2, libraries, ours, plain
from tests.benchmarks.sessions import (
    LARGE,
    MIDDLE,
    SMALL,
    THOUSAND,
    add_turn,
    name_of,
    path_of,
    session,
    text,
)
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.benchmarks.bench import Bench
    from tests.benchmarks.measure import Act
    from tests.benchmarks.peers.subject import Subject
    from tests.benchmarks.sessions import Size

#: Up to here every peer is measured; beyond it only those that keep up.
_ALL_PEERS_MAX = 10_000
_DEFAULT = (100, 1000, 10_000, 100_000)
#: The row that says how much of gitstore's append is not encoding.
GIT_PART = "gitstore: the git part"
PLACES = {True: "bare", False: "working tree"}


def _subjects(bench: Bench, *, bare: bool, many: bool) -> list[Subject]:
    """Return who takes part; `many`: in a repository of more sessions than slow ones can bear."""
    fast = [*ours.subjects(bare=bare), *libgit2.subjects(bare=bare), *plain.subjects()]
    if bare:
        slow = [*libraries.bare_subjects(), *gitsheets.subjects(bench.options.node)]
    else:
        fast += [ours.whole_index(), *gitcli.subjects()]
        slow = libraries.subjects()
    return fast if many and not bench.options.full else fast + slow


def _saving(size: Size, count: int) -> Callable[[Open, int], Act]:
    edits = Edits(size, count)

    def prepare(each: Open, number: int) -> Act:
        return each.save(edits(number, ours=each.is_ours))

    return prepare


def save(bench: Bench) -> list[Row]:
    """Save sessions of three sizes in repositories of several sizes, bare and with a working tree."""
    rows: list[Row] = []
    counts = bench.counts(_DEFAULT)
    typical = max((count for count in counts if count <= _ALL_PEERS_MAX), default=counts[0])
    for count in counts:
        sizes = [SMALL, MIDDLE, LARGE] if count == typical or bench.options.full else [SMALL]
        for bare, place in PLACES.items():
            subjects = _subjects(bench, bare=bare, many=count > _ALL_PEERS_MAX)
            subjects += floor.subjects(bare=bare, sessions=count)
            arena = Arena(bench, subjects, count, larger=len(sizes) > 1)
            for size in sizes:
                parameters: dict[str, str | int] = {
                    "sessions": count,
                    "place": place,
                    "size": size.name,
                }
                rows += arena.measure("save", parameters, _saving(size, count))
            arena.finish()
    return rows


class _Appending:
    """One more turn each round, in the same session for all."""

    def __init__(self) -> None:
        self._name = "thousand-0"
        self._grown = session(self._name, THOUSAND)
        self._git_part = Samples()

    def prepare(self, each: Open, number: int) -> Act:
        """Return what stores the session with one turn more; SQLite is given only the turn."""
        writer = each.writer
        if isinstance(writer, ours.Gitstore):
            each.acts += 1
            return writer.append(self._name, seed=OURS_FROM + number, lines=THOUSAND.lines)
        if isinstance(writer, plain.Sqlite):
            said = text(number, THOUSAND.lines)
            return partial(writer.add, self._name, json.dumps({"content": said}).encode())
        add_turn(self._grown, seed=number, lines=THOUSAND.lines)
        each.acts += 1
        return writer.write(self._name, path_of(self._name), dump_session(self._grown))

    def watch(self, each: Open) -> None:
        """Note what the store's writer takes: encoding and copying are the rest."""
        if each.subject.name == OURS and isinstance(each.writer, ours.Gitstore):
            each.writer.watch(self._git_part)

    def git_part(self, parameters: dict[str, str | int]) -> list[Row]:
        """Return what the writer of the durable gitstore took."""
        if not self._git_part.wall:
            return []
        return [
            self._git_part.row("append", parameters, GIT_PART, notes="writing, part of the whole")
        ]

    def check(self, each: Open) -> None:
        """Raise unless git has the bytes of the session as gitstore's caller holds it."""
        if isinstance(each.writer, ours.Gitstore):
            stored = run_git(each.folder, "show", f"main:{path_of(self._name)}").encode()
            assert stored == each.writer.held(self._name), "the session was not stored"


def append(bench: Bench) -> list[Row]:
    """Append one turn to a session of 1,000 turns that is at hand, and store it."""
    rows: list[Row] = []
    count = bench.count(100)
    for bare, place in PLACES.items():
        subjects = [
            *ours.subjects(bare=bare),
            *libgit2.subjects(bare=bare),
            *plain.subjects(),
            *([] if bare else gitcli.subjects()),
        ]
        arena = Arena(bench, subjects, count, larger=True)
        appending = _Appending()
        parameters: dict[str, str | int] = {"place": place, "size": THOUSAND.name}
        for each in arena.open:
            appending.watch(each)
        rows += arena.measure("append", parameters, appending.prepare)
        rows += appending.git_part(parameters)
        for each in arena.open:
            appending.check(each)
        arena.finish()
    return rows


def delete(bench: Bench) -> list[Row]:
    """Delete small sessions, another one each round."""
    rows: list[Row] = []
    for count in bench.counts([10_000]):
        for bare, place in PLACES.items():
            subjects = [
                subject
                for subject in _subjects(bench, bare=bare, many=True)
                if subject.deletes and not (bench.options.quick and subject.bare is None)
            ]
            arena = Arena(bench, subjects, count)
            parameters: dict[str, str | int] = {"sessions": count, "place": place}

            def prepare(each: Open, number: int) -> Act:
                name = name_of(number + 2)
                return each.delete(name, path_of(name))

            rows += arena.measure("delete", parameters, prepare)
            arena.finish()
    return rows
