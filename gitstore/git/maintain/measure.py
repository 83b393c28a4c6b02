"""How large a repository is, and each of some files in it."""

from __future__ import annotations

import os
import zlib
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gitstore.git.maintain.sources import LooseSource, PackSource, UnreadableError
from gitstore.git.translate import translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitstore.git.location import Location

_BLOCK_BYTES: Final = 512
_HEX: Final = frozenset("0123456789abcdef")
_GARBAGE: Final = ("tmp_", "tmp-", "new-")
#: A delta begins with two sizes of at most five bytes each.
_SIZES_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Files and bytes, as they take room on the disk."""

    packs: int = 0
    pack_bytes: int = 0
    loose: int = 0
    loose_bytes: int = 0
    #: What broken-off writers left; it goes by itself, or with `git gc`.
    garbage: int = 0
    garbage_bytes: int = 0
    #: Caches of gitstore's own, which may be deleted.
    cache_bytes: int = 0

    @property
    def object_bytes(self) -> int:
        """All that the objects take: packs with what describes them, and loose files."""
        return self.pack_bytes + self.loose_bytes


def measure(location: Location) -> Footprint:
    """Return how large a repository is. Cost: asks for the size of every file of objects."""
    with translated(location.path):
        packs = pack_bytes = loose = loose_bytes = garbage = garbage_bytes = caches = 0
        for folder, name, size in _files(os.path.join(location.common, "objects")):
            if name.startswith(_GARBAGE):
                garbage, garbage_bytes = garbage + 1, garbage_bytes + size
            elif len(folder) == 2 and set(folder) <= _HEX:  # noqa: PLR2004 -- a folder of loose ones
                loose, loose_bytes = loose + 1, loose_bytes + size
            elif folder == "pack":
                packs, pack_bytes = packs + name.endswith(".pack"), pack_bytes + size
        for _, name, size in _files(os.path.join(location.common, "gitstore")):
            if name.startswith(_GARBAGE):
                garbage, garbage_bytes = garbage + 1, garbage_bytes + size
            elif ".sqlite" in name:
                caches += size
    return Footprint(
        packs=packs,
        pack_bytes=pack_bytes,
        loose=loose,
        loose_bytes=loose_bytes,
        garbage=garbage,
        garbage_bytes=garbage_bytes,
        cache_bytes=caches,
    )


def sizes(location: Location, wanted: set[str]) -> dict[str, int]:
    """Return the size of some objects; of those that cannot be read, none.

    Cost: reads the beginnings of all entries of the packs, and no object whole.
    """
    left = {bytes.fromhex(name) for name in wanted}
    found: dict[str, int] = {}
    objects = os.path.join(location.common, "objects")
    with translated(location.path):
        for _, name, _ in _files(os.path.join(objects, "pack")):
            if name.endswith(".pack") and left:
                with suppress(UnreadableError):
                    path = os.path.join(objects, "pack", name.removesuffix(".pack"))
                    with closing(PackSource(path)) as pack:
                        for each in left & pack.entries.keys():
                            found[each.hex()] = _size_in(pack, each)
            left = {each for each in left if each.hex() not in found}
        loose = LooseSource(objects)
        found |= {each.hex(): loose.entries[each].size for each in left if loose.add(each)}
    return found


def _size_in(pack: PackSource, name: bytes) -> int:
    """Return the size of an object; that of a delta's result stands behind that of its base."""
    stored = pack.entries[name]
    if stored.base is None:
        return stored.size
    try:
        head = zlib.decompressobj().decompress(pack.packed(name), _SIZES_BYTES)
    except zlib.error as error:
        raise UnreadableError(pack.base + ".pack", error) from error
    size = at = shift = 0
    while at < len(head) and head[at] & 0x80:
        at += 1
    for byte in head[at + 1 :]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    return size


def _files(above: str) -> Iterator[tuple[str, str, int]]:
    """Return the folder, name and room on the disk of each file one or more levels below."""
    for folder, _, names in os.walk(above):
        for name in names:
            with suppress(FileNotFoundError):
                status = os.lstat(os.path.join(folder, name))
                yield os.path.relpath(folder, above), name, status.st_blocks * _BLOCK_BYTES
