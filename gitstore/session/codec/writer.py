"""The canonical form: writes the text directly, in the order the document has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gitstore.errors import SerializationError
from gitstore.session.codec.limits import (
    INTEGER_BOUND,
    LONE_SURROGATE,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    TOO_BIG,
    TOO_DEEP,
    TOO_LONG,
    TOO_MANY,
    path_text,
    quoted,
)
from gitstore.session.codec.scalars import Unwritable, float_text, one_line, string
from gitstore.session.values import Value, is_list, is_map

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

#: A parser takes an implicit key only when it is short, and on one line; ruamel.yaml writes keys
#: from this length on with a question mark, so that is where the canonical form begins to.
EXPLICIT_KEY_CHARS: Final = 123
#: Ends a document whose last block is open.
END_MARK: Final = "...\n"
#: Where the dashes of the turns stand.
TURN_INDENT: Final = "  "
_PLAIN_KEYS: Final = frozenset({str})
_BREAKS: Final = frozenset("\n\x85\u2028\u2029")
#: How keys are written, but for explicit ones: nearly all are the same few names, in one session after
#: the other. Threads share it without a lock: a race forgets a key, or looks at it twice.
HEADS: Final[dict[str, str]] = {}
#: Beyond so many, all are forgotten.
KEYS_MAX: Final = 1024


def encode_text(document: dict[str, Any], *, session_id: str | None = None) -> str:
    """Return the canonical text of a document.

    Raises:
        SerializationError: Something in it cannot be kept; `where` is the path to it.
    """
    problem = TOO_DEEP
    try:
        text = render(document)
        size = len(text.encode())
    except UnicodeEncodeError:
        problem = LONE_SURROGATE
    except Unwritable as error:
        problem = str(error)
    except (RecursionError, ValueError):
        # The interpreter's own limits, when they are stricter than ours.
        pass
    else:
        if size <= MAX_BYTES:
            return text
        problem = TOO_BIG
    _explain(document, session_id)
    raise SerializationError(problem, where="document", session_id=session_id)


def render(document: dict[str, Any]) -> str:
    """Return the canonical text of a document, without saying where it went wrong.

    Raises:
        Unwritable: Something cannot be kept. A lone surrogate is not noticed here.
    """
    if not document:
        return "{}\n"
    writer = _Writer()
    writer.mapping(document, "", 1)
    text = "".join(writer.out)
    most = nodes_at_most(text.count("\n"), text.count("-"))
    if most > MAX_NODES and count_nodes(document) > MAX_NODES:
        raise Unwritable(TOO_MANY)
    # A block that keeps its last line breaks leaves the document open: parsers want to see its end.
    last = writer.out[-1]
    return text + END_MARK if _is_open(last) else text


def turn_text(turn: Value) -> tuple[str, bool]:
    """Return the canonical lines of one turn of a session, and whether they need the end mark.

    Raises:
        Unwritable: Something cannot be kept. A lone surrogate is not noticed here.
    """
    writer = _Writer()
    # The document, the history and the list of the turns are around it.
    writer.sequence([turn], TURN_INDENT, 3)
    return TURN_INDENT + "".join(writer.out), _is_open(writer.out[-1])


def nodes_at_most(lines: int, dashes: int) -> int:
    """Return what the nodes of a canonical text do not exceed, by its lines and its hyphens.

    A line holds a key and a value at most, and one node more for each dash before them. All hyphens
    are counted since that is five times quicker than to count ``- ``.
    """
    return 1 + 2 * lines + dashes


def entries_text(entries: dict[str, Any], indent: str) -> str:
    """Return the canonical lines of some entries of a map that stands at `indent`."""
    writer = _Writer()
    writer.mapping(entries, indent, 1)
    return indent + "".join(writer.out)


def items_text(items: list[Any], indent: str) -> str:
    """Return the canonical lines of some items of a list whose dashes stand at `indent`."""
    writer = _Writer()
    writer.sequence(items, indent, 1)
    return indent + "".join(writer.out)


def value_text(value: Value, indent: str) -> str:
    """Return what follows ``key:`` or ``-`` at `indent`, with the line break at its end."""
    writer = _Writer()
    writer.value("", value, indent, depth=1)
    return "".join(writer.out)


def _is_open(last: str) -> bool:
    header, _, body = last.partition("\n")
    return bool(body) and header.endswith((" |+", " |2+"))


class _Writer:
    """Collects the lines. A method finds the cursor where its first line begins."""

    __slots__ = ("out",)

    def __init__(self) -> None:
        self.out: list[str] = []

    def mapping(self, entries: dict[Any, Any], indent: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise Unwritable(TOO_DEEP)
        heads, append, inner = HEADS, self.out.append, indent + "  "
        before = ""
        if not _PLAIN_KEYS.issuperset(map(type, entries)):
            entries = plain_entries(entries)
        for key, value in entries.items():
            head = heads.get(key)
            if head is None:
                head = _head(key)
                if head[0] == "?":
                    append(f"{before}{head}\n{indent}:")
                    self.value("", value, indent, depth=depth, explicit=True)
                    before = indent
                    continue
            kind: object = value.__class__
            if kind is str:
                append(f"{before}{head} {string(value, inner)}\n")
            elif kind is dict and value:
                append(f"{before}{head}\n{inner}")
                self.mapping(value, inner, depth + 1)
            elif kind is list and value:
                append(f"{before}{head}\n{indent}")
                self.sequence(value, indent, depth + 1)
            else:
                self.value(before + head, value, indent, depth=depth)
            before = indent

    def sequence(self, items: list[Any], indent: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise Unwritable(TOO_DEEP)
        append, inner = self.out.append, indent + "  "
        head = "-"
        for item in items:
            kind: object = item.__class__
            if kind is str:
                append(f"{head} {string(item, inner)}\n")
            elif is_map(item) and item:
                append(head + " ")
                self.mapping(item, inner, depth + 1)
            elif is_list(item) and item:
                append(head + " ")
                self.sequence(item, inner, depth + 1)
            else:
                self.value(head, item, indent, depth=depth)
            head = indent + "-"

    def value(
        self, head: str, value: Value, indent: str, *, depth: int, explicit: bool = False
    ) -> None:
        """Write the rest of an entry; behind an explicit key a block starts on the same line."""
        inner = indent + "  "
        text = _scalar_text(value, inner)
        if text is not None:
            self.out.append(f"{head} {text}\n")
        elif explicit:
            self.out.append(head + " ")
            if is_map(value):
                self.mapping(value, inner, depth + 1)
            else:
                self.sequence(value, inner, depth + 1)
        elif is_map(value):
            self.out.append(f"{head}\n{inner}")
            self.mapping(value, inner, depth + 1)
        else:
            self.out.append(f"{head}\n{indent}")
            self.sequence(value, indent, depth + 1)


def _head(key: str) -> str:
    """Return how a key is written, and remember it."""
    text = one_line(key)
    if len(key) >= EXPLICIT_KEY_CHARS or not _BREAKS.isdisjoint(key):
        return "? " + text
    if len(HEADS) >= KEYS_MAX:
        HEADS.clear()
    head = HEADS[key] = text + ":"
    return head


def plain_entries(entries: dict[Any, Any]) -> dict[str, Any]:
    """Return the entries of a map with keys that are str, where some are of a subclass.

    Raises:
        Unwritable: A key is no text, or two are written alike.
    """
    plain: dict[str, Any] = {}
    for key, value in entries.items():
        if not isinstance(key, str):
            message = f"keys must be text, not {type(key).__name__}"
            raise Unwritable(message)
        name = str.__str__(key)
        if name in plain:
            message = f"two keys are written {quoted(name)}"
            raise Unwritable(message)
        plain[name] = value
    return plain


def _scalar_text(value: Value, indent: str) -> str | None:  # noqa: PLR0911 - one line for each type
    """Return the spelling of a value on the line of its key; None for maps and lists with content."""
    kind: object = value.__class__
    if kind is str:
        return string(value, indent)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        if not -INTEGER_BOUND < value < INTEGER_BOUND:
            raise Unwritable(TOO_LONG)
        return str(value)
    if kind is float:
        return float_text(value)
    if is_map(value):
        return None if value else "{}"
    if is_list(value):
        return None if value else "[]"
    return _scalar_text(plain_value(value), indent)


def plain_value(value: Value) -> str | int | float:
    """Return the value of a subclass of str, int or float as the plain type.

    Raises:
        Unwritable: It is of another type.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    message = f"a {type(value).__name__} is not supported; store text, numbers, lists or maps"
    raise Unwritable(message)


def count_nodes(document: dict[str, Any]) -> int:
    """Return how many values, maps, lists and keys a document has."""
    count = 1
    pending: list[Collection[Any]] = [document.values()]
    count += len(document)
    while pending:
        values = pending.pop()
        count += len(values)
        for value in values:
            if is_map(value):
                count += len(value)
                pending.append(value.values())
            elif is_list(value):
                pending.append(value)
    return count


def _explain(document: object, session_id: str | None) -> None:
    """Look for what cannot be written, and raise with the path to it."""
    steps: list[str | int] = []
    try:
        _check(document, steps, set())
    except Unwritable as error:
        raise SerializationError(
            str(error), where=path_text(steps), session_id=session_id
        ) from error


def _check(value: Value, steps: list[str | int], open_ids: set[int]) -> None:
    """Raise `Unwritable` with `steps` left at the place."""
    entries: Iterable[tuple[Any, Any]]
    if is_map(value):
        named = plain_entries(value)
        for key in named:
            _check_scalar(key)
        entries = named.items()
    elif is_list(value):
        entries = enumerate(value)
    else:
        _check_scalar(value)
        return
    if id(value) in open_ids:
        message = "it contains itself"
        raise Unwritable(message)
    if len(steps) >= MAX_DEPTH:
        raise Unwritable(TOO_DEEP)
    open_ids.add(id(value))
    for step, inner in entries:
        steps.append(step)
        _check(inner, steps, open_ids)
        steps.pop()
    open_ids.remove(id(value))


def _check_scalar(value: Value) -> None:
    try:
        (_scalar_text(value, "") or "").encode()
    except UnicodeEncodeError as error:
        raise Unwritable(LONE_SURROGATE) from error
    except Unwritable:
        raise
    except ValueError as error:  # the interpreter was told a stricter limit than ours
        raise Unwritable(TOO_LONG) from error
