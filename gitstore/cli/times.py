"""Times as people write them: ISO 8601 with a zone, or how long ago."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from gitstore import At

#: A commit's abbreviation may be all digits too, but never has dashes.
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
#: A day on its own has no time that a zone could be put behind.
_DAY_AND_ZONE: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}) ?(Z|[+-]\d{2}:\d{2})")
#: What is long enough to be the beginning of a commit is one, also where it looks like days.
_HEX: Final = re.compile(r"[0-9a-f]{4,40}")
_AMOUNT: Final = re.compile(r"([0-9]{1,9})\s*([a-z]+)[\s,]*")
_AGO: Final = re.compile(r"\s+ago$")
_MONTHS: Final = {"mo": 1, "month": 1, "y": 12, "year": 12}
_SECONDS: Final = {
    **dict.fromkeys(("s", "sec", "second"), 1),
    **dict.fromkeys(("m", "min", "minute"), 60),
    **dict.fromkeys(("h", "hr", "hour"), 3600),
    **dict.fromkeys(("d", "day"), 86400),
    **dict.fromkeys(("w", "week"), 7 * 86400),
}
#: Unlike any amount before now.
_NAMED: Final = {"now": timedelta(0), "yesterday": timedelta(days=1)}


def current_time() -> datetime:
    """Return the time that relative times count back from."""
    return datetime.now(UTC)


def parse_time(text: str, *, now: datetime, option: str) -> datetime:
    """Return the time that a text means; naive, if it names no zone.

    ``yesterday`` is 24 hours ago, as in git; months and years are the calendar's.

    Raises:
        typer.BadParameter: it means none.
    """
    found = _iso(text) or _relative(text, now)
    if found is None:
        message = f"{text!a} is no time; write it as 2026-01-31T12:00:00Z, 2026-01-31Z, '2 days ago' or 3h"
        raise typer.BadParameter(message, param_hint=option)
    return found


def optional_time(text: str | None, *, option: str) -> datetime | None:
    """Return the time that an option was given, if it was given one."""
    return None if text is None else parse_time(text, now=current_time(), option=option)


def parse_moment(text: str | None, *, now: datetime, option: str) -> At | None:
    """Return a time where the text is one or begins like one, else the name of a commit.

    Raises:
        typer.BadParameter: it begins like a time, and is none.
    """
    if text is None:
        return None
    if _DATE.match(text):
        return parse_time(text, now=now, option=option)
    return text if _HEX.fullmatch(text) else _relative(text, now) or text


def moment(text: str | None, *, option: str = "--at") -> At | None:
    """Return what a text means now: a time, or the name of a commit."""
    return parse_moment(text, now=current_time(), option=option)


def _iso(text: str) -> datetime | None:
    if not _DATE.match(text):
        return None
    written = text.strip().removesuffix("UTC").rstrip() + ("Z" if text.endswith("UTC") else "")
    day = _DAY_AND_ZONE.fullmatch(written)
    try:
        return datetime.fromisoformat(f"{day[1]}T00:00{day[2]}" if day else written)
    except ValueError:
        return None


def _relative(text: str, now: datetime) -> datetime | None:
    """Return the time that lies an amount of time before now; None if the text is no amount."""
    words = _AGO.sub("", text.strip().lower())
    if words in _NAMED:
        return now - _NAMED[words]
    months, seconds, end = 0, 0, 0
    for found in _AMOUNT.finditer(words):
        unit = (
            found[2] if found[2] in _SECONDS or found[2] in _MONTHS else found[2].removesuffix("s")
        )
        if found.start() != end or (unit not in _SECONDS and unit not in _MONTHS):
            return None
        months += int(found[1]) * _MONTHS.get(unit, 0)
        seconds += int(found[1]) * _SECONDS.get(unit, 0)
        end = found.end()
    if not end or end != len(words):
        return None
    try:
        return _months_before(now, months) - timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        return None  # before the year 1


def _months_before(now: datetime, months: int) -> datetime:
    year, month = divmod(now.year * 12 + now.month - 1 - months, 12)
    # `monthrange` knows no year 0, `replace` neither: both say ValueError.
    last = calendar.monthrange(year, month + 1)[1] if year > 0 else 1
    return now.replace(year=year, month=month + 1, day=min(now.day, last))
