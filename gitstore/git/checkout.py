"""The working tree: read session files without following links, replace them atomically.

A replacement never loses an edit that came too late to be seen: the old file is swapped out, not
overwritten, and if it is not the file that was examined, it is swapped back.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from gitstore.errors import UnsafePathError
from gitstore.git import files
from gitstore.git.files import Signature, discard
from gitstore.git.openfolder import OpenFolder
from gitstore.git.translate import translated

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from gitstore.git.barrier import Barrier
    from gitstore.git.files import Disk
    from gitstore.git.lock import Workshop

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NOT_A_FOLDER = (errno.ELOOP, errno.ENOTDIR)
_NOT_A_FILE = (errno.ELOOP, errno.EISDIR, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class WorkingFile:
    """A file as it was examined."""

    data: bytes
    signature: Signature


class WorkingTree:
    """The files of one working tree, by path relative to its root."""

    def __init__(self, root: str, *, disk: Disk, workshop: Workshop) -> None:
        self.root = root
        self._disk = disk
        self._workshop = workshop

    def read(self, path: str, *, limit: int, folder: int | None = None) -> WorkingFile | None:
        """Return a file, or None if there is none.

        `folder` is its open folder, where there is one at hand (`visit`).

        Raises:
            UnsafePathError: a link or a special file stands in the way, or the file is too large.
            RepositoryError: it cannot be read.
        """
        with translated(self.root):
            if folder is not None:
                return self._read(path, folder, limit)
            with self.open_folder(path, create=False) as found:
                return None if found is None else self._read(path, found, limit)

    def _read(self, path: str, folder: int, limit: int) -> WorkingFile | None:
        try:
            found = files.read_regular(os.path.basename(path), folder=folder, limit=limit)
        except OSError as error:
            if error.errno in _NOT_A_FILE:
                raise self._unsafe(path, "is no regular file") from error
            if error.errno == errno.EFBIG:
                raise self._unsafe(path, f"is larger than {limit} bytes") from error
            raise
        return None if found is None else WorkingFile(*found)

    def scan(self, folder: str) -> Iterator[str]:
        """Return the path of every regular file two levels below `folder`."""
        for opened in self.visit(folder):
            for name in opened.names():
                yield opened.path + name

    def visit(
        self, folder: str, *, choose: Callable[[int], Iterable[str]] = os.listdir
    ) -> Iterator[OpenFolder]:
        """Return the folders in `folder`, each open until the next one is asked for.

        `choose` names those that are wanted, of the open `folder`.
        """
        with translated(self.root), self.open_folder(folder + "/x", create=False) as top:
            for shard in () if top is None else choose(top):
                try:
                    inner = os.open(shard, _FOLDER, dir_fd=top)
                except OSError as error:
                    if error.errno in (*_NOT_A_FOLDER, errno.ENOENT):
                        continue
                    raise
                try:
                    yield OpenFolder(self.root, folder, shard, inner)
                finally:
                    os.close(inner)

    def replace(
        self,
        path: str,
        data: bytes | None,
        *,
        seen: WorkingFile | None,
        barrier: Barrier,
        is_executable: bool = False,
    ) -> Replacement:
        """Prepare to put `data` at `path` (None removes it) where `seen` was examined.

        To be applied behind the barrier.
        """
        temporary = self._workshop.temporary()
        change = _change(data, seen)
        if change is _Change.KEEP and is_executable:
            change = _Change.SWAP  # the file there may have another mode
        if change in (_Change.CREATE, _Change.SWAP):
            assert data is not None
            barrier.write_new(temporary, data, mode=0o777 if is_executable else 0o666)
        expected = None if seen is None else seen.signature
        return Replacement(self, path, temporary, change=change, expected=expected)

    def folder(self, path: str) -> str:
        """Return the folder of a file."""
        return os.path.dirname(os.path.join(self.root, path))

    def status(self, path: str) -> os.stat_result:
        """Return the status of a file; a link is not followed."""
        return os.lstat(os.path.join(self.root, path))

    @contextmanager
    def open_folder(self, path: str, *, create: bool, strict: bool = True) -> Generator[int | None]:
        """Open the folder of a file, following no link; None if there is none."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in path.split("/")[:-1]:
                below = self._enter(descriptor, part, path, create=create, strict=strict)
                if below is None:
                    yield None
                    return
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def _enter(
        self, descriptor: int, part: str, path: str, *, create: bool, strict: bool
    ) -> int | None:
        if create:
            try:
                os.mkdir(part, dir_fd=descriptor)
                self._disk.sync(descriptor)
            except FileExistsError:
                pass
        try:
            return os.open(part, _FOLDER, dir_fd=descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in _NOT_A_FOLDER:
                raise
            if not strict:
                return None
            raise self._unsafe(path, f"lies below {part}, which is no folder") from error

    def _unsafe(self, path: str, problem: str) -> UnsafePathError:
        return UnsafePathError(f"{path} {problem}; move it away", path=self.root)


class _Change(Enum):
    CREATE = "no file, then one"
    SWAP = "a file, then another"
    REMOVE = "a file, then none"
    KEEP = "nothing to change"


def _change(data: bytes | None, seen: WorkingFile | None) -> _Change:
    if (None if seen is None else seen.data) == data:
        return _Change.KEEP
    if seen is None:
        return _Change.CREATE
    return _Change.REMOVE if data is None else _Change.SWAP


class Replacement:
    """A change of one working file: `apply` it, then `keep` it or `undo` it."""

    def __init__(
        self,
        tree: WorkingTree,
        path: str,
        temporary: str,
        *,
        change: _Change,
        expected: Signature | None,
    ) -> None:
        self.path = path
        self._tree = tree
        self._temporary = temporary
        self._change = change
        self._expected = expected
        self._applied = False

    def new_signature(self) -> Signature | None:
        """Return the signature that the file will have; None when there will be none."""
        if self._change in (_Change.CREATE, _Change.SWAP):
            return Signature.of(os.lstat(self._temporary))
        return self._expected if self._change is _Change.KEEP else None

    def apply(self) -> bool:
        """Put the new file in place; return False, having changed nothing, if the old one moved on."""
        name = os.path.basename(self.path)
        creates = self._change is _Change.CREATE
        with self._tree.open_folder(self.path, create=creates) as folder:
            if folder is None:
                return self._expected is None
            match self._change:
                case _Change.KEEP:
                    return _signature(name, folder) == self._expected
                case _Change.CREATE:
                    self._applied = self._create(name, folder)
                case _Change.REMOVE:
                    self._applied = self._remove(name, folder)
                case _Change.SWAP:
                    self._applied = self._swap(name, folder)
        return self._applied

    def keep(self) -> None:
        """Forget the old file."""
        discard(self._temporary)

    def undo(self) -> None:
        """Put the old file back, if the new one was put in place, and forget the new one."""
        if self._applied:
            name = os.path.basename(self.path)
            with self._tree.open_folder(self.path, create=False) as folder:
                assert folder is not None
                if self._change is _Change.CREATE:
                    os.unlink(name, dir_fd=folder)
                else:
                    os.rename(self._temporary, name, dst_dir_fd=folder)
            self._applied = False
        discard(self._temporary)

    def _create(self, name: str, folder: int) -> bool:
        """Link the new file into place: fails if there is one by now."""
        try:
            os.link(self._temporary, name, dst_dir_fd=folder)
        except FileExistsError:
            return False
        # Now, since the file's ctime changes with it: the index is to have the last one.
        discard(self._temporary)
        return True

    def _remove(self, name: str, folder: int) -> bool:
        """Move the old file to the temporary path, and back if it is not the examined one."""
        try:
            os.rename(name, self._temporary, src_dir_fd=folder)
        except FileNotFoundError:
            return False
        if Signature.of(os.lstat(self._temporary)) == self._expected:
            return True
        os.link(self._temporary, name, dst_dir_fd=folder)
        return False

    def _swap(self, name: str, folder: int) -> bool:
        """Leave the old file at the temporary path, and swap back if it is not the examined one."""
        if _signature(name, folder) != self._expected:
            return False
        if not files.exchange(self._temporary, name, folder=folder):
            return self._swap_by_link(name, folder)
        if Signature.of(os.lstat(self._temporary)) == self._expected:
            return True
        files.exchange(self._temporary, name, folder=folder)
        return False

    def _swap_by_link(self, name: str, folder: int) -> bool:
        """Do the same where files cannot be exchanged; a rival's rename in between is overwritten."""
        new = self._temporary + "-new"
        os.rename(self._temporary, new)
        os.link(name, self._temporary, src_dir_fd=folder)
        os.rename(new, name, dst_dir_fd=folder)
        return True


def _signature(name: str, folder: int) -> Signature | None:
    try:
        return Signature.of(os.lstat(name, dir_fd=folder))
    except FileNotFoundError:
        return None
