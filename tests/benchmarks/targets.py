"""What gitstore set out to reach, and what a run found: told, never asserted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from tests.benchmarks.measure import OURS, Row
from tests.benchmarks.peers.plain import LIMIT
from tests.benchmarks.report import number
from tests.benchmarks.workloads.concurrent import LONE, TASKS
from tests.benchmarks.workloads.encoding import PYYAML_C, RUAMEL_C
from tests.benchmarks.workloads.growing import GC
from tests.benchmarks.workloads.reading import CHANGED, COLD, EMPTY_HOP, HOP, PARSED, WARM, YAML_C
from tests.benchmarks.workloads.saving import GIT_PART
from tests.benchmarks.workloads.syncing import COUNT, FIRST, GIT_FETCH, GIT_PUSH, SAVED
from tests.benchmarks.workloads.syncing import WARM as WARM_STATUS

if TYPE_CHECKING:
    from collections.abc import Iterable

GIT: Final = "git add + commit"
_NOT_MEASURED: Final = "not measured"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target and what became of it."""

    target: str
    measured: str
    #: "met", "missed" or "not measured".
    state: str


@dataclass(frozen=True, slots=True)
class Figure:
    """Names one figure of a run."""

    workload: str
    subject: str
    parameters: dict[str, str | int]
    #: Take the processor time.
    cpu: bool = False

    def find(self, rows: Iterable[Row]) -> float | None:
        """Return the figure; None if the run does not have it."""
        wanted = self.parameters.items()
        for row in rows:
            if (row.workload, row.subject) == (self.workload, self.subject) and (
                wanted <= row.parameters.items()
            ):
                return row.cpu if self.cpu else row.median
        return None


#: Makes one figure of two.
Meet: TypeAlias = Callable[[float, float], float]


def _quotient(one: float, two: float) -> float:
    return one / two if two else float("inf")


def _difference(one: float, two: float) -> float:
    return one - two


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on one figure, or on what is made of two."""

    text: str
    one: Figure
    two: Figure | None = None
    meet: Meet = _quotient
    at_most: float | None = None
    at_least: float | None = None
    unit: str = "x"

    def judge(self, rows: list[Row]) -> Verdict:
        """Compare the target with a run."""
        one = self.one.find(rows)
        two = None if self.two is None else self.two.find(rows)
        if one is None or (self.two is not None and two is None):
            return Verdict(self.text, "", _NOT_MEASURED)
        value = one if two is None else self.meet(one, two)
        met = (self.at_most is None or value <= self.at_most) and (
            self.at_least is None or value >= self.at_least
        )
        return Verdict(self.text, number(value, self.unit), "met" if met else "missed")


def judge(rows: list[Row]) -> list[Verdict]:
    """Compare all targets with a run."""
    return [target.judge(rows) for target in TARGETS]


def _save(subject: str, place: str, sessions: int) -> Figure:
    return Figure("save", subject, {"place": place, "sessions": sessions, "size": "2 KB"})


def _faster(text: str, peer: str, times: float, *, place: str, sessions: int = 10_000) -> Target:
    ours, theirs = _save(OURS, place, sessions), _save(peer, place, sessions)
    return Target(text, theirs, ours, at_least=times)


def _concurrent(ways: str, subject: str) -> list[Target]:
    parameters: dict[str, str | int] = {"sessions": 10_000, "at once": 64}
    ours = Figure("concurrent", subject, parameters)
    return [
        Target(text, Figure("concurrent", peer, parameters), ours, at_least=times)
        for text, peer, times in (
            (f"64 saves at once, {ways}: at most 1.0 times the limit a save", LIMIT, 1),
            ("... 6 times the throughput of lone saves", LONE, 6),
            ("... 8 times pygit2 with fsync", "pygit2 tree builder, fsync", 8),
            ("... 30 times git", GIT, 30),
            ("... ahead of SQLite, WAL, FULL", "SQLite WAL, FULL", 1),
        )
    ]


def _codec(text: str, act: str, peer: str, times: float) -> Target:
    parameters: dict[str, str | int] = {"act": act, "size": "1,000 turns"}
    ours, theirs = Figure("codec", OURS, parameters), Figure("codec", peer, parameters)
    return Target(text, theirs, ours, at_least=times)


def _milliseconds(text: str, workload: str, most: float, **parameters: str | int) -> Target:
    return Target(text, Figure(workload, OURS, {**parameters}), at_most=most, unit="ms")


def _append(place: str) -> Target:
    return Target(
        f"append a turn to 1,000 and save, {place}: at most 8 ms over the git part",
        Figure("append", OURS, {"place": place}),
        Figure("append", GIT_PART, {"place": place}),
        meet=_difference,
        at_most=8,
        unit="ms",
    )


def _growth(text: str, workload: str, times: float) -> Target:
    parameters: dict[str, str | int] = {"saves": 1000}
    ours, theirs = Figure(workload, OURS, parameters), Figure(workload, GC, parameters)
    return Target(text, ours, theirs, at_most=times)


def _over_git(text: str, workload: str, peer: str, times: float, **parameters: str | int) -> Target:
    ours, theirs = (Figure(workload, subject, {**parameters}) for subject in (OURS, peer))
    return Target(text, ours, theirs, at_most=times)


_SYNCING: Final = [
    _over_git("ahead/behind, 1,000 each: at most 6 times git rev-list with its start, first thing",
              "divergence", COUNT, 6, each=1000, state=FIRST),
    *(
        Target(f"... 10 each on 100,000, {state}: under 5 ms",
               Figure("divergence", OURS, {"shared": 100_000, "each": 10, "state": state}),
               at_most=5, unit="ms")
        for state in (WARM_STATUS, SAVED)
    ),
    *(
        _over_git(f"push of one commit on {commits:,}: at most 3 times git push", "push", GIT_PUSH, 3,
                  commits=commits)
        for commits in (20_000, 100_000)
    ),
    Target("... on 100,000: at most 50 ms of its own processor time",
           Figure("push", OURS, {"commits": 100_000}, cpu=True), at_most=50, unit="ms"),
    Target("... peak memory at most 8 MB over that on 1,000",
           Figure("push: peak memory", OURS, {"commits": 100_000}),
           Figure("push: peak memory", OURS, {"commits": 1000}),
           meet=_difference, at_most=8, unit="MB"),
    _over_git("fetch of 1,000 commits: at most 5 times git fetch", "fetch", GIT_FETCH, 5, commits=1000),
]  # fmt: skip

_TREE, _BARE = "working tree", "bare"
_COLD: Final[dict[str, str | int]] = {"state": COLD, "sessions": 10_000, "place": _TREE}
_SAVED: Final[dict[str, str | int]] = {"act": "save 1 MB"}

TARGETS: Final = [
    _faster("save, 10,000, working tree: 8 times faster than git as it comes", GIT, 8, place=_TREE),
    _faster("... 40 times faster than dulwich porcelain", "dulwich porcelain", 40, place=_TREE),
    _faster("... 40 times faster than GitPython", "GitPython", 40, place=_TREE),
    Target("... at most 8 times the limit", _save(OURS, _TREE, 10_000),
           _save(LIMIT, _TREE, 10_000), at_most=8),
    Target("... at most 8 fsyncs", Figure("fsyncs", OURS, {"place": _TREE}), at_most=8, unit="calls"),
    Target("save, 10,000, bare: at most 5 times the limit", _save(OURS, _BARE, 10_000),
           _save(LIMIT, _BARE, 10_000), at_most=5),
    _faster("... ahead of pygit2 with fsync", "pygit2 tree builder, fsync", 1, place=_BARE),
    _faster("save, 100,000, working tree: 12 times faster than git", GIT, 12, place=_TREE,
            sessions=100_000),
    Target("... at most 2 times the cost at 1,000, bare", _save(OURS, _BARE, 100_000),
           _save(OURS, _BARE, 1000), at_most=2),
    Target("... at most 5 times the cost at 1,000, working tree", _save(OURS, _TREE, 100_000),
           _save(OURS, _TREE, 1000), at_most=5),
    *_concurrent("tasks of one loop", TASKS),
    *_concurrent("threads", OURS),
    _codec("1,000 turns: dump 3.5 times faster than PyYAML C", "dump", PYYAML_C, 3.5),
    _codec("... dump 10 times faster than ruamel safe with C", "dump", RUAMEL_C, 10),
    _codec("... load 2 times faster than PyYAML C, cold", "load", PYYAML_C, 2),
    Target("... load from a store 2 times faster than file and PyYAML C, fresh process",
           Figure("load", YAML_C, {"size": "1,000 turns", "state": "cold"}),
           Figure("load", OURS, {"size": "1,000 turns", "state": "cold"}), at_least=2),
    _append(_BARE),
    _append(_TREE),
    _milliseconds("... load again, unchanged: at most 5 ms", "load", 5, state="again, unchanged"),
    *(
        _milliseconds(f"... worst lag of the loop, {act}: under 20 ms", "lag", 20, lag="worst", act=act)
        for act in ("append and save", "load", "load, cold")
    ),
    *(
        target
        for place in (_BARE, _TREE)
        for target in (
            _milliseconds(f"list, 10,000, warm, {place}: under 10 ms", "list", 10,
                          sessions=10_000, place=place, state=WARM),
            _milliseconds(f"... after one change, {place}: under 15 ms", "list", 15,
                          sessions=10_000, place=place, state=CHANGED),
            _milliseconds(f"list, 100,000, warm, {place}: under 150 ms", "list", 150,
                          sessions=100_000, place=place, state=WARM),
        )
    ),
    Target("list, 10,000, cold, fresh clone: 10 times faster than parsing every file",
           Figure("list", PARSED, {**_COLD}), Figure("list", OURS, {**_COLD}), at_least=10),
    Target("load, 2 KB, warm: under 0.5 ms over the thread hop", Figure("load", HOP, {"state": "warm"}),
           Figure("load", EMPTY_HOP, {"state": "warm"}), meet=_difference, at_most=0.5, unit="ms"),
    _milliseconds("exists: under 0.3 ms", "exists", 0.3),
    _milliseconds("sync_status, warm: under 1 ms", "sync_status", 1),
    _growth("1,000 saves of one session: no larger than git gc makes it", "growth: pack", 1),
    _growth("... in at most 1.5 times its time", "growth: maintenance", 1.5),
    Target("... peak memory under 200 MB", Figure("growth: peak memory", OURS, {"saves": 1000}),
           at_most=200, unit="MB"),
    _milliseconds("... every old version in under 10 ms", "growth: read an old version", 10,
                  saves=1000),
    _milliseconds("... maintained again 10 saves later: under 0.5 s", "growth: maintenance", 500,
                  saves="10 more after 1000"),
    Target("open and list, 100,000: peak memory at most 250 MB", Figure("memory", OURS, {"sessions": 100_000}),
           at_most=250, unit="MB"),
    Target("save of 1 MB: peak memory at most 16 MB over that before", Figure("memory", OURS, _SAVED),
           Figure("memory", f"{OURS}, before", _SAVED), meet=_difference, at_most=16, unit="MB"),
    Target("saved as fast as it goes: at most 2,000 loose objects",
           Figure("automatic: most loose objects", OURS, {"saves": 3000}), at_most=2000, unit="objects"),
    Target("... at most 20 packs", Figure("automatic: most packs", OURS, {"saves": 3000}),
           at_most=20, unit="packs"),
    Target("saved 20 times a second: at most 20 packs",
           Figure("automatic: most packs", OURS, {"saves": 400, "a second": 20}), at_most=20, unit="packs"),
    *_SYNCING,
]  # fmt: skip
