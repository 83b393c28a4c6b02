"""A folder of the working tree, open: what is in it, and its files, in as few system calls as will do."""

from __future__ import annotations

import os
import stat
from operator import attrgetter
from typing import TYPE_CHECKING, Final, TypeAlias

from gitstore.git.translate import translated

if TYPE_CHECKING:
    from collections.abc import Callable

#: What changes when a file is written, replaced or given another time: both times, size, inode.
FileState: TypeAlias = tuple[int, int, int, int]

state_of: Final[Callable[[os.stat_result], FileState]] = attrgetter(
    "st_mtime_ns", "st_ctime_ns", "st_size", "st_ino"
)
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class OpenFolder:
    """A folder while it is visited; `path` is that of what is in it, with a slash at the end."""

    def __init__(self, root: str, above: str, name: str, descriptor: int) -> None:
        self.name = name
        self.path = f"{above}/{name}/"
        self.descriptor = descriptor
        #: Whether one of the files has another name too, as `states` found it.
        self.has_links = False
        self._root = root

    def names(self) -> list[str]:
        """Return the names of the regular files.

        Raises:
            RepositoryError: the folder cannot be read.
        """
        with translated(self._root), os.scandir(self.descriptor) as items:
            return [item.name for item in items if item.is_file(follow_symlinks=False)]

    def states(self) -> dict[str, FileState] | dict[str, None]:
        """Return the states of the regular files, by name: a system call for each.

        None for each when one of them went away meanwhile.

        Raises:
            RepositoryError: the folder cannot be read.
        """
        with translated(self._root), os.scandir(self.descriptor) as items:
            found: dict[str, FileState] = {}
            try:
                for item in items:
                    if item.is_file(follow_symlinks=False):
                        status = item.stat(follow_symlinks=False)
                        found[item.name] = state_of(status)
                        if status.st_nlink != 1:
                            self.has_links = True
            except FileNotFoundError:
                return dict.fromkeys(self.names())
        return found

    def read(self, name: str, *, limit: int) -> tuple[bytes, FileState] | None:
        """Return a file, and the state it was in before that.

        None for whatever is unusual, such as a file that is too large, or changes meanwhile:
        `WorkingTree.read` says what it is.
        """
        try:
            descriptor = os.open(name, _READ, dir_fd=self.descriptor)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            size = status.st_size
            if size > limit or not stat.S_ISREG(status.st_mode):
                return None
            # One byte more than there is: as many as were asked for would not show the end.
            data = os.read(descriptor, size + 1)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return (data, state_of(status)) if len(data) == size else None
