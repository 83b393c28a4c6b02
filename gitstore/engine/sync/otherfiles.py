"""Three-way merge of the files that are no sessions: each is one value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from gitstore.git.trees import FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gitstore.git.trees import Entry


class Node(NamedTuple):
    """What is at a path: the mode as git writes it, and the id."""

    mode: bytes
    id: str


class Nodes(NamedTuple):
    """The three versions of what is at a path; None where there is nothing."""

    base: Node | None
    ours: Node | None
    theirs: Node | None


def node_of(entry: Entry | None) -> Node | None:
    """Return what an entry of a tree says, wherever the entry stands."""
    return None if entry is None else Node(entry.mode, entry.id)


class FilePlan(NamedTuple):
    """What a merge makes of the files."""

    #: What must change on our side; None removes a file.
    files: dict[str, Node | None]
    #: Files that both sides changed, and those that are a folder on the other side.
    clashes: tuple[str, ...]


def merge_files(
    paths: Mapping[str, Nodes],
    *,
    ours_at: Callable[[str], Node | None],
    prefer: Literal["ours", "theirs"] | None,
) -> FilePlan:
    """Merge files; `prefer` decides where both sides changed one. `ours_at` finds folders, too."""
    files: dict[str, Node | None] = {}
    clashes: set[str] = set()
    for path, (base, ours, theirs) in paths.items():
        if theirs in (base, ours):
            continue
        if ours == base or prefer == "theirs":
            files[path] = theirs
        elif prefer is None:
            clashes.add(path)
    for path, node in files.items():
        if node is not None and not _fits(path, ours_at):
            clashes.add(path)
    return FilePlan(files, tuple(sorted(clashes)))


def _fits(path: str, ours_at: Callable[[str], Node | None]) -> bool:
    """Whether a file can be put there without replacing a folder, or a file by a folder."""
    parts = path.split("/")
    above = (ours_at("/".join(parts[:depth])) for depth in range(1, len(parts)))
    here = ours_at(path)
    return all(node is None or node.mode == FOLDER for node in above) and (
        here is None or here.mode != FOLDER
    )
