"""What reaches the terminal: always one way out, never a raw control character."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

Precision: TypeAlias = Literal["seconds", "milliseconds"]

#: Control characters of every kind, lone surrogates, line separators, and what turns the direction
#: of text around: all that makes a terminal do or show something else than what is stored.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
#: The same, but for the line breaks and tabs that text is laid out with.
_UNSAFE_IN_TEXT: Final = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
#: From here on a date says more than a number of days.
_DAYS_MAX: Final = 30
_GAP: Final = "  "
#: Cells below which a column is not shrunk: less would tell nothing.
_WIDTH_MIN: Final = 8


class OutputClosedError(Exception):
    """Whoever read our output went away; there is nobody left to tell."""


def write(text: str) -> None:
    """Write text to standard output.

    Raises:
        OutputClosedError: the reader closed the pipe.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise OutputClosedError from error


def write_bytes(data: bytes) -> None:
    """Write bytes to standard output as they are, whatever its encoding.

    Raises:
        OutputClosedError: the reader closed the pipe.
    """
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        raise OutputClosedError from error


def write_json(value: Any) -> None:  # noqa: ANN401 - anything JSON can say
    """Write one JSON value; in ASCII, so that no text in it can steer a terminal."""
    write(json.dumps(value, indent=2) + "\n")


def drop_output() -> None:
    """Send what is still buffered nowhere, so that leaving does not fail on it again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        # Standard output is no file of the system: nothing is written when the process ends.
        return
    finally:
        os.close(nowhere)


def one_line(text: str) -> str:
    """Return text that stays on one line and cannot steer a terminal."""
    return _UNSAFE.sub(_escaped, text)


def safe_lines(text: str) -> list[str]:
    """Return the lines of a text, none of which can steer a terminal."""
    return _UNSAFE_IN_TEXT.sub(_escaped, text.replace("\r\n", "\n")).split("\n")


def json_text(text: str) -> str:
    """Return JSON text with the characters that steer terminals escaped; its value is the same."""
    return _UNSAFE_IN_TEXT.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _escaped(match: re.Match[str]) -> str:
    return ascii(match.group())[1:-1]


def is_terminal() -> bool:
    """Whether a person looks at the output."""
    return sys.stdout.isatty()


def iso(moment: datetime, *, to: Precision = "milliseconds") -> str:
    """Return a time as RFC 3339 in UTC: sessions have milliseconds, commits seconds."""
    return moment.astimezone(UTC).isoformat(timespec=to).replace("+00:00", "Z")


def relative(moment: datetime, *, now: datetime) -> str:
    """Return how long ago something was; after a month, and for the future, its date."""
    seconds = (now - moment).total_seconds()
    if seconds < 0 or seconds >= _DAYS_MAX * _DAY:
        return moment.astimezone(UTC).date().isoformat()
    for unit, size in (("day", _DAY), ("hour", _HOUR), ("minute", _MINUTE)):
        count = int(seconds // size)
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def when(moment: datetime, *, to: Precision = "milliseconds") -> str:
    """Return a time as suits who reads: relative on a terminal, RFC 3339 elsewhere."""
    return relative(moment, now=datetime.now(UTC)) if is_terminal() else iso(moment, to=to)


def write_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, may_shrink: Container[str] = ()
) -> None:
    """Write rows under their titles, as `table` has them."""
    write(table(columns, rows, may_shrink=may_shrink))


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, may_shrink: Container[str] = ()
) -> str:
    """Return rows under their titles; nothing, if there is none.

    A column that says nothing is left out, but for the first. On a terminal, the columns that may
    shrink do so until a row fits its width.
    """
    if not rows:
        return ""
    kept = [index for index in range(len(columns)) if not index or any(row[index] for row in rows)]
    columns, rows = _only(columns, kept), [_only(row, kept) for row in rows]
    lines = [list(columns), *([one_line(cell) for cell in row] for row in rows)]
    # Some characters are two cells wide, others none.
    widths = [max(cell_len(line[index]) for line in lines) for index in range(len(columns))]
    if is_terminal():
        flexible = [index for index, column in enumerate(columns) if column in may_shrink]
        _shrink(widths, flexible, room=Console(file=sys.stdout).width)
    return "".join(_GAP.join(map(_fitted, line, widths)).rstrip() + "\n" for line in lines)


def _only(cells: Sequence[str], kept: Sequence[int]) -> list[str]:
    return [cells[index] for index in kept]


def has_colour() -> bool:
    """Whether whoever looks at the output sees colours, and wants to (see no-color.org)."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    return is_terminal() and not is_plain


def count(number: int, noun: str) -> str:
    """Return how many there are of something."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _shrink(widths: list[int], flexible: Sequence[int], *, room: int) -> None:
    """Take from the widest of the flexible columns what is too much, as far as that goes."""
    while sum(widths) + len(_GAP) * (len(widths) - 1) > room:
        widest = max(flexible, key=lambda index: widths[index], default=None)
        if widest is None or widths[widest] <= _WIDTH_MIN:
            return
        widths[widest] -= 1


def _fitted(text: str, width: int) -> str:
    line = Text(text)
    line.truncate(width, overflow="ellipsis", pad=True)
    return line.plain
