"""Moving a branch to a tree that somebody else made: what changes, and what stands in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gitstore.errors import DirtyWorkingTreeError, RepositoryError
from gitstore.git.draft import File
from gitstore.git.objects import OBJECT_BYTES_MAX, object_id
from gitstore.git.publish import SESSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from gitstore.git.checkout import WorkingFile, WorkingTree
    from gitstore.git.trees import Entry

    #: By path: the entry that was there, and the one that will be.
    Changes: TypeAlias = Mapping[str, tuple[Entry | None, Entry | None]]


class Examined(NamedTuple):
    """The working files that a move replaces."""

    #: For `publish`.
    seen: dict[str, WorkingFile | None]
    #: Session files that a person edited: they must be adopted before they are replaced.
    edited: tuple[str, ...]


def is_session_file(path: str) -> bool:
    """Whether a path lies in the folder of the sessions."""
    return path.startswith(SESSIONS + "/")


def files_of(changes: Changes, *, read: Callable[[str], bytes]) -> dict[str, File | None]:
    """Return the changed files as a draft takes them; `read` returns the bytes of a blob."""

    def reader(name: str) -> Callable[[], bytes]:
        return lambda: read(name)

    return {
        path: None if new is None else File(new.id, new.mode, reader(new.id))
        for path, (_, new) in changes.items()
    }


def before_of(changes: Changes) -> dict[str, str | None]:
    """Return the blobs that stood where files that are no sessions change."""
    return {
        path: None if old is None else old.id
        for path, (old, _) in changes.items()
        if not is_session_file(path)
    }


def examine(tree: WorkingTree, changes: Changes) -> Examined:
    """Read the working files that will be replaced.

    Raises:
        DirtyWorkingTreeError: a person changed files that are no sessions.
        RepositoryError: a folder would have to take the place of a file, or the other way round.
    """
    _check_shapes(tree, changes)
    seen: dict[str, WorkingFile | None] = {}
    edited: list[str] = []
    dirty: list[str] = []
    for path, (old, new) in changes.items():
        file = seen[path] = tree.read(path, limit=OBJECT_BYTES_MAX)
        fitting = {entry.id for entry in (old, new) if entry is not None}
        if file is not None and object_id("blob", file.data) not in fitting:
            (edited if is_session_file(path) else dirty).append(path)
    if dirty:
        raise DirtyWorkingTreeError(path=tree.root, paths=tuple(sorted(dirty)))
    return Examined(seen, tuple(edited))


def _check_shapes(tree: WorkingTree, changes: Changes) -> None:
    gone = {path for path, (_, new) in changes.items() if new is None}
    come = {path for path, (old, _) in changes.items() if old is None}
    for first, second in ((gone, come), (come, gone)):
        for path in second:
            parts = path.split("/")
            above = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
            if clash := above & first:
                message = (
                    f"{min(clash)} is a file on one side and a folder on the other; "
                    "nothing was moved. Use `git pull` for this one"
                )
                raise RepositoryError(message, path=tree.root)
