"""What git's index knows of working files, read quickly: which of them need no second look.

The same test as git's: a file whose status is that of its entry holds the entry's object, unless the
entry is racy (see `gitstore.git.index`). Whatever is unusual here is left out, so that the caller
looks at the file itself. Format: ``gitformat-index``, versions 2 and 3;
a split index is put together by `Index`.
"""

from __future__ import annotations

import os
import struct
import sys
from hashlib import sha1
from typing import Final, NamedTuple

from gitstore.errors import StorageError
from gitstore.git.index import Index
from gitstore.git.indexentries import (
    CHECKSUM_BYTES,
    EXTENDED,
    HEADER,
    NAME_OFFSET,
    SIGNATURE,
    extensions,
)
from gitstore.git.sharedindex import LINK

#: Both ctimes and mtimes, device, inode, mode, user, group, size, id, flags.
_ENTRY: Final = struct.Struct(">LLLL4xL12xL20sH")
_NAME_MAX: Final = 0xFFF
_VERSIONS: Final = (2, 3)
_SECOND_NS: Final = 1_000_000_000
#: As `os.fsdecode`, which takes as long as the rest of an entry.
_PATH_CODEC: Final = (sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())


class IndexedFile(NamedTuple):
    """A working file that held an object when it had this status; the id is in hex."""

    mtime_ns: int
    ctime_ns: int
    size: int
    #: The last 32 bits are all that an index keeps.
    inode: int
    id: str


def indexed_files(path: str, folder: str) -> dict[str, IndexedFile]:
    """Return the files below a folder that the index at `path` vouches for, by path.

    Left out are entries that are not older than the index, by whole seconds, those made to be looked
    at again (size 0), the stages of a merge, and such as have flags of their own. An index that is
    missing, damaged or of another version vouches for nothing.
    """
    try:
        with open(path, "rb") as file:
            modified = os.fstat(file.fileno()).st_mtime_ns // _SECOND_NS
            data = file.read()
        prefix = os.fsencode(folder) + b"/"
        found, end = _entries(_checked(data), prefix, modified)
        if any(kind == LINK for kind, _ in extensions(data[:-CHECKSUM_BYTES], end)):
            parts, _ = Index.read(path).whole()
            found, _ = _entries(b"".join(parts), prefix, modified)
        return dict(found)
    except (OSError, ValueError, struct.error, StorageError):
        return {}


def _checked(data: bytes) -> bytes:
    """Return the bytes of an index if they are what was written.

    Raises:
        ValueError: they are not, or of a version that is not read here.
    """
    signature, version, _ = HEADER.unpack_from(data)
    checksum = data[-CHECKSUM_BYTES:]
    digest = sha1(memoryview(data)[:-CHECKSUM_BYTES], usedforsecurity=False).digest()
    if (
        signature != SIGNATURE
        or version not in _VERSIONS
        or (checksum.strip(b"\0") and checksum != digest)
    ):
        raise ValueError("no index that can be read quickly")
    return data


def _entries(
    data: bytes, prefix: bytes, modified: int
) -> tuple[list[tuple[str, IndexedFile]], int]:
    """Return the files with that prefix that need no second look, and where all entries end."""
    _, _, count = HEADER.unpack_from(data)
    found: list[tuple[str, IndexedFile]] = []
    start, unpack = HEADER.size, _ENTRY.unpack_from
    for _ in range(count):
        cs, cns, ms, mns, inode, size, object_id, flags = unpack(data, start)
        # Flags above the length of the name: assumed valid, extended, a stage.
        if flags >= _NAME_MAX:
            end = data.index(b"\0", start + NAME_OFFSET + (2 if flags & EXTENDED else 0))
        else:
            end = start + NAME_OFFSET + flags
            if size and ms < modified and data.startswith(prefix, start + NAME_OFFSET):
                path = str(data[start + NAME_OFFSET : end], *_PATH_CODEC)
                times = ms * _SECOND_NS + mns, cs * _SECOND_NS + cns
                found.append((path, IndexedFile(*times, size, inode, object_id.hex())))
        start += ((end - start) // 8 + 1) * 8
    return found, start
