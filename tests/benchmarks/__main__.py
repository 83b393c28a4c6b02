"""Measure what the design promises about speed: ``python -m tests.benchmarks [--quick]``.

Prints figures and asserts nothing: they depend on the machine, so that only ratios and bounds that
are far away mean anything.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.benchmarks.lag import measure_lag
from tests.benchmarks.saves import measure_saves


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works")
    parser.add_argument("--sessions", type=int, nargs="+", help="sizes of the repositories")
    parser.add_argument("--saves", type=int, help="saves in each repository")
    parser.add_argument("--megabytes", type=float, default=1.0, help="size of the large session")
    parser.add_argument("--rounds", type=int, help="saves and loads of the large session")
    parser.add_argument("--folder", type=Path, help="where to work (default: temporary)")
    options = parser.parse_args()
    sizes = options.sessions or ([100, 1000] if options.quick else [100, 10_000])
    saves = options.saves or (10 if options.quick else 60)
    rounds = options.rounds or (2 if options.quick else 10)
    with tempfile.TemporaryDirectory(prefix="gitstore-bench-", dir=options.folder) as name:
        folder = Path(name)
        measure_lag(folder / "lag", megabytes=options.megabytes, rounds=rounds)
        measure_saves(folder / "saves", sizes=sizes, saves=saves)


if __name__ == "__main__":
    main()
