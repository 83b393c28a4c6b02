"""Measure gitstore beside its peers: ``python -m tests.benchmarks [--quick] [--only NAME ...]``.

Prints figures and judges none: they depend on the machine, so only ratios within one run mean much.
What was timed is checked to have been done: every repository by git, with its number of commits.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Bench, Options
from tests.benchmarks.measure import Row, absent
from tests.benchmarks.report import as_json, as_markdown, as_text
from tests.benchmarks.targets import judge
from tests.benchmarks.workloads import (
    concurrent,
    encoding,
    growing,
    history,
    reading,
    resources,
    saving,
    syncing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.benchmarks.targets import Verdict

WORKLOADS: dict[str, Callable[[Bench], list[Row]]] = {
    "save": saving.save,
    "append": saving.append,
    "delete": saving.delete,
    "concurrent": concurrent.concurrent,
    "fsyncs": resources.fsyncs,
    "load": reading.load,
    "list": reading.list_,
    "exists": reading.exists,
    "sync_status": reading.sync_status,
    "codec": encoding.codec,
    "lag": resources.lag,
    "memory": resources.memory,
    "history": history.history,
    "growth": growing.growth,
    "automatic": growing.automatic,
    "divergence": syncing.divergence,
    "push": syncing.push,
    "exchange": syncing.exchange,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="small sizes and few rounds: shows that it works")
    add("--full", action="store_true", help="every peer and size in every repository: takes hours")
    add("--only", nargs="+", choices=sorted(WORKLOADS), help="these workloads", metavar="NAME")
    add("--sessions", nargs="+", type=int, default=[], help="numbers of sessions to measure with")
    add("--rounds", type=int, help="measured rounds of a cell")
    add("--seconds", type=float, help="about how long one subject may take for one cell")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--markdown", action="store_true", help="print the tables in Markdown")
    add("--folder", type=Path, help="where to work (default: temporary; 10 GB for all)")
    add("--node", type=Path, metavar="FOLDER", help="where `npm install gitsheets` was run")
    return parser


def _options(given: argparse.Namespace) -> Options:
    quick: bool = given.quick
    return Options(
        quick=quick,
        full=given.full,
        sessions=tuple(given.sessions),
        node=given.node.absolute() if given.node else None,
        rounds=given.rounds or (3 if quick else 40),
        budget_seconds=given.seconds or (0.5 if quick else 5.0),
    )


def run(bench: Bench, names: Sequence[str], *, show: Callable[[str], None]) -> list[Row]:
    """Measure some workloads; show the tables of each when it is done.

    One that fails becomes a row that says so, and the others go on.
    """
    rows: list[Row] = []
    for name in names:
        try:
            made = WORKLOADS[name](bench)
        except Exception as error:  # noqa: BLE001 -- hours of figures are not thrown away for one
            made = [absent(name, {}, "all", f"it failed: {type(error).__name__}: {error}")]
        rows += made
        show(as_text(made))
    return rows


def _say(verdicts: list[Verdict]) -> str:
    lines = (
        f"target: {each.target}  measured: {each.measured or '-'}  {each.state}"
        for each in verdicts
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, measure, print; return 1 if a workload could not be measured."""
    given = _parser().parse_args(arguments)
    shown = sys.argv[1:] if arguments is None else [*arguments]
    command = ["python", "-m", "tests.benchmarks", *shown]
    with tempfile.TemporaryDirectory(prefix="gitstore-bench-", dir=given.folder) as folder:
        bench = Bench(Path(folder), _options(given))
        show = (lambda _: None) if given.markdown else partial(print, flush=True)
        rows = run(bench, given.only or [*WORKLOADS], show=show)
        verdicts = judge(rows)
        if given.json:
            found = as_json(rows, verdicts, command=command)
            given.json.write_text(json.dumps(found, indent=1) + "\n")
        if given.markdown:
            print(as_markdown(rows, verdicts, command=command), flush=True)
        else:
            print("\n" + _say(verdicts), flush=True)
    return int(any(row.subject == "all" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
