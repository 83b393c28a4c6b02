"""One pack made of many: deltas along the versions of each path, streamed, proved by reading back.

The newest version of a file is stored whole, the older ones as deltas against it: any of them is read
in one step. A version that has little in common with the newest is told against its neighbour. Trees
are a chain of neighbours. What is a delta in a pack already is copied as it is, since its base
goes into the same pack. Memory: two versions of one path, and the ids.
"""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from hashlib import sha1
from typing import TYPE_CHECKING, Final

from gitstore.git import packformat
from gitstore.git.deltas import Base
from gitstore.git.files import write_all
from gitstore.git.maintain.order import ordered
from gitstore.git.maintain.sources import PackSource, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gitstore.git.files import Disk
    from gitstore.git.maintain.sources import Source
    from gitstore.git.maintain.wholepack import WholePack

#: As `git gc`: how many deltas may lie between an object and one that is whole.
DEPTH_MAX: Final = 50
_LEVEL: Final = 6
#: From here on the second byte of zlib data says that it was compressed well (RFC 1950, FLEVEL 2 and 3): not
#: by zlib's levels 0 to 5, nor by ISA-L's 1.
_WELL: Final = b"\x80"
#: A delta against the newest version that is larger than this part of the text makes a look at the
#: neighbour worth while; one that is larger than that part is not worth a delta.
_GOOD_PART: Final = 10
_USELESS: Final = 0.7
_BUFFER_BYTES: Final = 1 << 20
#: Bytes that ids may begin with, and about how many entries of an index are put in order at once.
_FIRSTS: Final = 256
_PART: Final = 4096


class PackStream:
    """A pack that grows, entry after entry (gitformat-pack(5)); `finish` makes it durable."""

    def __init__(self, base: str, count: int, *, disk: Disk) -> None:
        self._base = base
        self._count = count
        self._disk = disk
        self._descriptor = os.open(base + ".pack", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        self._buffer = bytearray(packformat.pack_header(count))
        self._hash = sha1(usedforsecurity=False)
        self._size = len(self._buffer)
        #: Where each object is, and how many deltas it is from one that is whole.
        self.places: dict[bytes, tuple[int, int]] = {}
        self._sums: dict[bytes, int] = {}
        #: What was added as it is, and how much further on it begins.
        self._packs: list[tuple[WholePack, int]] = []

    def close(self) -> None:
        """Close the file, finished or not."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def add(self, name: bytes, kind: int, size: int, packed: bytes) -> None:
        """Add an object that is stored whole; `packed` is its compressed data."""
        self._add(name, packformat.entry_header(kind, size), packed, depth=0)

    def add_delta(self, name: bytes, base: bytes, size: int, packed: bytes) -> None:
        """Add an object that is a delta of one that was added before."""
        offset, depth = self.places[base]
        reach = packformat.distance(self._size - offset)
        head = packformat.entry_header(packformat.OFS_DELTA, size) + reach
        self._add(name, head, packed, depth=depth + 1)

    def add_pack(self, pack: WholePack) -> None:
        """Add all of another pack as it is there, for objects that no delta will be added for."""
        self._packs.append((pack, self._size - len(packformat.pack_header(0))))
        body = pack.body
        self._size += len(body)
        # Not all of a large one once more.
        for at in range(0, len(body), _BUFFER_BYTES):
            self._buffer += body[at : at + _BUFFER_BYTES]
            if len(self._buffer) > _BUFFER_BYTES:
                self._flush()

    def finish(self) -> str:
        """Write what is left and the index, and make both durable; return the pack's checksum."""
        assert len(self.places) + sum(pack.index.count for pack, _ in self._packs) == self._count
        self._flush()
        checksum = self._hash.digest()
        write_all(self._descriptor, checksum)
        self._disk.sync(self._descriptor)
        self.close()
        index = packformat.index_of_parts(self._rows(), checksum)
        self._disk.write_new(self._base + ".idx", index, mode=0o444)
        return checksum.hex()

    def _rows(self) -> Iterator[list[packformat.Entry]]:
        """Return what the index says of the objects, in parts, of which none takes long to put in order."""
        step = max(1, _FIRSTS * _PART // max(_PART, self._count))
        own: dict[int, list[bytes]] = defaultdict(list)
        for name in self.places:
            own[name[0] // step].append(name)
        for first in range(0, _FIRSTS, step):
            rows = [
                packformat.Entry(name, self._sums[name], self.places[name][0])
                for name in own.pop(first // step, ())
            ]
            for pack, moved in self._packs:
                rows += pack.index.rows(first, first + step, moved=moved)
            rows.sort()
            yield rows

    def _add(self, name: bytes, head: bytes, packed: bytes, *, depth: int) -> None:
        self.places[name] = self._size, depth
        self._sums[name] = zlib.crc32(packed, zlib.crc32(head))
        self._buffer += head
        self._buffer += packed
        self._size += len(head) + len(packed)
        if len(self._buffer) > _BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        data = bytes(self._buffer)
        self._hash.update(data)
        write_all(self._descriptor, data)
        self._buffer.clear()


class Packer:
    """Puts objects of several sources into one pack."""

    def __init__(
        self, sources: Mapping[bytes, Source], writer: PackStream, *, pause: Callable[[], None]
    ) -> None:
        self._sources = sources
        self._stored = {name: source.entries[name] for name, source in sources.items()}
        self._writer = writer
        #: Called between two objects; may raise to give up.
        self._pause = pause
        #: Deltas that hang, one below the other, on an object that is whole.
        self._heights: dict[bytes, int] = {}
        for each in self._stored.values():
            if each.root is not None:
                self._heights[each.root] = max(self._heights.get(each.root, 0), each.depth)

    def run(self) -> None:
        """Add every object.

        Raises:
            UnreadableError: one of them is damaged, or gone.
        """
        order = ordered(self._stored, self._read)
        for name in order.commits:
            self._place(name, self.add_whole)
        for versions in order.trees:
            self._place_all(_Chain(self), versions)
        for versions in order.blobs:
            self._place_all(_Star(self), versions)
        for name in order.others:
            self._place(name, self.add_whole)

    def _place_all(self, path: _Chain, versions: list[bytes]) -> None:
        for name in versions:
            self._place(name, path.add)
            path.came(name)

    def _place(self, name: bytes, add: Callable[[bytes], None]) -> None:
        """Add an object, and first the bases of what is copied as a delta."""
        todo = [name]
        while todo:
            each = todo[-1]
            base = self._stored[each].base
            if each in self._writer.places:
                todo.pop()
            elif base is not None and base not in self._writer.places:
                todo.append(base)
            else:
                self._pause()
                if base is not None:
                    self._copy_delta(each, base)
                elif each == name:
                    add(each)
                else:
                    # Before its turn, and perhaps of another path.
                    self.add_whole(each)

    def _copy_delta(self, name: bytes, base: bytes) -> None:
        packed = self._sources[name].packed(name)
        assert packed is not None
        self._writer.add_delta(name, base, self._stored[name].size, packed)

    def _read(self, name: bytes) -> bytes:
        self._pause()
        return self._sources[name].read(name)

    def read(self, name: bytes) -> bytes:
        """Return the data of an object, hashed."""
        return self._sources[name].read(name)

    def can_stand_on(self, name: bytes, base: bytes) -> bool:
        """Whether an object may become a delta of another one, which must be in the pack."""
        place = self._writer.places.get(base)
        height = self._heights.get(name, 0)
        return place is not None and place[1] + 1 + height <= DEPTH_MAX

    def add_delta(self, name: bytes, base: bytes, delta: bytes) -> None:
        """Add an object as a delta that was made for it."""
        self._writer.add_delta(name, base, len(delta), zlib.compress(delta, _LEVEL))

    def add_whole(self, name: bytes, data: bytes | None = None) -> None:
        """Add an object as it is; what was compressed well is not compressed again."""
        stored = self._stored[name]
        packed = self._sources[name].packed(name)
        if packed is None or packed[1:2] < _WELL:
            packed = zlib.compress(self.read(name) if data is None else data, _LEVEL)
        self._writer.add(name, stored.kind, stored.size, packed)


class _Chain:
    """The versions of one path, newest first; each is told against the one before it."""

    def __init__(self, packer: Packer) -> None:
        self._packer = packer
        self._before: bytes | None = None

    def came(self, name: bytes) -> None:
        """Go on to the version before this one in history."""
        self._before = name

    def add(self, name: bytes) -> None:
        """Add a version that is stored whole now."""
        packer, before = self._packer, self._before
        if before is None or not packer.can_stand_on(name, before):
            packer.add_whole(name)
            return
        data = packer.read(name)
        delta = Base(packer.read(before)).delta(data)
        if len(delta) < _USELESS * len(data):
            packer.add_delta(name, before, delta)
        else:
            packer.add_whole(name, data)


class _Star(_Chain):
    """The same, but each is told against the newest, unless that has become too different."""

    def __init__(self, packer: Packer) -> None:
        super().__init__(packer)
        self._newest: bytes | None = None
        self._base: Base | None = None

    def came(self, name: bytes) -> None:
        """Go on to the version before this one in history."""
        super().came(name)
        self._newest = self._newest or name

    def add(self, name: bytes) -> None:
        """Add a version that is stored whole now."""
        packer, newest = self._packer, self._newest
        if newest is None or not packer.can_stand_on(name, newest):
            super().add(name)
            return
        if self._base is None:
            self._base = Base(packer.read(newest))
        data = packer.read(name)
        base, delta = newest, self._base.delta(data)
        before = self._before
        if len(delta) * _GOOD_PART > len(data) and before not in (None, newest):
            assert before is not None
            if packer.can_stand_on(name, before):
                other = Base(packer.read(before)).delta(data)
                if len(other) < len(delta):
                    base, delta = before, other
        if len(delta) < _USELESS * len(data):
            packer.add_delta(name, base, delta)
        else:
            packer.add_whole(name, data)


def prove(base: str, names: Mapping[bytes, object], *, pause: Callable[[], None]) -> None:
    """Read every object of a new pack back: what it stands for will be gone.

    Raises:
        UnreadableError: one of them is not there, or not what its name says.
    """
    pack = PackSource(base)
    try:
        if pack.entries.keys() != names.keys():
            raise UnreadableError(base + ".pack", "does not hold what it should")
        for name in pack.entries:
            pause()
            pack.read(name)
    finally:
        pack.close()
