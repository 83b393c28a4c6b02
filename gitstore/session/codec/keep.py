"""Saves over a file that a person edited: what did not change keeps its bytes.

The file is cut into parts: the entries of the session, and in its history the turns. A part that
did not change is copied; a changed one is patched line by line, else rewritten through ruamel's
tree, else written canonically below its own comments. Each way is proved by reading the part
again, and the whole file at the end; what fails falls through to the next, and at last to None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gitstore.errors import SerializationError
from gitstore.session.codec.match import pair_items, same
from gitstore.session.codec.outline import Outline, find_outline
from gitstore.session.codec.patch import CannotPatchError, patch_text
from gitstore.session.codec.reader import PARSER_FAILURES, read_text
from gitstore.session.codec.rewrite import rewrite_text
from gitstore.session.codec.writer import entries_text, items_text
from gitstore.session.values import Value, is_map

if TYPE_CHECKING:
    from collections.abc import Callable

_HISTORY: Final = "history"
_TURNS: Final = "turns"


class _CannotKeepError(Exception):
    """The parts are not what they look like."""


def keep_text(text: str, old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """Return the text of `old`, changed where `new` differs; None when that cannot be proved.

    `text` may end its lines with CR LF; `new` holds plain values only.
    """
    if same(old, new):
        return text
    breaks = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
    for keep in (_keep_parts, _keep_whole):
        try:
            result = keep(text, old, new, breaks)
            if same(read_text(result.replace("\r\n", "\n")), new):
                return result
        except (_CannotKeepError, SerializationError):
            continue
    return None


def _keep_parts(text: str, old: dict[str, Any], new: dict[str, Any], breaks: str) -> str:
    try:
        outline = find_outline(text.replace("\r\n", "\n"))
    except PARSER_FAILURES as error:  # only ruamel's own parser accepts the text
        raise _CannotKeepError from error
    if outline is None or len(outline.keys) != len(old):
        raise _CannotKeepError
    return _Keeper(text, outline, breaks).session(old, new)


def _keep_whole(text: str, old: dict[str, Any], new: dict[str, Any], breaks: str) -> str:
    """Change a file that has no parts, or not those that it seems to have."""
    plain = text.replace("\r\n", "\n")
    return _change(plain, old, new, lambda: None).replace("\n", breaks)


def _change(text: str, old: Value, new: Value, canonical: Callable[[], str | None]) -> str:
    """Return the text of a part with its value changed.

    Raises:
        _CannotKeepError: The text is not the part that it should be.
    """
    if not _reads_as(text, old):
        raise _CannotKeepError
    for change in (_patched, _rewritten):
        result = change(text, old, new)
        if result is not None and _reads_as(result, new):
            return result
    lines = canonical()
    if lines is None:
        raise _CannotKeepError
    return _leading_comments(text) + lines


def _patched(text: str, old: Value, new: Value) -> str | None:
    try:
        return patch_text(text, old, new)
    except (CannotPatchError, *PARSER_FAILURES):
        return None


def _rewritten(text: str, old: Value, new: Value) -> str | None:
    body = text[len(_leading_comments(text)) :]
    try:
        return rewrite_text(text, old, new, " " * (len(body) - len(body.lstrip(" "))))
    except PARSER_FAILURES:
        return None


def _reads_as(text: str, value: Value) -> bool:
    try:
        return same(read_text(text), value)
    except SerializationError:
        return False


def _leading_comments(text: str) -> str:
    lines = _lines(text)
    count = 0
    while count < len(lines) and lines[count].lstrip(" ")[:1] in ("#", "\n"):
        count += 1
    return "".join(lines[:count])


class _Keeper:
    """Puts the parts of one file together again."""

    def __init__(self, text: str, outline: Outline, breaks: str) -> None:
        self._lines = _lines(text)
        self._outline = outline
        self._breaks = breaks

    def session(self, old: dict[str, Any], new: dict[str, Any]) -> str:
        """Return the whole file for a new document."""
        starts = [*self._outline.keys, self._outline.end]
        spans = {name: (starts[i], starts[i + 1]) for i, name in enumerate(old)}
        added: dict[str | None, list[str]] = {}
        before: str | None = None
        for name in new:
            if name in old:
                before = name
            else:
                added.setdefault(before, []).append(name)
        pieces = [self._copy(0, starts[0])]
        pieces += self._new_entries(added.get(None), new)
        for name, (start, end) in spans.items():
            if name in new:
                pieces.append(self._entry(name, start, end, old[name], new[name]))
                pieces += self._new_entries(added.get(name), new)
        pieces.append(self._copy(self._outline.end, len(self._lines)))
        return self._join(pieces)

    def _new_entries(self, names: list[str] | None, new: dict[str, Any]) -> list[str]:
        if not names:
            return []
        return [self._spell(entries_text({name: new[name] for name in names}, ""))]

    def _entry(self, name: str, start: int, end: int, old: Value, new: Value) -> str:
        if same(old, new):
            return self._copy(start, end)
        if name == _HISTORY and self._outline.turns and _has_turns(old) and _has_turns(new):
            return self._history(start, end, old, new)
        return self._part(
            start, end, {name: old}, {name: new}, lambda: entries_text({name: new}, "")
        )

    def _history(self, start: int, end: int, old: dict[str, Any], new: dict[str, Any]) -> str:
        first, *_ = turns = [*(self._outline.turns or ()), end]
        if len(turns) != len(old[_TURNS]) + 1:
            raise _CannotKeepError
        old_rest, new_rest = _without_turns(old), _without_turns(new)
        if same(old_rest, new_rest):
            pieces = [self._copy(start, first)]
        else:
            pieces = [
                self._part(
                    start,
                    first,
                    {_HISTORY: old_rest},
                    {_HISTORY: new_rest},
                    lambda: entries_text({_HISTORY: new_rest}, "").replace(
                        "turns: null\n", "turns:\n"
                    ),
                )
            ]
        for turn, source in zip(new[_TURNS], pair_items(old[_TURNS], new[_TURNS]), strict=True):
            if source is None:
                pieces.append(self._spell(items_text([turn], " " * self._outline.dash)))
            else:
                before = old[_TURNS][source]
                pieces.append(self._turn(turns[source], turns[source + 1], before, turn))
        return self._join(pieces)

    def _turn(self, start: int, end: int, old: Value, new: Value) -> str:
        if same(old, new):
            return self._copy(start, end)
        return self._part(
            start, end, [old], [new], lambda: items_text([new], " " * self._outline.dash)
        )

    def _part(
        self, start: int, end: int, old: Value, new: Value, canonical: Callable[[], str]
    ) -> str:
        text = self._copy(start, end).replace("\r\n", "\n")
        return self._spell(_change(text, old, new, canonical))

    def _copy(self, start: int, end: int) -> str:
        return "".join(self._lines[start:end])

    def _spell(self, text: str) -> str:
        return text.replace("\n", self._breaks)

    def _join(self, pieces: list[str]) -> str:
        """Put pieces together; only the last may lack its line break."""
        pieces = [piece for piece in pieces if piece]
        closed = [piece if piece.endswith("\n") else piece + self._breaks for piece in pieces[:-1]]
        return "".join(closed + pieces[-1:])


def _lines(text: str) -> list[str]:
    """Cut a text at its line feeds only, as the parser counts lines; not at form feeds."""
    *closed, last = text.split("\n")
    lines = [line + "\n" for line in closed]
    return [*lines, last] if last else lines


def _without_turns(history: dict[str, Any]) -> dict[str, Any]:
    """Return the history as it reads up to its turns, which come last."""
    rest = {name: value for name, value in history.items() if name != _TURNS}
    return {**rest, _TURNS: None}


def _has_turns(history: Value) -> bool:
    return is_map(history) and isinstance(history.get(_TURNS), list) and bool(history[_TURNS])
