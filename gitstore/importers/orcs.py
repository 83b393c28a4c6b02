"""Sessions as the ORCS runtime writes them: one JSON file each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitstore import SerializationError, SessionAsset
from gitstore.importers.files import in_file, read_file

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class OrcsFile:
    """One file that was looked at: either `asset` or `error` is there, never both."""

    path: Path
    asset: SessionAsset | None = None
    error: SerializationError | None = None


def read_orcs(*paths: str | os.PathLike[str]) -> Iterator[OrcsFile]:
    """Read ORCS JSON files; a folder stands for its ``*.json`` files, dotfiles left out.

    Files come in the order of their names, each read when it is asked for. A bad one is a result
    with an `error` that names the file and the place, and does not stop the others: who wants to
    stop at the first stops iterating. Folders inside a folder are not looked into.
    """
    for path in map(Path, paths):
        try:
            files = _files(path)
        except OSError as error:
            problem = f"cannot be listed: {error.strerror}; check its permissions"
            refused = SerializationError(problem, where=str(path))
            refused.__cause__ = error
            yield OrcsFile(path=path, error=refused)
            continue
        yield from map(_read, files)


def _files(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        return (path,)
    return sorted(
        entry
        for entry in path.iterdir()
        # Only regular files: a pipe in a folder would wait for a writer.
        if entry.suffix == ".json" and not entry.name.startswith(".") and entry.is_file()
    )


def _read(path: Path) -> OrcsFile:
    try:
        data = read_file(path)
    except SerializationError as error:
        return OrcsFile(path=path, error=error)
    try:
        return OrcsFile(path=path, asset=SessionAsset.from_orcs_json(data))
    except SerializationError as error:
        named = in_file(error, name=str(path))
        named.__cause__ = error
        return OrcsFile(path=path, error=named)
