r"""Commit messages: what they say to people, and the trailers that say it to programs.

    Update 4f1c...                       the subject, or the caller's message
                                         (its body)
    Session-Id: 4f1c...                  the last paragraph, always ours
    Operation: update
    Actor: alice

Text from outside can forge nothing: a value is one line, and what git would read as the end of
the message (`---`, the scissors line) is defused. Lines end at ``\n`` and nowhere else; to
`str.splitlines` U+2028 ends a line too, and a value could then be read as a second trailer.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gitstore.errors import InvalidSessionIdError
from gitstore.session.ids import parse_session_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitstore.types import SessionId

#: Characters; a longer message is cut, since a log is not the place for a transcript.
MESSAGE_MAX: Final = 16_000
#: Characters; the same for one value on one line.
VALUE_MAX: Final = 250

_SESSION_ID: Final = "Session-Id"
_OPERATION: Final = "Operation"
_ACTOR: Final = "Actor"

#: Lower case: what a caller's own trailer may not be called, since the last of a name counts.
_OURS: Final = frozenset({_SESSION_ID.lower(), _OPERATION.lower(), _ACTOR.lower()})

_VERBS: Final = {"adopt": "Adopt hand edit of", "undo": "Undo change of"}
_BREAKING: Final = frozenset({"Cc", "Zl", "Zp"})
_TAB_WIDTH: Final = 4
# Where git stops reading for trailers: the divider of a patch, and the scissors that
# `git commit --cleanup=scissors` puts behind whatever the comment character is.
_DIVIDER: Final = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_SCISSORS: Final = re.compile(r"-{20,} (>8|8<|>%|%<) -{20,}")
_TRAILER: Final = re.compile(r"([A-Za-z0-9-]+)[ \t]*:(.*)", re.DOTALL)
_BLANKS: Final = " \t\r"
_CHERRY_PICK: Final = "(cherry picked from commit "


@dataclass(frozen=True, slots=True, kw_only=True)
class Trailers:
    """What a commit message says; the fields are None in a commit that is not gitstore's."""

    subject: str
    session_id: SessionId | None = None
    operation: str | None = None
    actor: str | None = None


def compose(
    *,
    operation: str,
    session_id: SessionId | None,
    message: str | None,
    actor: str | None,
    detail: str = "",
    extra: Mapping[str, str] | None = None,
) -> str:
    """Return the message of a commit, ending in its trailers and a newline.

    `operation` is a verb such as ``create``. `detail` follows the subject made from it, as in
    ``Restore X from 1a2b3c4``, and is not used when `message` gives the subject. `extra` holds
    further trailers, such as ``Copied-From``; one named like ours, or like nothing, is left out.
    """
    # Never empty: without a trailer of ours the last paragraph would be the caller's.
    verb = _one_line(operation) or "change"
    head = (message and _clean(message)) or _subject(verb, session_id, detail)
    more = [(_key(key), value) for key, value in (extra or {}).items()]
    values = (
        (_SESSION_ID, session_id),
        (_OPERATION, verb),
        (_ACTOR, actor),
        *((key, value) for key, value in more if key and key.lower() not in _OURS),
    )
    lines = [f"{key}: {line}" for key, value in values if (line := _one_line(value or ""))]
    return "\n".join([head, "", *lines, ""])


def parse(message: str) -> Trailers:
    """Return what a commit message says; nobody's message is an error.

    Of a trailer given twice the last counts. A Session-Id that cannot be one is None.
    """
    paragraphs = _paragraphs(message)
    subject = " ".join(line.strip(_BLANKS) for line in paragraphs[0]) if paragraphs else ""
    found = _trailers(paragraphs[-1]) if len(paragraphs) > 1 else {}
    try:
        session_id = parse_session_id(found.get(_SESSION_ID.lower(), ""))
    except InvalidSessionIdError:
        session_id = None
    return Trailers(
        subject=subject,
        session_id=session_id,
        operation=found.get(_OPERATION.lower()) or None,
        actor=found.get(_ACTOR.lower()) or None,
    )


def _subject(operation: str, session_id: SessionId | None, detail: str) -> str:
    if operation == "init":
        return "Create the session store"
    verb = _VERBS.get(operation) or f"{operation.capitalize()}{' session' if session_id else ''}"
    words = (verb, _one_line(session_id or ""), _one_line(detail))
    return _DIVIDER.sub(" ---", " ".join(word for word in words if word))


def _key(name: str) -> str:
    """Return the name of a trailer with what git allows in one: letters, digits, hyphens."""
    return "".join(c for c in name if c.isascii() and (c.isalnum() or c == "-")).strip("-")


def _one_line(value: str) -> str:
    """Return the value without anything that could end its line or act on a terminal."""
    if value.isascii() and value.isprintable() and "--" not in value:
        return _cut(value.strip(), VALUE_MAX)  # nearly every one: there is nothing to replace
    spaced = "".join(" " if unicodedata.category(c) in _BREAKING else c for c in value)
    return _cut(_SCISSORS.sub(r"-- \1 --", _encodable(spaced.strip())), VALUE_MAX)


def _clean(message: str) -> str:
    """Return the caller's message as lines of printable text, or nothing if there is none."""
    lines = (
        "".join(" " if unicodedata.category(c) in _BREAKING else c for c in line).rstrip()
        for line in _cut(message, MESSAGE_MAX)
        .replace("\r\n", "\n")
        .expandtabs(_TAB_WIDTH)
        .split("\n")
    )
    text = _SCISSORS.sub(r"-- \1 --", _encodable("\n".join(lines).strip()))
    return _DIVIDER.sub(" ---", text)


def _encodable(text: str) -> str:
    """Return the text with U+FFFD in place of lone surrogates, which UTF-8 cannot hold."""
    return (
        text
        if text.isascii()
        else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )


def _cut(text: str, length_max: int) -> str:
    return text if len(text) <= length_max else text[: length_max - 3].rstrip() + "..."


def _paragraphs(message: str) -> list[list[str]]:
    """Split a message at its blank lines, as git does."""
    paragraphs: list[list[str]] = [[]]
    for line in message.split("\n"):
        if line.strip(_BLANKS):
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    return [lines for lines in paragraphs if lines]


def _trailers(lines: list[str]) -> dict[str, str]:
    """Read a paragraph of trailers by lower-case key; a paragraph with prose in it holds none."""
    found: dict[str, str] = {}
    key = ""
    for line in lines:
        if line[0] in _BLANKS and key:
            found[key] = f"{found[key]} {line.strip(_BLANKS)}".strip(_BLANKS)
        elif match := _TRAILER.fullmatch(line):
            key = match[1].lower()
            found[key] = match[2].strip(_BLANKS)
        elif not line.startswith(_CHERRY_PICK):
            return {}
    return found
