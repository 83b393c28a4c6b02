"""Changes below some folders, as Linux tells them (inotify): in which folder, not what changed.

An event is in the queue before the system call returns that changed something, so that whoever reads
the queue knows of every change that was made before, through a path below a watched folder.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import sys
import termios
import weakref
from typing import Final

from gitstore.git.files import linux_call

#: The watch of what is lost when more happened than the queue holds.
OVERFLOW: Final = -1
#: The bit of an event that is the last one: the folder is gone, or its file system (IN_IGNORED).
ENDED: Final = 0x8000
#: MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE: not what readers do.
_CHANGES: Final = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200
_ONLY_FOLDERS: Final = 0x1000000
#: File systems that nobody writes to but through this kernel: ext2 to ext4, xfs, btrfs, f2fs, tmpfs.
_LOCAL: Final = frozenset({0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994})
_STATFS_BYTES: Final = 1024
#: A user has 128 on most systems, for all programs, and each store takes 257 watches of some 8,192.
_DESCRIPTORS_MAX: Final = 16
_HEADER: Final = struct.Struct("iIII")

_open: weakref.WeakSet[Inotify] = weakref.WeakSet()


class Inotify:
    """One queue of events. Used by one thread at a time, and not in a forked child, which shares it."""

    def __init__(self) -> None:
        """Open a queue.

        Raises:
            OSError: the system has none, or no more of them.
        """
        if _init is None or _add_watch is None or _rm_watch is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        if len(_open) >= _DESCRIPTORS_MAX:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self._add_watch, self._rm_watch = _add_watch, _rm_watch
        self._descriptor = _checked(_init(os.O_NONBLOCK | os.O_CLOEXEC))
        self._close = weakref.finalize(self, os.close, self._descriptor)
        _open.add(self)

    def watch(self, folder: int) -> int:
        """Watch an open folder, and return its watch: the same one if it is watched already.

        Raises:
            OSError: the system has no more of them, or no /proc, or others may write there too.
        """
        if not _is_local(folder):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        # By way of the open folder: a path may lead to another one by now.
        path = f"/proc/self/fd/{folder}/.".encode()
        return _checked(self._add_watch(self._descriptor, path, _CHANGES | _ONLY_FOLDERS))

    def forget(self, watch: int) -> None:
        """Watch a folder no more, if it is watched at all."""
        self._rm_watch(self._descriptor, watch)

    def read(self) -> dict[int, int]:
        """Take all events out of the queue, and return what happened, by watch."""
        waiting = fcntl.ioctl(self._descriptor, termios.FIONREAD, bytes(4))
        # No more than the kernel lets wait (fs.inotify.max_queued_events, 16,384 as it comes).
        size = int.from_bytes(waiting, sys.byteorder)
        found: dict[int, int] = {}
        data = os.read(self._descriptor, size) if size else b""
        start = 0
        while start < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, start)
            found[watch] = found.get(watch, 0) | mask
            start += _HEADER.size + length
        return found

    def close(self) -> None:
        """Close the queue. Closing twice is fine."""
        _open.discard(self)
        self._close()


def _is_local(folder: int) -> bool:
    """Whether an open folder is of a file system that only this system writes to."""
    status = ctypes.create_string_buffer(_STATFS_BYTES)
    if _fstatfs is None or _fstatfs(folder, status) != 0:
        return False
    kind = ctypes.c_long.from_buffer(status).value  # its first field
    return kind & 0xFFFFFFFF in _LOCAL


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


_init = linux_call("inotify_init1", ctypes.c_int)
_add_watch = linux_call("inotify_add_watch", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_rm_watch = linux_call("inotify_rm_watch", ctypes.c_int, ctypes.c_int)
_fstatfs = linux_call("fstatfs", ctypes.c_int, ctypes.c_char_p)
