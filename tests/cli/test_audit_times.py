"""Times as people write them, and what is taken for a commit instead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import typer

from gitstore.cli.times import parse_moment, parse_time

NOW = datetime(2026, 3, 31, 12, 30, 15, tzinfo=UTC)


def ago(**spans: float) -> datetime:
    return NOW - timedelta(**spans)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("now", NOW),
        ("yesterday", ago(days=1)),
        ("Yesterday ", ago(days=1)),
        ("3h", ago(hours=3)),
        ("3 h ago", ago(hours=3)),
        ("90 minutes ago", ago(minutes=90)),
        ("1 day ago", ago(days=1)),
        ("2 days ago", ago(days=2)),
        ("2  Days  ago", ago(days=2)),
        ("1w", ago(days=7)),
        ("1h30m", ago(minutes=90)),
        ("1 day, 2 hours and".removesuffix(" and"), ago(days=1, hours=2)),
        ("10 secs ago", ago(seconds=10)),
        # The calendar's months: there is no 31 February.
        ("1 month ago", datetime(2026, 2, 28, 12, 30, 15, tzinfo=UTC)),
        ("3mo", datetime(2025, 12, 31, 12, 30, 15, tzinfo=UTC)),
        ("2 years ago", datetime(2024, 3, 31, 12, 30, 15, tzinfo=UTC)),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31 12:00 UTC", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31Z", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31 UTC", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31+02:00", datetime(2026, 1, 31, tzinfo=timezone(timedelta(hours=2)))),
        # Without a zone it stays without: the store then says so.
        ("2026-01-31", datetime(2026, 1, 31)),  # noqa: DTZ001 -- that is the point
    ],
)
def test_what_is_a_time(text: str, meant: datetime) -> None:
    found = parse_time(text, now=NOW, option="--since")
    assert (found, found.tzinfo is None) == (meant, meant.tzinfo is None)
    assert parse_moment(text, now=NOW, option="--at") == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ago",
        "soon",
        "3",
        "3 x",
        "h3",
        "3h!",
        "-3h",
        "3.5h",
        "two days ago",
        "5000 years ago",
        "999999999w",
        "999999999mo",
        "2026-13-01Z",
        "2026-01-31Tnoon",
        "v2026-01-31",
        "\u0663h",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        parse_time(text, now=NOW, option="--since")
    assert caught.value.param_hint == "--since"
    assert ascii(text) in caught.value.message


@pytest.mark.parametrize("text", ["main", "v1.0", "@{3}", "HEAD", "feed", "1234d", "20260131", "x"])
def test_what_is_a_commit(text: str) -> None:
    assert parse_moment(text, now=NOW, option="--at") == text


def test_a_moment_that_begins_like_a_time_must_be_one() -> None:
    assert parse_moment(None, now=NOW, option="--at") is None
    with pytest.raises(typer.BadParameter):
        parse_moment("2026-01-31-release", now=NOW, option="--at")
