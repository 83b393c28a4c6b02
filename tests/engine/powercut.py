"""What a disk may hold after a power cut: replays a log of calls up to any point.

A file is an object with content; a name is an entry of a folder. Both exist twice: as the process
sees them, and as they are on the disk. `fsync` of a file copies its content from the one to the
other, `fsync` of a folder its names. Nothing else is certain to.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engine.faults import Call, Real

#: all: everything done so far; synced: only what was synced; names: names, but no unsynced content.
Model: TypeAlias = Literal["all", "synced", "names"]
#: By path below the root: which file it is (it may have two names) and its content; None: a folder.
Tree: TypeAlias = dict[str, tuple[int, bytes] | None]

_FOLDER = -1


class Step(NamedTuple):
    """One call that was made; `handle` names the opened file or folder."""

    name: str
    path: str
    target: str = ""
    handle: int = -1
    data: bytes = b""


class Recorder:
    """Lets calls pass and keeps those that succeeded, in order, with paths below `root`."""

    def __init__(self, root: str) -> None:
        self.steps: list[Step] = []
        self._root = os.path.realpath(root)
        self._handles: dict[int, int] = {}

    def __call__(self, call: Call, real: Real) -> Any:
        """Make one call and record it."""
        result = real()
        handle = -1
        if call.name == "open":
            assert isinstance(result, int) or not call.changes, "written through a file object"
            if isinstance(result, int):
                handle = self._handles[result] = len(self.steps)
        elif call.descriptor >= 0:
            handle = self._handles[call.descriptor]
        data = call.data[: result if call.name == "write" else 0]
        self.steps.append(
            Step(call.name, self._relative(call.path), self._relative(call.target), handle, data)
        )
        return result

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self._root) if path else ""


@dataclass
class _Side:
    """Names and contents, as the process sees them or as the disk has them."""

    names: dict[str, int] = field(default_factory=dict[str, int])
    contents: dict[int, bytes] = field(default_factory=dict[int, bytes])

    def tree(self, *, contents: dict[int, bytes] | None = None) -> Tree:
        """Return the files that can be reached from the root."""
        held = self.contents if contents is None else contents
        found: Tree = {}
        for path in sorted(self.names):
            above = os.path.dirname(path)
            if above == "" or above in found:
                file = self.names[path]
                found[path] = None if file == _FOLDER else (file, held.get(file, b""))
        return found


class Disk:
    """A disk on which the files below `root` are, all synced."""

    def __init__(self, root: Path) -> None:
        self._seen, self._kept = _Side(), _Side()
        #: The files that are open; a handle that is not here is a folder.
        self._handles: dict[int, int] = {}
        self._renames: list[tuple[str, int]] = []
        self._serial = 0
        for file in sorted(root.rglob("*")):
            path = file.relative_to(root).as_posix()
            self._name(path, _FOLDER if file.is_dir() else self._new_file(file.read_bytes()))
        self._kept.names = dict(self._seen.names)
        self._kept.contents = dict(self._seen.contents)

    def apply(self, step: Step) -> None:
        """Let one call happen."""
        names = self._seen.names
        match step.name:
            case "open":
                self._open(step)
            case "write":
                self._seen.contents[self._handles[step.handle]] += step.data
            case "fsync":
                self._sync(step)
            case "mkdir":
                self._name(step.path, _FOLDER)
            case "link":
                self._name(step.target, names[step.path])
            case "rename":
                self._name(step.target, names.pop(step.path))
                self._renames.append((step.target, names[step.target]))
            case "exchange":
                first, second = names[step.path], names[step.target]
                names[step.path], names[step.target] = second, first
                self._renames.append((step.target, first))
            case "unlink" | "rmdir":
                names.pop(step.path)
            case "utime":
                pass
            case _:
                raise NotImplementedError(step.name)

    def after_cut(self, model: Model) -> Tree:
        """Return what is there when the power comes back."""
        if model == "all":
            return self._seen.tree()
        side = self._kept if model == "synced" else self._seen
        return side.tree(contents=self._kept.contents)

    def after_cut_with_one_rename(self) -> Iterator[Tree]:
        """Return what is there when, of what was not synced, one rename made it to the disk."""
        for target, file in self._renames:
            if self._kept.names.get(target) != file and self._seen.names.get(target) == file:
                side = _Side({**self._kept.names, target: file})
                yield side.tree(contents=self._kept.contents)

    def _open(self, step: Step) -> None:
        file = self._seen.names.get(step.path)
        if file == _FOLDER or step.path == ".":
            self._handles.pop(step.handle, None)
            return
        if file is None:
            file = self._new_file(b"")
            self._name(step.path, file)
        self._handles[step.handle] = file

    def _sync(self, step: Step) -> None:
        file = self._handles.get(step.handle)
        if file is not None:
            self._kept.contents[file] = self._seen.contents[file]
            return
        folder = "" if step.path == "." else step.path
        for names in (self._kept.names, self._seen.names):
            for path in [path for path in names if os.path.dirname(path) == folder]:
                if path in self._seen.names:
                    self._kept.names[path] = self._seen.names[path]
                else:
                    del self._kept.names[path]

    def _new_file(self, data: bytes) -> int:
        self._serial += 1
        self._seen.contents[self._serial] = data
        return self._serial

    def _name(self, path: str, file: int) -> None:
        self._seen.names[path] = file


def lay_out(tree: Tree, root: Path) -> None:
    """Write a state of the disk into an empty folder."""
    root.mkdir()
    first_names: dict[int, Path] = {}
    for name, content in tree.items():
        path = root / name
        if content is None:
            path.mkdir()
            continue
        file, data = content
        if file in first_names:
            path.hardlink_to(first_names[file])
        else:
            path.write_bytes(data)
            first_names[file] = path
