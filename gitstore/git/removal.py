"""Taking objects away for good: what names them, which nothing else reaches, and their packs.

1. A journal (``.git/gitstore/removing``) lists what may go, before the branch moves: a removal that
   was broken off is finished by the next one.
2. Reflog lines that name a commit on the list go, and caches that git makes again.
3. What any ref, HEAD, index, stash or reflog still reaches is taken off the list.
4. Loose objects are unlinked, and packs replaced (`gitstore.git.repack`).
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitstore.errors import CorruptRepositoryError, RepositoryError
from gitstore.git import trees
from gitstore.git.files import Disk, discard
from gitstore.git.index import Index
from gitstore.git.indexfile import IndexFile
from gitstore.git.lock import Workshop
from gitstore.git.objects import Objects, parse_commit
from gitstore.git.repack import Packs
from gitstore.git.sharedindex import SHARED_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gitstore.git.location import Location
    from gitstore.types import Runtime

JOURNAL = "removing"
_STASH_LOG = "refs/stash"
_HEX = re.compile(r"[0-9a-f]{40}")
_ID = re.compile(r"\b[0-9a-f]{40}\b")
_LOG_LINE = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) ")
_ZERO = b"0" * 40
_RAW_BYTES = 20
_GITLINK = b"160000"
_LOCK_SECONDS = 10.0
#: What git makes again, and would complain of if it named what is gone.
_GRAPH = "objects/info/commit-graph"
#: States in which somebody is in the middle of something that names commits in files of its own.
_UNFINISHED = (
    "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply", "sequencer",
    "BISECT_LOG",
)  # fmt: skip
#: What makes objects reachable, or unreachable, in ways that are not followed here.
_STRANGE = {
    "shallow": "it is a shallow clone; run `git fetch --unshallow` first",
    "info/grafts": "it has grafts; remove .git/info/grafts first",
    "refs/replace": "it has replaced objects; `git replace -d` them first",
    "objects/info/alternates": "it borrows objects of another repository; run `git repack -a -d` "
    "and remove objects/info/alternates first",
    "gitstore/damaged": "a repair kept damaged bytes; remove .git/gitstore/damaged first",
}


@dataclass(frozen=True, slots=True)
class Names:
    """What names objects: refs and detached HEADs by name, and loose ends without one."""

    refs: dict[str, str]
    #: Commits of the stash, and whatever an index names.
    others: frozenset[str]


class Vault:
    """All objects of a repository, and all that names them. Used under the writer lock."""

    def __init__(self, location: Location, *, runtime: Runtime) -> None:
        self._location = location
        self._common = location.common
        self._disk = Disk("full")
        self._runtime = runtime
        self._workshop = Workshop(
            location.common, disk=self._disk, runtime=runtime, timeout_seconds=_LOCK_SECONDS
        )
        self._journal = os.path.join(self._workshop.path, JOURNAL)
        self.packs = Packs(location.common, disk=self._disk, workshop=self._workshop)
        self.objects = Objects(
            location.common, disk=self._disk, runtime=runtime, config=location.config
        )

    def close(self) -> None:
        """Close open files."""
        self.objects.close()

    def check(self) -> None:
        """Refuse what would make a removal incomplete or unsafe.

        Raises:
            RepositoryError: it says what to do first.
        """
        for folder in self._controls():
            for name in _UNFINISHED:
                if os.path.exists(os.path.join(folder, name)):
                    message = f"{name} says that something is unfinished there; end it first"
                    raise RepositoryError(message, path=folder)
        for name, advice in _STRANGE.items():
            path = os.path.join(self._common, name)
            if os.path.isfile(path) or (os.path.isdir(path) and os.listdir(path)):
                raise RepositoryError(f"nothing was changed: {advice}", path=self._common)

    def can_tell_reachable(self) -> bool:
        """Whether what is reachable is all that anybody needs: no grafts, no borrowed objects."""
        return not any(os.path.exists(os.path.join(self._common, name)) for name in _STRANGE)

    def mentioned(self) -> set[str]:
        """Return what files of unfinished work name: ORIG_HEAD, MERGE_HEAD, a rebase, a bisection."""
        found: set[str] = set()
        for folder in self._controls():
            for name in os.listdir(folder):
                if name.endswith("_HEAD") or name in _UNFINISHED or name == "AUTO_MERGE":
                    path = os.path.join(folder, name)
                    for file in _files(path) or [path]:
                        found |= set(_ID.findall(_read(file).decode(errors="replace")))
        return {name for name in found if self.objects.kind_of(name) is not None}

    def names(self, suspects: set[str]) -> Names:
        """Return what names objects now; of what an index names, only suspects."""
        refs = self._packed_refs()
        others: set[str] = set()
        for folder in self._controls():
            prefix = "" if folder == self._common else os.path.basename(folder) + ":"
            for path in [os.path.join(folder, "HEAD"), *_files(os.path.join(folder, "refs"))]:
                value = _read(path).decode(errors="replace").strip()
                name = prefix + os.path.relpath(path, folder)
                if _HEX.fullmatch(value):
                    refs[name] = value
                else:
                    refs.pop(name, None)
            others |= self._indexed(folder, suspects)
        others |= {new for path, _, new in self._logged() if path.endswith(_STASH_LOG)}
        return Names(refs, frozenset(others - {_ZERO.decode()}))

    def logged(self) -> set[str]:
        """Return the commits that reflogs name, and that are there."""
        found = {name for _, old, new in self._logged() for name in (old, new)}
        return {name for name in found if self.objects.kind_of(name) == "commit"}

    def reachable(self, roots: Iterable[str]) -> set[str]:
        """Return everything that can be reached from some objects. Cost: each commit and tree once.

        Raises:
            CorruptRepositoryError: something in between is missing or damaged.
        """
        todo: list[tuple[str, str | None]] = [(root, None) for root in roots]
        seen: set[str] = set()
        while todo:
            name, kind = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            kind = kind or self.objects.kind_of(name)
            if kind == "blob":
                continue
            if kind is None:
                message = f"object {name} is missing; nothing was removed. `git fsck` says more"
                raise CorruptRepositoryError(message, path=self._common, object_id=name)
            data = self.objects.read(name, kind)
            if kind == "tree":
                todo += [
                    (entry.id, "tree" if entry.is_folder else "blob")
                    for entry in trees.entries(data)
                    if entry.mode != _GITLINK
                ]
            else:
                headers = parse_commit(data)
                todo += [(each, "tree") for each in headers.get("tree", ())]
                todo += [(each, "commit") for each in headers.get("parent", ())]
                todo += [(each, None) for each in headers.get("object", ())]
        return seen

    def stored(self) -> set[str]:
        """Return the id of every object that is there."""
        with closing(self._fresh()) as objects:
            return set(objects.matching("", limit=1 << 62))

    def check_packs(self, doomed: set[str]) -> None:
        """Refuse if an object is in a pack that must be kept.

        Raises:
            RepositoryError: it names the pack.
        """
        for base, _ in self.packs.holding(doomed):
            for suffix in (".keep", ".promisor"):
                if os.path.exists(base + suffix):
                    message = f"nothing was changed: a pack is kept; remove {base}{suffix} first"
                    raise RepositoryError(message, path=self._common)

    def begin(self, doomed: set[str], *, tip: str | None) -> None:
        """Write down, durably, what may go once a ref reaches `tip`."""
        text = "\n".join([tip or _ZERO.decode(), *sorted(doomed), ""])
        temporary = self._workshop.temporary()
        self._disk.write_new(temporary, text.encode())
        os.rename(temporary, self._journal)
        self._disk.sync_folder(self._workshop.path)

    def forget(self) -> None:
        """Take back what was written down."""
        discard(self._journal)

    def finish(self) -> tuple[int, int]:
        """Remove what was written down and nothing reaches; return how many objects went, and stay."""
        self.packs.index_again()
        tip, *written = _read(self._journal).decode(errors="replace").split() or [""]
        doomed = set(written)
        names = self.names(doomed)
        reached = self.reachable([*names.refs.values(), *names.others]) if doomed else set[str]()
        if tip not in reached and tip != _ZERO.decode():
            # Nothing to do, or the branch never moved: the old history is still the one.
            self.forget()
            return (0, 0)
        listed = doomed & self.stored()
        doomed = doomed - reached
        self._expire(doomed)
        doomed -= self.reachable(self.logged())
        doomed &= listed
        self.check_packs(doomed)
        self._forget_caches(doomed)
        for name in doomed:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(self._common, "objects", name[:2], name[2:]))
        for base, kept in self.packs.holding(doomed):
            self.packs.replace(base, kept)
        self.objects.close()
        self.forget()
        return len(doomed), len(listed) - len(doomed)

    # --- what names objects -----------------------------------------------------

    def _controls(self) -> list[str]:
        """Return the git directories of all working trees."""
        above = os.path.join(self._common, "worktrees")
        linked = os.listdir(above) if os.path.isdir(above) else []
        return [self._common, *(os.path.join(above, name) for name in sorted(linked))]

    def _indexed(self, folder: str, suspects: set[str]) -> set[str]:
        """Return the suspects that an index names; a shared one names what the index takes from it."""
        found: set[str] = set()
        names = os.listdir(folder) if suspects else []
        for name in names:
            if name.startswith("index"):
                found |= _named_in(_read(os.path.join(folder, name)), suspects)
        if any(name.startswith(SHARED_PREFIX) for name in names):
            index = Index.read(os.path.join(folder, "index"))
            found |= suspects & {entry.id for _, entry in index.items()}
        return found

    def _packed_refs(self) -> dict[str, str]:
        text = _read(os.path.join(self._common, "packed-refs")).decode(errors="replace")
        lines = (line.split(" ", 1) for line in text.split("\n") if line[:1] not in ("#", "^", ""))
        return {name: value for value, name in lines}

    def _logs(self) -> list[str]:
        return [path for each in self._controls() for path in _files(os.path.join(each, "logs"))]

    def _logged(self) -> Iterator[tuple[str, str, str]]:
        """Return path, old and new id of every line of every reflog."""
        for path in self._logs():
            for line in _read(path).split(b"\n"):
                if match := _LOG_LINE.match(line):
                    yield path, match[1].decode(), match[2].decode()

    def _expire(self, doomed: set[str]) -> None:
        """Remove reflog lines that lead to what will be gone; the one that led away stays."""
        for path in self._logs():
            if path.endswith(_STASH_LOG):
                continue
            with ExitStack() as held:
                target = path.replace(f"{os.sep}logs{os.sep}", os.sep, 1)
                if os.path.isdir(os.path.dirname(target)):
                    lock = self._workshop.lock(target)
                    held.callback(lock.release)
                before = _read(path)
                after = _without_lines(before, doomed)
                if after != before:
                    temporary = self._workshop.temporary()
                    self._disk.write_new(temporary, after)
                    os.rename(temporary, path)
                    self._disk.sync_folder(os.path.dirname(path))

    def _forget_caches(self, doomed: set[str]) -> None:
        for folder in self._controls():
            for name in ("ORIG_HEAD", "FETCH_HEAD"):
                path = os.path.join(folder, name)
                if any(word in doomed for word in _read(path).decode(errors="replace").split()):
                    discard(path)
        IndexFile(self._location, disk=self._disk, workshop=self._workshop).renew()
        discard(os.path.join(self._common, _GRAPH))
        for path in _files(os.path.join(self._common, _GRAPH + "s")):
            discard(path)
        self.packs.forget_caches()

    def _fresh(self) -> Objects:
        return Objects(
            self._common, disk=self._disk, runtime=self._runtime, config=self._location.config
        )


def _without_lines(log: bytes, doomed: set[str]) -> bytes:
    """Return a reflog without the lines whose new id is doomed, chained again."""
    kept: list[bytes] = []
    last = _ZERO
    for line in log.splitlines(keepends=True):
        match = _LOG_LINE.match(line)
        if match is None or match[2].decode() in doomed:
            continue
        is_gone = match[1].decode() in doomed
        kept.append((last if is_gone else match[1]) + line[len(_ZERO) :])
        last = match[2]
    return b"".join(kept)


def _named_in(data: bytes, suspects: set[str]) -> set[str]:
    """Return the ids that an index file holds anywhere, in whatever version or extension."""
    raw = {bytes.fromhex(name) for name in suspects}
    windows = (data[at : at + _RAW_BYTES] for at in range(len(data) - _RAW_BYTES + 1))
    return {window.hex() for window in windows if window in raw}


def _files(folder: str) -> list[str]:
    return [
        os.path.join(above, name)
        for above, _, names in os.walk(folder)
        for name in sorted(names)
        if not name.endswith(".lock")
    ]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return b""
