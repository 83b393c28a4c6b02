"""Objects and packs made by hand, since no git would write them, and a repository to send them to."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import time
import zlib
from typing import TYPE_CHECKING

from gitstore.git.repository import Repository
from gitstore.git.transfer.incoming import SessionRules
from gitstore.session.ids import path_of, session_id_of
from gitstore.types import CommitId, Runtime, SessionId
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

NUMBERS = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
WHO = b"A <a@b> 1700000000 +0000"
REMOTE = "origin"
#: A session that both sides have, and its bytes.
SHARED = path_of(SessionId("shared"))
SHARED_BYTES = b"id: shared\n"
BYTES_MAX = 1 << 16


def name_of(kind: str, data: bytes) -> bytes:
    return hashlib.sha1(b"%s %d\0%s" % (kind.encode(), len(data), data)).digest()


def tree(*entries: tuple[str, bytes, bytes]) -> bytes:
    """Return a tree with these entries (mode, name, 20 bytes of id), in this order."""
    return b"".join(b"%s %s\0%s" % (mode.encode(), name, target) for mode, name, target in entries)


def commit(
    root: bytes, parents: Sequence[bytes] = (), *, who: bytes = WHO, message: bytes = b"x\n"
) -> bytes:
    lines = [b"tree " + root.hex().encode()]
    lines += [b"parent " + each.hex().encode() for each in parents]
    return b"\n".join([*lines, b"author " + who, b"committer " + who, b"", message])


def header(kind: int, size: int) -> bytes:
    byte, size = kind << 4 | size & 15, size >> 4
    out = bytearray()
    while size:
        out.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    out.append(byte)
    return bytes(out)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def whole(kind: str, data: bytes) -> bytes:
    """Return a pack's entry for an object."""
    return header(NUMBERS[kind], len(data)) + zlib.compress(data)


def ref_delta(base: bytes, delta: bytes) -> bytes:
    """Return a pack's entry for a delta against the object of that id."""
    return header(7, len(delta)) + base + zlib.compress(delta)


def ofs_delta(distance: int, delta: bytes) -> bytes:
    """Return a pack's entry for a delta against the entry that begins so many bytes before."""
    out = [distance & 0x7F]
    distance >>= 7
    while distance:
        distance -= 1
        out.insert(0, distance & 0x7F | 0x80)
        distance >>= 7
    return header(6, len(delta)) + bytes(out) + zlib.compress(delta)


def pack_of(entries: Iterable[bytes], *, count: int | None = None) -> bytes:
    """Return a pack of these entries."""
    found = list(entries)
    body = struct.pack(">4sLL", b"PACK", 2, len(found) if count is None else count)
    return sealed(body + b"".join(found))


def sealed(body: bytes) -> bytes:
    """Return a pack's bytes with the checksum behind them."""
    return body + hashlib.sha1(body).digest()


class Sent:
    """What a remote sends: objects, and the commit on top of them."""

    def __init__(self) -> None:
        self.objects: dict[bytes, tuple[str, bytes]] = {}

    def add(self, kind: str, data: bytes) -> bytes:
        name = name_of(kind, data)
        self.objects[name] = kind, data
        return name

    def blob(self, data: bytes = b"hello\n") -> bytes:
        return self.add("blob", data)

    def tree(self, *entries: tuple[str, bytes, bytes]) -> bytes:
        return self.add("tree", tree(*entries))

    def commit(self, root: bytes, *parents: bytes, who: bytes = WHO) -> bytes:
        return self.add("commit", commit(root, parents, who=who))

    def file(self, path: bytes, target: bytes, *, mode: str = "100644") -> bytes:
        """Add a root tree that holds one file; return its id."""
        *folders, name = path.split(b"/")
        entry = mode, name, target
        for folder in reversed(folders):
            entry = "40000", folder, self.tree(entry)
        return self.tree(entry)

    def pack(self) -> bytes:
        return pack_of(whole(kind, data) for kind, data in self.objects.values())


class Receiver:
    """A bare repository of one commit that fetches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        run_git(folder, "init", "-q", "--bare", "-b", "main", ".")
        stream = b"commit refs/heads/main\ncommitter A <a@b> 1600000000 +0000\ndata 0\n"
        stream += b"M 100644 inline %s\ndata %d\n%s\n" % (
            SHARED.encode(),
            len(SHARED_BYTES),
            SHARED_BYTES,
        )
        run_git(folder, "fast-import", "--quiet", given=stream)
        self.tip = bytes.fromhex(run_git(folder, "rev-parse", "main").strip())
        self.repository = opened(folder)
        self.before = self.files()

    def receive(self, pack: bytes, tip: bytes) -> None:
        with self.repository.scratch() as path:
            with open(path, "wb") as file:
                file.write(pack)
            self.repository.receive(path, CommitId(tip.hex()), remote=REMOTE, rules=RULES)

    def files(self) -> list[str]:
        """Return every file of the repository, but those that no fetch makes or removes."""
        found = [
            os.path.relpath(os.path.join(above, name), self.folder)
            for above, _, names in os.walk(self.folder)
            for name in names
        ]
        return sorted(found)

    def assert_untouched(self) -> None:
        assert self.files() == self.before
        assert run_git(self.folder, "rev-parse", "main").strip() == self.tip.hex()


def opened(folder: Path) -> Repository:
    chance = random.Random(1)
    return Repository.open(
        str(folder),
        branch="main",
        durability="full",
        lock_timeout_seconds=5,
        trust_owner=False,
        runtime=Runtime(
            clock=time.time,
            monotonic=time.monotonic,
            sleep=time.sleep,
            token=lambda: f"{chance.getrandbits(64):016x}",
            chance=chance.random,
        ),
    )


RULES = SessionRules(
    path_problem=lambda path: None if session_id_of(path) else "is no session's",
    content_problem=lambda data: "is evil" if data.startswith(b"evil") else None,
    bytes_max=BYTES_MAX,
)
