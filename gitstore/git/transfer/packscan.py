"""A pack that came from elsewhere, in a file: taken apart with nothing believed (gitformat-pack(5)).

Every object is inflated within limits and named by its own hash, deltas are applied down to their
bases, and what the objects look like is noted (`PackScan.flaws`). Memory stays within `_CACHE_BYTES_MAX`
and a few times the largest object that is allowed, whatever the pack says.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from array import array
from collections import OrderedDict
from contextlib import suppress
from hashlib import sha1
from typing import TYPE_CHECKING, Final, TypeAlias

from dulwich import pack as dulwich_pack
from dulwich.errors import ApplyDeltaError

from gitstore.git.objects import OBJECT_BYTES_MAX
from gitstore.git.transfer.hygiene import COMMIT_BYTES_MAX, TREE_BYTES_MAX, object_problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash as HASH  # pyright: ignore[reportPrivateUsage] -- it has no other name

#: Kind and data of an object.
Found: TypeAlias = tuple[str, bytes]

#: It is Rust where dulwich was built with it, without types. It checks every bound.
_apply_delta: Callable[[bytes, bytes], list[bytes]] = vars(dulwich_pack)["apply_delta"]

KINDS: Final = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
NUMBERS: Final = {kind: number for number, kind in KINDS.items()}
_LIMITS: Final = {1: COMMIT_BYTES_MAX, 2: TREE_BYTES_MAX, 3: OBJECT_BYTES_MAX, 4: COMMIT_BYTES_MAX}
_OFS_DELTA: Final = 6
_REF_DELTA: Final = 7
_HEADER: Final = struct.Struct(">4sLL")
_ID_BYTES: Final = 20
#: The least that an entry takes: a byte of header, and deflate's empty stream.
_ENTRY_BYTES_MIN: Final = 9
#: What git itself allows at most (pack.depth).
_CHAIN_MAX: Final = 4095
_CACHE_BYTES_MAX: Final = 32 << 20
#: What is larger is hashed while it is inflated, and not kept.
_KEPT_BYTES_MAX: Final = 1 << 20
_PART_BYTES: Final = 1 << 16
_SIZE_BITS_MAX: Final = 40


class Malformed(Exception):  # noqa: N818 -- never leaves gitstore.git: it becomes an UntrustedContentError
    """The pack is not to be had; `where` is an object id, or what part of it is wrong."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where = where
        self.problem = problem


class PackScan:
    """The objects of one pack file. For one thread; `close` it."""

    def __init__(
        self,
        path: str,
        *,
        external: Callable[[bytes], Found | None],
        step: Callable[[int], None],
    ) -> None:
        """Take the pack apart.

        `external` looks up objects that deltas are against and the pack does not hold. `step` is
        told how many objects were taken in, often; it may raise.

        Raises:
            Malformed: it is no pack, is damaged, or breaks a limit.
        """
        #: The pack's objects: id (20 bytes) to place in the arrays.
        self.places: dict[bytes, int] = {}
        #: What is wrong with the form of an object.
        self.flaws: dict[bytes, str] = {}
        #: Bases that the pack does not hold.
        self.lacking: list[bytes] = []
        self._external = external
        self._step = step
        self._starts, self._ends = array("Q"), array("Q")
        # By place: where the data begins, of how many bytes, and of which kind and
        # name (0 and empty: not known yet), behind how many deltas.
        self._data_starts, self._sizes, self._kinds = array("Q"), array("Q"), bytearray()
        self._depths, self._names = array("H"), list[bytes]()
        # By place: place of the base, or its id.
        self._bases: dict[int, int | bytes] = {}
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._cached = 0
        with open(path, "rb") as file:
            try:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise Malformed("the pack", "is empty") from error
        self.view = memoryview(self._map)
        try:
            self._scan()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self.view.release()
        # The frames of an error may look into it still; then it is closed with them.
        with suppress(BufferError):
            self._map.close()

    def kind(self, name: bytes) -> str | None:
        """Return what kind of object this is, or None if it is not in the pack."""
        place = self.places.get(name)
        return None if place is None else KINDS[self._kinds[place]]

    def size(self, name: bytes) -> int:
        """Return how many bytes an object of the pack has."""
        return self._sizes[self.places[name]]

    def read(self, name: bytes) -> bytes:
        """Return the data of an object of the pack."""
        return self._build(self.places[name])

    def entries(self) -> list[tuple[bytes, int, int]]:
        """Return id, offset and CRC of each entry, as an index of the pack has them, in order."""
        view, starts, ends = self.view, self._starts, self._ends
        return [
            (name, starts[place], zlib.crc32(view[starts[place] : ends[place]]))
            for name, place in sorted(self.places.items())
        ]

    # --- taking it apart ------------------------------------------------------------

    def _scan(self) -> None:
        count = self._check_frame()
        waiting = self._read_entries(count)
        self._resolve(waiting, list(range(count)))
        for base in [base for base in waiting if isinstance(base, bytes)]:
            if base in self.places:
                continue
            found = self._external(base)
            if found is None:
                raise Malformed(base.hex(), "is missing: a delta is against it")
            self.lacking.append(base)
            children = waiting.pop(base)
            for child in children:
                self._take_delta(child, NUMBERS[found[0]], found[1], 1)
            self._resolve(waiting, children)
        if waiting:
            raise Malformed("the pack", "holds deltas that are against one another")

    def _check_frame(self) -> int:
        """Check header and checksum; return how many objects there are to be."""
        if len(self.view) < _HEADER.size + _ID_BYTES:
            raise Malformed("the pack", "ends too early")
        magic, version, count = _HEADER.unpack_from(self.view)
        if magic != b"PACK" or version not in (2, 3):
            raise Malformed("the pack", "is no pack of version 2 or 3")
        body = self.view[:-_ID_BYTES]
        if sha1(body, usedforsecurity=False).digest() != bytes(self.view[-_ID_BYTES:]):
            raise Malformed("the pack", "is damaged: its checksum is wrong")
        if count * _ENTRY_BYTES_MIN > len(body) - _HEADER.size:
            raise Malformed("the pack", "is too small for the objects it says it has")
        return int(count)

    def _read_entries(self, count: int) -> dict[int | bytes, list[int]]:
        """Read each entry, and name those that are no deltas; return the others by their base."""
        waiting: dict[int | bytes, list[int]] = {}
        at_offset: dict[int, int] = {}
        at = _HEADER.size
        for place in range(count):
            self._step(len(self.places))
            at_offset[at] = place
            self._starts.append(at)
            try:
                kind, size, base, at = self._read_header(at)
                if kind in KINDS:
                    _check_size(place, kind, size)
                self._data_starts.append(at)
                self._sizes.append(size)
                self._kinds.append(0)
                self._depths.append(0)
                self._names.append(b"")
                digest, data, at = self._inflate(at, kind, size)
            except (zlib.error, IndexError) as error:
                raise Malformed(f"object {place}", f"cannot be inflated ({error})") from error
            self._ends.append(at)
            if kind in KINDS:
                self._name(place, kind, digest, data)
            else:
                if isinstance(base, int):
                    if base not in at_offset:
                        raise Malformed(f"object {place}", "is a delta against nothing")
                    base = at_offset[base]
                self._bases[place] = base
                waiting.setdefault(base, []).append(place)
        if at != len(self.view) - _ID_BYTES:
            raise Malformed("the pack", "holds more than the objects it says it has")
        return waiting

    def _read_header(self, at: int) -> tuple[int, int, int | bytes, int]:
        """Return kind, size, base (its offset or id) and where the compressed data begins."""
        view, start = self.view, at
        byte = view[at]
        at += 1
        kind, size, shift = byte >> 4 & 7, byte & 15, 4
        while byte & 0x80 and shift < _SIZE_BITS_MAX:
            byte = view[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
        if size > OBJECT_BYTES_MAX:
            raise Malformed(
                f"the object at byte {start}", f"is of more than {OBJECT_BYTES_MAX} bytes"
            )
        base: int | bytes = -1
        if kind == _REF_DELTA:
            base = bytes(view[at : at + _ID_BYTES])
            at += _ID_BYTES
        elif kind == _OFS_DELTA:
            byte = view[at]
            at += 1
            distance = byte & 0x7F
            while byte & 0x80:
                byte = view[at]
                at += 1
                distance = (distance + 1) << 7 | byte & 0x7F
                if distance > start:
                    raise Malformed(f"the object at byte {start}", "is a delta against nothing")
            base = start - distance
        elif kind not in KINDS:
            raise Malformed(f"the object at byte {start}", f"is of the unknown kind {kind}")
        return kind, size, base, at

    def _inflate(self, at: int, kind: int, size: int) -> tuple[bytes, bytes | None, int]:
        """Return hash and data (None if large) of the object whose data begins there, and its end.

        Of a delta they are worth nothing, except that it could be inflated.
        """
        view, end = self.view, len(self.view) - _ID_BYTES
        hashed = _hasher(kind, size)
        inflater = zlib.decompressobj()
        parts: list[bytes] = []
        done = 0
        packed: bytes | memoryview = view[
            at : min(at + size + (size >> 3) + 64, at + _PART_BYTES, end)
        ]
        at += len(packed)
        while True:
            # One more than there should be: too much is then seen.
            part = inflater.decompress(packed, min(size + 1 - done, _KEPT_BYTES_MAX))
            done += len(part)
            if done > size:
                raise zlib.error("it is larger than it says")
            hashed.update(part)
            if size <= _KEPT_BYTES_MAX:
                parts.append(part)
            if inflater.eof:
                break
            packed = inflater.unconsumed_tail
            if not packed:
                packed = view[at : min(at + _PART_BYTES, end)]
                at += len(packed)
                if not packed and not part:
                    raise zlib.error("it ends too early")
        if done != size:
            raise zlib.error("it is smaller than it says")
        data = b"".join(parts) if size <= _KEPT_BYTES_MAX else None
        return hashed.digest(), data, at - len(inflater.unused_data)

    def _name(self, place: int, kind: int, name: bytes, data: bytes | None) -> None:
        """Take an object in under the id that its content has."""
        if name in self.places:
            raise Malformed(name.hex(), "is in the pack twice")
        self.places[name] = place
        self._names[place] = name
        self._kinds[place] = kind
        if data is None and kind in (1, 2, 4):
            data = self._build(place)
        if data is not None:
            problem = object_problem(KINDS[kind], data)
            if problem is not None:
                self.flaws[name] = problem
            self._keep(place, data)

    # --- deltas ---------------------------------------------------------------------

    def _resolve(self, waiting: dict[int | bytes, list[int]], todo: list[int]) -> None:
        """Build what waits for the objects at these places, and what waits for that, depth first."""
        while todo and waiting:
            place = todo.pop()
            for base in (place, self._names[place]):
                children = waiting.pop(base, None) if self._names[place] else None
                if children:
                    data = self._build(place)
                    for child in children:
                        self._take_delta(child, self._kinds[place], data, self._depths[place] + 1)
                    todo += children

    def _take_delta(self, place: int, kind: int, base: bytes, depth: int) -> None:
        """Build the object that is a delta against `base`, and name it."""
        self._step(len(self.places))
        if depth > _CHAIN_MAX:
            raise Malformed(f"object {place}", f"is at the end of more than {_CHAIN_MAX} deltas")
        delta = self._unpacked(place)
        _check_size(place, kind, _target_size(delta))
        try:
            data = b"".join(_apply_delta(base, delta))
        except (ApplyDeltaError, ValueError, LookupError, AssertionError) as error:
            raise Malformed(f"object {place}", f"is a malformed delta ({error})") from error
        self._sizes[place] = len(data)
        self._depths[place] = depth
        hashed = _hasher(kind, len(data))
        hashed.update(data)
        self._name(place, kind, hashed.digest(), data)

    def _build(self, place: int) -> bytes:
        """Return the data of an object that has a name, from the bases it is built on."""
        chain: list[int] = []
        data = self._cache.get(place)
        while data is None:
            base = self._bases.get(place)
            if base is None:
                data = self._unpacked(place)
                self._keep(place, data)
                break
            chain.append(place)
            if isinstance(base, bytes) and base not in self.places:
                found = self._external(base)
                if found is None:
                    raise Malformed(base.hex(), "is missing: a delta is against it")
                data = found[1]
            else:
                place = base if isinstance(base, int) else self.places[base]
                data = self._cache.get(place)
        if not chain:
            self._cache.move_to_end(place)
        for each in reversed(chain):
            data = b"".join(_apply_delta(data, self._unpacked(each)))
            self._keep(each, data)
        return data

    def _unpacked(self, place: int) -> bytes:
        """Return the data of an entry, known to be sound: the object, or the delta it is."""
        size = _PART_BYTES if place in self._bases else max(self._sizes[place], 1)
        packed = self.view[self._data_starts[place] : self._ends[place]]
        return zlib.decompress(packed, bufsize=size)

    def _keep(self, place: int, data: bytes) -> None:
        if place in self._cache:
            return
        self._cache[place] = data
        self._cached += len(data)
        while self._cached > _CACHE_BYTES_MAX and len(self._cache) > 1:
            self._cached -= len(self._cache.popitem(last=False)[1])


def _hasher(kind: int, size: int) -> HASH:
    """Return what is to be fed an object's data, to make its id."""
    return sha1(b"%s %d\0" % (KINDS.get(kind, "").encode(), size), usedforsecurity=False)


def _check_size(place: int, kind: int, size: int) -> None:
    limit = _LIMITS[kind]
    if size > limit:
        problem = f"is a {KINDS[kind]} of {size} bytes, and {limit} is the most that is taken"
        raise Malformed(f"object {place}", problem)


def _target_size(delta: bytes) -> int:
    """Return how large a delta says that its result is; 0 if it does not say."""
    at = size = 0
    for _ in range(2):
        size = shift = 0
        while at < len(delta) and shift < _SIZE_BITS_MAX:
            byte = delta[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
    return size
