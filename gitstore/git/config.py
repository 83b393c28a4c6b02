"""The repository's own configuration, read again when somebody changes it."""

from __future__ import annotations

import os
from typing import NamedTuple

from dulwich.config import ConfigFile

from gitstore.errors import CorruptRepositoryError
from gitstore.git.files import Signature

#: How git spells yes (git-config(1)); an empty value is no.
TRUE = frozenset({"true", "yes", "on", "1"})


class _Read(NamedTuple):
    """The file as it was read, and what was asked of it since: dulwich takes its time to answer."""

    signature: Signature | None
    file: ConfigFile
    asked: dict[tuple[str, str], str | None]


class Config:
    """One configuration file. Read only: `gitstore.git.configtext` changes it, dulwich would mangle it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._read: _Read | None = None

    def get(self, section: str, name: str) -> str | None:
        """Return a value; a subsection follows a dot, as in ``remote.origin``."""
        read = self._current()
        key = section, name
        if key not in read.asked:
            parts = tuple(part.encode() for part in section.split(".", 1))
            try:
                read.asked[key] = read.file.get(parts, name.encode()).decode(errors="replace")
            except KeyError:
                read.asked[key] = None
        return read.asked[key]

    def items(self, section: str) -> list[tuple[str, str]]:
        """Return lower-case names and values of a section without subsections."""
        file = self.file()
        return [
            (name.decode(errors="replace").lower(), value.decode(errors="replace"))
            for key in file.sections()
            if len(key) == 1 and key[0].lower() == section.encode()
            for name, value in file.items(key)
        ]

    def every(self, section: str, name: str) -> list[str]:
        """Return all values of a setting that may be there several times, in their order."""
        parts = tuple(part.encode() for part in section.split(".", 1))
        values = self.file().get_multivar(parts, name.encode())
        try:
            return [value.decode(errors="replace") for value in values]
        except KeyError:
            return []

    def subsections(self, section: str) -> list[str]:
        """Return the names after the dot, as the remotes' for "remote", in their order."""
        return [
            key[1].decode(errors="replace")
            for key in self.file().sections()
            if len(key) > 1 and key[0].lower() == section.encode()
        ]

    def file(self) -> ConfigFile:
        """Return the file as it is now, in dulwich's form.

        Raises:
            CorruptRepositoryError: it cannot be understood.
        """
        return self._current().file

    def _current(self) -> _Read:
        try:
            signature = Signature.of(os.stat(self.path))
        except FileNotFoundError:
            signature = None
        read = self._read
        if read is None or read.signature != signature:
            read = self._read = _Read(signature, self._parse(), {})
        return read

    def _parse(self) -> ConfigFile:
        try:
            return ConfigFile.from_path(self.path)
        except FileNotFoundError:
            return ConfigFile()
        except ValueError as error:
            message = f"it cannot be understood ({error}); repair it with an editor"
            raise CorruptRepositoryError(message, path=self.path) from error
