"""The packs that others have replaced, and that stay a moment longer: ``.git/gitstore/maintenance/retired``.

One line for each: its name without suffix, and when it may go, in seconds since 1970. The file may be
lost or wrong: who removes a pack looks whether others hold all of it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from gitstore.git.files import Disk, discard

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE: Final = ("gitstore", "maintenance", "retired")


def read(common: str) -> dict[str, float]:
    """Return the packs and their times; what the file does not say, or wrongly, was not replaced."""
    found: dict[str, float] = {}
    with suppress(FileNotFoundError):
        with open(os.path.join(common, *_FILE), encoding="utf-8", errors="replace") as file:
            rows = [line.split() for line in file]
        for row in rows:
            with suppress(ValueError, IndexError):
                found[row[0]] = float(row[1])
    return found


def write(common: str, listed: Mapping[str, float]) -> None:
    """Replace the list. Used under the maintenance lock."""
    path = os.path.join(common, *_FILE)
    text = "".join(f"{name} {time!r}\n" for name, time in sorted(listed.items()))
    discard(path + ".new")
    # Not synced: without it, they are packs like any other.
    Disk("process").write_new(path + ".new", text.encode())
    os.rename(path + ".new", path)
