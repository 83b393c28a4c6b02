"""git's commit-graph, read: root tree and parents of commits, without the commits themselves.

`git gc` writes it (gitformat-commit-graph(5)), in one file or as a chain of them. It is read whole
and hashed, so that nothing that happens to the file later can hurt. Whatever is unusual here
(another version, damage, a place out of range) is no answer, and the caller reads the commit.
"""

from __future__ import annotations

import os
import struct
import threading
from bisect import bisect_right
from hashlib import sha1
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The 20 bytes of id of a commit's tree, and those of its parents.
Covered: TypeAlias = tuple[bytes, tuple[bytes, ...]]
_Stamp: TypeAlias = tuple[tuple[int, int, int] | None, ...]

_ID_BYTES: Final = 20
_HEADER: Final = struct.Struct(">4sBBBB")
_MAGIC: Final = b"CGPH"
_VERSION: Final = 1
_SHA1: Final = 1
_CHUNK: Final = struct.Struct(">4sQ")
_FAN: Final = struct.Struct(">256I")
_ROW_BYTES: Final = 36
_read_row: Final = struct.Struct(">20sIII").unpack_from
_read_word: Final = struct.Struct(">I").unpack_from
#: In a row: the generation, one more than that of any parent, above two bits of the time.
_LEVEL_AT: Final = 28
_TIME_BITS: Final = 2
_EDGE_BYTES: Final = 4
#: In place of a parent: there is none.
_NONE: Final = 0x70000000
#: The second parent and those after it stand in the chunk of edges; in there, the last one.
_FLAG: Final = 0x80000000
#: Bytes of all files together, about a million commits: they are held in memory.
_BYTES_MAX: Final = 64 << 20
#: Files of a chain; git merges them so that there are about as many as the number has digits.
_LAYERS_MAX: Final = 64
_CHAIN_BYTES_MAX: Final = 1 << 14


class CommitGraphs:
    """The commit-graph of one folder of objects, as it is now. Safe to share between threads."""

    def __init__(self, folder: str) -> None:
        self._single = os.path.join(folder, "info", "commit-graph")
        self._folder = os.path.join(folder, "info", "commit-graphs")
        self._chain = os.path.join(self._folder, "commit-graph-chain")
        self._mutex = threading.Lock()
        self._state: _Stamp = (None, None)
        self._graph: CommitGraph | None = None

    def close(self) -> None:
        """Let go of what is in memory; the next look reads it again."""
        with self._mutex:
            self._state, self._graph = (None, None), None

    def opened(self) -> CommitGraph | None:
        """Return the graph, read again if its files were replaced; None if there is none."""
        with self._mutex:
            state = (_stamp(self._single), _stamp(self._chain))
            if state != self._state:
                layers = self._layers()
                self._graph = CommitGraph(layers) if layers else None
                self._state = state
            return self._graph

    def _layers(self) -> list[_Layer]:
        """Return the files that can be used: the single one, as git does, or the chain's."""
        try:
            return [_layer(_content(self._single, _BYTES_MAX), ())]
        except (OSError, ValueError, struct.error):
            pass
        layers: list[_Layer] = []
        try:
            names = _content(self._chain, _CHAIN_BYTES_MAX).decode("ascii").split()
            left = _BYTES_MAX
            for name in names[:_LAYERS_MAX]:
                # Not yet known to be a hash: it must not lead out of the folder.
                below = [layer.checksum for layer in layers]
                data = _content(
                    os.path.join(self._folder, f"graph-{bytes.fromhex(name).hex()}.graph"), left
                )
                layer = _layer(data, below)
                if layer.checksum.hex() != name:
                    break
                left -= len(data)
                layers.append(layer)
        except (OSError, ValueError, struct.error):
            pass  # What stands on a file that cannot be used cannot be, either; what is below it can.
        return layers


class _Layer(NamedTuple):
    """One file of a commit-graph: ids in order, a row for each, and what further parents need."""

    checksum: bytes
    fan: tuple[int, ...]
    ids: bytes
    rows: bytes
    edges: bytes


class CommitGraph:
    """Commits and what they name, in memory. Never changes; threads share it."""

    def __init__(self, layers: Sequence[_Layer]) -> None:
        # Commits are counted through all layers; a row names parents by these numbers.
        self._ids = b"".join(layer.ids for layer in layers)
        self._rows = b"".join(layer.rows for layer in layers)
        self._count = len(self._ids) // _ID_BYTES
        self._edges = [layer.edges for layer in layers]
        self._bases = [0]
        self._starts: list[list[int]] = []
        for layer in layers:
            base = self._bases[-1]
            # Where the ids of each first byte begin, and where the last ones end.
            self._starts.append([_ID_BYTES * (base + ids) for ids in (0, *layer.fan)])
            self._bases.append(base + layer.fan[-1])
        #: The parent that was told last, and its place: it is asked for next. One value, so that
        #: threads that get here together at worst look again.
        self._next = (b"", 0)

    def find(self, commit: bytes) -> Covered | None:
        """Return tree and parents of the commit with these 20 bytes of id, or None."""
        known, place = self._next
        if known != commit:
            place = self._place(commit)
            if place < 0:
                return None
        tree, first, second, level = _read_row(self._rows, _ROW_BYTES * place)
        if second == _NONE and first < self._count and self._is_above(level, first):
            at = _ID_BYTES * first
            parent = self._ids[at : at + _ID_BYTES]
            self._next = parent, first
            return tree, (parent,)
        places = self._parents(place, first, second)
        if places is None or not all(self._is_above(level, each) for each in places):
            return None
        return tree, tuple(self._ids[_ID_BYTES * at : _ID_BYTES * (at + 1)] for at in places)

    def _is_above(self, level: int, parent: int) -> bool:
        """Whether a commit can have this parent: so that not even a forged file leads in circles."""
        (other,) = _read_word(self._rows, _ROW_BYTES * parent + _LEVEL_AT)
        return bool(level >> _TIME_BITS > other >> _TIME_BITS)

    def _place(self, commit: bytes) -> int:
        """Return the number of a commit, or -1. The newest layers are the last."""
        find, first = self._ids.find, commit[0]
        for starts in reversed(self._starts):
            end = starts[first + 1]
            at = find(commit, starts[first], end)
            while at >= 0 and at % _ID_BYTES:
                at = find(commit, at + 1, end)
            if at >= 0:
                return at // _ID_BYTES
        return -1

    def _parents(self, place: int, first: int, second: int) -> list[int] | None:
        """Return the numbers of none, two or more parents, or None if one cannot be right."""
        if first == _NONE:
            return [] if second == _NONE else None
        places = [first]
        if second & _FLAG:
            edges = self._edges[bisect_right(self._bases, place) - 1]
            at = _EDGE_BYTES * (second ^ _FLAG)
            value = 0
            while not value & _FLAG:
                if at + _EDGE_BYTES > len(edges):
                    return None
                (value,) = _read_word(edges, at)
                places.append(value & ~_FLAG)
                at += _EDGE_BYTES
        elif second != _NONE:
            places.append(second)
        return places if max(places) < self._count else None


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _content(path: str, bytes_max: int) -> bytes:
    """Return what is in a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large.
    """
    with open(path, "rb") as file:
        data = file.read(bytes_max + 1)
    if len(data) > bytes_max:
        raise ValueError("too large")
    return data


def _layer(data: bytes, below: Sequence[bytes]) -> _Layer:
    """Return one file's content, given the checksums of the files it must stand on.

    Raises:
        ValueError, struct.error: it is damaged, or not of this version.
    """
    body, checksum = data[:-_ID_BYTES], data[-_ID_BYTES:]
    magic, version, hash_version, count, bases = _HEADER.unpack_from(data)
    if (magic, version, hash_version, bases) != (_MAGIC, _VERSION, _SHA1, len(below)):
        raise ValueError("a commit-graph of another version")
    if sha1(body, usedforsecurity=False).digest() != checksum:
        raise ValueError("not of the checksum it says")
    table = [_CHUNK.unpack_from(body, _HEADER.size + _CHUNK.size * n) for n in range(count + 1)]
    chunks: dict[bytes, bytes] = {}
    for (name, start), (_, end) in pairwise(table):
        if not _HEADER.size <= start <= end <= len(body):
            raise ValueError("a chunk is out of range")
        chunks[name] = body[start:end]
    if chunks.get(b"BASE", b"") != b"".join(below):
        raise ValueError("stands on other files")
    fan = _FAN.unpack_from(chunks.get(b"OIDF", b""))
    ids, rows = chunks.get(b"OIDL", b""), chunks.get(b"CDAT", b"")
    if any(a > b for a, b in pairwise(fan)):
        raise ValueError("the fan-out is not in order")
    if len(ids) != _ID_BYTES * fan[-1] or len(rows) != _ROW_BYTES * fan[-1]:
        raise ValueError("not as many commits as it says")
    return _Layer(checksum, fan, ids, rows, chunks.get(b"EDGE", b""))
