"""What a run of maintenance takes on: small packs, as `git repack --geometric`, and loose objects."""

from __future__ import annotations

import os
import struct
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

from gitstore.git.maintain.sources import LooseSource, loose_names
from gitstore.git.repack import is_kept

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from gitstore.git.maintain.retired import Retired
    from gitstore.git.repack import Packs

#: A pack stays as it is while it holds so many times what is newer and smaller.
_FACTOR: Final = 2
#: The same for an automatic run, which comes often, and a pack that it has made small.
_FACTOR_COSTLY: Final = 0.7
#: What an automatic run takes on at most, so that it ends: objects, and bytes of one pack.
_OBJECTS_MAX: Final = 50_000
_PACK_BYTES_MAX: Final = 256 << 20
#: What an automatic run only puts together: objects, and bytes of packs.
_JOINED_OBJECTS_MAX: Final = 8192
_JOINED_BYTES_MAX: Final = 16 << 20
#: Objects of a pack from which on an automatic run makes it small no more, and how many such packs are too
#: many: then they are put together as they are, up to so many objects, and bytes of packs.
_SETTLED_OBJECTS: Final = 16_384
_SETTLED_PACKS_MAX: Final = 4
_GATHERED_OBJECTS_MAX: Final = 250_000
_GATHERED_BYTES_MAX: Final = 512 << 20
#: About so many loose objects are too much.
LOOSE_MAX: Final = 256
#: Where an index says how many objects there are: the last number of its fan.
_COUNT_AT: Final = 8 + 4 * 255
#: Folders of loose objects that stand for all 256: ids are as good as random. By one of them, as `git gc`
#: does it, four times too many are now and then taken for few.
_SAMPLE: Final = frozenset(range(0x17, 256, 32))
_EACH: Final = 256 // len(_SAMPLE)


class Choice:
    """What there is to be packed in one repository. Belongs to one thread."""

    def __init__(self, common: str, packs: Packs, retired: Retired, *, is_automatic: bool) -> None:
        self._objects = os.path.join(common, "objects")
        self._packs = packs
        self._retired = retired
        self._is_automatic = is_automatic
        #: How many objects each pack holds, and its bytes: with its name, neither ever changes.
        self._known: dict[str, tuple[int, int]] = {}
        self._busy: tuple[Collection[str], Collection[bytes]] = (), ()

    @contextmanager
    def without(self, bases: Collection[str], loose: Collection[bytes]) -> Generator[None]:
        """Leave some packs and loose objects out, while somebody is at work on them."""
        before, self._busy = self._busy, (bases, loose)
        try:
            yield
        finally:
            self._busy = before

    @property
    def is_at_work(self) -> bool:
        """Whether something is left out."""
        return any(self._busy)

    def pressure(self) -> tuple[int, int]:
        """Return how many packs could be replaced by a run, and about how many loose objects there are."""
        packs = sum(self._is_unsettled(base) for _, base in self._sizes())
        return packs, self._loose_count()

    def settled(self) -> list[str]:
        """Return large packs, smallest first, if so many can be put together that it is worth while."""
        chosen: list[str] = []
        held = size = 0
        for each, base in self._sizes():
            if each >= _SETTLED_OBJECTS and not is_kept(base):
                held += each
                size += self._known[base][1]
                if held > _GATHERED_OBJECTS_MAX or size > _GATHERED_BYTES_MAX:
                    break
                chosen.append(base)
        return chosen if len(chosen) >= _SETTLED_PACKS_MAX else []

    def loose(self, left: Collection[bytes], unreadable: set[str], *, hastily: bool) -> LooseSource:
        """Return the loose objects to be packed.

        In an automatic run only when there are many: a reader that has just learned of an object, and
        looks into packs first, then finds it loose. With `hastily` no more than can be put together.
        """
        loose = LooseSource(self._objects)
        if self._is_automatic and self._loose_count() < LOOSE_MAX:
            return loose
        busy = self._busy[1]
        names = (
            name for name in loose_names(self._objects) if name not in left and name not in busy
        )
        most = _JOINED_OBJECTS_MAX // 2 if hastily else _OBJECTS_MAX
        for name in islice(names, most if self._is_automatic else None):
            if loose.path(name) not in unreadable and not loose.add(name):
                unreadable.add(loose.path(name))
        return loose

    def packs(
        self,
        loose: int,
        *,
        full: bool = False,
        hastily: bool = False,
        unreadable: Collection[str] = (),
    ) -> list[str]:
        """Return the packs to be replaced: those that are small against what is smaller still.

        With `hastily`, as many of them as can be put together.
        """
        sizes = self._sizes(unreadable)
        if self._is_automatic:
            # What is larger is costly to make small, in memory and time for each object.
            sizes = [each for each in sizes if self._is_unsettled(each[1])]
        if hastily:
            sizes = [each for each in sizes if self.is_light(0, [each[1]])]
        taken, smaller = (len(sizes) if full else 0), loose
        for number, (held, base) in enumerate(sizes, 1):
            if self._is_automatic and smaller + held > _OBJECTS_MAX:
                break
            is_costly = self._is_automatic and not self.is_light(0, [base])
            if held < (_FACTOR_COSTLY if is_costly else _FACTOR) * smaller:
                taken = max(taken, number)
            smaller += held
        chosen = [base for _, base in sizes[:taken] if not is_kept(base)]
        while hastily and chosen and not self.is_light(loose, chosen):
            chosen.pop()
        return chosen

    def is_light(self, loose: int, bases: Collection[str]) -> bool:
        """Whether that is so little that making it small can wait until there is more."""
        known = [self._known[base] for base in bases]
        held = loose + sum(each for each, _ in known)
        return held < _JOINED_OBJECTS_MAX and sum(size for _, size in known) < _JOINED_BYTES_MAX

    def _is_unsettled(self, base: str) -> bool:
        held, size = self._known[base]
        return held < _SETTLED_OBJECTS and size <= _PACK_BYTES_MAX

    def _sizes(self, unreadable: Collection[str] = ()) -> list[tuple[int, str]]:
        """Return the packs that may be replaced, and how many objects each holds, smallest first."""
        retired = self._retired.names()
        known, self._known = self._known, {}
        found: list[tuple[int, str]] = []
        for base in self._packs.replaceable():
            if os.path.basename(base) in retired or base + ".pack" in unreadable:
                continue
            with suppress(FileNotFoundError):
                self._known[base] = known.get(base) or _measured(base)
                if base not in self._busy[0]:
                    found.append((self._known[base][0], base))
        return sorted(found)

    def _loose_count(self) -> int:
        """Return about how many loose objects there are."""
        found = -sum(name[0] in _SAMPLE for name in self._busy[1])
        for folder in _SAMPLE:
            with suppress(FileNotFoundError):
                found += len(os.listdir(os.path.join(self._objects, f"{folder:02x}")))
        return found * _EACH


def count(base: str) -> int:
    """Return how many objects a pack holds, by its index."""
    try:
        with open(base + ".idx", "rb") as file:
            file.seek(_COUNT_AT)
            (held,) = struct.unpack(">I", file.read(4))
    except (FileNotFoundError, struct.error):
        return 0
    return int(held)


def _measured(base: str) -> tuple[int, int]:
    """Return how many objects a pack holds, and its bytes."""
    return count(base), os.stat(base + ".pack").st_size
