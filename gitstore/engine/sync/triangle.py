"""What two sides changed since they parted: the three versions of every path that differs.

Histories that were merged crosswise have several merge bases. They are merged first, into a base
that no commit holds, as git's recursive merge does: with any one of them alone, a change that was
taken back since would come again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from gitstore.engine.sync.merging import merge_sets
from gitstore.engine.sync.otherfiles import Node, Nodes, merge_files, node_of
from gitstore.git.graph import compare
from gitstore.git.objects import object_id
from gitstore.git.trees import FILE
from gitstore.session.ids import path_of, session_id_of
from gitstore.types import CommitId, Revision, SessionId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gitstore.git.repository import Repository

#: Merge bases that are merged crosswise themselves, and so on: so deep, and then the newest will do.
_DEPTH_MAX = 16


@dataclass(frozen=True, slots=True)
class _Version:
    """A tree, with some paths changed that no tree holds."""

    tree: str | None
    changed: Mapping[str, Node | None] = field(default_factory=dict[str, Node | None])


@dataclass(frozen=True)
class Triangle:
    """The paths on which base, ours and theirs are not all the same."""

    paths: Mapping[str, Nodes]
    #: What was made for a base that no commit holds.
    made: Mapping[Revision, bytes]

    @cached_property
    def sessions(self) -> tuple[Mapping[SessionId, Revision], ...]:
        """The revisions in base, ours and theirs of the sessions among the paths."""
        sides: tuple[dict[SessionId, Revision], ...] = ({}, {}, {})
        for path, name in self._names.items():
            if name is not None:
                for side, node in zip(sides, self.paths[path], strict=True):
                    if node is not None:
                        side[name] = Revision(node.id)
        return sides

    @cached_property
    def files(self) -> Mapping[str, Nodes]:
        """The paths that are no sessions."""
        return {path: self.paths[path] for path, name in self._names.items() if name is None}

    @cached_property
    def _names(self) -> Mapping[str, SessionId | None]:
        return {path: session_id_of(path) for path in self.paths}


class Surveyor:
    """Makes triangles from the commits of one repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def triangle(
        self, bases: Sequence[CommitId], ours: CommitId | None, theirs: CommitId | None
    ) -> Triangle:
        """Return what two commits changed since their merge bases; None is a side without commits."""
        made: dict[Revision, bytes] = {}
        base = self._joined(bases, made, depth=0)
        tips = (_Version(self._repository.tree(tip)) for tip in (ours, theirs))
        return Triangle(self._paths(base, *tips), made)

    def read(self, triangle: Triangle, revision: Revision) -> bytes:
        """Return the bytes of a file of a triangle."""
        made = triangle.made.get(revision)
        return self._repository.read_blob(revision) if made is None else made

    def _joined(
        self, commits: Sequence[CommitId], made: dict[Revision, bytes], *, depth: int
    ) -> _Version:
        """Merge some commits into one version; where they conflict, the first of them stands."""
        if not commits:
            return _Version(None)
        version = _Version(self._repository.tree(commits[0]))
        if depth == _DEPTH_MAX:
            return version
        for number, commit in enumerate(commits[1:], 1):
            bases: dict[CommitId, None] = {}
            for earlier in commits[:number]:
                bases |= dict.fromkeys(compare(earlier, commit, self._repository.facts).bases)
            base = self._joined(list(bases), made, depth=depth + 1)
            theirs = _Version(self._repository.tree(commit))
            triangle = Triangle(self._paths(base, version, theirs), made)
            version = self._merged(version, triangle, made)
        return version

    def _merged(self, ours: _Version, triangle: Triangle, made: dict[Revision, bytes]) -> _Version:
        """Return what merging the two sides of a triangle makes; ours wins."""
        changed = dict(ours.changed)
        plan = merge_sets(
            *triangle.sessions,
            read=lambda revision: self.read(triangle, revision),
            choose=lambda _: "ours",
        )
        for name, content in plan.files.items():
            node: Node | None = None
            if isinstance(content, bytes):
                node = Node(FILE, object_id("blob", content))
                made[Revision(node.id)] = content
            elif content is not None:
                node = Node(FILE, content)
            changed[path_of(name)] = node
        files = merge_files(triangle.files, ours_at=lambda _: None, prefer="ours").files
        return _Version(ours.tree, changed | files)

    def _paths(self, base: _Version, ours: _Version, theirs: _Version) -> dict[str, Nodes]:
        """Return the paths on which three versions are not all the same."""
        changes = [
            self._repository.changes_between(base.tree, side.tree) for side in (ours, theirs)
        ]
        before = {path: old for each in changes for path, (old, _) in each.items()}
        found: dict[str, Nodes] = {}
        for path in {**before, **base.changed, **ours.changed, **theirs.changed}:
            old = before[path] if path in before else self._repository.find(base.tree, path)
            ends = [each[path][1] if path in each else old for each in changes]
            nodes = Nodes(
                *(
                    version.changed[path] if path in version.changed else node_of(entry)
                    for version, entry in zip((base, ours, theirs), (old, *ends), strict=True)
                )
            )
            if len(set(nodes)) > 1:
                found[path] = nodes
        return found
