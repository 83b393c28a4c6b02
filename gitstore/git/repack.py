"""Packs, written so that they survive: a new history's objects, and a pack without some of its own."""

from __future__ import annotations

import os
import zlib
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from gitstore.errors import CorruptRepositoryError
from gitstore.git.files import discard
from gitstore.git.maintain.pack import Packer, PackStream, prove
from gitstore.git.maintain.packindex import ID_BYTES, PackIndex
from gitstore.git.maintain.sources import PackSource, Stored, UnreadableError
from gitstore.git.packformat import Entry, index
from gitstore.git.staged import NUMBERS
from gitstore.git.transfer.packscan import Malformed, PackScan

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from gitstore.git.files import Disk
    from gitstore.git.lock import Workshop
    from gitstore.git.staged import Staged

_LEVEL: Final = 6
#: What stands beside a pack that must stay as it is: its owner, a partial clone or git's own cruft says so.
_KEPT: Final = (".keep", ".promisor", ".mtimes")


class Packs:
    """The packs of one repository. Used under the writer lock."""

    def __init__(self, common: str, *, disk: Disk, workshop: Workshop) -> None:
        self._folder = os.path.join(common, "objects", "pack")
        self._disk = disk
        self._workshop = workshop

    def write(self, staged: Staged) -> None:
        """Write objects as one pack, and make it durable."""
        held = list(staged.objects())
        if held:
            with self._filling(len(held)) as stream:
                for each in held:
                    packed = zlib.compress(each.data, _LEVEL)
                    kind, name = NUMBERS[each.kind], bytes.fromhex(each.name)
                    stream.add(name, kind, len(each.data), packed)

    def holding(self, doomed: set[str]) -> list[tuple[str, list[str]]]:
        """Return the packs that hold any of these, without suffix, and what else they hold."""
        found: list[tuple[str, list[str]]] = []
        for base in self.bases():
            try:
                held = [name.hex() for name in PackIndex(base).names()]
            except ValueError as error:
                raise self._corrupt(f"{base}.idx: {error}") from error
            if not doomed.isdisjoint(held):
                found.append((base, [each for each in held if each not in doomed]))
        return found

    def replace(self, base: str, kept: list[str]) -> None:
        """Write a pack again with only what is kept, then remove it."""
        if kept:
            try:
                with closing(PackSource(base)) as pack, self._filling(len(kept)) as stream:
                    rest = _Rest(pack, [bytes.fromhex(name) for name in kept])
                    Packer(dict.fromkeys(rest.entries, rest), stream, pause=_go_on).run()
            except UnreadableError as error:
                raise self._corrupt(error) from error
        self.remove(base)
        self._disk.sync_folder(self._folder)

    def base(self, name: str) -> str:
        """Return the path without suffix of a pack that is named without its folder."""
        return os.path.join(self._folder, name)

    def bases(self) -> list[str]:
        """Return the packs that have an index, without suffix."""
        return [self.base(name) for name in _indexed(self._names())]

    def replaceable(self) -> list[str]:
        """Return those that need not stay as they are; one that has just come may (`is_kept`)."""
        names = self._names()
        kept = {name.rpartition(".")[0] for name in names if name.endswith(_KEPT)}
        return [self.base(name) for name in _indexed(names) if name not in kept]

    def remove(self, *bases: str) -> None:
        """Remove packs, and what describes them; the index first, so that nobody meets half of one."""
        there = set(self._names())
        for base in bases:
            for suffix in (".idx", ".rev", ".bitmap", ".mtimes", ".pack"):
                if os.path.basename(base) + suffix in there:
                    discard(base + suffix)

    def index_again(self) -> None:
        """Make an index for each pack that has none.

        It goes first when a pack is removed: who dies before the pack goes leaves what nobody looks into.

        Raises:
            CorruptRepositoryError: such a pack cannot be read.
        """
        names = self._names()
        for name in {name[:-5] for name in names if name.endswith(".pack")} - {*_indexed(names)}:
            base = self.base(name)
            try:
                scan = PackScan(base + ".pack", external=lambda _: None, step=lambda _: None)
            except Malformed as error:
                message = (
                    f"{base}.pack has no index, and cannot be read ({error.problem}), so that nobody "
                    "knows what is in it; nothing was changed. Remove it, and try again"
                )
                raise CorruptRepositoryError(message, path=self._folder) from error
            with closing(scan):
                entries = [Entry(each, crc, place) for each, place, crc in scan.entries()]
                data = index(entries, bytes(scan.view[-ID_BYTES:]))
            temporary = self._workshop.temporary()
            self._disk.write_new(temporary, data, mode=0o444)
            os.rename(temporary, base + ".idx")

    def put(self, temporary: str, checksum: str) -> str:
        """Put a new pack that is synced in place, and make its name durable; return its path."""
        os.makedirs(self._folder, exist_ok=True)
        base = self.base("pack-" + checksum)
        for suffix in (".pack", ".idx"):
            os.rename(temporary + suffix, base + suffix)
        self._disk.sync_folder(self._folder)
        return base

    @contextmanager
    def _filling(self, count: int) -> Generator[PackStream]:
        """Lend out a new pack to be filled; then read it back, and put it in place."""
        # Not in the packs' folder: git would read an index there that is half written.
        temporary = self._workshop.temporary()
        try:
            with closing(PackStream(temporary, count, disk=self._disk)) as stream:
                yield stream
                checksum = stream.finish()
            try:
                prove(temporary, stream.places, pause=_go_on)
            except UnreadableError as error:
                raise self._corrupt(error) from error
            self.put(temporary, checksum)
        finally:
            discard(temporary + ".pack")
            discard(temporary + ".idx")

    def _corrupt(self, problem: object) -> CorruptRepositoryError:
        message = f"a pack cannot be read ({problem}); it was kept. `git fsck` says more"
        return CorruptRepositoryError(message, path=self._folder)

    def forget_caches(self) -> None:
        """Remove the index over several packs, which git makes again."""
        chain = os.path.join(self._folder, "multi-pack-index.d")
        for name in self._names():
            if name.startswith("multi-pack-index"):
                discard(os.path.join(self._folder, name))
        for name in os.listdir(chain) if os.path.isdir(chain) else ():
            discard(os.path.join(chain, name))

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._folder)
        except FileNotFoundError:
            return []


class _Rest:
    """A pack without some of its objects: what was a delta of those is whole."""

    def __init__(self, pack: PackSource, kept: list[bytes]) -> None:
        self._pack = pack
        self.entries = {name: pack.entries[name] for name in kept}
        for name, stored in self.entries.items():
            if stored.base is not None and stored.base not in self.entries:
                self.entries[name] = Stored(stored.kind, len(pack.read(name)))

    def read(self, name: bytes) -> bytes:
        """Return the data of an object, hashed."""
        return self._pack.read(name)

    def packed(self, name: bytes) -> bytes | None:
        """Return the compressed data of an entry that stays as it is."""
        stays = self.entries[name] is self._pack.entries[name]
        return self._pack.packed(name) if stays else None


def _go_on() -> None:
    """A purge is not interrupted between two objects."""


def _indexed(names: Collection[str]) -> list[str]:
    """Return the packs among the names of files that have an index there, without suffix, in order."""
    packs = {name[:-5] for name in names if name.endswith(".pack")}
    return sorted(packs.intersection(name[:-4] for name in names if name.endswith(".idx")))


def is_kept(base: str) -> bool:
    """Whether a pack must stay as it is."""
    return any(os.path.exists(base + suffix) for suffix in _KEPT)
