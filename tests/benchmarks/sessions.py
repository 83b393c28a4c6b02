"""Sessions of stated sizes, the same in every run: text that compresses as talk and code do."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING

from gitstore import ConversationTurn, SessionAsset, ToolCallRecord, dump_session

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
_SYLLABLES = [
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ha",
    "je",
    "ki",
    "lo",
    "mu",
    "na",
    "pe",
    "ri",
    "so",
    "tu",
    "va",
    "we",
    "xi",
    "yo",
    "zu",
]
_LINES = 8192
_INDENT = " " * 6
_TOOL_CALLS = 2
#: Stands for the id in the template of `small_files`: needs no quotes in YAML.
_NAME = "name-to-replace"


@dataclass(frozen=True, slots=True)
class Size:
    """How long a session is: so many turns, each of so many lines of about 60 bytes."""

    name: str
    turns: int
    lines: int


SMALL = Size("2 KB", 2, 8)
MIDDLE = Size("100 KB", 86, 12)
LARGE = Size("1 MB", 900, 12)
#: About 1.2 MB.
THOUSAND = Size("1,000 turns", 1000, 11)
SIZES = {size.name: size for size in (SMALL, MIDDLE, LARGE, THOUSAND)}


@cache
def _corpus() -> tuple[str, ...]:
    chance = random.Random(1)
    words = ["".join(chance.choices(_SYLLABLES, k=chance.randint(1, 3))) for _ in range(700)]
    return tuple(" ".join(chance.choices(words, k=13)) for _ in range(_LINES))


def text(seed: int, lines: int) -> str:
    """Return some lines; another seed gives others."""
    corpus = _corpus()
    first = seed * 7919
    return "".join(f"{corpus[(first + number) % _LINES]}\n" for number in range(lines))


def name_of(number: int) -> str:
    """Return the id of the session of that number in a repository made for measuring."""
    return f"session-{number:06}"


def path_of(name: str) -> str:
    """Return where gitstore keeps a session; the peers that can, keep theirs in the same place."""
    return f"sessions/{sha256(name.encode()).hexdigest()[:2]}/{name}.yaml"


def session(name: str, size: Size, *, seed: int = 0) -> SessionAsset:
    """Return a session of that size: talk of two, and a call of a tool now and then."""
    asset = SessionAsset.new(id=name, name=f"Session {name}", now=NOON)
    for number in range(size.turns):
        add_turn(asset, seed=seed * size.turns + number, lines=size.lines)
    return asset


def add_turn(asset: SessionAsset, *, seed: int, lines: int) -> None:
    """Append one turn, a second after the one before."""
    number = len(asset.history.turns)
    now = NOON + timedelta(seconds=number)
    make = ConversationTurn.assistant if number % 2 else ConversationTurn.user
    turn = make(text(seed, lines), id=f"t{number}", now=now)
    if number % 2:
        turn.metadata = {"model": "large-2", "input_tokens": 900 + number, "stop": "tool_use"}
        turn.tool_calls = [_tool_call(number, each) for each in range(_TOOL_CALLS)]
    asset.add_turn(turn, now=now)


def _tool_call(number: int, each: int) -> ToolCallRecord:
    return ToolCallRecord(
        tool_name="shell",
        args={
            "command": f"grep -n {number} data-{each}.csv",
            "timeout": 30,
            "env": {"LC_ALL": "C"},
        },
        result={"exit": 0, "lines": [f"{number}: {each}", "total"]},
        success=True,
        duration_ms=8 + each,
    )


def change(asset: SessionAsset, *, seed: int, size: Size) -> None:
    """Say something else in the last turn: the session keeps its size."""
    asset.history.turns[-1].content = text(seed, size.lines)


def small_files(count: int) -> Iterator[tuple[str, bytes]]:
    """Give the id and the bytes of so many small sessions, much quicker than by `session`.

    The bytes of one session are cut where its number and its texts stand; that the result is what
    the session would be stored as is checked for the last one.
    """
    template = dump_session(session(_NAME, SMALL)).decode()
    for number in range(SMALL.turns):
        template = template.replace(_indented(number), f"@{number}@", 1)
    data, name = b"", ""
    for each in range(count):
        name = name_of(each)
        whole = template.replace(_NAME, name)
        for number in range(SMALL.turns):
            seed = each * SMALL.turns + number
            whole = whole.replace(f"@{number}@", _indented(seed), 1)
        data = whole.encode()
        yield name, data
    if count:
        assert data == dump_session(session(name, SMALL, seed=count - 1)), "the template is wrong"


def _indented(seed: int) -> str:
    return "".join(f"{_INDENT}{line}\n" for line in text(seed, SMALL.lines).splitlines())
