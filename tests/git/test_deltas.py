"""Deltas: dulwich and git make the target of them again, and they are short where little changed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from dulwich import pack as dulwich_pack
from hypothesis import given
from hypothesis import strategies as st

from gitstore.git.deltas import Base, splice

if TYPE_CHECKING:
    from collections.abc import Callable

_apply_delta: Callable[[bytes, bytes], list[bytes]] = vars(dulwich_pack)["apply_delta"]
_LINES = st.lists(
    st.sampled_from(
        [b"", b"a", b"role: user", b"role: assistant", b"x" * 70, b"\0\xff\r", b"id: 12"]
    ),
    max_size=12,
)


def made(base: bytes, target: bytes) -> bytes:
    """Return the delta, after the referee has made the target of it again."""
    delta = Base(base).delta(target)
    assert b"".join(_apply_delta(base, delta)) == target
    return delta


@given(base=_LINES, target=_LINES, edits=st.lists(st.binary(max_size=9), max_size=3))
def test_the_target_comes_back(base: list[bytes], target: list[bytes], edits: list[bytes]) -> None:
    one, two = b"\n".join(base), b"\n".join(target)
    made(one, two)
    for number, edit in enumerate(edits):
        at = len(one) * number // 3
        made(one, one[:at] + edit + one[at + len(edit) :] + two)
        made(one + two, one[at:] + edit)


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_bytes_of_any_kind_come_back(base: bytes, target: bytes) -> None:
    made(base, target)


def test_a_copy_may_be_larger_than_one_command() -> None:
    text = random.Random(1).randbytes(1 << 20) * 20
    assert len(made(text, text)) < 40
    assert len(made(text, text[1:])) < 40


def test_an_older_version_is_a_few_bytes_of_the_newest() -> None:
    """A change near the beginning, and turns at the end: how sessions grow."""
    turns = b"".join(
        b"  - id: t%d\n    content: words number %d\n" % (n, n * n) for n in range(4000)
    )
    newest = b"id: s\nupdated_at: '2026-01-02'\nproject: p\nturns:\n" + turns
    older = b"id: s\nupdated_at: '2026-01-01'\nproject: p\nturns:\n" + turns[: len(turns) // 2]
    assert len(made(newest, older)) < 60
    # Lines in the middle that changed cost about what they hold.
    assert len(made(newest, newest.replace(b"t77\n", b"t77b\n"))) < 60


def test_a_text_with_nothing_in_common_is_told_in_full() -> None:
    one, two = random.Random(1).randbytes(5000), random.Random(2).randbytes(5000)
    assert len(two) < len(made(one, two)) < len(two) + len(two) // 100 + 20


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=300), st.binary())
def test_what_is_known_to_be_common_is_copied(
    head: bytes, old: bytes, new: bytes, tail: bytes
) -> None:
    base, target = head + old + tail, head + new + tail
    delta = splice(len(base), target, len(head), len(tail))
    assert b"".join(_apply_delta(base, delta)) == target
    assert len(delta) <= len(new) + len(new) // 127 + 20
