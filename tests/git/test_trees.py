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
