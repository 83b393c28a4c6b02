"""Reads canonical text: parses it loosely, writes the result again, and compares.

Equal text proves the result, because the writer's text loads to the value it was given: a mistake
of the parser here can only cost the detour through the full parser.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from gitstore.session.codec.scalars import UNESCAPES
from gitstore.session.codec.writer import TURN_INDENT, render, turn_text

if TYPE_CHECKING:
    from gitstore.session.values import Value

_CONSTANTS: Final[dict[str, bool | None]] = {"null": None, "true": True, "false": False}
_NUMBER_START: Final = frozenset("-0123456789")
_escapes = re.compile(r"\\(?:x([0-9A-F]{2})|u([0-9A-F]{4})|(.))", re.DOTALL)
_quoted_key = re.compile(r"""(?:'([^']*)'|"((?:[^"\\]|\\.)*)"):(?: |$)""").match


class _NotCanonicalError(Exception):
    """The text has a form that the writer does not write."""


def read_exact(text: str) -> dict[str, Any] | None:
    """Return the document of a canonical text, or None when the text is not canonical."""
    if text == "{}\n":
        return {}
    try:
        document = _Parser(text).document()
        return document if render(document) == text else None
    # Whatever trips a loose parser on a text that it was not made for.
    except (_NotCanonicalError, ValueError, TypeError, LookupError, RecursionError):
        return None


def read_exact_turn(text: str, keys: dict[str, str]) -> Value | None:
    """Return the one turn that some canonical lines hold, or None when they are not canonical.

    `keys` is that of `turn_text`.
    """
    try:
        turn = _Parser(text).turn()
        return turn if turn_text(turn, keys)[0] == text else None
    # As above.
    except (_NotCanonicalError, ValueError, TypeError, LookupError, RecursionError):
        return None


def _unescape(match: re.Match[str]) -> str:
    digits = match[1] or match[2]
    return chr(int(digits, 16)) if digits else UNESCAPES[match[3]]


def _scalar(text: str) -> Value:  # noqa: PLR0911 - one line for each type
    start = text[0]
    if start == '"':
        body = text[1:-1]
        return _escapes.sub(_unescape, body) if "\\" in body else body
    if start == "'":
        return text[1:-1]
    if start in _NUMBER_START:
        return float(text) if "." in text else int(text)
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if start == "[":
        return []
    if start == "{":
        return {}
    return text


def _begins_entry(text: str) -> bool:
    """Whether the text behind a dash or an explicit key begins a map."""
    if text[0] in "\"'":
        return _quoted_key(text) is not None
    return ": " in text or text[-1] == ":" or text[:2] == "? "


class _Parser:
    """A cursor over the lines: `at` is the line that comes next."""

    __slots__ = ("at", "end", "lines")

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.at = 0
        self.end = len(self.lines) - 1
        if self.lines[self.end - 1] == "...":
            self.end -= 1

    def document(self) -> dict[str, Any]:
        """Return the value of all lines."""
        document = self.mapping("", self.lines[0])
        if self.at != self.end:
            raise _NotCanonicalError
        return document

    def turn(self) -> Value:
        """Return the one item of a list of turns that all lines are."""
        items = self.sequence(TURN_INDENT, self.lines[0][len(TURN_INDENT) + 2 :])
        if self.at != self.end or len(items) != 1:
            raise _NotCanonicalError
        return items[0]

    def mapping(self, indent: str, text: str) -> dict[str, Any]:
        """Read entries at `indent`; `text` is the first line from there on."""
        entries: dict[str, Any] = {}
        lines, end, width = self.lines, self.end, len(indent)
        while True:
            self.at += 1
            if text[:2] == "? ":
                key = _scalar(text[2:])
                if not lines[self.at].startswith(indent + ":"):
                    raise _NotCanonicalError
                value = self.item(lines[self.at][width + 2 :], indent + "  ")
            else:
                key, rest = self.entry(text)
                if not rest:
                    value = self.block(indent)
                elif rest[0] == "|":
                    value = self.literal(rest, indent + "  ")
                else:
                    value = _scalar(rest)
            entries[key] = value
            if self.at >= end:
                return entries
            line = lines[self.at]
            if not line.startswith(indent):
                return entries
            text = line[width:]
            if not text or text[0] == " " or text[:2] == "- ":
                return entries

    def entry(self, text: str) -> tuple[str, str]:
        """Cut an entry behind its colon."""
        if text[0] in "\"'":
            match = _quoted_key(text)
            if match is None:
                raise _NotCanonicalError
            return _scalar(text[: match.end(match.lastindex or 0) + 1]), text[match.end() :]
        colon = text.find(": ")
        if colon >= 0:
            return text[:colon], text[colon + 2 :]
        if text[-1] != ":":
            raise _NotCanonicalError
        return text[:-1], ""

    def block(self, indent: str) -> Value:
        """Read the map or list on the lines below a key at `indent`."""
        line = self.lines[self.at]
        inner = indent + "  "
        if line.startswith(indent + "- "):
            return self.sequence(indent, line[len(inner) :])
        if line.startswith(inner):
            return self.mapping(inner, line[len(inner) :])
        raise _NotCanonicalError

    def sequence(self, indent: str, text: str) -> list[Any]:
        """Read items with dashes at `indent`; `text` stands behind the first dash."""
        items: list[Any] = []
        dash, inner = indent + "- ", indent + "  "
        while True:
            items.append(self.item(text, inner))
            if self.at >= self.end:
                return items
            line = self.lines[self.at]
            if not line.startswith(dash):
                return items
            text = line[len(dash) :]

    def item(self, text: str, indent: str) -> Value:
        """Read what stands behind a dash or an explicit key, from column `indent` of this line."""
        if text[:2] == "- ":
            return self.sequence(indent, text[2:])
        if text[0] == "|":
            self.at += 1
            return self.literal(text, indent)
        if _begins_entry(text):
            return self.mapping(indent, text)
        self.at += 1
        return _scalar(text)

    def literal(self, header: str, indent: str) -> str:
        """Read the lines of a block that are indented, or empty."""
        lines, at, end, width = self.lines, self.at, self.end, len(indent)
        start = at
        while at < end and (not lines[at] or lines[at].startswith(indent)):
            at += 1
        self.at = at
        body = "\n".join([line[width:] for line in lines[start:at]])
        return body if header[-1] == "-" else body + "\n"
