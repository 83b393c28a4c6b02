"""Packs put one behind the other as they are, byte for byte.

So is what came last, until there is enough to be made small, and what is small already, and too much
to be looked at again. A delta says how far before it its base is: where packs stay whole, that stays
as it is. So no entry of a pack is looked at; that it has come whole is proved by the checksums of the
old packs and the new one.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from gitstore.git.deflate import LEVEL_DEFAULT, deflate
from gitstore.git.maintain.packindex import PackIndex
from gitstore.git.maintain.sources import UnreadableError
from gitstore.git.maintain.wholepack import WholePack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gitstore.git.maintain.pack import PackStream
    from gitstore.git.maintain.sources import LooseSource


class Join:
    """Some packs and loose objects, to become one pack."""

    def __init__(
        self, loose: LooseSource, bases: Sequence[str], *, pause: Callable[[], None]
    ) -> None:
        """Read packs, named by their paths without suffix.

        Raises:
            UnreadableError: one of them is gone, damaged, or of another version.
        """
        self._loose = loose
        self._packs = [WholePack(base) for base in bases]
        #: Called between two files; may raise to give up.
        self._pause = pause
        self.count = sum(pack.index.count for pack in self._packs) + len(loose.entries)
        packed = chain.from_iterable(pack.index.names() for pack in self._packs)
        self.names = {*packed, *loose.entries}
        #: Whether something is there twice: one copy would go, and only reading tells which is good.
        self.repeats = len(self.names) < self.count

    def fill(self, stream: PackStream) -> None:
        """Add every object, the loose ones compressed in haste.

        Raises:
            UnreadableError: a loose one is damaged, or gone.
        """
        for pack in self._packs:
            self._pause()
            stream.add_pack(pack)
        for name, stored in self._loose.entries.items():
            self._pause()
            data = self._loose.read(name)
            stream.add(name, stored.kind, len(data), deflate(data, LEVEL_DEFAULT))

    def prove(self, base: str, checksum: str) -> None:
        """Read the new pack back: it is what was written, and the objects that were loose are in it.

        Raises:
            UnreadableError: it is not, or one of them is not what its name says.
        """
        new = WholePack(base)
        is_ours = new.checksum.hex() == checksum and new.index.count == self.count
        # One by one, so that nobody has to wait: two large sets are compared in one go.
        rows = pairwise(chain([b""], new.index.names()))
        if not is_ours or not all(before < name and name in self.names for before, name in rows):
            raise UnreadableError(base + ".pack", "does not hold what it should")
        if self._loose.entries:
            new.check(self._loose.entries, pause=self._pause)


def apart(bases: Sequence[str]) -> list[str]:
    """Return packs of which no two hold the same object.

    One that repeats another before it is left out, and one whose index cannot be read.
    """
    seen: set[bytes] = set()
    chosen: list[str] = []
    for base in bases:
        with suppress(OSError, ValueError):
            names = {*PackIndex(base).names()}
            if seen.isdisjoint(names):
                seen |= names
                chosen.append(base)
    return chosen
