"""Whether new commits are complete and hold nothing that could do harm: the walk over them.

A file is checked when a commit has it where none of its parents does. So the cost is that of what
changed, and a folder that was odd before anybody looked does not block what is done beside it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gitstore.errors import CorruptRepositoryError
from gitstore.git.publish import SESSIONS
from gitstore.git.trail import ID_BYTES, time_of, tree_and_parents
from gitstore.git.transfer.hygiene import (
    EXECUTABLE,
    GITLINK,
    LINK,
    attributes_problem,
    is_attributes,
    may_be,
    new_name_problem,
    object_problem,
)
from gitstore.git.transfer.reach import commits_beyond
from gitstore.git.trees import FILE, FOLDER, raw_entries

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitstore.git.objects import Objects
    from gitstore.git.transfer.packscan import PackScan

#: Folders inside one another.
DEPTH_MAX: Final = 100
_SESSIONS: Final = SESSIONS.encode()
_SHARD: Final = re.compile(rb"[0-9a-f]{2}")
#: Bytes of folders whose entries are kept: the next commit's folders differ little.
_KEPT_BYTES_MAX: Final = 4 << 20
_FOLDER: Final = FOLDER + b" "
_MODES: Final = frozenset({FILE, EXECUTABLE, FOLDER, LINK})


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRules:
    """What may be under ``sessions/``: known to those who know what a session is.

    Both functions return what is wrong, as the end of a sentence about the file, or None.
    """

    #: Of a path such as ``sessions/0a/x.yaml``.
    path_problem: Callable[[str], str | None]
    #: Of the bytes of a file.
    content_problem: Callable[[bytes], str | None]
    #: The largest file; a larger one is refused without being read.
    bytes_max: int


class Refused(Exception):  # noqa: N818 -- never leaves gitstore.git: it becomes an UntrustedContentError
    """Something may not come in; `where` is a path in the commit, or an object id in hex."""

    def __init__(self, commit: bytes | None, where: bytes, problem: str) -> None:
        super().__init__(commit, where, problem)
        self.commit = commit
        self.where = where
        self.problem = problem


class Connection:
    """The walk over what is new in one commit. Objects come from the pack first, then from here."""

    def __init__(
        self,
        objects: Objects,
        scan: PackScan | None,
        rules: SessionRules,
        *,
        step: Callable[[int], None],
    ) -> None:
        self._objects = objects
        self._scan = scan
        self._rules = rules
        self._step = step
        self._done = 0
        self._commit = b""
        #: What was checked, and where: under sessions/ the path counts, elsewhere the depth.
        self._checked: set[tuple[bytes, bytes | int]] = set()
        #: Files under sessions/ whose content was checked.
        self._sound: set[bytes] = set()
        #: Those of this commit whose content is still to be checked, and where they are.
        self._unread: dict[bytes, bytes] = {}
        self._rows_of: OrderedDict[bytes, tuple[dict[bytes, bytes], int]] = OrderedDict()
        self._kept = 0

    def check(self, tip: bytes, ours: set[bytes]) -> None:
        """Check every commit that `tip` reaches and `ours` do not.

        Raises:
            Refused: one of them is not complete, or not harmless.
            CorruptRepositoryError: one of our own objects is damaged.
        """
        new = commits_beyond(tip, ours, self._look, missing=self._missing)
        # Parents come first, and must: of a folder, only what no parent has is looked at. Were one
        # checked against another, and that against the first, nobody would look.
        for commit in new:
            self._commit = commit
            data = self._read_new(commit, "commit", _hex(commit))
            tree, parents = tree_and_parents(data)
            before = [self._tree_of(parent) for parent in parents]
            if tree not in before:
                self._check_folder(tree, before, b"")
                self._check_sessions()

    # --- commits --------------------------------------------------------------------

    def _look(self, commit: bytes) -> tuple[tuple[bytes, ...], int] | None:
        """Return parents and time of a commit of the pack, or of ours; None if it is neither."""
        if self._scan is not None and self._scan.kind(commit) == "commit":
            data = self._scan.read(commit)
        else:
            try:
                data = self._objects.glance(commit, "commit")
            except CorruptRepositoryError:
                if self._objects.kind_of(commit.hex()) == "commit":
                    raise
                return None
        try:
            return tree_and_parents(data)[1], time_of(data)
        except ValueError:
            return None

    def _missing(self, commit: bytes) -> Exception:
        """Return why there are no parents and time of a commit."""
        try:
            self._read_new(commit, "commit", _hex(commit))
        except Refused as error:
            return Refused(None, error.where, error.problem)
        return Refused(None, _hex(commit), "is a malformed commit")

    def _tree_of(self, parent: bytes) -> bytes:
        """Return the root of a parent: one that was checked already, or one of ours."""
        return tree_and_parents(self._read(parent, "commit", _hex(parent)))[0]

    # --- folders --------------------------------------------------------------------

    def _check_folder(self, tree: bytes, before: list[bytes], path: bytes) -> None:
        """Check a folder that is new in its place; `before` are those the parents have there."""
        depth = path.count(b"/") + 1 if path else 0
        if depth > DEPTH_MAX:
            raise self._refused(path, f"is more than {DEPTH_MAX} folders deep")
        inside = path == _SESSIONS or path.startswith(_SESSIONS + b"/")
        key = (tree, path if inside else depth)
        if key in self._checked:
            return
        self._checked.add(key)
        self._read_new(tree, "tree", path or _hex(tree))
        fresh = set(self._rows(tree, path).items())
        others = [self._rows(each, path) for each in before]
        for other in others:
            fresh.difference_update(other.items())
        for name, entry in sorted(fresh):
            mode, target = entry[: -ID_BYTES - 1], entry[-ID_BYTES:]
            place = path + b"/" + name if path else name
            self._check_place(place, mode, inside=inside)
            if mode == FOLDER:
                old = [other[name] for other in others if name in other]
                folders = [each[-ID_BYTES:] for each in old if each.startswith(_FOLDER)]
                self._check_folder(target, folders, place)
            else:
                self._check_file(target, mode, place, inside=inside)

    def _check_place(self, path: bytes, mode: bytes, *, inside: bool) -> None:
        """Check that something of this mode and name may be there."""
        name = path.rpartition(b"/")[2]
        if inside:
            problem = self._session_place_problem(path, name, mode)
        elif path == _SESSIONS:
            problem = None if mode == FOLDER else "is no folder"
        elif mode == GITLINK:
            problem = "is a submodule, which is not supported"
        elif mode not in _MODES:
            problem = f"has the mode {mode.decode()}, which git does not write"
        elif mode == LINK and is_attributes(name):
            problem = "is a symbolic link, which git does not read"
        elif path == name and may_be(name, SESSIONS):
            problem = f"has a name that a file system may take for {SESSIONS}"
        else:
            problem = new_name_problem(name)
        if problem is not None:
            raise self._refused(path, problem)

    def _session_place_problem(self, path: bytes, name: bytes, mode: bytes) -> str | None:
        if path.count(b"/") == 1:
            is_shard = mode == FOLDER and _SHARD.fullmatch(name) is not None
            return None if is_shard else "is no folder of sessions, named by two hex digits"
        if mode != FILE:
            return f"is no plain file: its mode is {mode.decode()}"
        try:
            return self._rules.path_problem(path.decode())
        except UnicodeDecodeError:
            return "has a name that is not UTF-8"

    def _check_file(self, blob: bytes, mode: bytes, path: bytes, *, inside: bool) -> None:
        """Check that a file is there, and what is in it where that matters."""
        if inside and blob not in self._sound:
            self._unread.setdefault(blob, path)
            return
        self._advance()
        if inside:
            return
        problem = None
        if mode != LINK and is_attributes(path.rpartition(b"/")[2]):
            problem = attributes_problem(self._read(blob, "blob", path))
        elif self._scan is None or self._scan.kind(blob) != "blob":
            self._read(blob, "blob", path)
        if problem is not None:
            raise self._refused(path, problem)

    def _check_sessions(self) -> None:
        """Check what is in the sessions of this commit, in the order of the pack.

        In any other, of more than the scan keeps, the bases of deltas are built again and again.
        """
        places = {} if self._scan is None else self._scan.places
        for blob in sorted(self._unread, key=lambda name: places.get(name, -1)):
            self._advance()
            path = self._unread[blob]
            problem = self._session_problem(blob, path)
            if problem is not None:
                raise self._refused(path, problem)
            self._sound.add(blob)
        self._unread.clear()

    def _session_problem(self, blob: bytes, path: bytes) -> str | None:
        limit = self._rules.bytes_max
        scan = self._scan
        sent = scan is not None and scan.kind(blob) == "blob"
        if scan is not None and sent and scan.size(blob) > limit:
            return f"is larger than {limit} bytes"
        data = self._read(blob, "blob", path)
        return (
            f"is larger than {limit} bytes"
            if len(data) > limit
            else self._rules.content_problem(data)
        )

    # --- objects --------------------------------------------------------------------

    def _rows(self, tree: bytes, path: bytes) -> dict[bytes, bytes]:
        """Return the entries of a folder by name: mode, a space, and the 20 bytes of id."""
        found = self._rows_of.get(tree)
        if found is not None:
            self._rows_of.move_to_end(tree)
            return found[0]
        data = self._read(tree, "tree", path or tree.hex().encode())
        try:
            rows = raw_entries(data)
        except ValueError as error:
            raise self._refused(path, "is a malformed folder") from error
        self._advance()
        self._rows_of[tree] = rows, len(data)
        self._kept += len(data)
        while self._kept > _KEPT_BYTES_MAX and len(self._rows_of) > 1:
            self._kept -= self._rows_of.popitem(last=False)[1][1]
        return rows

    def _read_new(self, name: bytes, kind: str, where: bytes) -> bytes:
        """Return an object of the right form."""
        data = self._read(name, kind, where)
        sent = self._scan is not None and self._scan.kind(name) is not None
        problem = self._scan.flaws.get(name) if self._scan and sent else object_problem(kind, data)
        if problem is not None:
            raise self._refused(where, problem)
        return data

    def _read(self, name: bytes, kind: str, where: bytes) -> bytes:
        """Return an object of the pack, or one of ours."""
        actual = None if self._scan is None else self._scan.kind(name)
        if self._scan is not None and actual == kind:
            return self._scan.read(name)
        if actual is None:
            try:
                return self._objects.read(name.hex(), kind)
            except CorruptRepositoryError:
                actual = self._objects.kind_of(name.hex())
                if actual == kind:
                    raise
        raise self._refused(where, _MISSING if actual is None else f"is a {actual}, not a {kind}")

    def _advance(self) -> None:
        self._done += 1
        self._step(self._done)

    def _refused(self, where: bytes, problem: str) -> Refused:
        return Refused(self._commit, where, problem)


_MISSING: Final = "is missing: neither sent nor here"


def _hex(name: bytes) -> bytes:
    return name.hex().encode()
