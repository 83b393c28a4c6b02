"""Files that survive: write, sync, put in place.

Everything gitstore changes on disk goes through this module and `gitstore.git.lock`. A `Disk` is
told once what an acknowledged save has to survive; with durability "process" it syncs nothing.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gitstore.types import Durability

_AT_EXCHANGE = 2
_SYNC_FILE_RANGE_WRITE = 2
#: Parts written at once (IOV_MAX of limits.h, where it is least).
_PARTS_MAX = 1024
#: Bytes that are asked for at once of a file that is small in all likelihood.
_SMALL = 16 << 10
_NO_EXCHANGE = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})


class Signature(NamedTuple):
    """What tells one state of a file from another: changes with every write or replacement."""

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        """Return the signature in `status`."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


class Disk:
    """Writes files and folders as durably as the store promises."""

    def __init__(self, durability: Durability) -> None:
        self._full = durability == "full"

    def sync(self, descriptor: int) -> None:
        """Force a file or folder to disk. An error is final: a second fsync proves nothing."""
        if self._full:
            os.fsync(descriptor)

    def write_out(self, descriptor: int) -> None:
        """Begin to write a file that will be synced. What fails here, fsync(2) will tell."""
        if self._full and _sync_file_range is not None:
            _sync_file_range(descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE)

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""
        if not self._full:
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_folders(self, paths: Iterable[str]) -> None:
        """Make the names in some folders durable."""
        for path in paths:
            self.sync_folder(path)

    def write_new(self, path: str, *parts: bytes, mode: int = 0o666) -> None:
        """Write a file that must not exist, and sync it; leave nothing behind on failure."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            try:
                write_parts(descriptor, parts)
                self.sync(descriptor)
            finally:
                os.close(descriptor)
        except BaseException:
            discard(path)
            raise

    def make_folder(self, path: str) -> None:
        """Make a folder whose parent exists, and make its name durable."""
        try:
            os.mkdir(path)
        except FileExistsError:
            return
        self.sync_folder(os.path.dirname(path))

    def sync_tree(self, path: str) -> None:
        """Sync every file and folder below `path`, and `path` itself."""
        for folder, _, names in os.walk(path):
            for name in names:
                descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
                try:
                    self.sync(descriptor)
                finally:
                    os.close(descriptor)
            self.sync_folder(folder)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`: one `os.write` may write less than it was given."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_parts(descriptor: int, parts: Sequence[bytes]) -> None:
    """Write all parts, one after another: few calls, and no copy of the whole in memory."""
    for first in range(0, len(parts), _PARTS_MAX):
        some = parts[first : first + _PARTS_MAX]
        written = os.writev(descriptor, some)
        if written < sum(map(len, some)):
            write_all(descriptor, b"".join(some)[written:])


def discard(path: str) -> None:
    """Remove a file, if it is there and can be removed."""
    try:
        os.unlink(path)
    except OSError:
        return


def read_small(path: str) -> bytes:
    """Return what is in a file: for one that is small in four system calls, where `open` makes nine.

    Raises:
        OSError: it cannot be read, or is a folder.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        data = part = os.read(descriptor, _SMALL)
        while part:
            part = os.read(descriptor, _SMALL)
            data += part
    finally:
        os.close(descriptor)
    return data


def read_regular(name: str, *, folder: int, limit: int) -> tuple[bytes, Signature] | None:
    """Read a file of an open folder without following a link; None if there is no such file.

    Raises:
        OSError: it cannot be read; errno ELOOP when it is a symbolic link, EISDIR when it is a
            folder or another special file, EFBIG when it holds more than `limit` bytes.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EISDIR, "not a regular file", name)
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit} bytes", name)
        parts: list[bytes] = []
        # As much room as is needed: Python makes all of it before it reads.
        while part := os.read(descriptor, status.st_size + 1):
            parts.append(part)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    # The signature of before the read: a write in between then counts as a change.
    return b"".join(parts), Signature.of(status if after.st_size == status.st_size else after)


def exchange(first: str, second: str, *, folder: int) -> bool:
    """Swap the file `first` (a path) with `second` (a name in the open folder), atomically.

    Return False, having done nothing, where the file system or the system cannot.
    """
    if _renameat2 is None:
        return False
    done = _renameat2(-100, os.fsencode(first), folder, os.fsencode(second), _AT_EXCHANGE)
    if done == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), second)


def linux_call(
    name: str,
    *arguments: type[ctypes._SimpleCData[Any]],  # pyright: ignore[reportPrivateUsage]
) -> ctypes._NamedFuncPointer | None:  # pyright: ignore[reportPrivateUsage]
    """Return a call of Linux that Python does not offer; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        function: ctypes._NamedFuncPointer = getattr(  # pyright: ignore[reportPrivateUsage]
            ctypes.CDLL(None, use_errno=True), name
        )
    except (AttributeError, OSError):
        return None
    function.argtypes = arguments
    return function


_renameat2 = linux_call(
    "renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
)
_sync_file_range = linux_call(
    "sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint
)
