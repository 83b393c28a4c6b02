"""Tree bytes, against dulwich's trees and git's order."""

from __future__ import annotations

import stat

import pytest
from dulwich.objects import ObjectID, Tree
from hypothesis import given
from hypothesis import strategies as st

from gitstore.git import trees

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
