"""Git's index, changed one entry at a time.

The index is kept as runs of entry bytes, one run for each shard of the sessions folder, so that a
change touches one small run however many sessions there are. Format: git's ``gitformat-index``,
versions 2 and 3; version 4 is read and written back as 2 or 3. Extensions that a change makes stale
(all but resolve-undo) are left out: git makes them again.

A split index (`gitstore.git.sharedindex`) is put together when it is read. While it is changed, what
differs from the shared one is noted, and that is what is written.

Racy entries. git compares modification times in whole seconds and trusts an entry that is older than
the index. An entry as old as the index could hide an edit made later in that same second, so when
the index is written again such entries are compared with their files, and their size is set to 0 if
the file has changed: git then looks at the content. The index gets the time at which this comparing
began, so that an edit made in between is not hidden either. Entries of that very second stay racy:
git looks at the content of those by itself.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left, insort
from contextlib import suppress
from hashlib import sha1
from typing import TYPE_CHECKING

from gitstore.errors import CorruptRepositoryError, UnsupportedRepositoryError
from gitstore.git.indexentries import (
    CHECKSUM_BYTES,
    EXTENDED,
    FLAGS_OFFSET,
    HEADER,
    SIGNATURE,
    SIZE_OFFSET,
    Cached,
    State,
    cached,
    encoded,
    entries,
    entry_end,
    extension,
    extensions,
    named,
    quick_start,
    seconds,
    stage,
    without_compression,
)
from gitstore.git.sharedindex import DIFFERENCES_MAX, LINK, Link, Shared, shared_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from hashlib import _Hash  # pyright: ignore[reportPrivateUsage] -- it has no public name

_VERSIONS = (2, 3, 4)
_KEPT_EXTENSIONS = (b"REUC",)
_SPARSE = b"sdir"
_SECOND_NS = 1_000_000_000
#: "sessions/" and the two digits of the shard and a slash: the entries of one run begin alike.
_RUN_PREFIX = b"sessions/"
_RUN_KEY_BYTES = len(_RUN_PREFIX) + 3
_AFTER = b"\xff"
#: Bytes hashed between two states of the checksum that are kept for the next time.
_HASH_BYTES = 64 << 10


class Index:
    """The content of one index file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._extended = False
        self._runs: dict[bytes, bytes] = {}
        #: The keys of the runs, sorted, and how many entries there are in each.
        self._order: list[bytes] = []
        self._counts: dict[bytes, int] = {}
        self._kept = b""
        #: What it is split from.
        self._shared: Shared | None = None
        #: Entries that may hide an edit, because they are not older than the index, and what their
        #: files were like.
        self._racy: dict[bytes, State] = {}
        #: The header last encoded, and states of the checksum in front of some runs behind it.
        self._header = b""
        self._hashes: list[tuple[bytes, _Hash]] = []

    @classmethod
    def read(cls, path: str) -> Index:
        """Read an index, and the shared one that it is split from; one that is not there is empty.

        Raises:
            CorruptRepositoryError: a file is damaged, or the shared one is missing.
            OSError: one cannot be read.
            UnsupportedRepositoryError: it is sparse, or of an unknown version.
        """
        index = cls(path)
        try:
            with open(path, "rb") as file:
                modified = os.fstat(file.fileno()).st_mtime_ns // _SECOND_NS
                data = file.read()
        except FileNotFoundError:
            return index
        try:
            index._parse(data, modified)
        except (ValueError, IndexError, struct.error) as error:
            message = f"the index is damaged ({error}); remove it and run `git reset`"
            raise CorruptRepositoryError(message, path=path) from error
        return index

    @staticmethod
    def checksum_of(path: str) -> bytes | None:
        """Return the checksum at the end of an index file, which tells any two contents apart."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            return None
        try:
            os.lseek(descriptor, -CHECKSUM_BYTES, os.SEEK_END)
            return os.read(descriptor, CHECKSUM_BYTES)
        except OSError:
            return None
        finally:
            os.close(descriptor)

    @property
    def shared(self) -> bytes | None:
        """The checksum of the shared index that this one is split from; None if it is whole."""
        return None if self._shared is None else self._shared.checksum

    @property
    def is_far_from_shared(self) -> bool:
        """Whether it is not split, or differs so much that a new shared index is due."""
        return self._shared is None or self._shared.differences > DIFFERENCES_MAX

    def get(self, name: bytes) -> tuple[Cached, ...]:
        """Return the entries of a file: none, one, or the stages of an unfinished merge."""
        run = self._runs.get(_run_key(name), b"")
        first, last = self._place(run, name)
        found = run[first:last]
        return tuple(cached(found, start) for start, _, _ in entries(found))

    def items(self) -> Iterator[tuple[bytes, Cached]]:
        """Return every entry, in order."""
        for key in self._order:
            run = self._runs[key]
            for start, _, name in entries(run):
                yield name, cached(run, start)

    def put(
        self,
        name: bytes,
        object_id: str,
        status: os.stat_result,
        *,
        trusted: bool,
        is_executable: bool = False,
    ) -> None:
        """Set the entry of a file.

        `trusted` says that the file with this status holds the object; else git is made to look.
        """
        entry = encoded(name, object_id, status, trusted=trusted, is_executable=is_executable)
        self._replace(name, entry)
        self._racy[name] = State.of(status)

    def remove(self, name: bytes) -> None:
        """Remove the entries of a file."""
        self._replace(name, b"")
        self._racy.pop(name, None)

    def whole(self) -> tuple[list[bytes], bytes]:
        """Return the parts of a shared index that holds every entry, and the checksum at its end."""
        parts = [self._head(sum(self._counts.values())), *map(self._runs.__getitem__, self._order)]
        digest = sha1(usedforsecurity=False)
        for part in parts:
            digest.update(part)
        return parts, digest.digest()

    def split_from(self, checksum: bytes) -> None:
        """Let it be split from a shared index of what `whole` returned with that checksum."""
        self._shared = Shared(checksum, self._runs, self._counts)

    def unsplit(self) -> None:
        """Let it be whole."""
        self._shared = None

    def body(self, root: str, *, began_ns: int) -> list[bytes]:
        """Return the parts of the index file, all but the checksum at its end.

        Racy entries are compared with the files below `root`. `began_ns` must be no later than now:
        the caller gives the file this modification time.
        """
        self._smudge(os.fsencode(root), began_ns // _SECOND_NS)
        if self._shared is not None:
            count, differing, link = self._shared.content()
            return [self._head(count), differing, link, self._kept]
        header = self._head(sum(self._counts.values()))
        if header != self._header:
            self._header = header
            self._hashes.clear()
        return [header, *(self._runs[key] for key in self._order), self._kept]

    def checksum(self, body: list[bytes]) -> bytes:
        """Return the checksum of the `body`; what is in front of the first change is not hashed again."""
        if self._shared is not None:
            return sha1(b"".join(body), usedforsecurity=False).digest()
        start, digest = 0, sha1(self._header, usedforsecurity=False)
        if self._hashes:
            key, state = self._hashes[-1]
            start, digest = bisect_left(self._order, key), state.copy()
        hashed = 0
        for key in self._order[start:]:
            if hashed >= _HASH_BYTES:
                self._hashes.append((key, digest.copy()))
                hashed = 0
            digest.update(self._runs[key])
            hashed += len(self._runs[key])
        digest.update(self._kept)
        return digest.digest()

    def _head(self, count: int) -> bytes:
        return HEADER.pack(SIGNATURE, 3 if self._extended else 2, count)

    def _smudge(self, root: bytes, began: int) -> None:
        """Make git look at the files of entries that will not be racy any more, and have changed."""
        settled = [name for name, state in self._racy.items() if state.mtime[0] < began]
        for name in settled:
            state = self._racy.pop(name)
            if State.of_file(os.path.join(root, name)) == state:
                continue
            run = self._runs.get(_run_key(name), b"")
            first, last = self._place(run, name)
            smudged = bytearray(run[first:last])
            for start, _, _ in entries(run[first:last]):
                smudged[start + SIZE_OFFSET : start + SIZE_OFFSET + 4] = bytes(4)
            self._replace(name, bytes(smudged))

    def _replace(self, name: bytes, new: bytes) -> None:
        """Let a file have these entries."""
        key = _run_key(name)
        run = self._runs.get(key, b"")
        first, last = self._place(run, name)
        before, after = (sum(1 for _ in entries(each)) for each in (run[first:last], new))
        self._set_run(
            key, run[:first] + new + run[last:], self._counts.get(key, 0) - before + after
        )
        if self._shared is not None:
            self._shared.note(key, name, new)

    def _set_run(self, key: bytes, run: bytes, count: int) -> None:
        if key not in self._runs:
            insort(self._order, key)
        self._runs[key] = run
        self._counts[key] = count
        while self._hashes and self._hashes[-1][0] > key:
            self._hashes.pop()

    def _place(self, run: bytes, name: bytes) -> tuple[int, int]:
        """Return where the entries of a file are, or where one belongs, as a slice of its run."""
        if not self._extended:
            start = quick_start(run, name)
            if start >= 0:
                return start, entry_end(run, start)[0]
        first = None
        for start, _, other in entries(run):
            if other == name:
                first = start if first is None else first
            elif other > name or first is not None:
                return (start if first is None else first), start
        return (len(run) if first is None else first), len(run)

    def _parse(self, data: bytes, modified: int) -> None:
        body, count = self._checked(data)
        link = b""
        end = self._parse_entries(body, count, modified)
        for kind, content in extensions(body, end):
            if kind == _SPARSE:
                raise self._unsupported("a sparse index")
            if kind == LINK:
                link = content
            if kind in _KEPT_EXTENSIONS:
                self._kept += extension(kind, content)
        if link[:CHECKSUM_BYTES].strip(b"\0"):
            self._join(link, body[HEADER.size : end], modified)

    def _checked(self, data: bytes) -> tuple[bytes, int]:
        """Return the bytes of an index without its checksum and as of version 3, and how many entries it has."""
        signature, version, count = HEADER.unpack_from(data)
        if signature != SIGNATURE:
            raise ValueError("it does not begin with DIRC")
        if version not in _VERSIONS:
            raise self._unsupported(f"index version {version}")
        body, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
        if checksum.strip(b"\0") and sha1(body, usedforsecurity=False).digest() != checksum:
            raise ValueError("its checksum is wrong")
        if version == 4:  # noqa: PLR2004 -- the one with compressed names
            body = without_compression(body, count)
        return body, count

    def _parse_entries(self, body: bytes, count: int, modified: int) -> int:
        """Take over the entries of an index; return where they end."""
        start = run_start = HEADER.size
        run_key, run_count = b"", 0
        for _ in range(count):
            end, name = entry_end(body, start)
            key = _run_key(name)
            if key != run_key:
                if run_count:
                    self._set_run(run_key, body[run_start:start], run_count)
                run_key, run_start, run_count = key, start, 0
            run_count += 1
            self._note_entry(name, body, start, modified)
            start = end
        if run_count:
            self._set_run(run_key, body[run_start:start], run_count)
        return start

    def _note_entry(self, name: bytes, data: bytes, start: int, modified: int) -> None:
        """Take note of what an entry says, beside what it is."""
        if seconds(data, start) >= modified:
            self._racy[name] = State.of_entry(cached(data, start))
        if data[start + FLAGS_OFFSET] & (EXTENDED >> 8):
            self._extended = True

    def _join(self, link: bytes, own: bytes, modified: int) -> None:
        """Let the entries be those of a shared index, changed as those of a split one say."""
        self._runs, self._order, self._counts, self._racy = {}, [], {}, {}
        checksum = link[:CHECKSUM_BYTES]
        body, count = self._checked(self._read_shared(checksum))
        # Whether an entry is racy depends on when the split index was written.
        self._parse_entries(body, count, modified)
        self._shared = Shared(checksum, self._runs, self._counts)
        said = Link.decode(link, count)
        found = [(name, own[start:end]) for start, end, name in entries(own)]
        replaced, added = found[: len(said.replaced)], found[len(said.replaced) :]
        if any(name for name, _ in replaced) or not all(name for name, _ in added):
            raise ValueError("the names of the split index are not where they should be")
        changed = dict(zip(said.replaced, (entry for _, entry in replaced), strict=True))
        changed.update(dict.fromkeys(said.deleted, b""))
        changes: dict[bytes, dict[int, bytes]] = {}
        for position, entry in changed.items():
            key, at = self._shared.place(position)
            changes.setdefault(key, {})[at] = entry
        for key, new in changes.items():
            self._change_run(key, new, modified)
        for name, entry in added:
            self._note_entry(name, entry, 0, modified)
            self._add(name, entry)
        self._shared.take(said, (entry for _, entry in replaced), added)

    def _read_shared(self, checksum: bytes) -> bytes:
        path = shared_path(os.path.dirname(self._path), checksum)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError as error:
            raise ValueError(f"{path}, which it is split from, is missing") from error
        if data[-CHECKSUM_BYTES:] != checksum:
            raise ValueError(f"{path} is not what it is split from")
        # As git does: it removes those that nobody used for two weeks.
        with suppress(OSError):
            os.utime(path)
        return data

    def _change_run(self, key: bytes, new: dict[int, bytes], modified: int) -> None:
        """Replace entries of a run by others, without names, or by none."""
        run, parts = self._runs[key], list[bytes]()
        for at, (start, end, name) in enumerate(entries(run)):
            entry = new.get(at)
            if entry is None:
                parts.append(run[start:end])
                continue
            self._racy.pop(name, None)
            if entry:
                parts.append(named(entry, name))
                self._note_entry(name, entry, 0, modified)
        self._set_run(key, b"".join(parts), len(parts))

    def _add(self, name: bytes, entry: bytes) -> None:
        """Add an entry that the shared index does not have, by its stage."""
        key = _run_key(name)
        run = self._runs.get(key, b"")
        first, last = self._place(run, name)
        found = [run[first + start : first + end] for start, end, _ in entries(run[first:last])]
        found = sorted([*found, entry], key=lambda each: stage(each, 0))
        self._set_run(key, run[:first] + b"".join(found) + run[last:], self._counts.get(key, 0) + 1)

    def _unsupported(self, feature: str) -> UnsupportedRepositoryError:
        return UnsupportedRepositoryError(
            path=self._path,
            feature=feature,
            advice="turn it off with `git sparse-checkout disable`, or use a bare repository",
        )


def _run_key(name: bytes) -> bytes:
    if name.startswith(_RUN_PREFIX):
        return name[:_RUN_KEY_BYTES]
    return b"" if name < _RUN_PREFIX else _AFTER
