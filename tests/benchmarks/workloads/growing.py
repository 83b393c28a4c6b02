"""One session saved a thousand times, until it has 1 MB: what maintenance makes of it, beside git gc."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.benchmarks import child
from tests.benchmarks.measure import OURS, Row, absent
from tests.benchmarks.repositories import check, copy, disk_bytes
from tests.benchmarks.sessions import path_of
from tests.gitcommand import environment, run_git

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.bench import Bench

GC = "git gc"
_LINES = 10
_MORE = 10
_READ = 40


def growth(bench: Bench) -> list[Row]:
    """Save, maintain, read old versions, save some more, maintain again; git gc on a copy likewise."""
    saves = 30 if bench.options.quick else 1000
    grown = bench.scratch("grown")
    said = child.call("grow", folder=str(grown), saves=saves, lines=_LINES)
    check(grown, added=saves, before=_created(grown, saves), subject=OURS)
    ours, theirs = copy(grown, bench.scratch("maintained")), copy(grown, bench.scratch("gc"))
    parameters: dict[str, str | int] = {"saves": saves, "bytes": said["bytes"]}
    megabytes = disk_bytes(_objects(grown)) / 1e6
    rows = [_row("growth: a save", parameters, OURS, said["ms"], notes="durability process")]
    rows.append(_row("growth: size before", parameters, OURS, megabytes, unit="MB"))
    commits = [commit for commit in said["commits"] if commit]
    rows += _round(ours, theirs, parameters, commits, full=True)
    for folder in (ours, theirs):
        child.call("grow_more", folder=str(folder), saves=_MORE, lines=_LINES)
    more: dict[str, str | int] = {"saves": f"{_MORE} more after {saves}"}
    rows += _round(ours, theirs, more, commits, full=False)
    for folder in (ours, theirs):
        run_git(folder, "fsck", "--connectivity-only")
    return rows


def automatic(bench: Bench) -> list[Row]:
    """Save for long in a store that is left to itself: the most loose objects and packs it had at once.

    As fast as it goes, and as many agents together may.
    """
    quick = bench.options.quick
    return [
        *_left_to_itself(bench, saves=100 if quick else 3000),
        *_left_to_itself(bench, saves=20 if quick else 400, a_second=20),
    ]


def _left_to_itself(bench: Bench, *, saves: int, a_second: int | None = None) -> list[Row]:
    folder = copy(bench.base(50, bare=True), bench.scratch(f"automatic-{a_second}"))
    said = child.call("save_for_long", folder=str(folder), saves=saves, a_second=a_second)
    check(folder, added=saves, before=1, subject=OURS)
    parameters: dict[str, str | int] = {"saves": saves}
    if a_second is not None:
        parameters["a second"] = a_second
    return [
        _row("automatic: most loose objects", parameters, OURS, said["loose"], unit="objects"),
        _row("automatic: most packs", parameters, OURS, said["packs"], unit="packs"),
    ]


def _created(folder: Path, saves: int) -> int:
    """Return the commits that making the store took: those of no session."""
    return (
        int(run_git(folder, "rev-list", "--count", "main", "--", ".gitattributes")) if saves else 0
    )


def _objects(folder: Path) -> Path:
    return folder / "objects"


def _round(
    ours: Path,
    theirs: Path,
    parameters: dict[str, str | int],
    commits: list[str],
    *,
    full: bool,
) -> list[Row]:
    said = child.call("maintain", folder=str(ours), full=full)
    gc = _gc(theirs)
    rows = [
        *_figures("growth: maintenance", parameters, said, gc, "ms", "ms"),
        *_figures("growth: peak memory", parameters, said, gc, "peak", "MB"),
        *_sizes(parameters, ours, theirs, said),
    ]
    if full:
        rows += _reading(ours, theirs, parameters, commits)
    return rows


def _figures(
    workload: str,
    parameters: dict[str, str | int],
    said: dict[str, Any],
    gc: dict[str, float],
    key: str,
    unit: str,
) -> list[Row]:
    peer = _row(
        workload, parameters, GC, gc[key], unit=unit, cpu=gc["cpu"] if unit == "ms" else None
    )
    if "absent" in said:
        return [absent(workload, parameters, OURS, said["absent"]), peer]
    cpu = said["cpu"] if unit == "ms" else None
    return [_row(workload, parameters, OURS, said[key], unit=unit, cpu=cpu), peer]


def _sizes(
    parameters: dict[str, str | int], ours: Path, theirs: Path, said: dict[str, Any]
) -> list[Row]:
    """Return what is on disk, with what waits for its grace time to end, and the packs that will stay."""
    rows: list[Row] = []
    for name, folder in ((OURS, ours), (GC, theirs)):
        if name == OURS and "absent" in said:
            rows.append(absent("growth: size", parameters, OURS, said["absent"]))
            continue
        size = disk_bytes(_objects(folder)) / 1e6
        rows.append(
            _row("growth: size", parameters, name, size, unit="MB", notes="all of objects/")
        )
        kept = max(
            (path.stat().st_size for path in _objects(folder).glob("pack/*.pack")), default=0
        )
        what = "the largest pack: without what waits for its grace time"
        rows.append(_row("growth: pack", parameters, name, kept / 1e6, unit="MB", notes=what))
    return rows


def _reading(
    ours: Path, theirs: Path, parameters: dict[str, str | int], commits: list[str]
) -> list[Row]:
    step = max(len(commits) // _READ, 1)
    chosen = commits[::step]
    took = child.call("read_versions", folder=str(ours), commits=chosen)
    theirs_took = []
    for commit in chosen:
        began = time.perf_counter()
        run_git(theirs, "show", f"{commit}:{path_of('grown')}")
        theirs_took.append((time.perf_counter() - began) * 1000)
    what = "growth: read an old version"
    slowest = f"slowest {max(took['ms']):.1f} ms; the checked model, where git gives bytes"
    ours_row = _row(
        what, parameters, OURS, median(took["ms"]), n=len(took["ms"]), cpu=median(took["cpu"]),
        notes=slowest,
    )  # fmt: skip
    return [
        ours_row,
        _row(what, parameters, "git show", median(theirs_took), n=len(theirs_took)),
    ]


# Run by a lean interpreter: what a process held at its start counts for the peak of its children.
_RUN = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
subprocess.run(sys.argv[1:], check=True)
took = (time.perf_counter() - began) * 1000
used = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = (used.ru_utime + used.ru_stime) * 1000
print(json.dumps({"ms": took, "cpu": cpu, "peak": used.ru_maxrss / 1024}))
"""


def _gc(folder: Path) -> dict[str, float]:
    """Run git gc; return its time, its processor time and the peak of its largest process."""
    command = [sys.executable, "-I", "-S", "-c", _RUN, "git", "-C", str(folder), "gc", "-q"]
    done = subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE)
    said: dict[str, float] = json.loads(done.stdout)
    return said


def _row(
    workload: str,
    parameters: dict[str, str | int],
    subject: str,
    value: float,
    *,
    unit: str = "ms",
    n: int = 1,
    cpu: float | None = None,
    notes: str = "",
) -> Row:
    return Row(
        workload=workload, parameters=parameters, subject=subject, median=value,
        n=n, unit=unit, cpu=cpu, notes=notes,
    )  # fmt: skip
