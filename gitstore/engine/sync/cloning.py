"""Clones: where one is made, and which branch of a remote it is of."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gitstore.errors import RemoteNotFoundError, RepositoryError
from gitstore.git.files import Disk
from gitstore.git.translate import translated

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from gitstore.git.remote.url import RemoteUrl
    from gitstore.types import Durability, Runtime

#: What the remote of a clone is called.
ORIGIN: Final = "origin"

_PREFIX: Final = ".gitstore-clone-"
_BRANCHES: Final = "refs/heads/"
#: What to take of a remote whose HEAD is on no branch that it shows.
_USUAL: Final = ("main", "master")
_SHOWN_MAX: Final = 5


@contextmanager
def workplace(path: str, *, durability: Durability, runtime: Runtime) -> Generator[str]:
    """Give a new folder, which becomes `path` when the block ends well, and is removed otherwise.

    It is beside `path`, and takes its place at once: there is a whole clone, or none. `path` may be an empty folder. What the block does must be durable by itself.

    Raises:
        RepositoryError: something is at `path`, or comes there meanwhile.
    """
    target = Path(path)
    with translated(path):
        _check_empty(target)
        missing = [each for each in target.parents if not each.exists()]
        scratch = target.parent / f"{_PREFIX}{runtime.token()}"
        try:
            scratch.mkdir(parents=True)
            yield str(scratch)
            _check_empty(target)
            # Renaming a folder replaces an empty one, and nothing else.
            scratch.rename(target)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            for each in missing:
                with suppress(OSError):
                    each.rmdir()
            raise
        Disk(durability).sync_folders({str(each.parent) for each in (target, *missing)})


def _check_empty(target: Path) -> None:
    if os.path.lexists(target) and not (target.is_dir() and next(target.iterdir(), None) is None):
        message = "a file, or a folder that is not empty, is there; clone into a new folder"
        raise RepositoryError(message, path=str(target))


def branch_to_clone(refs: Mapping[str, str], wanted: str | None, *, remote: str) -> str:
    """Return the branch to clone: the wanted one, or the one that the remote's HEAD is on.

    `refs` is what the remote has, as `Transport.advertised` returns it.

    Raises:
        RemoteNotFoundError: it has branches, but not the wanted one.
    """
    tips = {
        name.removeprefix(_BRANCHES): tip
        for name, tip in refs.items()
        if name.startswith(_BRANCHES)
    }
    if wanted is not None:
        if tips and wanted not in tips:
            message = f"it has no branch {wanted}; it has {', '.join(sorted(tips)[:_SHOWN_MAX])}"
            raise RemoteNotFoundError(message, remote=remote)
        return wanted
    head = refs.get("HEAD@", "").removeprefix(_BRANCHES)
    if head and (head in tips or not tips):
        return head
    at_head = [name for name in tips if tips[name] == refs.get("HEAD")]
    candidates = [name for name in _USUAL if name in (at_head or tips)]
    return (candidates or sorted(at_head or tips) or [_USUAL[0]])[0]


def url_of_clone(text: str, url: RemoteUrl) -> str:
    """Return what the clone's configuration says: a local path must not begin at the clone."""
    return url.path if url.scheme == "file" and "://" not in text else text
