"""Another history in place of a branch's: the commits again, without one path, or from a state on.

Commits keep their message, author, times and every header but two that would be false: signatures,
and the tags that a merge quotes. Trees are the same bytes but for the path. Nothing here is visible
until the branch is moved; `gitstore.git.removal` then takes away what only the old one reached.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitstore.git import trees
from gitstore.git.objects import Staged, object_id
from gitstore.types import CommitId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitstore.git.objects import Objects

EMPTY_TREE = object_id("tree", b"")
_FALSE_HEADERS = (b"gpgsig", b"gpgsig-sha256", b"mergetag")
_PARENT = re.compile(rb"parent ([0-9a-f]{40})\n")
_HEX = 40
_TREE_END = len(b"tree ") + _HEX


@dataclass(frozen=True, slots=True)
class Raw:
    """A commit as it is stored, and what it names."""

    data: bytes
    tree: str
    parents: tuple[CommitId, ...]


class Commits:
    """Reads commits once."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self._known: dict[CommitId, Raw] = {}

    def __getitem__(self, commit: CommitId) -> Raw:
        """Return a commit.

        Raises:
            CorruptRepositoryError: it is missing or damaged.
        """
        found = self._known.get(commit)
        if found is None:
            data = self.objects.read(commit, "commit")
            parents: list[CommitId] = []
            at = _TREE_END + 1
            while match := _PARENT.match(data, at):
                parents.append(CommitId(match[1].decode()))
                at = match.end()
            tree = data[len(b"tree ") : _TREE_END].decode(errors="replace")
            found = self._known[commit] = Raw(data, tree, tuple(parents))
        return found

    def parents_first(self, tips: Iterable[CommitId]) -> list[CommitId]:
        """Return all that the tips reach, each commit after its parents."""
        order: list[CommitId] = []
        seen: set[CommitId] = set()
        todo = [(tip, False) for tip in tips]
        while todo:
            commit, is_left = todo.pop()
            if is_left:
                order.append(commit)
            elif commit not in seen:
                seen.add(commit)
                todo.append((commit, True))
                todo += [(parent, False) for parent in self[commit].parents if parent not in seen]
        return order


@dataclass(slots=True)
class Rewritten:
    """A history made again: new objects, in memory, and what became of each commit."""

    staged: Staged = field(default_factory=Staged)
    #: The commit that stands for an old one; itself if it did not change, None if nothing is left.
    became: dict[CommitId, CommitId | None] = field(
        default_factory=dict[CommitId, "CommitId | None"]
    )
    #: How many of them were left out.
    dropped: int = 0

    @property
    def changed(self) -> int:
        """How many commits are not what they were."""
        return sum(old != new for old, new in self.became.items())

    def first(self, commits: Commits) -> list[CommitId]:
        """Return the oldest commits that are not what they were: all of their parents are."""
        became = self.became
        return [
            old
            for old, new in became.items()
            if old != new and all(became[parent] == parent for parent in commits[old].parents)
        ]


class WithoutPath:
    """Trees without one file; folders that it leaves empty go too."""

    def __init__(self, objects: Objects, staged: Staged, path: str) -> None:
        self._objects = objects
        self._staged = staged
        self._parts = path.encode().split(b"/")
        self._known: dict[tuple[str, int], str | None] = {}

    def has(self, tree: str) -> bool:
        """Whether the tree holds the file, or a folder of that name."""
        return self._without(tree, 0) != tree

    def __call__(self, tree: str) -> str:
        """Return the root tree without the file."""
        return self._without(tree, 0) or self._staged.add("tree", b"")

    def _without(self, tree: str, depth: int) -> str | None:
        key = (tree, depth)
        if key not in self._known:
            self._known[key] = self._edit(tree, depth)
        return self._known[key]

    def _edit(self, tree: str, depth: int) -> str | None:
        data = self._objects.read(tree, "tree")
        name = self._parts[depth]
        entry = trees.find(data, name)
        if entry is None:
            return tree
        below: str | None = None
        if depth + 1 < len(self._parts):
            if not entry.is_folder:
                return tree
            below = self._without(entry.id, depth + 1)
            if below == entry.id:
                return tree
        if below is None:
            data = trees.without_entry(data, name)
        else:
            data = trees.with_entry(data, entry.mode, name, below)
        return self._staged.add("tree", data) if data else None


def without_path(commits: Commits, tip: CommitId, path: str) -> Rewritten:
    """Make the history of a tip again without one file.

    A commit that did nothing but change that file is left out, unless it is a merge.
    """
    rewritten = Rewritten()
    became = rewritten.became
    strip = WithoutPath(commits.objects, rewritten.staged, path)
    for commit in commits.parents_first([tip]):
        raw = commits[commit]
        tree = strip(raw.tree)
        parents = _parents(raw, became)
        if tree == raw.tree and parents == raw.parents:
            became[commit] = commit
            continue
        first = raw.parents[0] if raw.parents else None
        before = None if first is None else commits[first].tree
        did_that_only = raw.tree != before and tree == (
            EMPTY_TREE if before is None else strip(before)
        )
        if len(raw.parents) <= 1 and did_that_only:
            became[commit] = None if first is None else became[first]
            rewritten.dropped += 1
            continue
        became[commit] = remade(rewritten.staged, raw, tree, parents)
    return rewritten


def from_root(commits: Commits, tip: CommitId, base: CommitId, root: bytes) -> Rewritten:
    """Make again what follows `base`, on a new root commit that takes the place of all up to it.

    What branched off before `base` and was merged later begins at the new root too.
    """
    rewritten = Rewritten()
    became = rewritten.became
    new_root = CommitId(rewritten.staged.add("commit", root))
    past = commits.parents_first([base])
    became.update(dict.fromkeys(past, new_root))
    rewritten.dropped = len(past) - 1
    for commit in commits.parents_first([tip]):
        if commit not in became:
            raw = commits[commit]
            became[commit] = remade(rewritten.staged, raw, raw.tree, _parents(raw, became))
    return rewritten


def remade(staged: Staged, raw: Raw, tree: str, parents: tuple[CommitId, ...]) -> CommitId:
    """Stage a commit again with another tree and other parents."""
    at = _TREE_END + 1
    while match := _PARENT.match(raw.data, at):
        at = match.end()
    head, gap, message = raw.data[at:].partition(b"\n\n")
    kept: list[bytes] = []
    is_false = False
    for line in head.split(b"\n"):
        is_false = line.partition(b" ")[0] in _FALSE_HEADERS if line[:1] != b" " else is_false
        if not is_false:
            kept.append(line)
    named = b"".join(b"parent %s\n" % parent.encode() for parent in parents)
    data = b"tree %s\n%s%s%s%s" % (tree.encode(), named, b"\n".join(kept), gap, message)
    return CommitId(staged.add("commit", data))


def _parents(raw: Raw, became: dict[CommitId, CommitId | None]) -> tuple[CommitId, ...]:
    """Return what became of the parents, each once."""
    return tuple(dict.fromkeys(new for old in raw.parents if (new := became[old]) is not None))
