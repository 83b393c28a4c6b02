"""One barrier for many files: all are on their way to the disk before the first is waited for.

Forced one after another, each file has the file system commit its journal for it alone. Here every
file is written out as it is added, so that the first fsync(2) commits what all of them need, and the
others find it done: a save with a working tree waits three times instead of eight. What a barrier
promises does not rest on that, since each file and folder is still forced.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from gitstore.git.files import discard, write_parts

if TYPE_CHECKING:
    from gitstore.git.files import Disk

#: Files that a barrier holds open at once.
_OPEN_MAX: Final = 64


class Barrier:
    """Files and folders that are to be durable before the caller goes on."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._files: list[int] = []
        self._folders: dict[str, None] = {}

    def write_new(self, path: str, *parts: bytes, mode: int = 0o666) -> None:
        """Write a file that must not exist; leave nothing behind on failure."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            write_parts(descriptor, parts)
        except BaseException:
            os.close(descriptor)
            discard(path)
            raise
        self.add(descriptor)

    def add(self, descriptor: int) -> None:
        """Take over an open file, whose content is to be durable."""
        self._files.append(descriptor)
        self._disk.write_out(descriptor)
        if len(self._files) >= _OPEN_MAX:
            self._sync_files()

    def add_folder(self, path: str) -> None:
        """Take note of a folder, whose names are to be durable."""
        self._folders[path] = None

    def sync(self) -> None:
        """Force all that was added so far. An error is final: a second fsync proves nothing."""
        self._sync_files()
        while self._folders:
            # A folder that somebody removed has no names to keep.
            with suppress(FileNotFoundError):
                self._disk.sync_folder(self._folders.popitem()[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _sync_files(self) -> None:
        for descriptor in self._files:
            self._disk.sync(descriptor)
        self._close()

    def _close(self) -> None:
        while self._files:
            os.close(self._files.pop())
