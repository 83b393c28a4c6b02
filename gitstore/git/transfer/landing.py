"""A checked pack, put where git looks for it."""

from __future__ import annotations

import io
import os
import struct
import zlib
from hashlib import sha1
from typing import TYPE_CHECKING, Final

from dulwich.pack import write_pack_index_v2

from gitstore.git.files import discard, write_all
from gitstore.git.transfer.packscan import NUMBERS

if TYPE_CHECKING:
    from gitstore.git.files import Disk
    from gitstore.git.lock import Workshop
    from gitstore.git.transfer.packscan import Found, PackScan

_PART_BYTES: Final = 1 << 20
_COUNT_AT: Final = 8
_HEADER_BYTES: Final = 12
_SEAL_BYTES: Final = 20


def land(
    scan: PackScan,
    bases: list[tuple[bytes, Found]],
    *,
    folder: str,
    workshop: Workshop,
    disk: Disk,
) -> str | None:
    """Write a pack, with the bases that it lacks, and its index into `folder`, durably.

    The objects can be read when the index has its name, and not before; then they are on disk. A
    file that is only half written never has its name.

    Return the path of its ``.keep`` file, which is to be removed when a ref names what came in: until
    then `git gc --prune=now` and `git repack -ad` would take the pack away (git-fetch-pack(1) does
    the same; one that a crash leaves costs nothing but that the pack stays as it is). None if
    somebody else has put one there.
    """
    disk.make_folder(folder)
    with workshop.scratch() as temporary:
        entries = scan.entries()
        descriptor = os.open(temporary + ".pack", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        try:
            checksum = _write(descriptor, scan, bases, entries)
            disk.sync(descriptor)
        finally:
            os.close(descriptor)
        index = io.BytesIO()
        write_pack_index_v2(index, sorted(entries), checksum)
        disk.write_new(temporary + ".idx", index.getvalue(), mode=0o444)
        base = os.path.join(folder, "pack-" + checksum.hex())
        kept = _keep(base + ".keep")
        # Of a pack of that name, every byte is the same. No index may be there without its pack.
        try:
            for suffix in (".pack", ".idx"):
                os.rename(temporary + suffix, base + suffix)
                disk.sync_folder(folder)
        except BaseException:
            if kept is not None:
                discard(kept)
            raise
        return kept


def _keep(path: str) -> str | None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return None
    return path


def _write(
    descriptor: int,
    scan: PackScan,
    bases: list[tuple[bytes, Found]],
    entries: list[tuple[bytes, int, int]],
) -> bytes:
    """Write the pack with the bases behind its own objects; note those, and return the checksum."""
    hashed = sha1(usedforsecurity=False)

    def put(data: bytes) -> None:
        hashed.update(data)
        write_all(descriptor, data)

    put(bytes(scan.view[:_COUNT_AT]) + struct.pack(">L", len(entries) + len(bases)))
    at, end = _HEADER_BYTES, len(scan.view) - _SEAL_BYTES
    while at < end:
        part = bytes(scan.view[at : min(at + _PART_BYTES, end)])
        put(part)
        at += len(part)
    for name, (kind, data) in bases:
        entry = entry_header(NUMBERS[kind], len(data)) + zlib.compress(data)
        entries.append((name, at, zlib.crc32(entry)))
        put(entry)
        at += len(entry)
    seal = hashed.digest()
    write_all(descriptor, seal)
    return seal


def entry_header(kind: int, size: int) -> bytes:
    """Return how an entry begins that is no delta (gitformat-pack(5))."""
    header = bytearray()
    byte, size = kind << 4 | size & 15, size >> 4
    while size:
        header.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    header.append(byte)
    return bytes(header)
