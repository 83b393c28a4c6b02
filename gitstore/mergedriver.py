"""``gitstore merge-driver %O %A %B %P``: git's own merges and rebases, by meaning.

A repository names a merge driver in `.gitattributes`, and each clone's configuration says what it
runs (gitattributes(5)). It needs nothing but the library: no extra, no store, no git command.
"""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gitstore.engine.filemerge import merge_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitstore.engine.filemerge import FileMerge

#: The section of git's configuration, and what it says of the driver to people.
SECTION: Final = "merge.gitstore"
NAME: Final = "merge sessions by meaning"

_CONFLICT: Final = 1
#: git up to 2.43 takes any failure for a conflict and our side for its content; newer ones stop the
#: whole merge above 128. So it is kept for what leaves no file to put both sides into.
_BROKEN: Final = 129
_ARGUMENTS: Final = 4


def command(python: str) -> str:
    """Return the command line that git's configuration names, for a Python interpreter.

    git runs it by a shell, in the top folder of the working tree: ``-P`` keeps Python from importing
    what lies there. git takes a driver that fails for a conflict, and what it left for the content:
    so where Python or gitstore are gone, the lines of both sides are put there as git would.
    """
    driver = f"{shlex.quote(python)} -P -m gitstore merge-driver %O %A %B %P"
    by_lines = "git merge-file -L ours -L base -L theirs %A %O %B"
    return f"{driver} || {{ grep -q '^<<<<<<< ours' %A || {by_lines}; false; }}"


def main(arguments: Sequence[str]) -> int:
    """Merge the files that git names into the second of them; return the exit code git expects.

    0: merged. 1: both sides are in the file, with markers around what differs.
    """
    if len(arguments) != _ARGUMENTS:
        return _say("usage: gitstore merge-driver %O %A %B %P (git calls it)", _BROKEN)
    *files, path = arguments
    try:
        base, ours, theirs = (Path(name).read_bytes() for name in files)
        merged = merge_files(base, ours, theirs, path=path)
        _replace(Path(files[1]), merged.data)
    except OSError as error:
        return _say(f"{path}: cannot be merged: {error.strerror}; nothing was changed", _BROKEN)
    return _tell(merged, path)


def _replace(target: Path, data: bytes) -> None:
    """Put the result in place at once: a driver that dies leaves our side, not a part of it."""
    beside = target.with_name(f"{target.name}.merged")
    try:
        beside.write_bytes(data)
        beside.replace(target)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _tell(merged: FileMerge, path: str) -> int:
    if merged.is_clean:
        return 0
    if merged.problem is not None:
        _say(f"{path}: not merged by meaning: {merged.problem}", _CONFLICT)
    for conflict in merged.conflicts:
        what = conflict.where or "(as a whole)"
        _say(f"both sides changed {conflict.session_id} {what}", _CONFLICT)
    return _CONFLICT


def _say(text: str, code: int) -> int:
    line = "".join(c if c.isprintable() else "?" for c in f"gitstore: {text}")
    # The file says it all; nobody may be listening, or in another encoding.
    with suppress(OSError, ValueError):
        sys.stderr.buffer.write(os.fsencode(line) + b"\n")
        sys.stderr.flush()
    return code
