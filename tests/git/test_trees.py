"""Tree bytes, against dulwich's trees and git's order."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from dulwich import pack as dulwich_pack
from dulwich.objects import ObjectID, Tree
from hypothesis import example, given
from hypothesis import strategies as st

from gitstore.git import trees
from gitstore.git.deltas import splice

if TYPE_CHECKING:
    from collections.abc import Callable

_apply_delta: Callable[[bytes, bytes], list[bytes]] = vars(dulwich_pack)["apply_delta"]
names = st.text("ab.-0/z", min_size=1, max_size=4).map(lambda t: t.replace("/", "_").encode())
ids = st.integers(0, 2**160 - 1).map(lambda n: f"{n:040x}")
items = st.dictionaries(names, st.tuples(st.booleans(), ids), max_size=8)


def built(content: dict[bytes, tuple[bool, str]]) -> bytes:
    tree = Tree()
    for name, (is_folder, object_id) in content.items():
        tree.add(name, stat.S_IFDIR if is_folder else 0o100644, ObjectID(object_id.encode()))
    return tree.as_raw_string()


@given(items, names, st.booleans(), ids)
def test_an_entry_is_set_where_git_wants_it(
    content: dict[bytes, tuple[bool, str]], name: bytes, is_folder: bool, object_id: str
) -> None:
    mode = trees.FOLDER if is_folder else trees.FILE
    changed = trees.with_entry(built(content), mode, name, object_id)
    assert changed == built(content | {name: (is_folder, object_id)})
    entry = trees.find(changed, name)
    assert entry is not None
    assert (entry.name, entry.id, entry.is_folder) == (name, object_id, is_folder)


@given(items, names)
def test_an_entry_is_removed(content: dict[bytes, tuple[bool, str]], name: bytes) -> None:
    expected = {key: value for key, value in content.items() if key != name}
    changed = trees.without_entry(built(content), name)
    assert changed == built(expected)
    assert trees.find(changed, name) is None


@example({b"a": (True, "1" * 40), b"a.": (False, "2" * 40)}, b"a", False, "3" * 40, False)
@example({b"a": (False, "1" * 40), b"a.": (False, "2" * 40)}, b"a", True, "3" * 40, False)
@given(items, names, st.booleans(), ids, st.booleans())
def test_an_edit_says_what_it_left_as_it_was(
    content: dict[bytes, tuple[bool, str]],
    name: bytes,
    is_folder: bool,
    object_id: str,
    is_removal: bool,
) -> None:
    """Also where a file takes the place of a folder, and stands elsewhere then."""
    before = built(content)
    old = trees.find(before, name)
    mode = trees.FOLDER if is_folder else trees.FILE
    edited = (
        trees.removed(before, old) if is_removal else trees.put(before, old, mode, name, object_id)
    )
    if edited.data != before:
        delta = splice(len(before), edited.data, edited.head, edited.tail)
        assert b"".join(_apply_delta(before, delta)) == edited.data
        known = len(before) - edited.head - edited.tail
        assert known >= 0
        # Nothing but the entry: its id when it was there, all of it when it comes or goes.
        if (old is None) is not is_removal and (old is None or old.mode == mode):
            assert len(edited.data) - edited.head - edited.tail <= len(name) + 28


def test_a_shard_is_found_wherever_it_stands() -> None:
    """Spread evenly as by a digest, or all in one place; also behind ids that look like it."""
    tricky = (b"40000 fe\0" + b"1" * 20)[:20]
    for numbers in (range(256), range(250, 256), range(6), range(0, 256, 37), [0, 255]):
        tree = b"".join(b"40000 %02x\0%s" % (n, bytes([n]) * 20) for n in numbers)
        hidden = (
            b"40000 00\0" + tricky + b"".join(b"40000 %02x\0%s" % (n, tricky) for n in numbers if n)
        )
        for n in numbers:
            for each in (tree, hidden):
                entry = trees.find(each, b"%02x" % n)
                assert entry is not None
                assert entry == next(e for e in trees.entries(each) if e.name == b"%02x" % n)
        assert trees.find(tree, b"80") == next(
            (e for e in trees.entries(tree) if e.name == b"80"), None
        )


@given(items, st.integers(1, 20))
def test_a_cut_tree_is_no_tree(content: dict[bytes, tuple[bool, str]], cut: int) -> None:
    whole = built(content | {b"x": (False, "0" * 40)})
    with pytest.raises(ValueError, match=r".*"):
        list(trees.entries(whole[:-cut]))


def test_quick_answers_are_those_of_the_plain_reading() -> None:
    """Also where bytes of an id, or a name, look like the entry that is asked for."""
    tricky = b"40000 ab\0" + b"1" * 11
    folders = [(b"40000", b"%02x" % n, bytes([n]) * 20) for n in range(256)]
    folders[7] = (b"40000", b"07", tricky)
    named = (b"40000", b"x40000 ab", b"2" * 20)
    for items in (folders, folders[:9], folders[8:], [named], [*folders[:9], named], []):
        tree = b"".join(b"%s %s\0%s" % item for item in items)
        plain = {e.name: e.mode + b" " + bytes.fromhex(e.id) for e in trees.entries(tree)}
        assert trees.raw_entries(tree) == plain
        for name in (b"07", b"ab", b"ff", b"x40000 ab", b"sessions"):
            entry, end = trees.quick_locate(tree, name)
            assert entry == plain.get(name)
            if entry is not None:
                assert trees.quick_locate(tree[:end] + b"what follows", name) == (entry, end)
    # As wide as a regular one, and none.
    odd = b"100644 a\0" + tricky + b"40000 zz\0" + b"3" * 20
    assert len(odd) % 29 == 0
    assert trees.quick_locate(odd, b"ab")[0] is None
    for damaged in (b"40000 ab\0short", b"40000 ab"):
        with pytest.raises(ValueError, match=r"entry|not found"):
            trees.raw_entries(damaged)
        with pytest.raises(ValueError, match=r"entry|not found"):
            trees.quick_locate(damaged, b"zz")
