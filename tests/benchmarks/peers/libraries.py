"""Python libraries that write git repositories: GitPython, dulwich's porcelain, xandikos."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tests.benchmarks.peers.subject import UNSYNCED, Subject

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.benchmarks.measure import Act
    from tests.benchmarks.peers.subject import Peer

_MESSAGE = "Update session"
_DULWICH_SYNC = "branch and index synced; objects and folders not"


class Library:
    """A working tree: writes the file, then lets the library stage and commit it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, path: str, data: bytes) -> Act:
        """Return write, stage, commit."""
        del name
        return partial(self._save, path, data)

    def _save(self, path: str, data: bytes) -> None:
        (self._folder / path).write_bytes(data)
        self._commit(path)

    def _commit(self, path: str) -> None:
        raise NotImplementedError

    def delete(self, name: str, path: str) -> Act:
        """Not measured."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the repository."""


class GitPython(Library):
    """index.add and index.commit."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._repo: Any = import_module("git").Repo(folder)

    def _commit(self, path: str) -> None:
        index = self._repo.index
        index.add([path])
        index.commit(_MESSAGE)

    def close(self) -> None:
        """Close its long-running git processes."""
        self._repo.close()


class Porcelain(Library):
    """porcelain.add and porcelain.commit."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._porcelain: Any = import_module("dulwich.porcelain")
        self._repo: Any = import_module("dulwich.repo").Repo(str(folder))

    def _commit(self, path: str) -> None:
        self._porcelain.add(self._repo, paths=[str(self._folder / path)])
        self._porcelain.commit(self._repo, message=_MESSAGE.encode())

    def close(self) -> None:
        """Close the repository's files."""
        self._repo.close()


class Xandikos:
    """xandikos' store: all items in one folder, which is the only layout it has."""

    def __init__(self, folder: Path, *, kind: str) -> None:
        store = getattr(import_module("xandikos.store.git"), kind)
        self._store: Any = store.open_from_path(str(folder))

    def write(self, name: str, path: str, data: bytes) -> Act:
        """Return the import of the item under its own name, over the one that is there."""
        del path
        return partial(
            self._store.import_one, f"{name}.yaml", "text/plain", [data], message=_MESSAGE
        )

    def delete(self, name: str, path: str) -> Act:
        """Not measured."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the repository's files."""
        self._store.repo.close()


def subjects() -> list[Subject]:
    """Return what commits with a working tree."""
    kinds: list[tuple[str, Callable[[Path], Peer], str]] = [
        ("GitPython", GitPython, UNSYNCED),
        ("dulwich porcelain", Porcelain, _DULWICH_SYNC),
    ]
    return [
        Subject(
            name=name,
            durability=durability,
            bare=False,
            layout="sharded",
            open=opened,
            deletes=False,
        )
        for name, opened, durability in kinds
    ] + [_xandikos("TreeGitStore", bare=False)]


def bare_subjects() -> list[Subject]:
    """Return what commits without a working tree."""
    return [_xandikos("BareGitStore", bare=True)]


def _xandikos(kind: str, *, bare: bool) -> Subject:
    return Subject(
        name=f"xandikos {kind}",
        durability=_DULWICH_SYNC,
        bare=bare,
        layout="flat",
        open=partial(Xandikos, kind=kind),
        notes="one flat folder, its only layout",
        deletes=False,
    )
