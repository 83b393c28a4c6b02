"""A diff of sessions as plain text, with line diffs inside long content."""

from __future__ import annotations

import json
from collections import Counter
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Final

from gitstore.session.diff import FieldChange, visible
from gitstore.session.values import is_map
from gitstore.types import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gitstore.session.diff import PlacedTurn, SessionDiff

#: Lines of unchanged text around each change.
_CONTEXT: Final = 3
#: Between the first and the last change: the most lines that are compared one by one, and the
#: most pairs of equal ones. Where there are more, the whole stretch is told as replaced: finding
#: the lines would take seconds, on text made for it (a few lines over and over) hours.
_LINES_MAX: Final = 5_000
_PAIRS_MAX: Final = 60_000
#: Characters of a value told on one line; of a longer one, what surrounds the change.
_SHOWN_MAX: Final = 100
_AROUND: Final = 30
_TABS_KEPT: Final = "\t"


def render(diff: SessionDiff) -> str:
    """Return a diff as lines of text, each ended; nothing in it can act on a terminal."""
    names = [each[:10] for each in (diff.old_revision, diff.new_revision) if each]
    versions = f": {' -> '.join(names)}" if names else ""
    lines = [f"session {visible(diff.session_id)}{versions}", diff.summary]
    if diff.fields:
        lines.append("")
    for change in diff.fields:
        lines += field_lines(change)
    for removed in diff.turns_removed:
        lines += ["", f"turn {turn_name(removed)} removed", *_signed("-", removed)]
    for turn in diff.turns_changed:
        lines += ["", f"turn {visible(turn.id)} edited"]
        lines += [f"  {line}" for change in turn.fields for line in field_lines(change)]
    for move in diff.turns_moved:
        lines += [
            "",
            f"turn {visible(move.id or '(no id)')} moved from [{move.old}] to [{move.new}]",
        ]
    for added in diff.turns_added:
        lines += ["", f"turn {turn_name(added)} added", *_signed("+", added)]
    return "\n".join([*lines, ""])


def field_lines(change: FieldChange) -> list[str]:
    """Return one change as lines: on one line what fits there, else a line diff below the path."""
    where = visible(change.where)
    if (lines := text_diff(change)) is not None:
        return [f"{where}:", *(f"  {line}" for line in lines)]
    old, new = inline(change)
    if old is None:
        return [f"{where}: added {new}"]
    return [f"{where}: removed {old}" if new is None else f"{where}: {old} -> {new}"]


def inline(change: FieldChange) -> tuple[str | None, str | None]:
    """Return both values on one line each: of long ones what surrounds the change; None if absent."""
    if change.old is MISSING or change.new is MISSING:
        sides = (None if side is MISSING else _short(side) for side in (change.old, change.new))
        old, new = sides
        return old, new
    return _pair(change.old, change.new)


def text_diff(change: FieldChange) -> list[str] | None:
    """Return a unified diff of two values, without file names; None if one line says it all.

    Text is compared line by line, anything else as indented JSON. What cannot be seen is spelled
    out. Costs at most some 100 ms however the texts are made.
    """
    sides = [side for side in (change.old, change.new) if side is not MISSING]
    if not any(isinstance(side, str) and "\n" in side for side in sides) and (
        any(isinstance(side, str) for side in sides)
        or all(len(_json(side)) <= _SHOWN_MAX for side in sides)
    ):
        return None
    old, new = ([] if side is MISSING else _lines(side) for side in (change.old, change.new))
    if old == new:  # text that spells a value of another type
        return None
    return [visible(line, keep=_TABS_KEPT) for line in _unified(old, new)]


def turn_name(placed: PlacedTurn) -> str:
    """Return what a turn is called in a heading: id, index, role and time."""
    turn = placed.turn if is_map(placed.turn) else {}
    said = [str(turn[key]) for key in ("role", "timestamp") if turn.get(key)]
    name = f"{turn.get('id') or '(no id)'} [{placed.position}]"
    return visible(f"{name} ({', '.join(said)})" if said else name)


def _signed(sign: str, placed: PlacedTurn) -> Iterator[str]:
    return (f"  {sign}{line}" for line in turn_lines(placed.turn))


def turn_lines(turn: Any) -> Iterator[str]:  # noqa: ANN401 - whatever the file holds
    """Return the lines of a whole turn: its content, then what `turn_name` does not say."""
    parts = turn if is_map(turn) else {"content": turn}
    yield from (visible(line, keep=_TABS_KEPT) for line in _lines(parts.get("content", "")))
    for key, value in parts.items():
        if key not in ("id", "role", "timestamp", "content"):
            change = FieldChange(where=key, old=MISSING, new=value)
            if (lines := text_diff(change)) is None:
                yield f"{visible(key)}: {_short(value)}"
            else:
                yield f"{visible(key)}:"
                yield from (f"  {line[1:]}" for line in lines[1:])


def _lines(value: Any) -> list[str]:  # noqa: ANN401 - whatever the file holds
    return (value if isinstance(value, str) else _json(value, indent=2)).split("\n")


def _json(value: Any, *, indent: int | None = None) -> str:  # noqa: ANN401 - whatever the file holds
    return json.dumps(value, ensure_ascii=False, indent=indent, default=repr)


def _short(value: Any) -> str:  # noqa: ANN401 - whatever the file holds
    text = visible(_json(value))
    if len(text) <= _SHOWN_MAX:
        return text
    return f"{text[: _SHOWN_MAX - 1]}… ({len(text):,} characters)"


def _pair(old: Any, new: Any) -> tuple[str, str]:  # noqa: ANN401 - whatever the file holds
    """Return two values on one line each; of long ones what surrounds the change."""
    one, other = _json(old), _json(new)
    if max(len(one), len(other)) <= _SHOWN_MAX:
        return visible(one), visible(other)
    start = _common(one, other)
    end = _common(one[start:][::-1], other[start:][::-1])
    return _excerpt(one, start, len(one) - end), _excerpt(other, start, len(other) - end)


def _excerpt(text: str, start: int, end: int) -> str:
    first, last = max(start - _AROUND, 0), min(end + _AROUND, len(text))
    before, after = "…" if first else "", "…" if last < len(text) else ""
    if last - first > 2 * _SHOWN_MAX:
        middle = f"{text[first : first + _SHOWN_MAX]}…{text[last - _SHOWN_MAX : last]}"
    else:
        middle = text[first:last]
    return visible(f"{before}{middle}{after}")


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many items two sequences have in common at the start."""
    for count, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return count
    return min(len(one), len(other))


def _unified(old: list[str], new: list[str]) -> Iterator[str]:
    """Compare lines as `diff -u` does, between the first and the last that differ."""
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    first = max(start - _CONTEXT, 0)
    a = old[first : len(old) - max(end - _CONTEXT, 0)]
    b = new[first : len(new) - max(end - _CONTEXT, 0)]
    if _is_quick(a, b):
        hunks = list(SequenceMatcher(None, a, b, autojunk=False).get_grouped_opcodes(_CONTEXT))
    else:
        lead, i, j = start - first, len(a) - min(end, _CONTEXT), len(b) - min(end, _CONTEXT)
        hunks = [
            [
                ("equal", 0, lead, 0, lead),
                ("replace", lead, i, lead, j),
                ("equal", i, len(a), j, len(b)),
            ]
        ]
    for hunk in hunks:
        (_, i1, _, j1, _), (_, _, i2, _, j2) = hunk[0], hunk[-1]
        yield f"@@ -{_span(first, i1, i2)} +{_span(first, j1, j2)} @@"
        for kind, i1, i2, j1, j2 in hunk:
            if kind == "equal":
                yield from (f" {line}" for line in a[i1:i2])
            else:
                yield from (f"-{line}" for line in a[i1:i2])
                yield from (f"+{line}" for line in b[j1:j2])


def _is_quick(a: list[str], b: list[str]) -> bool:
    if len(a) + len(b) > _LINES_MAX:
        return False
    often = Counter(b)
    return sum(often[line] for line in a) <= _PAIRS_MAX


def _span(offset: int, start: int, end: int) -> str:
    """Return a range of lines as the head of a hunk has it: from 1, with the count unless it is 1."""
    count = end - start
    begin = offset + start + (1 if count else 0)
    return str(begin) if count == 1 else f"{begin},{count}"
