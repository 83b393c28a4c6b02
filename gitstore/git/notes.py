"""Small files of gitstore's own in ``.git/gitstore``: replaced whole, and durable when replaced."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gitstore.git.files import discard
from gitstore.git.translate import translated

if TYPE_CHECKING:
    from gitstore.git.files import Disk
    from gitstore.git.lock import Workshop


class Note:
    """One such file; it survives as it was or as it becomes, never half of it."""

    def __init__(self, name: str, *, disk: Disk, workshop: Workshop) -> None:
        self._path = os.path.join(workshop.path, name)
        self._disk = disk
        self._workshop = workshop

    def read(self) -> bytes | None:
        """Return what it holds, or None if there is no such file."""
        with translated(self._path):
            try:
                with open(self._path, "rb") as file:
                    return file.read()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def replace(self, data: bytes) -> None:
        """Replace what it holds. Only inside `Repository.writing`."""
        temporary = self._workshop.temporary()
        with translated(self._path):
            self._disk.write_new(temporary, data)
            try:
                os.rename(temporary, self._path)
            except OSError:
                discard(temporary)
                raise
            self._disk.sync_folder(self._workshop.path)
