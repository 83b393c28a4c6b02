"""Instants: RFC 3339 text, milliseconds since 1970, and the aware UTC datetimes between them.

Everything stored has millisecond precision; finer digits are cut off, never rounded, so that a
time cannot move past another one by being stored.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


# Versions of a session have most of their times in common.
@lru_cache(maxsize=4096)
def parse_time(text: str) -> datetime:
    """Return the instant that RFC 3339 text names, in UTC, cut to milliseconds.

    Raises:
        ValueError: the text is not RFC 3339, has no offset, or names no datetime (a leap second,
            the 30th of February, a year outside 1 to 9999 once in UTC).
    """
    if _RFC3339.fullmatch(text) is None:
        problem = 'must be a time such as "2026-11-23T11:29:27.990Z", with its offset'
        raise ValueError(problem)
    try:
        return in_utc(datetime.fromisoformat(text.upper()))
    except ValueError as error:
        problem = f"names no instant that can be stored: {error}"
        raise ValueError(problem) from error


def format_time(moment: datetime) -> str:
    """Return RFC 3339 text such as ``2026-11-23T11:29:27.990Z``: UTC, always three digits.

    Raises:
        ValueError: the datetime is naive.
    """
    if moment.tzinfo is not UTC:
        moment = in_utc(moment)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def in_utc(moment: datetime) -> datetime:
    """Return the same instant as a plain datetime in UTC, cut to milliseconds.

    Raises:
        ValueError: the datetime is naive, or outside the years 1 to 9999 once in UTC.
    """
    if moment.utcoffset() is None:
        problem = "must have a time zone, such as datetime.UTC"
        raise ValueError(problem)
    try:
        moment = moment.astimezone(UTC)
    except OverflowError as error:
        problem = "must be in the years 1 to 9999 in UTC"
        raise ValueError(problem) from error
    if moment.microsecond % 1000 or type(moment) is not datetime:
        # Subclasses (of time-freezing and data-frame libraries) may print themselves differently.
        return datetime(
            moment.year,
            moment.month,
            moment.day,
            moment.hour,
            moment.minute,
            moment.second,
            moment.microsecond // 1000 * 1000,
            tzinfo=UTC,
        )
    return moment


def from_ms(milliseconds: int) -> datetime:
    """Return the instant that many milliseconds after 1970 began, in UTC.

    Raises:
        ValueError: the number is negative, or beyond the year 9999.
    """
    if milliseconds < 0:
        problem = f"must be milliseconds since 1970, not {milliseconds}"
        raise ValueError(problem)
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError as error:
        problem = "must be milliseconds since 1970, before the year 10000"
        raise ValueError(problem) from error


def to_ms(moment: datetime) -> int:
    """Return whole milliseconds since 1970.

    Raises:
        ValueError: the datetime is naive, or before 1970.
    """
    if moment.utcoffset() is None:
        problem = "must have a time zone, such as datetime.UTC"
        raise ValueError(problem)
    milliseconds = (moment - _EPOCH) // _MILLISECOND
    if milliseconds < 0:
        problem = f"must not be before 1970, as {moment.isoformat()} is"
        raise ValueError(problem)
    return milliseconds
