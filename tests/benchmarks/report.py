"""A run as JSON, and as tables to read or to put into a document."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.measure import Row, ratio
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.benchmarks.targets import Verdict

_PACKAGES = (
    "dulwich", "pygit2", "GitPython", "xandikos", "PyYAML", "ruamel.yaml", "ruamel.yaml.clib",
    "pydantic", "anyio",
)  # fmt: skip
_HEADS = ("subject", "median", "CPU", "n", "ratio", "durability; notes")


def as_json(rows: list[Row], verdicts: list[Verdict], *, command: Sequence[str]) -> dict[str, Any]:
    """Return all that a run found, as what JSON can say."""
    return {
        "command": " ".join(command),
        "machine": machine(),
        "versions": versions(),
        "rows": [{**asdict(row), "ratio": ratio(row, rows)} for row in rows],
        "absent": sorted({row.subject for row in rows if row.median is None}),
        "targets": [asdict(verdict) for verdict in verdicts],
    }


def machine() -> dict[str, str | int]:
    """Return what the figures depend on."""
    found = re.search(r"^model name\s*: (.*)$", _read("/proc/cpuinfo"), re.M)
    total = re.search(r"^MemTotal:\s*(\d+)", _read("/proc/meminfo"), re.M)
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": found[1] if found else platform.machine(),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(int(total[1]) / (1 << 20)) if total else 0,
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def versions() -> dict[str, str]:
    """Return the versions of everything that was measured."""
    found = {"python": sys.version.split()[0], "git": run_git(".", "version").split()[2]}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def number(value: float | None, unit: str = "") -> str:
    """Return a figure with three significant digits, and commas where it is long."""
    if value is None:
        return "-"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}{unit and ' ' + unit}"


def _title(row: Row) -> str:
    words = ", ".join(
        f"{value:,} {key}" if isinstance(value, int) else value
        for key, value in row.parameters.items()
    )
    return f"{row.workload}: {words}" if words else row.workload


def _cells(row: Row, rows: list[Row]) -> tuple[str, ...]:
    times = ratio(row, rows)
    return (
        row.subject,
        "absent" if row.median is None else number(row.median, row.unit),
        "" if row.cpu is None else number(row.cpu),
        str(row.n) if row.n else "",
        "" if times is None else f"{number(times)} x",
        "; ".join(filter(None, (row.durability, row.notes))),
    )


def _tables(rows: list[Row]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    tables: dict[str, list[tuple[str, ...]]] = {}
    for row in rows:
        tables.setdefault(_title(row), []).append(_cells(row, rows))
    yield from tables.items()


def as_text(rows: list[Row]) -> str:
    """Return one table for each workload and its parameters."""
    lines: list[str] = []
    for title, table in _tables(rows):
        lines += ["", title]
        for name, median, cpu, n, times, notes in [_HEADS, *table]:
            cells = f"  {name:38}{median:>14}{cpu:>10}{n:>5}{times:>11}  {notes}"
            lines.append(cells.rstrip())
    return "\n".join(lines)


def as_markdown(rows: list[Row], verdicts: list[Verdict], *, command: Sequence[str]) -> str:
    """Return the run as a page: the machine, the targets, the tables."""
    here = machine()
    used = ", ".join(f"{name} {each}" for name, each in versions().items())
    there = f"{here['processor']}, {here['cores']} cores, {here['memory_gb']} GB, {here['system']}"
    lines = [
        f"`{' '.join(command)}` on {there}; {used}.",
        "",
        "Medians of wall time; CPU in ms; the ratio is the subject's figure over gitstore's.",
        "",
        *([] if not verdicts else ["| Target | Measured | |", "|---|---|---|"]),
        *(f"| {each.target} | {each.measured} | {each.state} |" for each in verdicts),
    ]
    for title, table in _tables(rows):
        lines += ["", f"**{title}**", "", "| " + " | ".join(_HEADS) + " |", "|---" * 6 + "|"]
        lines += ["| " + " | ".join(cells) + " |" for cells in table]
    return "\n".join(lines)
