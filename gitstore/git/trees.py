"""Tree objects as bytes: find, replace, insert or remove one entry.

Format (gitformat of a tree): ``<mode in octal> <name> NUL <20 bytes of id>``, sorted by name, where
the name of a folder sorts as if it ended with ``/``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = b"100644"
FOLDER = b"40000"
_ID_BYTES = 20


class Entry(NamedTuple):
    """One entry of a tree, and where its bytes are."""

    mode: bytes
    name: bytes
    id: str
    start: int
    end: int

    @property
    def is_folder(self) -> bool:
        """Whether the entry is a tree."""
        return self.mode == FOLDER


def entries(tree: bytes) -> Iterator[Entry]:
    """Return the entries of a tree.

    Raises:
        ValueError: the bytes are no tree.
    """
    start = 0
    while start < len(tree):
        space = tree.index(b" ", start)
        null = tree.index(b"\0", space)
        end = null + 1 + _ID_BYTES
        if end > len(tree):
            raise ValueError("the tree ends inside an entry")
        name = tree[space + 1 : null]
        yield Entry(tree[start:space], name, tree[null + 1 : end].hex(), start, end)
        start = end


def find(tree: bytes, name: bytes) -> Entry | None:
    """Return the entry of that name. On the path of every read and save: one slice an entry."""
    start = 0
    while start < len(tree):
        space = tree.index(b" ", start)
        null = tree.index(b"\0", space)
        end = null + 1 + _ID_BYTES
        if tree[space + 1 : null] == name:
            return Entry(tree[start:space], name, tree[null + 1 : end].hex(), start, end)
        start = end
    return None


def with_entry(tree: bytes, mode: bytes, name: bytes, object_id: str) -> bytes:
    """Return the tree with this entry, in place of the one of that name if there is one."""
    entry = b"%s %s\0%s" % (mode, name, bytes.fromhex(object_id))
    old = find(tree, name)
    if old is not None and old.mode == mode:
        return tree[: old.start] + entry + tree[old.end :]
    tree = without_entry(tree, name)
    place = _sort_key(mode, name)
    after = (e.start for e in entries(tree) if _sort_key(e.mode, e.name) > place)
    start = next(after, len(tree))
    return tree[:start] + entry + tree[start:]


def without_entry(tree: bytes, name: bytes) -> bytes:
    """Return the tree without the entry of that name."""
    entry = find(tree, name)
    return tree if entry is None else tree[: entry.start] + tree[entry.end :]


def _sort_key(mode: bytes, name: bytes) -> bytes:
    return name + b"/" if mode == FOLDER else name
