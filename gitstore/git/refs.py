"""Refs as files: read, and compare-and-set under git's own lock."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from gitstore.errors import CorruptRepositoryError
from gitstore.git.files import read_small
from gitstore.types import CommitId

if TYPE_CHECKING:
    from gitstore.git.files import Disk
    from gitstore.git.lock import GitLock, Workshop

_ZERO = "0" * 40
_HEX = re.compile(r"[0-9a-f]{40}")
_SYMREF_DEPTH_MAX = 5


class Refs:
    """The refs of one repository; `control` is the git directory of this working tree."""

    def __init__(self, control: str, common: str, *, disk: Disk, workshop: Workshop) -> None:
        self._control = control
        self._common = common
        self._disk = disk
        self._workshop = workshop

    def head_branch(self) -> str | None:
        """Return the branch that HEAD names, or None when HEAD is detached."""
        text = self._read_file(os.path.join(self._control, "HEAD"))
        if text is None:
            raise CorruptRepositoryError("HEAD is missing", path=self._control)
        if text.startswith("ref: refs/heads/"):
            return text.removeprefix("ref: refs/heads/").strip()
        if not text.startswith("ref: "):
            self._checked("HEAD", text.strip())
        return None

    def read(self, name: str) -> CommitId | None:
        """Return what a ref such as ``refs/heads/main`` points at, loose or packed."""
        for _ in range(_SYMREF_DEPTH_MAX):
            text = self._read_file(os.path.join(self._folder_of(name), name))
            if text is None:
                return self._read_packed(name)
            if not text.startswith("ref: "):
                return CommitId(self._checked(name, text.strip()))
            name = text[5:].strip()
        raise CorruptRepositoryError(f"{name} is a chain of symbolic refs", path=self._common)

    def lock(self, name: str) -> GitLock:
        """Take the lock of a ref."""
        path = os.path.join(self._common, name)
        self._make_folders(os.path.dirname(path))
        return self._workshop.lock(path)

    def sync(self, name: str) -> None:
        """Make the last change of a ref durable."""
        self._disk.sync_folder(os.path.dirname(os.path.join(self._common, name)))

    def log(self, name: str, line: RefChange, *, create: bool) -> None:
        """Append to the reflog of a ref, and of HEAD when HEAD names it."""
        logs = [os.path.join(self._common, "logs", name)]
        if self.head_branch() == name.removeprefix("refs/heads/"):
            logs.append(os.path.join(self._control, "logs", "HEAD"))
        flags = os.O_WRONLY | os.O_APPEND | (os.O_CREAT if create else 0)
        for path in logs:
            try:
                descriptor = os.open(path, flags, 0o666)
            except FileNotFoundError:
                if not create:
                    continue
                os.makedirs(os.path.dirname(path), exist_ok=True)
                descriptor = os.open(path, flags, 0o666)
            try:
                os.write(descriptor, line)  # one write: appends do not interleave
            finally:
                os.close(descriptor)

    def last_logged(self, name: str) -> int | None:
        """Return when the reflog says that a ref last moved: seconds since 1970."""
        text = self._read_file(os.path.join(self._common, "logs", name))
        words = (text or "").rstrip("\n").rpartition("\n")[2].partition("\t")[0].split()
        return int(words[-2]) if len(words) > 3 and words[-2].isdigit() else None  # noqa: PLR2004 -- old, new, ..., time, zone

    def _make_folders(self, path: str) -> None:
        """Make the folders of a branch name with slashes, durably."""
        missing: list[str] = []
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for folder in reversed(missing):
            self._disk.make_folder(folder)

    def _folder_of(self, name: str) -> str:
        return self._common if name.startswith("refs/") else self._control

    def _read_packed(self, name: str) -> CommitId | None:
        text = self._read_file(os.path.join(self._common, "packed-refs")) or ""
        for line in text.split("\n"):
            if line.endswith(" " + name) and not line.startswith(("#", "^")):
                return CommitId(self._checked(name, line.partition(" ")[0]))
        return None

    def _checked(self, name: str, value: str) -> str:
        if _HEX.fullmatch(value) is None:
            message = f"{name} does not hold an object id; `git fsck` lists all damage"
            raise CorruptRepositoryError(message, path=self._common)
        return value

    def _read_file(self, path: str) -> str | None:
        try:
            return read_small(path).decode(errors="replace")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None


#: One line of a reflog.
RefChange = bytes


def ref_change(old: str | None, new: str, *, who: bytes, message: str) -> RefChange:
    """Return a reflog line; `who` is ``Name <mail> time zone``."""
    subject = " ".join(message.split("\n", 1)[0].split())
    return b"%s %s %s\t%s\n" % ((old or _ZERO).encode(), new.encode(), who, subject.encode())
