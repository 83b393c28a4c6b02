"""Documents that are hard to write down, for the tests of the codec."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

Document = dict[str, Any]

HOSTILE: Final = [
    "", " ", "  ", "\n", "\n\n", "\t", "\r", "\r\n", "\0", "\x1b[31mred\x1b[0m", "\x7f", "\x85",
    "a\x85b", "\u2028", "a\u2029b\nc", "\ufeff", "a\ufeff\nb", "\ufffe", "\uffff", "\u00a0", "\u3000x",
    " lead", "trail ", "\nlead", "trail\n", "trail\n\n", "a\nb", "a\nb\n", "a\nb\n\n\n", "\n a\n", " a\nb",
    "a \nb ", "\ta\nb", "a\n\tb", "a\n\n\nb", "a\n \nb", "  \n a", "a\n  ", "a\r\nb", "a\rb", "x\n\x1b\n",
    "---", "--- a", "a\n---\nb", "...", "a\n...\n", "%YAML 1.1", "# no", "a # b", "a: b", "a:", ":", ": a",
    "- a", "-", "--", "? a", "?", "! a", "!x", "&a", "*a", "@a", "`a", "|", ">", "|+\nx", "[", "]", "{", "}", "[]",
    "{}", ",", "a,b", "it's", "'q'", '"', '"q"', "'", "\\", "\\n", "<<", "=", "~", "null", "Null", "NULL", "None",
    "nil", "true", "True", "TRUE", "false", "yes", "Yes", "no", "NO", "on", "off", "y", "N", "nan", ".nan",
    ".NaN", "inf", ".inf", "-.inf", "+.Inf", "Infinity", "1", "-1", "+1", "0", "-0", "00", "007", "0o7",
    "0x1F", "0b1", "1_000", "_1", "__a", "_a", "1.", ".5", "1.5", "1e3", "1e+3", "1E3", "123e4567", "12:30",
    "12:30:45", "190:20:30", "2026-01-01", "2026-01-01T00:00:00Z", "2026-1-1 1:1:1", "1970", "0.1.2", "+", ".", "..",
    "é", "日本語", "😀", "😀 x", "a😀\nb", "\u202eabc", "e\u0301", "\u0301", "$x", "/etc/passwd", "(a)",
    "=1+1", "x" * 200, "word " * 40, "a: b\nc: d\n", "- a\n- b", "  - id: x\n", "\n  - id: x\n  - id: y\n",
    "<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n", "key: |\n  text", "\U0010ffff", "\ue000",
]  # fmt: skip

HOSTILE_KEYS: Final = [
    *[text for text in HOSTILE if len(text) < 300],
    "k" * 122, "k" * 123, "k" * 128, "k" * 1100, "'" * 130, "é" * 125, "a\nb" * 50, "key with: colon",
]  # fmt: skip

NUMBERS: Final = [
    0, 1, -1, 10**18, 2**63, 2**64, -(2**64), 10**400, 0.0, -0.0, 1.0, -1.5, 1e17, 1e16, 1e-5, 5e-324,
    1.7976931348623157e308, 0.1, 1 / 3, 123456789.123456789, 2.5e-10, 1e22, 1e23,
]  # fmt: skip

texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.text(
        st.sampled_from(list("ab \n\t:#-'\"[]{}|>&*!%@`,?\\~.019eE+_\r\x85\u2028\ufeff\0é")),
        max_size=10,
    ),
)
keys = st.one_of(st.sampled_from(HOSTILE_KEYS), texts)
scalars = st.one_of(
    texts,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(NUMBERS),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
documents = st.dictionaries(keys, values, max_size=5)


def in_order(document: Document) -> Document:
    """Put the keys of a session in the order that the model gives them."""
    first = [name for name in ("id", "version", "created_at", "updated_at") if name in document]
    last = [name for name in ("history", "turns") if name in document]
    middle = [name for name in document if name not in first and name not in last]
    return {name: document[name] for name in [*first, *middle, *last]}


ids = st.text(st.sampled_from(list("abcdef0123456789-")), min_size=1, max_size=8)
turns = st.fixed_dictionaries(
    {
        "id": ids,
        "timestamp": st.just("2026-11-23T11:29:27.990Z"),
        "role": st.sampled_from(["user", "assistant"]),
        "content": texts,
    },
    optional={
        "tool_calls": st.lists(
            st.fixed_dictionaries({"tool_name": texts, "args": values}), min_size=1, max_size=2
        ),
        "tags": st.lists(texts, min_size=1, max_size=3),
        "metadata": st.dictionaries(keys, values, min_size=1, max_size=2),
    },
).map(in_order)
sessions = st.fixed_dictionaries(
    {
        "id": st.just("s-1"),
        "version": st.just(1),
        "created_at": st.just("2026-11-23T11:29:27.990Z"),
        "updated_at": st.just("2026-11-23T12:00:00.000Z"),
    },
    optional={
        "project_context": st.fixed_dictionaries(
            {}, optional={"root_path": texts, "name": texts, "technologies": st.lists(texts)}
        ),
        "metadata": st.dictionaries(keys, values, max_size=2),
        "history": st.fixed_dictionaries(
            {},
            optional={
                "max_turns": st.integers(1, 5),
                "turns": st.lists(turns, max_size=4, unique_by=lambda turn: turn["id"]),
            },
        ).map(in_order),
    },
).map(in_order)


def is_same(left: Any, right: Any) -> bool:
    """Whether two values are equal in type and value; keys may stand in another order."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(is_same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(is_same, left, right))
    return repr(left) == repr(right)
