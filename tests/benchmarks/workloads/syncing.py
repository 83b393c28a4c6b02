"""What meeting a remote costs, beside git: how far apart, out, in, both sides merged, and nothing to do.

The remote is a repository on the same disk, which gitstore and git reach through the same programs.
gitstore is measured in fresh processes, from the call to its return: a process that runs for long
has loaded Python once. What the command takes with that is a row of its own.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitstore import dump_session
from tests.benchmarks import child
from tests.benchmarks.measure import OURS, Row, Samples, timed
from tests.benchmarks.repositories import build, commit_stream, copy, settle
from tests.benchmarks.sessions import (
    SMALL,
    add_turn,
    name_of,
    path_of,
    session,
    small_files,
    text,
)
from tests.gitcommand import environment, run_git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.benchmarks.bench import Bench
    from tests.benchmarks.measure import Act

COUNT = "git rev-list --count"
GIT_PUSH = "git push"
GIT_FETCH = "git fetch"
GIT_PULL = "git pull"
GIT_IDLE = "git fetch, git push"
COMMAND = "gitstore push, the command"
FIRST, WARM, SAVED = "first", "again", "after a save"
#: Histories that one commit is pushed from.
_PUSHED = (20_000, 100_000)
#: Commits that both sides have, and that each of the two has alone.
_APART = ((100_000, 10), (2000, 1000))
_SESSIONS = 1000
_MERGED = 150
_THEIRS = b"refs/remotes/origin/main"
_TIMES = 10


def divergence(bench: Bench) -> list[Row]:
    """Ask how far two sides are apart, that share a long history."""
    rows: list[Row] = []
    for shared, each in ((1000, 10),) if bench.options.quick else _APART:
        folder = build(bench.scratch("apart"), _apart(shared, each))
        run_git(folder, "remote", "add", "origin", str(bench.folder / "nowhere"))
        run_git(folder, "config", "branch.main.remote", "origin")
        run_git(folder, "config", "branch.main.merge", "refs/heads/main")
        found = {FIRST: Samples(), WARM: Samples(), SAVED: Samples(), COUNT: Samples()}
        for number in range(_rounds(bench)):
            counted = ("rev-list", "--left-right", "--count", "main...origin/main")
            timed(partial(run_git, folder, *counted), found[COUNT])
            ahead, behind = map(int, run_git(folder, *counted).split())
            said = child.call("stand", folder=str(folder), times=_TIMES, seed=number * _TIMES + 5)
            assert (said["ahead"], said["behind"]) == (ahead, behind), "git counts otherwise"
            found[FIRST].wall.append(said["first"])
            found[WARM].wall += said["warm"]
            found[SAVED].wall += said["saved"]
        for state in (FIRST, WARM, SAVED):
            parameters: dict[str, str | int] = {"shared": shared, "each": each, "state": state}
            rows.append(found[state].row("divergence", parameters, OURS))
            rows.append(found[COUNT].row("divergence", parameters, COUNT))
    return rows


def _apart(shared: int, each: int) -> Iterator[bytes]:
    """Give a history that parts: on both sides, every commit has a new session."""
    yield from _long_history(shared)
    yield b"reset %s\nfrom refs/heads/main\n\n" % _THEIRS
    files = [(path_of(name), data) for name, data in small_files(1 + 2 * each)][1:]
    for number, (ours, theirs) in enumerate(zip(files[:each], files[each:], strict=True), shared):
        yield from commit_stream([ours], number=number)
        yield from commit_stream([theirs], number=number, ref=_THEIRS)


def push(bench: Bench) -> list[Row]:
    """Push one commit on top of a long history."""
    rows: list[Row] = []
    for commits in (1000,) if bench.options.quick else (1000, *_PUSHED):
        remote = build(bench.scratch("remote"), _long_history(commits))
        folder = _clone(remote, bench.scratch("push"))
        ours, theirs, command, peaks = Samples(), Samples(), Samples(), Samples()
        for number in range(_rounds(bench)):
            _take(ours, said := _exchange(folder, "push", seed=number + 7))
            peaks.wall.append(said["peak"])
            for samples, act in (
                (theirs, partial(run_git, folder, "push", "-q", "origin", "main")),
                (command, partial(_command, folder, "push")),
            ):
                _commit(folder, f"commit {number}")
                timed(act, samples)
                _assert_same(remote, folder)
        parameters: dict[str, str | int] = {"commits": commits}
        rows += [
            ours.row("push", parameters, OURS, notes="CPU: its own, without the remote's"),
            theirs.row("push", parameters, GIT_PUSH),
            command.row("push", parameters, COMMAND, notes="mostly the start of Python"),
            peaks.row("push: peak memory", parameters, OURS, unit="MB"),
        ]
    return rows


def exchange(bench: Bench) -> list[Row]:
    """Fetch and push many sessions, each a commit; merge what both sides changed; sync with nothing to do."""
    return [*_transfers(bench), *_merges(bench), *_idle(bench)]


def _transfers(bench: Bench) -> list[Row]:
    count = bench.count(_SESSIONS)
    less = build(bench.scratch("less"), _saved(0))
    more = build(bench.scratch("more"), _saved(count))
    fetched = _Pair(bench, GIT_FETCH)
    pushed = _Pair(bench, GIT_PUSH)
    for _ in range(_rounds(bench)):
        for folder, act in fetched.turn("fetch", "fetch", "-q", "origin"):
            _clone(more, folder, content=less)
            act()
            _assert_same(more, folder, ref="origin/main")
        for folder, act in pushed.turn("push", "push", "-q", "origin", "main"):
            remote = copy(less, bench.scratch("receiving"))
            _clone(remote, folder, content=more, known=f"main~{count}")
            act()
            _assert_same(remote, folder)
    parameters: dict[str, str | int] = {"sessions": count, "commits": count, "size": SMALL.name}
    return [*fetched.rows("fetch", parameters), *pushed.rows("push of sessions", parameters)]


def _merges(bench: Bench) -> list[Row]:
    """Pull sessions that both sides changed, in different turns: git can merge them as text, too."""
    count = 10 if bench.options.quick else _MERGED
    base = [(name_of(number), session(name_of(number), SMALL)) for number in range(count)]
    before = [(path_of(name), dump_session(asset)) for name, asset in base]
    for number, (_, asset) in enumerate(base):
        asset.history.turns[0].content = text(number + 11, SMALL.lines)
    ours = [(path_of(name), dump_session(asset)) for name, asset in base]
    base = [(name_of(number), session(name_of(number), SMALL)) for number in range(count)]
    for number, (_, asset) in enumerate(base):
        add_turn(asset, seed=number + 13, lines=SMALL.lines)
    theirs = [(path_of(name), dump_session(asset)) for name, asset in base]
    local = build(bench.scratch("ours"), _versions(before, ours), bare=False)
    remote = build(bench.scratch("theirs"), _versions(before, theirs))
    pair = _Pair(bench, GIT_PULL)
    for _ in range(_rounds(bench)):
        for folder, act in pair.turn(
            "pull", "pull", "-q", "--no-rebase", "--no-edit", "origin", "main"
        ):
            _clone(remote, folder, content=local, known="main~1")
            act()
            parents = run_git(folder, "rev-parse", "main^2").split()
            assert parents == run_git(remote, "rev-parse", "main").split(), "it was not merged"
    notes = "checks what came in, and merges by meaning; git merges lines"
    return pair.rows("merge", {"sessions": count, "size": SMALL.name}, notes=notes)


def _idle(bench: Bench) -> list[Row]:
    remote = build(bench.scratch("idle"), _saved(bench.count(_SESSIONS)))
    folder = _clone(remote, bench.scratch("clone"))
    ours, theirs = Samples(), Samples()

    def both() -> None:
        run_git(folder, "fetch", "-q", "origin")
        run_git(folder, "push", "-q", "origin", "main")

    for _ in range(_rounds(bench)):
        _take(ours, _exchange(folder, "sync", times=3))
        timed(both, theirs)
    _assert_same(remote, folder)
    return [ours.row("idle sync", {}, OURS), theirs.row("idle sync", {}, GIT_IDLE)]


# --- subjects ------------------------------------------------------------------------


@dataclass
class _Pair:
    """gitstore and git, each on a repository of its own in every round, another one first each time."""

    bench: Bench
    git: str
    ours: Samples = field(default_factory=Samples)
    theirs: Samples = field(default_factory=Samples)
    _turns: int = 0

    def turn(self, verb: str, *arguments: str) -> Iterator[tuple[Path, Act]]:
        """Give the folder that each is to have, and what it does there."""

        def act(folder: Path) -> None:
            _take(self.ours, _exchange(folder, verb))

        def git(folder: Path) -> None:
            timed(partial(run_git, folder, *arguments), self.theirs)

        acts: list[Callable[[Path], None]] = [act, git] if self._turns % 2 else [git, act]
        self._turns += 1
        for each in acts:
            folder = self.bench.scratch(verb)
            yield folder, partial(each, folder)

    def rows(
        self, workload: str, parameters: dict[str, str | int], *, notes: str = ""
    ) -> list[Row]:
        return [
            self.ours.row(workload, parameters, OURS, notes=notes),
            self.theirs.row(workload, parameters, self.git),
        ]


def _exchange(
    folder: Path, verb: str, *, times: int = 1, seed: int | None = None
) -> dict[str, Any]:
    return child.call("exchange", folder=str(folder), verb=verb, times=times, seed=seed)


def _take(samples: Samples, said: dict[str, Any]) -> None:
    samples.wall += said["ms"]
    samples.cpu += said["cpu"]


def _command(folder: Path, verb: str) -> None:
    command = [sys.executable, "-m", "gitstore", verb]
    root = Path(__file__).parents[3]
    given = environment(GITSTORE_DIR=str(folder))
    subprocess.run(command, cwd=root, env=given, check=True, capture_output=True)


def _rounds(bench: Bench) -> int:
    return 2 if bench.options.quick else min(bench.options.rounds, 7)


# --- repositories --------------------------------------------------------------------


def _long_history(commits: int) -> Iterator[bytes]:
    """Give one session, and commits that change nothing: what is shared is long, and small."""
    name, data = next(small_files(1))
    assert name == name_of(0)
    yield from commit_stream([(path_of(name), data)])
    for number in range(1, commits):
        yield from commit_stream([], number=number)


def _saved(count: int) -> Iterator[bytes]:
    """Give 50 sessions in one commit, and then so many more, each in a commit of its own."""
    files = [(path_of(name), data) for name, data in small_files(50 + count)]
    yield from commit_stream(files[:50])
    for number, file in enumerate(files[50:], 1):
        yield from commit_stream([file], number=number)


def _versions(*contents: list[tuple[str, bytes]]) -> Iterator[bytes]:
    for number, files in enumerate(contents):
        yield from commit_stream(files, number=number)


def _clone(remote: Path, folder: Path, *, content: Path | None = None, known: str = "main") -> Path:
    """Copy a repository, the remote itself if not said, and make it track the remote's branch.

    `known` is the commit that the remote is known to have.
    """
    copy(content or remote, folder)
    run_git(folder, "remote", "add", "origin", str(remote))
    run_git(folder, "config", "branch.main.remote", "origin")
    run_git(folder, "config", "branch.main.merge", "refs/heads/main")
    run_git(folder, "update-ref", _THEIRS.decode(), known)
    settle()
    return folder


def _commit(folder: Path, message: str) -> None:
    """Commit the same files again."""
    tree = run_git(folder, "rev-parse", "main^{tree}").strip()
    made = run_git(folder, "commit-tree", tree, "-p", "main", "-m", message).strip()
    run_git(folder, "update-ref", "refs/heads/main", made)


def _assert_same(remote: Path, folder: Path, *, ref: str = "main") -> None:
    """Raise unless the remote's branch is a ref here, and git finds both sides whole."""
    assert run_git(remote, "rev-parse", "main") == run_git(folder, "rev-parse", ref), "not the same"
    for each in (remote, folder):
        run_git(each, "fsck", "--connectivity-only", "--no-dangling")
