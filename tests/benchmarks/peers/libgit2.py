"""pygit2: trees built by hand in a bare repository, or its index beside a working tree."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tests.benchmarks.peers.subject import UNSYNCED, Subject

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.measure import Act

_REF = "refs/heads/main"
_BLOB = 0o100644
_TREE = 0o040000


class Pygit2:
    """What both ways have in common: the commit."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pygit2: Any = import_module("pygit2")
        self._repo: Any = self._pygit2.Repository(str(folder))

    def _commit(self, tree: Any, message: str) -> None:
        who = self._pygit2.Signature("Bench", "bench@example.org")
        parent = self._repo.references[_REF].target
        self._repo.create_commit(_REF, who, who, message, tree, [parent])

    def close(self) -> None:
        """Close the repository's files."""
        self._repo.free()


class TreeBuilder(Pygit2):
    """One entry changed in each tree of the path."""

    def write(self, name: str, path: str, data: bytes) -> Act:
        """Return blob, trees, commit."""
        del name
        return partial(self._save, path, data)

    def _save(self, path: str, data: bytes) -> None:
        self._commit(self._changed(path, self._repo.create_blob(data)), "Update session")

    def delete(self, name: str, path: str) -> Act:
        """Return trees, commit."""
        del name
        return partial(self._delete, path)

    def _delete(self, path: str) -> None:
        self._commit(self._changed(path, None), "Delete session")

    def _changed(self, path: str, blob: Any) -> Any:
        *folders, name = path.split("/")
        trees = [self._repo[self._repo.references[_REF].target].tree]
        trees.extend(trees[0]["/".join(folders[: depth + 1])] for depth in range(len(folders)))
        builder = self._repo.TreeBuilder(trees[-1])
        if blob is None:
            builder.remove(name)
        else:
            builder.insert(name, blob, _BLOB)
        made = builder.write()
        for tree, folder in zip(reversed(trees[:-1]), reversed(folders), strict=True):
            builder = self._repo.TreeBuilder(tree)
            builder.insert(folder, made, _TREE)
            made = builder.write()
        return made


class Index(Pygit2):
    """The file, the index, the tree that the index makes."""

    def write(self, name: str, path: str, data: bytes) -> Act:
        """Return write, stage, commit."""
        del name
        return partial(self._save, path, data)

    def _save(self, path: str, data: bytes) -> None:
        (self._folder / path).write_bytes(data)
        self._staged("Update session", path, removed=False)

    def delete(self, name: str, path: str) -> Act:
        """Return unlink, stage, commit."""
        del name
        return partial(self._delete, path)

    def _delete(self, path: str) -> None:
        (self._folder / path).unlink()
        self._staged("Delete session", path, removed=True)

    def _staged(self, message: str, path: str, *, removed: bool) -> None:
        index = self._repo.index
        index.read()
        if removed:
            index.remove(path)
        else:
            index.add(path)
        index.write()
        self._commit(index.write_tree(), message)


def subjects(*, bare: bool) -> list[Subject]:
    """Return pygit2 as it comes, and with what syncing libgit2 has."""
    name, opened = ("pygit2 tree builder", TreeBuilder) if bare else ("pygit2 index", Index)
    synced = "objects, branch and their folders synced" + ("" if bare else "; index and file not")
    return [
        Subject(name=name, durability=UNSYNCED, bare=bare, layout="sharded", open=opened),
        Subject(
            name=f"{name}, fsync",
            durability=synced,
            bare=bare,
            layout="sharded",
            open=opened,
            settings={"core.fsyncObjectFiles": "true"},
        ),
    ]
