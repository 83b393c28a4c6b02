"""Tree objects as bytes: find, replace, insert or remove one entry.

Format (gitformat of a tree): ``<mode in octal> <name> NUL <20 bytes of id>``, sorted by name, where
the name of a folder sorts as if it ended with ``/``.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_all_entries = re.compile(rb"([0-7]+ )([^\0]+)\0(.{20})", re.DOTALL).findall
_any_mode = re.compile(rb"[0-7]{5,} ")
_DIGITS = b"01234567"
FILE = b"100644"
EXECUTABLE = b"100755"
FOLDER = b"40000"
_ID_BYTES = 20
#: The folders of the sessions folder have names of two hex digits.
_SHARD_BYTES = 2
_HEX_DIGITS = b"0123456789abcdef"


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


class Edited(NamedTuple):
    """A tree with one entry changed, and how many bytes it begins and ends with as it did before."""

    data: bytes
    head: int
    tail: int


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
    """Return the entry of that name. On the path of every read and save, so it looks, then proves.

    Raises:
        ValueError: the bytes are no tree.
    """
    needle = b" " + name + b"\0"
    space = tree.find(needle, _likely(tree, name))
    if space < 0:
        space = tree.find(needle)
    if space < 0:
        return None
    for mode in (FILE, FOLDER):
        start, end = space - len(mode), space + len(needle) + _ID_BYTES
        is_whole = start >= 0 and end <= len(tree)
        if is_whole and tree.startswith(mode, start) and _begins_entry(tree, start):
            return Entry(mode, name, tree[end - _ID_BYTES : end].hex(), start, end)
    raw, end = quick_locate(tree, name)
    if raw is None:
        return None
    start = end - len(raw) - len(name) - len(b"\0")
    return entry_of(name, raw)._replace(start=start, end=end)


def _likely(tree: bytes, name: bytes) -> int:
    """Return where to begin to look for a name: shards are as good as evenly spread."""
    if len(name) != _SHARD_BYTES:
        return 0
    return max(_HEX_DIGITS.find(name[0]) - 1, 0) * len(tree) // len(_HEX_DIGITS)


def _begins_entry(tree: bytes, start: int) -> bool:
    """Whether an entry certainly begins here: at what looks like one, but could be in a name.

    In front of it there must be an id, and in front of that a NUL. Were it in a name, and the name
    too short to reach back to that NUL, then that name's own mode would be among what seems the id.
    """
    above = start - _ID_BYTES
    return not start or (
        above > 0
        and tree[above - 1] == 0
        and tree[start - 1 : start] not in _DIGITS
        and _any_mode.search(tree, above, start) is None
    )


def quick_locate(tree: bytes, name: bytes) -> tuple[bytes | None, int]:
    """Return mode, a space, and the 20 bytes of id of the entry of that name, and where it ends.

    What it returns depends on nothing behind that end; None, on all bytes.

    Fast where all names have two bytes and all are folders, as in the folder of the sessions: then
    entries stand at equal distances, which a look at the columns proves.

    Raises:
        ValueError: the bytes are no tree.
    """
    if len(name) == _SHARD_BYTES:
        found = _locate_regular(tree, name)
        if found is not None:
            return found
    start, size = 0, len(tree)
    while start < size:
        null = tree.index(b"\0", start)
        end = null + 1 + _ID_BYTES
        space = tree.index(b" ", start, null)
        if tree[space + 1 : null] == name and end <= size:
            return tree[start : space + 1] + tree[null + 1 : end], end
        start = end
    if start != size:
        raise ValueError("the tree ends inside an entry")
    return None, size


def raw_entries(tree: bytes) -> dict[bytes, bytes]:
    """Return mode, a space, and the 20 bytes of id of every entry by name; as `entries`, faster.

    Raises:
        ValueError: the bytes are no tree.
    """
    found = _all_entries(tree)
    # Mode, space, name, NUL and id: anything in between was passed over.
    if len(b"".join(chain.from_iterable(found))) + len(found) != len(tree):
        raise ValueError("something in it is no entry")
    return {name: mode + object_id for mode, name, object_id in found}


def entry_of(name: bytes, raw: bytes) -> Entry:
    """Return one of the raw entries as an entry, of which no place in a tree is known."""
    return Entry(raw[: -_ID_BYTES - 1], name, raw[-_ID_BYTES:].hex(), 0, 0)


def _locate_regular(tree: bytes, name: bytes) -> tuple[bytes, int] | None:
    """Return the entry of a folder in a tree where every entry is as wide as it, or None.

    No mode has less than five digits, so that a space in this column ends one.
    """
    space = len(FOLDER)
    width = space + 1 + _SHARD_BYTES + 1 + _ID_BYTES
    count, rest = divmod(len(tree), width)
    firsts, seconds = tree[space + 1 :: width], tree[space + 2 :: width]
    if (
        rest
        or tree[space::width] != b" " * count
        or tree[space + _SHARD_BYTES + 1 :: width] != b"\0" * count
        or 0 in firsts
        or 0 in seconds
    ):
        return None
    # In the two columns of names: in the bytes of the whole, every entry begins as the wanted one.
    at = seconds.find(name[1], max(firsts.find(name[0]), 0))
    while at >= 0:
        wanted = FOLDER + b" " + name + b"\0"
        if tree.startswith(wanted, at * width):
            end = (at + 1) * width
            return wanted[: space + 1] + tree[end - _ID_BYTES : end], end
        at = seconds.find(name[1], at + 1)
    return None


def with_entry(tree: bytes, mode: bytes, name: bytes, object_id: str) -> bytes:
    """Return the tree with this entry, in place of the one of that name if there is one."""
    return put(tree, find(tree, name), mode, name, object_id).data


def without_entry(tree: bytes, name: bytes) -> bytes:
    """Return the tree without the entry of that name."""
    return removed(tree, find(tree, name)).data


def put(tree: bytes, old: Entry | None, mode: bytes, name: bytes, object_id: str) -> Edited:
    """Do as `with_entry`, when the entry of that name, if there is one, was found."""
    new = bytes.fromhex(object_id)
    if old is not None and old.mode == mode:
        head, tail = old.end - _ID_BYTES, len(tree) - old.end
        return Edited(tree[:head] + new + tree[old.end :], head, tail)
    rest = removed(tree, old)
    place = _sort_key(mode, name)
    after = (e.start for e in entries(rest.data) if _sort_key(e.mode, e.name) > place)
    start = next(after, len(rest.data))
    data = b"%s%s %s\0%s%s" % (rest.data[:start], mode, name, new, rest.data[start:])
    return Edited(data, min(rest.head, start), min(rest.tail, len(rest.data) - start))


def removed(tree: bytes, old: Entry | None) -> Edited:
    """Return the tree without an entry that was found in it, or as it is."""
    if old is None:
        return Edited(tree, len(tree), len(tree))
    return Edited(tree[: old.start] + tree[old.end :], old.start, len(tree) - old.end)


def _sort_key(mode: bytes, name: bytes) -> bytes:
    return name + b"/" if mode == FOLDER else name
