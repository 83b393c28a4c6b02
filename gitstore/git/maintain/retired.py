"""Large packs that were replaced, and are still there for a while.

A reader that listed the packs a moment ago, and does not find one, lists them again: git, libgit2,
dulwich and gitstore do. It gives up when what it finds then is replaced at once as well. Explicit
maintenance is no more likely to do that than `git gc`; automatic maintenance may come in quick
succession, so it leaves large packs to a later run.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gitstore.git.maintain.sources import names_and_offsets
from gitstore.git.repack import is_kept

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitstore.git.files import Disk
    from gitstore.git.repack import Packs
    from gitstore.types import Runtime

_FILE: Final = "retired"
#: Much longer than listing the packs of a repository twice takes.
GRACE_SECONDS: Final = 10.0


class Retired:
    """The list of such packs, on disk. Used under the maintenance lock."""

    def __init__(self, folder: str, packs: Packs, *, disk: Disk, runtime: Runtime) -> None:
        self._path = os.path.join(folder, _FILE)
        self._packs = packs
        self._disk = disk
        self._runtime = runtime

    def names(self) -> set[str]:
        """Return the packs, without suffix."""
        return set(self._read())

    def add(self, names: Iterable[str]) -> None:
        """Note packs that were replaced just now."""
        now = self._runtime.clock()
        self._write({**self._read(), **dict.fromkeys(names, now)})

    def drop_due(self) -> None:
        """Remove the packs whose time has come, if others hold all that is in them.

        That is looked up, not believed: what replaced a pack may itself be gone.
        """
        listed = self._read()
        now = self._runtime.clock()
        # A clock that was put back must not keep them for ever.
        due = {each for each, since in listed.items() if abs(now - since) >= GRACE_SECONDS}
        if not due:
            return
        held: set[bytes] = set()
        for base in self._packs.bases():
            if os.path.basename(base) not in listed:
                held |= _names(base)
        gone = [
            base
            for base in self._packs.bases()
            if os.path.basename(base) in due and not is_kept(base) and _names(base) <= held
        ]
        if gone:
            # git may have made an index over several packs since, and would rely on it.
            self._packs.forget_caches()
        for base in gone:
            self._packs.remove(base)
        self._write({name: since for name, since in listed.items() if name not in due})

    def _read(self) -> dict[str, float]:
        """Return what the file says; what it does not, or says wrongly, is no retired pack."""
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                rows = [line.split() for line in file]
        except FileNotFoundError:
            return {}
        found: dict[str, float] = {}
        for row in rows:
            if len(row) == 2 and row[1].isdigit():  # noqa: PLR2004 -- a name and a time
                found[row[0]] = float(row[1])
        return found

    def _write(self, listed: dict[str, float]) -> None:
        text = "".join(f"{name} {int(since)}\n" for name, since in sorted(listed.items()))
        self._disk.write_new(self._path + ".new", text.encode())
        os.rename(self._path + ".new", self._path)
        self._disk.sync_folder(os.path.dirname(self._path))


def _names(base: str) -> set[bytes]:
    """Return what a pack holds; nothing that anybody could rely on if its index is damaged."""
    try:
        return {name for _, name in names_and_offsets(base)}
    except (OSError, ValueError):
        return {base.encode()}
