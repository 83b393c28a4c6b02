"""Measure what history costs, beside git: ``python -m tests.benchmarks.audit [--quick]``.

Prints figures and asserts nothing: they depend on the machine. Ours and git's take turns, so that
whatever else the machine does slows both; git's include the start of its process, ours do not, and
a store is opened anew for each that is called cold.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from gitstore import BlockingSessionStore, SessionAsset, dump_session
from gitstore.engine.audit import history
from gitstore.engine.blame import blame
from gitstore.engine.historycache import FILE
from gitstore.engine.moments import resolve
from gitstore.session.ids import parse_session_id, path_of
from gitstore.testing.promises import NOON, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_START = 1_700_000_000
_STEP = 10


def _name(number: int) -> str:
    return f"session-{number:05}"


def _commit(number: int, name: str, data: bytes) -> bytes:
    """Return a commit of one session, for git fast-import."""
    said = b"Update session\n\nSession-Id: %s\nOperation: update\n" % name.encode()
    return b"commit refs/heads/main\ncommitter B <b@e> %d +0000\ndata %d\n%sM 100644 inline %s\ndata %d\n%s\n" % (
        _START + number * _STEP, len(said), said,
        path_of(parse_session_id(name)).encode(), len(data), data,
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


def _build(folder: Path, stream: Iterator[bytes]) -> Path:
    subprocess.run(["git", "init", "-q", "-b", "main", "--bare", str(folder)], check=True)
    command = ["git", "-C", str(folder), "fast-import", "--quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for part in stream:
            process.stdin.write(part)
        process.stdin.close()
        assert process.wait() == 0
    (folder / "gitstore").mkdir()
    return folder


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def _git(folder: Path, *arguments: str) -> float:
    command = ["git", "-C", str(folder), *arguments]
    return _timed(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True))


def _row(what: str, ours: list[float], git: list[float] | None, target: str) -> None:
    cells = f"{median(ours):10.1f} ms"
    if git is None:
        cells += f"{'':>13}{'':>8}"
    else:
        cells += f"{median(git):10.1f} ms{median(ours) / median(git):8.2f}"
    print(f"{what:46}{cells}  {target}")


def _measure_history(folder: Path, rounds: int, *, packed: str) -> None:
    name = parse_session_id(_name(5))
    path = path_of(name)
    times: dict[str, list[float]] = {}

    def note(what: str, taken: float) -> None:
        times.setdefault(what, []).append(taken)

    for number in range(rounds):
        for limit, arguments in ((20, ["-20"]), (None, [])):
            (folder / "gitstore" / FILE).unlink(missing_ok=True)
            note(f"git {limit}", _git(folder, "log", *arguments, "--", path))
            with BlockingSessionStore.open(folder) as store:
                repository = store._repository
                note(f"ours {limit}", _timed(lambda: history(repository, name, limit=limit)))  # noqa: B023 -- called at once
                if limit is None:
                    for more in range(10):
                        asset = SessionAsset.new(id=_name(6 + more), now=NOON)
                        say(asset, f"round {number}", turn=f"more-{number}")
                        store.save(asset)
                    note("again", _timed(lambda: history(repository, name)))  # noqa: B023 -- called at once
        with BlockingSessionStore.open(folder) as store:
            repository = store._repository
            note("anew", _timed(lambda: history(repository, name)))  # noqa: B023 -- called at once
    _row(f"history, first 20 rows, cold ({packed})", times["ours 20"], times["git 20"], "< 1.5")
    _row(f"history, all rows, cold ({packed})", times["ours None"], times["git None"], "<= 3")
    _row("  again after 10 commits", times["again"], None, "< 20 ms")
    _row("  again after 10 commits, store opened anew", times["anew"], None, "< 20 ms")


def _measure_moments(folder: Path, commits: int, rounds: int) -> None:
    chance = random.Random(1)
    with BlockingSessionStore.open(folder) as store:
        moments = [
            datetime.fromtimestamp(_START + chance.randrange(commits * _STEP), UTC)
            for _ in range(rounds + 1)
        ]
        cold = _timed(lambda: store.load("long", at=moments[0]))
        ours, git = [], []
        for moment in moments[1:]:
            ours.append(_timed(lambda: store.load("long", at=moment)))  # noqa: B023 -- called at once
            before = f"--before={moment.isoformat()}"
            git.append(_git(folder, "rev-list", "-1", "--first-parent", before, "main"))
        assert resolve(store._repository, moments[0]) is not None
    _row(f"load(at=time), {commits:,} commits, cold", [cold], None, "")
    _row("  warm", ours, git, "< 10 ms")


def _measure_blame(folder: Path, turns: int, rounds: int) -> None:
    name = parse_session_id("long")
    cold, warm, git = [], [], []
    for _ in range(rounds):
        git.append(_git(folder, "blame", "main", "--", path_of(name)))
        with BlockingSessionStore.open(folder) as store:
            repository = store._repository
            cold.append(_timed(lambda: blame(repository, name)))  # noqa: B023 -- called at once
            warm.append(_timed(lambda: blame(repository, name)))  # noqa: B023 -- called at once
    _row(f"blame, {turns:,} turns and revisions, cold", cold, git, "< 2,000 ms")
    _row("  warm", warm, None, "< 50 ms")


def main() -> None:
    """Read the arguments, build, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.audit", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works")
    options = parser.parse_args()
    commits, sessions, turns, line = (
        (1000, 100, 100, 2000) if options.quick else (10_000, 1000, 1000, 100_000)
    )
    rounds = 3 if options.quick else 7
    with tempfile.TemporaryDirectory(prefix="gitstore-bench-") as name:
        folder = Path(name)
        print(f"{'':46}{'ours':>13}{'git':>13}{'ratio':>8}  target")
        made = _build(folder / "many", _many_sessions(commits, sessions))
        _measure_history(made, rounds, packed="as imported")
        subprocess.run(["git", "-C", str(made), "gc", "-q"], check=True)
        _measure_history(made, rounds, packed="after git gc")
        _measure_moments(_build(folder / "line", _small_commits(line)), line, rounds * 3)
        _measure_blame(_build(folder / "long", _one_session(turns)), turns, max(rounds // 2, 1))


if __name__ == "__main__":
    main()
