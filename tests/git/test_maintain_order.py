"""In which order objects are packed: what is skipped in a tree is only what was seen already."""

from __future__ import annotations

from hashlib import sha1

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitstore.git.maintain import order
from gitstore.git.maintain.order import ordered
from gitstore.git.maintain.sources import BLOB, COMMIT, TREE, Stored


class Histories:
    """Objects, and how often each was read."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}
        self.stored: dict[bytes, Stored] = {}
        self.parent: bytes | None = None
        self.count = 0

    def add(self, kind: int, data: bytes, name: bytes = b"") -> bytes:
        name = name or sha1(bytes([kind]) + data, usedforsecurity=False).digest()
        self.data[name] = data
        self.stored[name] = Stored(kind, len(data))
        return name

    def tree(self, entries: dict[bytes, bytes]) -> bytes:
        rows = [
            b"%s %s\0%s" % (b"40000" if self.stored[child].kind == TREE else b"100644", part, child)
            for part, child in entries.items()
        ]
        return self.add(TREE, b"".join(rows))

    def commit(self, tree: bytes) -> bytes:
        self.count += 1
        above = b"parent %s\n" % self.parent.hex().encode() if self.parent else b""
        who = b"A <a@b> %d +0000" % self.count
        text = b"tree %s\n%sauthor %s\ncommitter %s\n\nx\n"
        data = text % (tree.hex().encode(), above, who, who)
        self.parent = self.add(COMMIT, data)
        return self.parent

    def reached(self) -> tuple[dict[bytes, list[bytes]], set[bytes]]:
        """Walk everything from each commit on, newest first, as plainly as can be."""
        paths: dict[bytes, list[bytes]] = {}
        met: set[bytes] = set()

        def visit(name: bytes, path: bytes) -> None:
            if name in met or name not in self.stored:
                return
            met.add(name)
            paths.setdefault(path, []).append(name)
            if self.stored[name].kind == TREE:
                for part, child in reversed(_parsed(self.data[name])):
                    visit(child, path + b"/" + part)

        name = self.parent
        while name is not None:
            met.add(name)
            lines = self.data[name].split(b"\n")
            visit(bytes.fromhex(lines[0][5:].decode()), b"")
            above = lines[1].startswith(b"parent ")
            name = bytes.fromhex(lines[1][7:].decode()) if above else None
        return paths, met


def _parsed(data: bytes) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    at = 0
    while at < len(data):
        space = data.index(b" ", at)
        end = data.index(b"\0", space)
        found.append((data[space + 1 : end], data[end + 1 : end + 21]))
        at = end + 21
    return found


#: Ids that look like the border between two entries, or like an entry, wherever one cuts them.
_TRICKY = (
    *(b"100644 a\x00100644 b\x00" + bytes([n, 49]) for n in range(3)),
    *(b"1 " * 9 + bytes([n]) + b"1" for n in range(3)),
    *(b"\0" * 18 + bytes([n, 0]) for n in range(3)),
    *(b"1 a\0" * 4 + b"1 a" + bytes([n]) for n in range(3)),
)
_NAMES = (b"a", b"b", b"1 a", b"1", b"100644 b", b"c" * 20)

_trees = st.dictionaries(
    st.sampled_from(_NAMES),
    st.one_of(
        st.sampled_from(_TRICKY), st.dictionaries(st.sampled_from(_NAMES), st.sampled_from(_TRICKY))
    ),
)


@settings(max_examples=150)
@given(st.lists(_trees, min_size=1, max_size=8), st.sets(st.integers(0, 40), max_size=8))
def test_it_is_that_of_a_walk_that_skips_nothing(
    versions: list[dict[bytes, bytes | dict[bytes, bytes]]], gone: set[int]
) -> None:
    made = Histories()
    for name in _TRICKY:
        made.add(BLOB, b"", name)
    for version in versions:
        made.commit(
            made.tree(
                {
                    part: held if isinstance(held, bytes) else made.tree(held)
                    for part, held in sorted(version.items())
                }
            )
        )
    # Some objects are packed elsewhere: trees above what is here, and files below what is here.
    inner = [name for name, each in made.stored.items() if each.kind != COMMIT]
    for number in gone:
        if number < len(inner):
            del made.stored[inner[number]]
    found = ordered(made.stored, made.data.__getitem__)
    paths, met = made.reached()
    for kind, lists in ((TREE, found.trees), (BLOB, found.blobs)):
        plain = (
            [each for each in path if made.stored[each].kind == kind] for path in paths.values()
        )
        assert sorted(lists) == sorted(filter(None, plain))
    assert set(found.others) == made.stored.keys() - met
    assert len(found.commits) == len(versions)


def _store_of(saves: int, files: int) -> Histories:
    made = Histories()
    held = {b"%04d" % n: made.add(BLOB, b"%d" % n) for n in range(files)}
    for n in range(saves):
        held[b"%04d" % (n * 7 % files)] = made.add(BLOB, b"new %d" % n)
        made.commit(made.tree(held))
    return made


@pytest.mark.parametrize("room", [1 << 24, 1])
def test_of_older_trees_only_what_differs_is_looked_at(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _store_of(saves=50, files=200)
    looked_at: list[int] = []
    borders = order._borders

    def counted(data: bytes, start: int, stop: int) -> list[int] | None:
        looked_at.append(stop - start)
        return borders(data, start, stop)

    monkeypatch.setattr(order, "_borders", counted)
    monkeypatch.setattr(order, "_NEWEST_BYTES_MAX", room)
    found = ordered(made.stored, made.data.__getitem__)
    assert len(found.trees[0]) == 50
    assert sum(map(len, found.blobs)) == 249
    assert len(found.others) == 1
    # The newest for its borders, then an entry or two, or what lies between two, of each.
    size = len(made.data[found.trees[0][0]])
    assert looked_at[0] == size
    assert sum(looked_at[1:]) < size


_rows = st.lists(st.tuples(st.sampled_from(_NAMES), st.sampled_from(_TRICKY)), max_size=6)


@settings(max_examples=300)
@given(st.lists(_rows, min_size=2, max_size=5))
def test_what_is_skipped_is_proved_to_be_whole_entries(
    versions: list[list[tuple[bytes, bytes]]],
) -> None:
    known = order._Versions()
    before: set[tuple[bytes, bytes]] = set()
    for rows in versions:
        data = b"".join(b"100644 %s\0%s" % row for row in rows)
        found = set(known.entries(b"", data))
        assert set(rows) - before <= found <= set(rows)
        borders = known._last[b""][1]
        ends = [0]
        for name, _ in rows:
            ends.append(ends[-1] + len(b"100644 %s\0" % name) + 20)
        assert borders in ([], ends)
        before = set(rows)
