"""What git's index knows of working files, read quickly: which of them need no second look.

The same test as git's: a file whose status is that of its entry holds the entry's object, unless the
entry is racy (see `gitstore.git.index`). Whatever is unusual here is left out, so that the caller
looks at the file itself. Format: ``gitformat-index``, versions 2 and 3.
"""

from __future__ import annotations

import os
import struct
import sys
from hashlib import sha1
from typing import Final, NamedTuple

from gitstore.git.index import CHECKSUM_BYTES

_HEADER: Final = struct.Struct(">4sLL")
#: Both ctimes and mtimes, device, inode, mode, user, group, size, id, flags.
_ENTRY: Final = struct.Struct(">LLLL4xL12xL20sH")
_NAME_OFFSET: Final = 62
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
        return dict(_entries(data, os.fsencode(folder) + b"/", modified))
    except (OSError, ValueError, struct.error):
        return {}


def _entries(data: bytes, prefix: bytes, modified: int) -> list[tuple[str, IndexedFile]]:
    signature, version, count = _HEADER.unpack_from(data)
    checksum = data[-CHECKSUM_BYTES:]
    if signature != b"DIRC" or version not in _VERSIONS:
        return []
    digest = sha1(memoryview(data)[:-CHECKSUM_BYTES], usedforsecurity=False).digest()
    if checksum.strip(b"\0") and checksum != digest:
        return []
    found: list[tuple[str, IndexedFile]] = []
    start, unpack = _HEADER.size, _ENTRY.unpack_from
    for _ in range(count):
        cs, cns, ms, mns, inode, size, object_id, flags = unpack(data, start)
        # Flags above the length of the name: assumed valid, extended, a stage.
        if flags >= _NAME_MAX:
            end = data.index(b"\0", start + _NAME_OFFSET + (2 if flags & 0x4000 else 0))
        else:
            end = start + _NAME_OFFSET + flags
            if size and ms < modified and data.startswith(prefix, start + _NAME_OFFSET):
                path = str(data[start + _NAME_OFFSET : end], *_PATH_CODEC)
                times = ms * _SECOND_NS + mns, cs * _SECOND_NS + cns
                found.append((path, IndexedFile(*times, size, inode, object_id.hex())))
        start += ((end - start) // 8 + 1) * 8
    return found
