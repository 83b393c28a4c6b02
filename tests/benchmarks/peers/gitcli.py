"""The git command, as a script would call it: write the file, add, commit."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from typing import TYPE_CHECKING

from tests.benchmarks.peers.subject import UNSYNCED, Subject
from tests.gitcommand import environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.measure import Act


class GitCommand:
    """One working tree."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("git") is None:
            message = "there is no git command"
            raise ImportError(message)
        self._folder = folder
        self._environment = environment()

    def write(self, name: str, path: str, data: bytes) -> Act:
        """Return write, add, commit."""
        del name
        return partial(self._save, path, data)

    def _save(self, path: str, data: bytes) -> None:
        (self._folder / path).write_bytes(data)
        self._git("add", path)
        self._git("commit", "-q", "-m", "Update session")

    def delete(self, name: str, path: str) -> Act:
        """Return rm, commit."""
        del name
        return partial(self._delete, path)

    def _delete(self, path: str) -> None:
        self._git("rm", "-q", path)
        self._git("commit", "-q", "-m", "Delete session")

    def _git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self._folder, check=True, env=self._environment)

    def close(self) -> None:
        """Nothing is open."""


def subjects() -> list[Subject]:
    """Return git as it comes, and git told to sync everything."""
    return [
        Subject(
            name="git add + commit",
            durability=UNSYNCED,
            bare=False,
            layout="sharded",
            open=GitCommand,
        ),
        Subject(
            name="git add + commit, core.fsync=all",
            durability="objects, index and branch synced; folders and working file not",
            bare=False,
            layout="sharded",
            open=GitCommand,
            settings={"core.fsync": "all"},
        ),
    ]
