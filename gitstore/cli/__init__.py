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
_DRIVER = "merge-driver"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (by default the process's own) and return its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0] == _DRIVER:
        # git runs it in the middle of a merge, whatever is installed here.
        from gitstore import mergedriver  # noqa: PLC0415 - the others have no need of it

        return mergedriver.main(arguments[1:])
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
    return run(arguments)
