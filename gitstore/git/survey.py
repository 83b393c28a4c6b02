"""What a check of a whole repository needs to see: every object, ref, log and checksum, as it is.

Reads only, except for `remember` and `keep_damaged`, which write files of gitstore's own.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import contextmanager
from hashlib import sha1
from typing import TYPE_CHECKING, Final, NamedTuple

from gitstore.git.files import discard, write_all
from gitstore.git.index import Index
from gitstore.git.translate import translated
from gitstore.types import CommitId

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from gitstore.git.files import Disk
    from gitstore.git.location import Location
    from gitstore.git.objects import Objects

_HEX: Final = re.compile(r"[0-9a-f]{40}")
_HEAD: Final = re.compile(r"ref: refs/heads/[^\s\x00-\x1f\x7f]+|[0-9a-f]{40}")
_SYMREF: Final = re.compile(r"ref: refs/[^\s\x00-\x1f\x7f]+")
_PACKED: Final = re.compile(r"#.*|\^[0-9a-f]{40}|[0-9a-f]{40} refs/[^\s\x00-\x1f\x7f]+|")
_LOGGED: Final = re.compile(
    rb"([0-9a-f]{40}) ([0-9a-f]{40}) [^\n\0]*<[^\n\0>]*> -?\d+ [-+]\d{4}(?:\t[^\n\0]*)?"
)
#: Files that end in the SHA-1 of all that is before it.
_SEALED: Final = (".pack", ".idx", ".rev", ".bitmap", ".mtimes", ".graph")
_SEALED_NAMES: Final = ("multi-pack-index", "commit-graph")
_SEAL_BYTES: Final = 20
_PART_BYTES: Final = 1 << 20
#: Refs and logs are small; what is larger is read no further.
_TEXT_BYTES_MAX: Final = 64 << 20
_VERIFIED: Final = "verified"
_DAMAGED: Final = "damaged"


class Flaw(NamedTuple):
    """Something wrong with a file of the git directory; `where` is its path from there."""

    where: str
    text: str


class NamedRef(NamedTuple):
    """What a ref points at."""

    name: str
    target: str


class Survey:
    """The files of one repository, looked at one after another: memory does not grow with it."""

    def __init__(self, location: Location, *, ref: str, objects: Objects, disk: Disk) -> None:
        self._location = location
        self._ref = ref
        self._objects = objects
        self._disk = disk
        self._folder = os.path.join(location.common, "gitstore")

    def read(self, name: str, kind: str) -> bytes:
        """Return the data of an object, hashed.

        Raises:
            CorruptRepositoryError: it is missing, damaged, too large, or not of this kind.
        """
        with translated(self._location.path):
            return self._objects.read(name, kind)

    def by_place(self, names: Iterable[str]) -> list[str]:
        """Return ids in the order in which their objects are read quickest, one after the other."""
        return self._objects.by_place(names)

    def check_loose(self, name: str) -> None:
        """Read the file of a loose object, whatever its kind.

        Raises:
            CorruptRepositoryError: it is damaged.
        """
        with translated(self._location.path):
            self._objects.check_loose(name)

    def loose(self) -> Iterator[str]:
        """Return the id of every loose object."""
        for shard in self._names(os.path.join(self._location.common, "objects")):
            if len(shard) == 2:  # noqa: PLR2004 -- two hex digits
                for name in self._names(os.path.join(self._location.common, "objects", shard)):
                    if _HEX.fullmatch(shard + name):
                        yield shard + name

    def seals(self) -> Iterator[Flaw]:
        """Return the packs, and the files that describe them, whose checksums are wrong."""
        objects = os.path.join(self._location.common, "objects")
        packs: dict[str, set[str]] = {}
        for folder in ("pack", "info", "info/commit-graphs"):
            for name in self._names(os.path.join(objects, folder)):
                stem, ending = os.path.splitext(name)
                if folder == "pack" and ending in (".pack", ".idx"):
                    packs.setdefault(stem, set()).add(ending)
                if ending in _SEALED or name in _SEALED_NAMES:
                    path = os.path.join(objects, folder, name)
                    if not self._is_sealed(path):
                        yield Flaw(f"objects/{folder}/{name}", "its checksum is wrong")
        for stem, endings in sorted(packs.items()):
            for missing in {".pack", ".idx"} - endings:
                yield Flaw(f"objects/pack/{stem}{missing}", "is missing")

    def head(self) -> Iterator[Flaw]:
        """Return what is wrong with HEAD."""
        text = self._text(os.path.join(self._location.control, "HEAD"))
        if text is None:
            yield Flaw("HEAD", "is missing or cannot be read")
        elif _HEAD.fullmatch(text.rstrip()) is None:
            yield Flaw("HEAD", "names neither a branch nor a commit")

    def refs(self) -> Iterator[NamedRef | Flaw]:
        """Return every ref, loose and packed, or what is wrong with it."""
        common = self._location.common
        for path in self._files_below("refs"):
            text = (self._text(os.path.join(common, path)) or "").rstrip()
            if _HEX.fullmatch(text):
                yield NamedRef(path, text)
            elif _SYMREF.fullmatch(text) is None:
                yield Flaw(path, "does not hold an object id")
        lines = (self._text(os.path.join(common, "packed-refs")) or "").split("\n")
        for number, line in enumerate(lines, 1):
            if _PACKED.fullmatch(line) is None:
                yield Flaw("packed-refs", f"line {number} is neither a ref nor a comment")
            elif _HEX.match(line):
                yield NamedRef(line[41:], line[:40])

    def logs(self) -> Iterator[Flaw]:
        """Return the reflogs that hold anything but moves of their ref."""
        for path in self._files_below("logs"):
            for number, line in enumerate(self._lines(path), 1):
                if _LOGGED.fullmatch(line) is None:
                    yield Flaw(path, f"line {number} is no move of a ref")
                    break

    def logged(self) -> list[CommitId]:
        """Return where the reflog says that the branch has been, newest first."""
        moves = [_LOGGED.fullmatch(line) for line in self._lines(f"logs/{self._ref}")]
        return [CommitId(move[2].decode()) for move in reversed(moves) if move is not None]

    def shallow(self) -> frozenset[str]:
        """Return the commits whose parents this clone does not have, on purpose."""
        text = self._text(os.path.join(self._location.common, "shallow")) or ""
        return frozenset(_HEX.findall(text))

    def index(self) -> dict[str, str]:
        """Return path and blob id of every entry of the index without a conflict.

        Raises:
            CorruptRepositoryError: the index is damaged.
        """
        path = os.path.join(self._location.control, "index")
        with translated(self._location.path):
            found = Index.read(path).items()
            return {os.fsdecode(name): entry.id for name, entry in found if not entry.stage}

    def has_index(self) -> bool:
        """Whether there is an index."""
        return os.path.exists(os.path.join(self._location.control, "index"))

    # --- files of our own ---------------------------------------------------------

    def remembered(self) -> CommitId | Flaw | None:
        """Return the tip that `remember` was last told for the branch."""
        where = f"gitstore/{_VERIFIED}"
        path = os.path.join(self._folder, _VERIFIED)
        if not os.path.lexists(path):
            return None
        lines = (self._text(path) or "\n").split("\n")
        found = None
        for line in lines[:-1] if lines[-1] == "" else lines:
            commit, _, ref = line.partition(" ")
            if _HEX.fullmatch(commit) is None or not ref.startswith("refs/heads/"):
                return Flaw(
                    where, "does not say which commit was verified; remove it to begin anew"
                )
            found = CommitId(commit) if ref == self._ref else found
        return found

    def remember(self, tip: CommitId) -> None:
        """Note the tip of the branch for the next check.

        Raises:
            RepositoryError: it cannot be written.
        """
        path = os.path.join(self._folder, _VERIFIED)
        old = (self._text(path) or "").split("\n")
        kept = [line for line in old if line and not line.endswith(f" {self._ref}")]
        data = "".join(f"{line}\n" for line in [*kept, f"{tip} {self._ref}"]).encode()
        with translated(self._location.path):
            self._disk.make_folder(self._folder)
            with self._replacing(path) as descriptor:
                write_all(descriptor, data)

    def keep_damaged(self, where: str) -> str | None:
        """Copy a file of the git directory to where it is kept; None if it cannot be read.

        Raises:
            RepositoryError: the copy cannot be written.
        """
        source = os.path.join(self._location.common, where)
        name = where.replace("/", "-")
        folder = os.path.join(self._folder, _DAMAGED)
        with translated(self._location.path):
            self._disk.make_folder(self._folder)
            self._disk.make_folder(folder)
            number, target = 0, os.path.join(folder, name)
            while os.path.lexists(target):
                if _same_content(source, target):
                    return target
                number += 1
                target = os.path.join(folder, f"{name}.{number}")
            try:
                shutil.copyfile(source, target, follow_symlinks=False)
            except FileNotFoundError:
                return None
            descriptor = os.open(target, os.O_RDONLY)
            try:
                self._disk.sync(descriptor)
            finally:
                os.close(descriptor)
            self._disk.sync_folder(folder)
        return target

    @contextmanager
    def _replacing(self, path: str) -> Generator[int]:
        """Write a file anew and put it in the place of the old one."""
        # Another check at the same time writes as good a file.
        temporary = f"{path}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            try:
                yield descriptor
                self._disk.sync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary, path)
        except BaseException:
            discard(temporary)
            raise
        self._disk.sync_folder(os.path.dirname(path))

    def _is_sealed(self, path: str) -> bool:
        try:
            with open(path, "rb") as file:
                left = os.fstat(file.fileno()).st_size - _SEAL_BYTES
                if left <= 0:
                    return False
                hashed = sha1(usedforsecurity=False)
                while left and (part := file.read(min(left, _PART_BYTES))):
                    hashed.update(part)
                    left -= len(part)
                return file.read() == hashed.digest()
        except OSError:
            return False

    def _names(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(folder))
        except OSError:
            return []

    def _files_below(self, folder: str) -> Iterator[str]:
        """Return the files below a folder of the git directory, without git's locks."""
        common = self._location.common
        for above, folders, names in os.walk(os.path.join(common, folder)):
            folders.sort()
            for name in sorted(names):
                if not name.endswith(".lock"):
                    yield os.path.relpath(os.path.join(above, name), common)

    def _lines(self, path: str) -> Iterator[bytes]:
        try:
            with open(os.path.join(self._location.common, path), "rb") as file:
                for line in file:
                    yield line.removesuffix(b"\n")
        except OSError:
            return

    def _text(self, path: str) -> str | None:
        try:
            with open(path, "rb") as file:
                return file.read(_TEXT_BYTES_MAX).decode(errors="replace")
        except OSError:
            return None


def _same_content(first: str, second: str) -> bool:
    try:
        with open(first, "rb") as one, open(second, "rb") as other:
            while (part := one.read(_PART_BYTES)) == other.read(_PART_BYTES):
                if not part:
                    return True
    except OSError:
        return False
    return False
