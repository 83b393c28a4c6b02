"""The command line: a user of the public face, like any other.

typer and rich come with the extra ``cli``; they are imported only when a command runs, so that
the library works, and this package can say what to install, without them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_NEEDED = frozenset({"typer", "rich", "click"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (by default the process's own) and return its exit code."""
    try:
        from gitstore.cli.app import run  # noqa: PLC0415 - needs the extra `cli`
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        print(
            f"gitstore: {error.name} is missing; install gitstore-sessions[cli]: "
            "python -m pip install '.[cli]' in its checkout",
            file=sys.stderr,
        )
        return 2
    return run(sys.argv[1:] if argv is None else argv)
