"""What the codec refuses to read, and therefore to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gitstore.session.values import path

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Bytes of one file.
MAX_BYTES: Final = 16 << 20
#: Maps and lists inside one another; the document itself is the first.
MAX_DEPTH: Final = 100
#: Values, maps, lists and keys of one file.
MAX_NODES: Final = 500_000
#: Decimal digits of an integer: more take quadratic time to convert.
MAX_DIGITS: Final = 4300
#: The first integer that is too long.
INTEGER_BOUND: Final = 10**MAX_DIGITS
#: Characters that the parser written in Python is given: it takes a second for each million.
PURE_MAX_CHARS: Final = 2 << 20
#: Nodes that the parser written in Python may produce, at 35 microseconds each.
PURE_MAX_NODES: Final = 60_000
#: Characters of a key or a text that a message quotes.
QUOTED_MAX: Final = 60

TOO_BIG: Final = f"larger than {MAX_BYTES >> 20} MiB; move large content out of the session"
TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels"
TOO_MANY: Final = f"more than {MAX_NODES} values"
TOO_LONG: Final = f"an integer of more than {MAX_DIGITS} digits; store it as text"
LONE_SURROGATE: Final = "half of a surrogate pair is not text; replace it"
NOT_FINITE: Final = "infinities and NaN are not supported; store null or text"


def quoted(text: str) -> str:
    """Return a text as a message shows it: ASCII, in quotes, cut when it is long."""
    cut = text if len(text) <= QUOTED_MAX else text[:QUOTED_MAX] + "..."
    return ascii(cut)


def path_text(steps: Iterable[str | int]) -> str:
    """Return the path of a place, such as ``history.turns[3].role``; ``document`` for the whole."""
    short = [step if isinstance(step, int) else step[:QUOTED_MAX] for step in steps]
    return path(short) or "document"
