"""Reads canonical text: parses it loosely, writes the result again, and compares.

Equal text proves the result, because the writer's text loads to the value it was given: a mistake
of the parser here can only cost the detour through the full parser.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from gitstore.session.codec.scalars import UNESCAPES
from gitstore.session.codec.writer import END_MARK, TURN_INDENT, render, turn_text

if TYPE_CHECKING:
    from gitstore.session.values import Value

_CONSTANTS: Final[dict[str, bool | None]] = {"null": None, "true": True, "false": False}
_NUMBER_START: Final = frozenset("-0123456789")
#: How the values begin that are not the text itself, or may not be.
_MARKS: Final = _NUMBER_START | frozenset("\"'[{|?ntf")
_END_LINES: Final = END_MARK.split("\n")
_escapes = re.compile(r"\\(?:x([0-9A-F]{2})|u([0-9A-F]{4})|(.))", re.DOTALL)
_quoted_key = re.compile(r"""(?:'([^']*)'|"((?:[^"\\]|\\.)*)"):(?: |$)""").match


class _NotCanonicalError(Exception):
    """The text has a form that the writer does not write."""


def read_exact(text: str) -> dict[str, Any] | None:
    """Return the document of a canonical text, or None when the text is not canonical."""
    if text == "{}\n":
        return {}
    try:
        document = _Parser(text, {}).document()
        return document if render(document) == text else None
    # Whatever trips a loose parser on a text that it was not made for.
    except (_NotCanonicalError, ValueError, TypeError, LookupError, RecursionError):
        return None


def read_exact_turn(text: str, names: dict[str, str]) -> Value | None:
    """Return the one turn that some canonical lines hold, or None when they are not canonical.

    `names` remembers the keys, for one turn after the other.
    """
    try:
        turn = _Parser(text, names).turn()
        return turn if turn_text(turn)[0] == text else None
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
    """A cursor over the lines: `at` is the line that comes next; the last one is empty.

    It looks at nothing that the comparison finds out anyway. `names` remembers the keys by what stands
    before the colon, so that each is one text, however often it comes.
    """

    __slots__ = ("_names", "at", "end", "lines")

    def __init__(self, text: str, names: dict[str, str]) -> None:
        self.lines = text.split("\n")
        if self.lines[-2:] == _END_LINES:
            del self.lines[-2]
        self.at = 0
        self.end = len(self.lines) - 1
        self._names = names

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
        lines, names, inner = self.lines, self._names, indent + "  "
        while True:
            self.at += 1
            start, _, rest = text.partition(": ")
            key = names.get(start)
            if key is None:
                key, rest = self.entry(text)
            if not rest:
                value = self.block(indent, inner)
            elif rest[0] not in _MARKS:
                value = rest
            elif rest[0] == "|":
                value = self.literal(rest, inner)
            elif rest[0] == "?":
                value = self.explicit(indent, inner)
            else:
                value = _scalar(rest)
            entries[key] = value
            line = lines[self.at]
            text = line.removeprefix(indent)
            # At the margin every line begins with the indentation, but the last one is empty.
            if text == line and (indent or not line):
                return entries

    def entry(self, text: str) -> tuple[str, str]:
        """Cut an entry behind its colon; behind an explicit key, the question mark is the rest."""
        if text[:2] == "? ":
            return _scalar(text[2:]), "?"
        if text[0] in "\"'":
            match = _quoted_key(text)
            if match is None:
                raise _NotCanonicalError
            return _scalar(text[: match.end(match.lastindex or 0) + 1]), text[match.end() :]
        start, _, rest = text.partition(": ")
        key = self._names[start] = start.removesuffix(":")
        return key, rest

    def explicit(self, indent: str, inner: str) -> Value:
        """Read the value of an explicit key, which begins on this line."""
        line = self.lines[self.at]
        text = line.removeprefix(indent + ": ")
        if text == line:
            raise _NotCanonicalError
        return self.item(text, inner)

    def block(self, indent: str, inner: str) -> Value:
        """Read the map or list on the lines below a key at `indent`."""
        line = self.lines[self.at]
        if line.startswith(inner):
            return self.mapping(inner, line[len(inner) :])
        if line.startswith(indent + "- "):
            return self.sequence(indent, line[len(inner) :])
        raise _NotCanonicalError

    def sequence(self, indent: str, text: str) -> list[Any]:
        """Read items with dashes at `indent`; `text` stands behind the first dash."""
        items: list[Any] = []
        lines, dash, inner = self.lines, indent + "- ", indent + "  "
        while True:
            items.append(self.item(text, inner))
            line = lines[self.at]
            text = line.removeprefix(dash)
            if text == line:
                return items

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
        lines, body = self.lines, list[str]()
        for at in range(self.at, self.end):
            line = lines[at]
            text = line.removeprefix(indent)
            if text == line and line:
                break
            body.append(text)
        self.at += len(body)
        text = "\n".join(body)
        return text if header[-1] == "-" else text + "\n"
