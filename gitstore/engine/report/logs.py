"""The log of changes as lines for other programs.

The columns, in this order; new ones are added at the end only:

    time          when the commit was authored: ISO 8601, UTC, ending in Z
    commit        40 hex digits
    parents       the commits before it; several after a merge
    operation     create, update, delete, restore, ...; empty in a commit that nobody named
    session_id    what the commit says it is about
    sessions      the sessions it changed
    revision      the session after it; empty if that was deleted, and in a log of the whole store
    author_name, author_email, actor
    signature     unsigned, good, bad, ...; empty where nobody looked
    subject       the first paragraph of the message
    summary       what changed, in one line

JSON Lines hold every value exactly (null for what is empty, lists for parents and sessions), in
ASCII. CSV (RFC 4180, every cell quoted) is for spreadsheets: parents and sessions are one space
apart (an id with a space in it is quoted as in JSON), what cannot be seen is spelled out, and a
cell that a spreadsheet would run as a formula, or that begins with an apostrophe, gets an
apostrophe in front: whoever reads it by program takes one leading apostrophe off.
"""

from __future__ import annotations

import csv
import json
from datetime import UTC
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from gitstore.session.diff import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from gitstore.types import Change

COLUMNS: Final = (
    *("time", "commit", "parents", "operation", "session_id", "sessions", "revision"),
    *("author_name", "author_email", "actor", "signature", "subject", "summary"),
)
#: What makes a spreadsheet take a cell for a formula, in the wide forms too; blanks before it are
#: skipped by some.
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")


def log_jsonl(changes: Iterable[Change]) -> Iterator[str]:
    """Return one line of JSON for each change, ended; see the module for the fields."""
    for change in changes:
        yield json.dumps(_row(change)) + "\n"


def log_csv(changes: Iterable[Change]) -> Iterator[str]:
    r"""Return a head line and one record for each change, ended by ``\r\n``; see the module.

    Write it as UTF-8; Excel wants a byte order mark before it (``utf-8-sig``).
    """
    yield _record(COLUMNS)
    for change in changes:
        yield _record(_cell(value) for value in _row(change).values())


def utc(time: datetime) -> str:
    """Return a time as a log has it."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _row(change: Change) -> dict[str, Any]:
    values = (
        *(utc(change.time), change.commit, list(change.parents), change.operation),
        *(change.session_id, list(change.sessions), change.revision),
        *(change.author.name, change.author.email, change.actor),
        *(change.signature, change.subject, change.summary),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _cell(value: str | list[str] | None) -> str:
    if isinstance(value, list):
        value = " ".join(json.dumps(each) if " " in each or '"' in each else each for each in value)
    text = visible(value or "")
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def _record(cells: Iterable[str]) -> str:
    line = StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow(cells)
    return line.getvalue()
