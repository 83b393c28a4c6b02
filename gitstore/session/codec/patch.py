"""Changes single lines of a text, so that every other byte of it stays.

The text is one that a person edited. Where a change does not fit into lines that can be told apart
(a text in quotes over several lines, items that moved), it gives up; where it does not, the result
still has to be proved by reading it: the caller compares.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from gitstore.session.codec.match import pair_items, same
from gitstore.session.codec.nodes import Node, find_nodes
from gitstore.session.codec.scalars import double_quoted, float_text, is_plain
from gitstore.session.codec.writer import entries_text, items_text, value_text
from gitstore.session.values import Value, is_list, is_map

if TYPE_CHECKING:
    from collections.abc import Callable

_note_at = re.compile(" +#.*").search
_is_simple: Final = re.compile(r"[A-Za-z][\w./-]*", re.ASCII).fullmatch


class CannotPatchError(Exception):
    """The change does not fit into single lines."""


def patch_text(text: str, old: Value, new: Value) -> str:
    """Return the text of `old` with the lines changed that make it the text of `new`.

    Raises:
        CannotPatchError: It cannot be done line by line.
    """
    patch = _Patch(text)
    root = find_nodes(text)
    if root.kind == "map" and is_map(new) and root.is_block and new:
        patch.mapping(root, old, new)
    elif root.kind == "list" and is_list(new) and root.is_block and new:
        patch.sequence(root, old, new)
    else:
        raise CannotPatchError
    return patch.apply()


def _flow_text(value: Value) -> str:
    """Return a value on one line, for a place between brackets."""
    if is_map(value):
        entries: dict[str, Any] = value
        inner = [f"{_flow_text(key)}: {_flow_text(item)}" for key, item in entries.items()]
        return "{" + ", ".join(inner) + "}"
    if is_list(value):
        items: list[Any] = value
        return "[" + ", ".join(map(_flow_text, items)) + "]"
    if isinstance(value, str):
        return value if _is_simple(value) and is_plain(value) else double_quoted(value)
    if isinstance(value, float):
        return float_text(value)
    return value_text(value, "").strip()


def _note(header: str) -> str:
    """Return the comment on a line, with the space in front of it."""
    match = _note_at(header)
    return match[0] if match else ""


def _group(order: list[Any], is_kept: Callable[[Any], bool]) -> dict[Any, list[Any]]:
    """Group what is new by the kept one in front of it; None stands for the start."""
    groups: dict[Any, list[Any]] = {}
    before = None
    for each in order:
        if is_kept(each):
            before = each
        else:
            groups.setdefault(before, []).append(each)
    return groups


class _Patch:
    """Collects edits of a text: from, to, and what to put there."""

    __slots__ = ("_edits", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._edits: list[tuple[int, int, str]] = []

    def apply(self) -> str:
        """Return the text with all edits; of two at one place the earlier comes first."""
        out: list[str] = []
        at = 0
        for start, end, text in sorted(self._edits, key=lambda edit: edit[:2]):
            if start < at:
                raise CannotPatchError
            out += (self._text[at:start], text)
            at = end
        return "".join(out) + self._text[at:]

    def mapping(self, node: Node, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Change the entries of a map of lines."""
        indent = " " * node.column
        names = list(old)
        kept = [name for name in names if name in new]
        if len(node.keys) != len(names) or not kept:
            raise CannotPatchError
        entries = dict(zip(names, zip(node.keys, node.children, strict=True), strict=True))
        for name, (key, child) in entries.items():
            if name not in new:
                self._require_line_start(key.start)
                self._drop_lines(key.start, self._entry_end(key, child, node.column))
            elif not same(old[name], new[name]):
                colon = self._text.index(":", key.end) + 1
                self._change(child, old[name], new[name], indent, colon)
        for before, added in _group(list(new), entries.__contains__).items():
            lines = entries_text({name: new[name] for name in added}, indent)
            key, child = entries[kept[0] if before is None else before]
            if before is None and not self._shares_line(key.start):
                self._insert_above(key.start, lines)
            else:
                self._insert_below(self._entry_end(key, child, node.column), lines)

    def sequence(self, node: Node, old: list[Any], new: list[Any]) -> None:
        """Change the items of a list of lines."""
        indent = " " * node.column
        sources = pair_items(old, new)
        kept = [source for source in sources if source is not None]
        if not kept or kept != sorted(kept):
            raise CannotPatchError
        dashes = [self._dash(child, node.column) for child in node.children]
        ends = [max(self._end(child, node.column), child.start) for child in node.children]
        for index in set(range(len(old))) - set(kept):
            self._require_line_start(dashes[index])
            self._drop_lines(self._comments_above(dashes[index]), ends[index])
        before: int | None = None
        for item, source in zip(new, sources, strict=True):
            if source is None:
                lines = items_text([item], indent)
                if before is not None:
                    self._insert_below(ends[before], lines)
                    continue
                self._require_line_start(dashes[0])
                self._insert_above(dashes[0], lines)
                continue
            before = source
            if not same(old[source], item):
                self._change(node.children[source], old[source], item, indent, dashes[source] + 1)

    def _change(self, node: Node, old: Value, new: Value, indent: str, after: int) -> None:
        """Change the value behind a colon or a dash that ends at `after`."""
        if node.is_block and node.kind == "map" and is_map(new) and new:
            self.mapping(node, old, new)
        elif node.is_block and node.kind == "list" and is_list(new) and new:
            self.sequence(node, old, new)
        elif node.is_block:
            self._replace_block(node, value_text(new, indent), indent, after)
        elif node.is_block_scalar:
            self._replace_block_scalar(node, value_text(new, indent), indent)
        elif "\n" in self._text[node.start : node.end]:
            raise CannotPatchError
        elif node.kind != "scalar" and (is_map(new) or is_list(new)) and new and old:
            self._edits.append((node.start, node.end, _flow_text(new)))
        else:
            self._replace_on_line(node, value_text(new, indent), after)

    def _replace_on_line(self, node: Node, text: str, after: int) -> None:
        head, _, body = text[:-1].partition("\n")
        start, end = node.start, node.end
        if start == end:  # a null that is not written
            start = end = after
        if start == after:
            self._edits.append((start, end, head))
        elif head:
            self._edits.append((start, end, head[1:]))
        else:
            gap = len(self._text[after:start]) - len(self._text[after:start].rstrip(" "))
            self._edits.append((start - gap, end, ""))
        if body:
            place = self._line_end(end)
            self._edits.append((place, place, "\n" + body))

    def _replace_block_scalar(self, node: Node, text: str, indent: str) -> None:
        head, _, body = text[:-1].partition("\n")
        header = self._text[node.start : self._line_end(node.start)]
        note = _note(header)
        end = self._end(node, len(indent))
        self._edits.append((node.start, end, head[1:] + note + ("\n" + body if body else "")))

    def _replace_block(self, node: Node, text: str, indent: str, after: int) -> None:
        if self._line_start(node.start) == self._line_start(after):
            raise CannotPatchError
        head, _, body = text[:-1].partition("\n")
        self._edits.append((after, after, head))
        below, end = self._line_end(after), self._line_end(self._end(node, len(indent)))
        self._edits.append((below, end, "\n" + body if body else ""))

    def _entry_end(self, key: Node, child: Node, column: int) -> int:
        return max(self._end(child, column), key.end)

    def _end(self, node: Node, column: int) -> int:
        """Return where the content of a node ends whose parent stands at `column`."""
        if node.is_block_scalar:
            return self._block_scalar_end(node, column)
        while node.is_block:
            last = node.children[-1]
            if node.kind == "map":
                column = node.column
                if last.is_flow and last.start == last.end:  # a null that is not written
                    return node.keys[-1].end
            column, node = node.column, last
        return self._block_scalar_end(node, column) if node.is_block_scalar else node.end

    def _block_scalar_end(self, node: Node, column: int) -> int:
        end = last = self._line_end(node.start)
        keeps = "+" in self._text[node.start : end].split("#")[0]
        while end < len(self._text):
            start, end = end + 1, self._line_end(end + 1)
            line = self._text[start:end]
            content = line.lstrip(" ")
            if not content and not keeps:
                continue
            if content and len(line) - len(content) <= column:
                break
            last = end
        return min(last, len(self._text))

    def _dash(self, child: Node, column: int) -> int:
        """Return where the dash of an item is: on its first line, or above it."""
        start = self._line_start(child.start)
        dash = self._text.rfind("-", start, child.start)
        while dash != start + column:
            if start == 0:
                raise CannotPatchError
            start = self._line_start(start - 1)
            dash = self._text.find("-", start + column, start + column + 1)
        return dash

    def _comments_above(self, place: int) -> int:
        """Return where the comments begin that stand above a line, at its own column."""
        start = self._line_start(place)
        mark = self._text[start:place] + "#"
        while start > 0:
            above = self._line_start(start - 1)
            if not self._text.startswith(mark, above):
                break
            start = above
        return start

    def _line_start(self, place: int) -> int:
        return self._text.rfind("\n", 0, place) + 1

    def _line_end(self, place: int) -> int:
        end = self._text.find("\n", place)
        return len(self._text) if end < 0 else end

    def _shares_line(self, place: int) -> bool:
        """Whether something stands in front of a key or a dash on its line, such as a dash."""
        return bool(self._text[self._line_start(place) : place].strip())

    def _require_line_start(self, place: int) -> None:
        if self._shares_line(place):
            raise CannotPatchError

    def _drop_lines(self, start: int, end: int) -> None:
        below = min(self._line_end(end) + 1, len(self._text))
        self._edits.append((self._line_start(start), below, ""))

    def _insert_above(self, place: int, lines: str) -> None:
        start = self._comments_above(place)
        self._edits.append((start, start, lines))

    def _insert_below(self, place: int, lines: str) -> None:
        end = self._line_end(place)
        self._edits.append((end, end, "\n" + lines[:-1]))
