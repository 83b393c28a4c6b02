"""Turns and diffs as HTML. All text goes through `text`: nothing in a session can become markup."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any, Final

from gitstore.session.diff import visible
from gitstore.session.difftext import inline, text_diff, turn_lines, turn_name
from gitstore.session.values import is_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gitstore.session.diff import FieldChange, PlacedTurn, SessionDiff

#: Characters of one turn and of one value in a diff; the rest is counted, and stays in the store.
TURN_MAX: Final = 40_000
_DIFF_MAX: Final = 6_000
_LINES_MAX: Final = 200
_ROLES: Final = ("user", "assistant", "system", "tool")
_KINDS: Final = {"-": "old", "+": "new", "@": "hunk"}


def text(value: object) -> str:
    """Return any value as text for HTML: escaped, and with what cannot be seen spelled out."""
    return escape(visible(str(value), keep="\n\t"))


def session_diff(diff: SessionDiff) -> Iterator[str]:
    """Return what changed in one session."""
    if diff.fields:
        yield from _fields(diff.fields)
    for removed in diff.turns_removed:
        yield from _whole("-", "removed", removed)
    for turn in diff.turns_changed:
        yield f"<h4>Turn {text(turn.id)} edited</h4>"
        yield from _fields(turn.fields)
    if diff.turns_moved:
        yield "<h4>Turns moved</h4><ul class=fields>"
        for move in diff.turns_moved:
            yield f"<li><code>{text(move.id or '(no id)')}</code> from [{move.old}] to [{move.new}]</li>"
        yield "</ul>"
    for added in diff.turns_added:
        yield from _whole("+", "added", added)


def turns(found: Iterable[Any]) -> Iterator[str]:
    """Return the turns of a session, each an article with a heading."""
    for position, turn in enumerate(found):
        parts: dict[str, Any] = turn if is_map(turn) else {"content": turn}
        role = str(parts.get("role", ""))
        kind = f" {role}" if role in _ROLES else ""
        time = parts.get("timestamp", "")
        yield f'<article class="turn{kind}">'
        yield f"<h3>{position + 1}. {text(role or 'turn')} "
        yield f"<span class=faint><time>{text(time)}</time> <code>{text(parts.get('id', ''))}</code></span></h3>"
        content = parts.get("content", "")
        yield _pre(content if isinstance(content, str) else json.dumps(content, indent=2))
        for key, value in parts.items():
            if key not in ("id", "role", "timestamp", "content"):
                yield f"<h4>{text(key)}</h4>{_pre(json.dumps(value, ensure_ascii=False, indent=2))}"
        yield "</article>"


def _pre(content: str) -> str:
    left = len(content) - TURN_MAX
    cut = f"<p class=faint>{left:,} more characters are in the store.</p>" if left > 0 else ""
    return f"<pre dir=auto>{text(content[:TURN_MAX])}</pre>{cut}"


def _fields(changes: Iterable[FieldChange]) -> Iterator[str]:
    yield "<ul class=fields>"
    for change in changes:
        name = f"<code>{text(change.where)}</code>"
        if (lines := text_diff(change)) is not None:
            yield f"<li>{name}{_lines(lines)}</li>"
            continue
        old, new = inline(change)
        removed = "" if old is None else f"<del>{text(old)}</del>"
        added = "" if new is None else f"<ins>{text(new)}</ins>"
        word = " added " if old is None else " removed " if new is None else " "
        arrow = " → " if removed and added else ""
        yield f"<li>{name}{word}{removed}{arrow}{added}</li>"
    yield "</ul>"


def _whole(sign: str, word: str, placed: PlacedTurn) -> Iterator[str]:
    yield f"<h4>Turn {text(turn_name(placed))} {word}</h4>"
    yield _lines([f"{sign}{line}" for line in turn_lines(placed.turn)])


def _lines(lines: list[str]) -> str:
    """Return the lines of a diff; the sign tells what the colour tells."""
    shown: list[str] = []
    room = _DIFF_MAX
    for line in lines[:_LINES_MAX]:
        if room <= 0:
            break
        shown.append(f'<span class="{_KINDS.get(line[:1], "same")}">{text(line[:room])}</span>')
        room -= len(line)
    left = len(lines) - len(shown)
    more = f"{left:,} more lines are in the store." if left else ""
    more = more or ("The rest of the last line is in the store." if room < 0 else "")
    note = f"<p class=faint>{more}</p>" if more else ""
    return f"<pre class=diff dir=auto>{''.join(shown)}</pre>{note}"
