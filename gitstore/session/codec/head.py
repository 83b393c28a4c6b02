"""The listing row, from what stands above the turns of a file, and a count of the turns.

The fast way answers only where the lines themselves prove the answer: when every line of the file
has a form that ends on that line (or is a literal block, which ends by its indentation), no quoted
text and no flow collection reaches over a line break, so that a line at a known column is what it
looks like. The file can then be cut at its turns: what stands above them is decoded, and they are
counted. Whatever is written otherwise is decoded in full.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn

from gitstore.errors import SerializationError, UnsupportedVersionError
from gitstore.session.codec.limits import MAX_BYTES, quoted
from gitstore.session.codec.scalars import is_reserved
from gitstore.session.meta import SessionMeta
from gitstore.session.times import parse_time
from gitstore.session.values import Value, is_list, is_map

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitstore.types import Revision, SessionId, SyncState

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION: Final = 1

# A key, up to its colon, and what may follow on the line. No tabs: behind a colon they are space.
_START = rb"[A-Za-z_/($\x80-\xff]"
_REST = rb"[^\n\t:#]*+(?:(?::(?![ \n])|(?<! )#)[^\n\t:#]*+)*+"
_SINGLE = rb"'(?:[^'\n]|'')*+'"
_DOUBLE = rb'"(?:[^"\\\n]|\\.)*+"'
_KEY = rb"(?:" + _START + _REST + rb"|" + _SINGLE + rb"|" + _DOUBLE + rb"):"
_NOTE = rb"(?: +#[^\n]*+)?+\n"
_CLOSED = rb"(?:" + _SINGLE + rb"|" + _DOUBLE + rb"|\[\]|\{\})" + _NOTE
_VALUE = rb"(?:(?:[0-9]|-[0-9]|" + _START + rb")[^\n]*+\n|" + _CLOSED + rb")"
_ITEM = rb"(?:(?:[0-9]|-[0-9]|" + _START + rb")" + _REST + _NOTE + rb"|" + _CLOSED + rb")"
_BLOCK = rb"\|2?[-+]?\n(?:%s[^\n]*+\n| *+\n)*+"


def _lines(least: bytes) -> bytes:
    """Return the pattern of a line indented by `least` or more, with the block below it.

    Lines of no content may be indented by less.
    """
    # Looked for outside of the group: `re` loses count of a group that a possessive end fails in.
    indent = rb"(?=" + least + rb")( *+)"
    return (
        # key: value, and a block below the key
        indent + _KEY + rb"(?: " + _VALUE + rb"|\n| " + _BLOCK % rb"\1  " + rb")"
        # - key: value, and a block below the key
        rb"|" + indent + rb"- " + _KEY + rb"(?: " + _VALUE + rb"|\n| " + _BLOCK % rb"\2    "
        + rb")|" + indent + rb"- " + _BLOCK % rb"\3  " +
        rb"|" + least + rb" *+(?:- )++(?:" + _KEY + rb"(?: " + _VALUE + rb"|\n)|" + _ITEM + rb")"
        rb"| *+(?:#[^\n]*+)?+\n"
    )  # fmt: skip


_has_known_lines: Final = re.compile(rb"(?:" + _lines(rb"") + rb")*+(?:\.\.\.\n)?").fullmatch
# Turns in the forms nearly all lines have: tried first, for a third of the time. A line has no character
# that could open anything, but for one text in quotes at its end, which is closed there; whatever that
# text is a part of, it ends with the line.
_USUAL_LINES = rb"(?: {4,}+[A-Za-z0-9_ :/.,()=+-]*+(?:'[^'\n]*+')?+\n)++"
_USUAL_TEXT = rb"    content: \|[-+]?\n(?:(?:      [^\n]*+\n)++| {0,5}\n)++"
#: One turn: from its first line on, all lines are indented in it, or no content.
_turn: Final = re.compile(
    rb"  - id: " + _VALUE + rb"(?:" + _USUAL_LINES + rb"|" + _USUAL_TEXT + rb"|" + _lines(rb"    ")
    + rb")*+(?:\.\.\.\n\Z)?"
).match  # fmt: skip
# The usual head: nothing but what a row shows, spelled so that the words are the value unless they
# are reserved.
_WORDS = r"([A-Za-z/][A-Za-z0-9_./@+-]*+(?: [A-Za-z0-9_./@+-]++)*+)\n"
_TIME = r"'([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z)'\n"
_usual_head: Final = re.compile(
    r"id: (?:" + _WORDS + r"|'([0-9A-Za-z_.-]++)'\n)version: 1\n"
    r"created_at: " + _TIME + r"updated_at: " + _TIME +
    r"(?:project_context:\n(?=  (?:root_path|name): )"
    r"(?:  root_path: " + _WORDS + r")?(?:  name: " + _WORDS + r")?)?"
    r"history:\n(?:  max_turns: [0-9]{1,9}\n)?  turns:\n(?=  - id: )"
).match  # fmt: skip

#: A usual head that is longer is read like any other.
_HEAD_BYTES_MAX: Final = 1024

#: Line breaks that only some parsers see: NEL, LS, PS, and the byte order mark.
_ODD_BREAKS: Final = (b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9", b"\xef\xbb\xbf")
_opens_history = re.compile(rb"(?:\A|\n)history:\n(?=  [a-z])").search
#: Leaves the map of the history, or may be the key of its turns in another spelling.
_unclear = re.compile(rb"\n(?:[^ \n#]|  [\"'?])").search
_not_a_turn = re.compile(rb"\n(?!    |  - id: | *+[#\n])").search


def read_meta(
    data: bytes,
    *,
    session_id: SessionId,
    revision: Revision,
    state: SyncState,
    decode: Callable[..., dict[str, Any]],
) -> SessionMeta:
    """Return the listing row of a file; a file that cannot be read gives a row with a `problem`."""
    row = _usual_row(data, session_id, revision, state)
    if row is not None:
        return row
    turns = _find_turns(data)
    try:
        if turns is None:
            return _row(decode(data, session_id=session_id), None, session_id, revision, state)
        start, count = turns
        # As the head of a canonical file is read quickly, with no turns in it.
        above = decode(data[: start - 1] + b" null\n", session_id=session_id)
        return _row(above, count, session_id, revision, state)
    except SerializationError as error:
        return SessionMeta(
            id=session_id,
            name=None,
            created_at=_EPOCH,
            updated_at=_EPOCH,
            project_path=None,
            turn_count=0,
            sync_state=state,
            revision=revision,
            problem=str(error),
        )


def _usual_row(
    data: bytes, session_id: SessionId, revision: Revision, state: SyncState
) -> SessionMeta | None:
    """Return the row of a file with the usual head, without decoding it; None for any other file."""
    # Every byte as one character: those that the head may have are ASCII.
    head = _usual_head(data[:_HEAD_BYTES_MAX].decode("latin-1"))
    if head is None or _has_odd_bytes(data):
        return None
    plain, quoted_id, created, updated, root, name = head.groups()
    if (plain or quoted_id) != session_id or (plain and is_reserved(session_id)):
        return None
    if (root and is_reserved(root)) or (name and is_reserved(name)):
        return None
    turn_count = _count_turns(data, head.end())
    if not turn_count:
        return None
    try:
        created_at, updated_at = datetime.fromisoformat(created), datetime.fromisoformat(updated)
    except ValueError:
        return None
    return SessionMeta(
        id=session_id,
        name=name,
        created_at=created_at,
        updated_at=updated_at,
        project_path=root,
        turn_count=turn_count,
        sync_state=state,
        revision=revision,
    )


def _count_turns(data: bytes, start: int) -> int:
    """Return how many turns the lines from `start` to the end are; 0 when they do not prove it."""
    count, end = 0, len(data)
    while start < end:
        turn = _turn(data, start)
        if turn is None:
            return 0
        start = turn.end()
        count += 1
    return count


def _row(
    document: dict[str, Any],
    turn_count: int | None,
    session_id: SessionId,
    revision: Revision,
    state: SyncState,
) -> SessionMeta:
    """Take a row from a document; `turn_count` is None when its turns are there too."""
    version = document.get("version")
    if type(version) is not int:
        _refuse("must be a whole number", "version", session_id)
    if version != _VERSION:
        raise UnsupportedVersionError(version=version, supported=_VERSION, session_id=session_id)
    if document.get("id") != session_id:
        problem = f"the file holds another session: {quoted(str(document.get('id')))}"
        _refuse(problem, "id", session_id)
    project = _map(document, "project_context", session_id)
    if turn_count is None:
        turns: Value = _map(document, "history", session_id).get("turns", [])
        if not is_list(turns):
            _refuse("must be a list", "history.turns", session_id)
        turn_count = len(turns)
    return SessionMeta(
        id=session_id,
        name=_text(project, "name", session_id),
        created_at=_time(document, "created_at", session_id),
        updated_at=_time(document, "updated_at", session_id),
        project_path=_text(project, "root_path", session_id),
        turn_count=turn_count,
        sync_state=state,
        revision=revision,
    )


def _map(document: dict[str, Any], name: str, session_id: SessionId) -> dict[str, Any]:
    value = document.get(name, {})
    if not is_map(value):
        _refuse("must be a map", name, session_id)
    return value


def _text(project: dict[str, Any], name: str, session_id: SessionId) -> str | None:
    value = project.get(name)
    if value is not None and not isinstance(value, str):
        _refuse("must be text or null", f"project_context.{name}", session_id)
    return value


def _time(document: dict[str, Any], name: str, session_id: SessionId) -> datetime:
    value = document.get(name)
    if not isinstance(value, str):
        _refuse('must be a time such as "2026-11-23T11:29:27.990Z"', name, session_id)
    try:
        return parse_time(value)
    except ValueError as error:
        raise SerializationError(str(error), where=name, session_id=session_id) from error


def _refuse(problem: str, where: str, session_id: SessionId) -> NoReturn:
    raise SerializationError(problem, where=where, session_id=session_id)


def _find_turns(data: bytes) -> tuple[int, int] | None:
    """Return where the lines of the turns begin that end the file, and how many turns they are.

    None when the lines do not prove it.
    """
    history = _opens_history(data)
    turns = data.find(b"\n  turns:\n  - id: ", history.end() - 1) if history else -1
    if history is None or turns < 0 or _unclear(data, history.end() - 1, turns):
        return None
    start = turns + len(b"\n  turns:\n")
    end = len(data) - (len(b"\n...\n") if data.endswith(b"\n...\n") else 1)
    if _not_a_turn(data, start - 1, end) or _has_odd_bytes(data) or not _has_known_lines(data):
        return None
    return start, data.count(b"\n  - id: ", start - 1)


def _has_odd_bytes(data: bytes) -> bool:
    if len(data) > MAX_BYTES or b"\r" in data:
        return True
    if data.isascii():
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return any(odd in data for odd in _ODD_BREAKS)
