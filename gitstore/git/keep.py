"""A pack that no ref names yet, kept from `git repack -ad` and `git gc --prune=now`.

These drop a pack that was there when they began and whose objects nothing named when they looked. They
leave packs with a ``.keep`` file alone, so a pack has one until the branch has moved: who finds it
without looks at the refs later, and finds them moved.

Ours are links to one file, ``.git/gitstore/keep``. Its number of links tells at once whether a dead
writer left one, and the inode which. All of this happens under the writer lock.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from gitstore.git.files import discard

if TYPE_CHECKING:
    from gitstore.git.files import Disk

_SUFFIX: Final = ".keep"
_TEXT: Final = b"gitstore is about to move a branch to what is in this pack\n"
#: Where a file cannot be linked: another file system, another user's file, too many links.
_CANNOT: Final = frozenset({errno.EPERM, errno.EXDEV, errno.EMLINK})


def keep(common: str, pack: str, *, disk: Disk) -> None:
    """Have git leave a pack alone, named by its path without suffix, which need not be there yet.

    Does nothing where that cannot be; the pack is then written again if it is found missing.
    """
    own = _own(common)
    try:
        _link(own, pack + _SUFFIX)
    except FileNotFoundError:
        # Once for a repository. Durable before any link to it is: links are known by it.
        disk.make_folder(os.path.dirname(own))
        with suppress(FileExistsError):
            disk.write_new(own, _TEXT)
            disk.sync_folder(os.path.dirname(own))
        _link(own, pack + _SUFFIX)


def release(common: str, pack: str) -> None:
    """Leave a pack to git again; a ``.keep`` file of somebody else's stays."""
    with suppress(FileNotFoundError):
        if os.path.samestat(os.lstat(pack + _SUFFIX), os.lstat(_own(common))):
            discard(pack + _SUFFIX)


def recover(common: str) -> None:
    """Leave those packs to git that a dead writer kept."""
    with suppress(FileNotFoundError):
        if os.lstat(_own(common)).st_nlink > 1:
            folder = os.path.join(common, "objects", "pack")
            for name in os.listdir(folder):
                if name.endswith(_SUFFIX):
                    release(common, os.path.join(folder, name.removesuffix(_SUFFIX)))


def _own(common: str) -> str:
    return os.path.join(common, "gitstore", "keep")


def _link(own: str, path: str) -> None:
    try:
        os.link(own, path)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
