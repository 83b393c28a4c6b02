"""Long output on a terminal, a page at a time."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING, Final

from gitstore.cli.output import is_terminal, write

if TYPE_CHECKING:
    from gitstore.cli.settings import Settings

_DEFAULT: Final = "less -R"
#: What git tells `less`: colours as they are, no page for what fits the screen, leave it there.
_LESS: Final = "FRX"


def write_paged(text: str, settings: Settings) -> None:
    """Write text to standard output, through the user's pager when that is a terminal.

    ``PAGER`` names the pager, by default `less -R`; the empty one, ``cat`` and a dumb terminal are
    none. A pager that cannot be run is none either.
    """
    command = _pager() if text and settings.has_pager and is_terminal() else []
    if not command or not _paged(text, command):
        write(text)


def _pager() -> list[str]:
    if os.environ.get("TERM", "dumb") == "dumb":
        return []
    try:
        command = shlex.split(os.environ.get("PAGER", _DEFAULT))
    except ValueError:  # a quotation mark without its fellow
        return []
    return [] if command == ["cat"] else command


def _paged(text: str, command: list[str]) -> bool:
    """Show a text in a pager and wait until it ends; return whether it could be run."""
    environment = {"LESS": _LESS, **os.environ}
    try:
        pager = subprocess.Popen(  # noqa: S603 -- the program that the user's environment names
            command, stdin=subprocess.PIPE, env=environment
        )
    except OSError:
        return False
    try:
        pager.communicate(text.encode(errors="backslashreplace"))
    except KeyboardInterrupt:
        # The pager got it as well, and decides what it means.
        pager.wait()
    return True
