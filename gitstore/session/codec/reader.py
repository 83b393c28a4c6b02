"""The strict reader: any YAML, in one pass over the events of a parser, without recursion.

It refuses what has no place in a session (anchors, tags, duplicate keys, a second document), and
counts as it goes, so that no text makes it deep, large or slow. The events come from libyaml where
it is installed; where it refuses a text, and for line breaks that it treats differently, ruamel's
own parser decides.
"""

from __future__ import annotations

import importlib
import re
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from gitstore.errors import SerializationError
from gitstore.session.codec.limits import (
    LONE_SURROGATE,
    MAX_DEPTH,
    MAX_NODES,
    PURE_MAX_CHARS,
    PURE_MAX_NODES,
    TOO_DEEP,
    TOO_MANY,
    path_text,
    quoted,
)
from gitstore.session.codec.scalars import Unwritable, resolve
from gitstore.session.values import Value, is_list

try:
    _libyaml: Any = importlib.import_module("_ruamel_yaml")
except ImportError:  # ruamel.yaml works without it, thirty times slower
    _libyaml = None

if TYPE_CHECKING:
    from collections.abc import Iterator

#: An event of either parser: their classes carry no types.
Event: TypeAlias = Any
#: What the parsers raise on bytes they were not made for, beside their own errors.
PARSER_FAILURES: Final = (
    YAMLError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
#: Line breaks of YAML 1.1, and a byte order mark: the two parsers differ on them.
has_odd_breaks = re.compile("[\r\x85\u2028\u2029\ufeff]").search
_unprintable = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
).search
_surrogate = re.compile("[\ud800-\udfff]").search
_directive = re.compile("^%", re.MULTILINE).search


def parse_events(text: str, *, pure: bool) -> Iterator[Event]:
    """Yield the events of a text, from libyaml or from ruamel's own parser."""
    if pure or _libyaml is None:
        # A new instance for each text: one that failed, or is shared, spoils the next.
        yaml: Any = YAML(typ="safe", pure=True)
        yield from yaml.parse(text)
        return
    parser = _libyaml.CParser(text)
    try:
        while (event := parser.get_event()) is not None:
            yield event
    finally:
        parser.dispose()


def read_text(text: str, *, session_id: str | None = None) -> Value:
    """Return the value of a text of any YAML style.

    Raises:
        SerializationError: It is no YAML, or uses what a session may not.
    """
    _refuse_conflict(text, session_id)
    small = len(text) <= PURE_MAX_CHARS
    if _libyaml is not None and not has_odd_breaks(text):
        builder = _Builder(text, MAX_NODES, session_id)
        try:
            return builder.build(parse_events(text, pure=False))
        except PARSER_FAILURES as error:
            if isinstance(error, SerializationError):
                raise
            if not small:
                raise builder.syntax_error(error) from error
    if not small:
        problem = (
            "too large to be read in this form; use plain line feeds as line breaks, "
            "and install ruamel.yaml.clib"
        )
        raise SerializationError(problem, where="document", session_id=session_id)
    builder = _Builder(text, PURE_MAX_NODES, session_id)
    try:
        return builder.build(parse_events(text, pure=True))
    except PARSER_FAILURES as error:
        if isinstance(error, SerializationError):
            raise
        raise builder.syntax_error(error) from error


def _refuse_conflict(text: str, session_id: str | None) -> None:
    """Recognise what git leaves in a file that it could not merge."""
    lines = "\n" + text
    ours = lines.find("\n<<<<<<< ")
    middle = lines.find("\n=======", ours + 1) if ours >= 0 else -1
    if middle >= 0 and lines.find("\n>>>>>>> ", middle + 1) >= 0:
        raise SerializationError(
            "git conflict markers; resolve the conflict in this file, or check out one side of it",
            where="document",
            session_id=session_id,
            line=lines.count("\n", 0, ours + 1),
            column=1,
        )


def _complaint(error: Exception, text: str) -> tuple[str, int | None, int | None]:
    """Return what a parser's error says, with line and column from 1."""
    bad = _unprintable(text) if isinstance(error, ReaderError) else None
    if bad is not None:
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        code = f"\\x{ord(bad[0]):02x}" if ord(bad[0]) < 256 else f"\\u{ord(bad[0]):04x}"  # noqa: PLR2004 - one byte
        return f"a raw control character; write {code} in double quotes", line, column
    if not isinstance(error, MarkedYAMLError):
        return f"the parser gave up ({type(error).__name__})", None, None
    told: Any = error  # its fields carry no types
    mark = told.problem_mark or told.context_mark
    said = [str(part) for part in (told.context, told.problem) if part]
    problem = ", ".join(said) or "the parser gave up"
    if mark is None:
        return problem, None, None
    return problem, mark.line + 1, mark.column + 1


class _State(Enum):
    """Stands for the key of the place where the next value goes, when there is none."""

    #: In a map, a key comes next.
    NO_KEY = "no key"
    IN_LIST = "in list"


_NO_KEY: Final = _State.NO_KEY
_IN_LIST: Final = _State.IN_LIST


class _Builder:
    """Puts a value together from events; `_stack` holds the collections around the place."""

    __slots__ = ("_container", "_key", "_nodes", "_nodes_max", "_session_id", "_stack", "_text")

    def __init__(self, text: str, nodes_max: int, session_id: str | None) -> None:
        self._text = text
        self._nodes_max = nodes_max
        self._session_id = session_id
        self._nodes = 0
        self._stack: list[tuple[Any, str | int]] = []
        self._container: Value = None
        self._key: Value = _IN_LIST

    def build(self, events: Iterator[Event]) -> Value:
        """Return the value of the one document.

        Raises:
            SerializationError: Something is refused; the parser's errors pass through.
        """
        documents = 0
        root: list[Any] = []
        self._container = root
        for event in events:
            kind: object = event.__class__
            if kind is ScalarEvent:
                self._add(event, self._quoted(event) if event.style else self._resolve(event))
            elif kind is MappingStartEvent:
                self._open(event, {})
            elif kind is SequenceStartEvent:
                self._open(event, [])
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                self._container, step = self._stack.pop()
                self._key = _IN_LIST if type(step) is int else _NO_KEY
            elif kind is AliasEvent:
                self._refuse(event, "aliases are not supported; write the value out")
            elif kind is DocumentStartEvent:
                documents += 1
                self._begin(event, documents)
        if not root:
            raise SerializationError(
                "the file is empty", where="document", session_id=self._session_id
            )
        return root[0]

    def syntax_error(self, error: Exception) -> SerializationError:
        """Return what a parser complained of, with the place it had come to."""
        problem, line, column = _complaint(error, self._text)
        return SerializationError(
            f"not valid YAML: {problem}",
            where=self._where(),
            session_id=self._session_id,
            line=line,
            column=column,
        )

    def _begin(self, event: Event, documents: int) -> None:
        if documents > 1:
            self._refuse(event, "more than one document; keep one session in a file")
        before = self._text[: event.end_mark.index]
        if event.version or event.tags or _directive(before):
            self._refuse(event, "directives are not supported; remove the lines that start with %")

    def _quoted(self, event: Event) -> str:
        text: str = event.value
        # ruamel's parser lets an escape make half of a character.
        if event.style == '"' and not text.isascii() and _surrogate(text):
            self._refuse(event, LONE_SURROGATE)
        return text

    def _resolve(self, event: Event) -> Value:
        try:
            return resolve(event.value)
        except Unwritable as error:
            self._refuse(event, str(error))

    def _open(self, event: Event, collection: dict[str, Any] | list[Any]) -> None:
        if self._key is _NO_KEY:
            self._refuse(event, "keys must be text, not a map or a list")
        if len(self._stack) >= MAX_DEPTH:
            self._refuse(event, TOO_DEEP)
        parent = self._container
        step = len(parent) if self._key is _IN_LIST else self._key
        self._add(event, collection)
        self._stack.append((parent, step))
        self._container = collection
        self._key = _IN_LIST if is_list(collection) else _NO_KEY

    def _add(self, event: Event, value: Value) -> None:
        self._nodes += 1
        if self._nodes > self._nodes_max:
            self._refuse(event, TOO_MANY)
        if event.anchor is not None:
            self._refuse(event, "anchors are not supported; remove the & and write values out")
        if event.ctag is not None:
            self._refuse(event, "tags are not supported; remove the !")
        key = self._key
        if key is _IN_LIST:
            self._container.append(value)
        elif key is _NO_KEY:
            self._take_key(event, value)
        else:
            self._container[key] = value
            self._key = _NO_KEY

    def _take_key(self, event: Event, key: Value) -> None:
        if type(key) is not str:
            self._refuse(event, f"keys must be text; put {quoted(event.value)} in quotes")
        if key == "<<" and not event.style:
            self._refuse(event, "merge keys are not supported; write the entries out")
        twice = key in self._container
        self._key = key
        if twice:
            self._refuse(event, "the key is there twice; keep one of them")

    def _where(self) -> str:
        if not self._stack:
            return "document"
        steps = [step for _, step in self._stack[1:]]
        if self._key is _IN_LIST:
            steps.append(len(self._container))
        elif self._key is not _NO_KEY:
            steps.append(self._key)
        return path_text(steps)

    def _refuse(self, event: Event, problem: str) -> NoReturn:
        mark = event.start_mark
        raise SerializationError(
            problem,
            where=self._where(),
            session_id=self._session_id,
            line=mark.line + 1,
            column=mark.column + 1,
        )
