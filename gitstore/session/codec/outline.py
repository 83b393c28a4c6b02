"""Cuts a session file that a person edited into parts, each of whole lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ruamel.yaml.events import (
    DocumentEndEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from gitstore.session.codec.reader import Event, has_odd_breaks, parse_events

_STARTS: Final[frozenset[object]] = frozenset({MappingStartEvent, SequenceStartEvent})
_ENDS: Final[frozenset[object]] = frozenset({MappingEndEvent, SequenceEndEvent})
#: Levels of maps and lists around: keys of the session, keys of its history, turns.
_TOP, _HISTORY, _TURNS = 1, 2, 3


@dataclass(slots=True, kw_only=True)
class Outline:
    """The lines that begin a part, counted from 0; the comments right above it belong to it.

    The parts of the session end where the next one begins, the last one at `end`: what follows are
    comments at the margin and the end mark. `turns` are the parts inside the history, None when
    its lines cannot be told apart; `dash` is the column of their dashes.
    """

    keys: list[int]
    turns: list[int] | None
    dash: int
    end: int


def find_outline(text: str) -> Outline | None:
    """Return the parts of a text that the reader has accepted, or None when it has no such lines.

    The parser's errors pass through.
    """
    if has_odd_breaks(text):
        return None
    scan = _Scan()
    for event in parse_events(text, pure=False):
        scan.take(event)
    lines = text.split("\n")
    end = len(lines) if text[-1:] != "\n" else len(lines) - 1
    if scan.end is not None:
        end = scan.end
    if not scan.keys or scan.is_indented:
        return None
    return Outline(
        keys=[_first_comment(lines, line, 0) for line in scan.keys],
        turns=scan.turn_lines(lines),
        dash=scan.dash,
        end=_before_margin(lines, end),
    )


def _first_comment(lines: list[str], line: int, column: int) -> int:
    mark = " " * column + "#"
    while line > 0 and lines[line - 1].startswith(mark):
        line -= 1
    return line


def _before_margin(lines: list[str], end: int) -> int:
    """Return where the comments at the left margin begin that end the file."""
    at = end
    while at > 0 and (lines[at - 1][:1] == "#" or not lines[at - 1].strip(" \r")):
        at -= 1
        if lines[at][:1] == "#":
            end = at
    return end


class _Scan:
    """Follows the events, and notes the lines of keys and turns."""

    __slots__ = ("_depth", "_expects_key", "_name", "dash", "end", "is_indented", "keys", "turns")

    def __init__(self) -> None:
        self._depth = 0
        # By level: whether a key comes next, and the key that came last.
        self._expects_key = [True, True, True]
        self._name: list[Any] = [None, None, None]
        self.keys: list[int] = []
        self.turns: list[int] | None = None
        self.dash = 0
        self.is_indented = False
        self.end: int | None = None

    def take(self, event: Event) -> None:
        """Note what an event begins, or ends."""
        kind: object = event.__class__
        if kind in _ENDS:
            self._depth -= 1
            return
        begins = kind in _STARTS
        if begins or kind is ScalarEvent:
            if self._depth <= _TURNS:
                self._note(event, kind)
            self._depth += begins
        elif kind is DocumentEndEvent and event.explicit:
            self.end = event.start_mark.line

    def _note(self, event: Event, kind: object) -> None:
        depth, mark = self._depth, event.start_mark
        if depth == 0:
            self.is_indented = bool(event.flow_style)
        elif depth == _TOP:
            self._note_entry(depth, event, kind)
            if not self._expects_key[depth]:
                self.keys.append(mark.line)
                self.is_indented |= mark.column != 0
        elif self._name[_TOP] == "history" and depth == _HISTORY:
            self._note_entry(depth, event, kind)
        elif depth == _TURNS and self._is_in_turns() and self.turns is not None:
            self.turns.append(mark.line)

    def _note_entry(self, depth: int, event: Event, kind: object) -> None:
        if self._expects_key[depth]:
            self._expects_key[depth] = False
            self._name[depth] = event.value
            if depth == _HISTORY:
                self.turns = None  # a key behind the turns: they are not the last thing there
            return
        self._expects_key[depth] = True
        if self._is_in_turns() and kind is SequenceStartEvent and not event.flow_style:
            self.turns = []
            self.dash = event.start_mark.column

    def _is_in_turns(self) -> bool:
        return self._name[_TOP:] == ["history", "turns"]

    def turn_lines(self, lines: list[str]) -> list[int] | None:
        """Return where the turns begin, when each stands on lines of its own behind its dash."""
        dash = " " * self.dash + "- "
        if not self.turns or not all(lines[line].startswith(dash) for line in self.turns):
            return None
        return [_first_comment(lines, line, self.dash) for line in self.turns]
