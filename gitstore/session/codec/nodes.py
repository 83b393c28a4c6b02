"""Where the values of a text stand in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from ruamel.yaml.events import (
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from gitstore.session.codec.reader import Event, has_odd_breaks, parse_events

_ENDS: Final[frozenset[object]] = frozenset({MappingEndEvent, SequenceEndEvent})


@dataclass(slots=True)
class Node:
    """One value in a text, or one key; `start`, `end` and `column` count characters from 0.

    `keys` stand beside the `children` of a map. The end of a block is not where its content ends,
    but where the parser noticed.
    """

    kind: Literal["scalar", "map", "list"]
    start: int
    column: int
    #: Written in brackets, or a scalar in quotes or plain: it ends where `end` says.
    is_flow: bool
    end: int
    keys: list[Node] = field(default_factory=list["Node"])
    children: list[Node] = field(default_factory=list["Node"])

    @property
    def is_block_scalar(self) -> bool:
        """Whether it is written as ``|`` or ``>``."""
        return self.kind == "scalar" and not self.is_flow

    @property
    def is_block(self) -> bool:
        """Whether it is a map or list of lines."""
        return self.kind != "scalar" and not self.is_flow


def find_nodes(text: str) -> Node:
    """Return the root of a text that the reader has accepted; the parser's errors pass through."""
    root = Node("list", 0, 0, is_flow=False, end=len(text))
    stack = [root]
    for event in parse_events(text, pure=has_odd_breaks(text) is not None):
        kind: object = event.__class__
        if kind in _ENDS:
            node = stack.pop()
            if node.is_flow:
                node.end = event.end_mark.index
            continue
        if kind is ScalarEvent:
            node = _node("scalar", event, is_flow=event.style not in ("|", ">"))
        elif kind is MappingStartEvent:
            node = _node("map", event, is_flow=bool(event.flow_style))
        elif kind is SequenceStartEvent:
            node = _node("list", event, is_flow=bool(event.flow_style))
        else:
            continue
        parent = stack[-1]
        if parent.kind == "map" and len(parent.keys) == len(parent.children):
            parent.keys.append(node)
        else:
            parent.children.append(node)
        if kind is not ScalarEvent:
            stack.append(node)
    return root.children[0]


def _node(kind: Literal["scalar", "map", "list"], event: Event, *, is_flow: bool) -> Node:
    mark = event.start_mark
    return Node(kind, mark.index, mark.column, is_flow=is_flow, end=event.end_mark.index)
