"""Packs that were replaced, and are still there for a while.

A reader that listed the packs a moment ago, and does not find one, lists them again: git, libgit2,
dulwich and gitstore do. It gives up when what it finds then is gone at once as well. So a pack stays
where it is for some time after all that is in it can be found elsewhere.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gitstore.git import replaced
from gitstore.git.maintain.packindex import PackIndex
from gitstore.git.repack import is_kept

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gitstore.git.repack import Packs
    from gitstore.types import Runtime

#: Longer than it takes to list the packs of a repository and to open them.
GRACE_SECONDS: Final = 1.0
#: What also those stay that are too many, or were replaced for who waits: libgit2 and git list the packs
#: once more, and give up when one of them is gone before they have opened it.
GRACE_SECONDS_LEAST: Final = 0.25
#: As the first, for large packs, which readers work on for longer.
GRACE_SECONDS_LARGE: Final = 10.0
#: Readers look into them as well: when there are more, the oldest go earlier.
_PACKS_MAX: Final = 4


class Retired:
    """The packs of one repository that were replaced. Used under the maintenance lock."""

    def __init__(self, common: str, packs: Packs, *, runtime: Runtime) -> None:
        self._common = common
        self._packs = packs
        self._runtime = runtime

    def names(self) -> set[str]:
        """Return the packs, without suffix."""
        return set(replaced.read(self._common))

    def seconds_left(self) -> float | None:
        """Return how long it is until some are to go, or None if none do soon."""
        now = self._runtime.clock()
        left = {name: at - now for name, at in replaced.read(self._common).items()}
        early = [_until_early(left[name]) for name in _surplus(left)]
        return min(
            early, default=max((at for at in left.values() if at <= GRACE_SECONDS), default=None)
        )

    def add(self, names: Mapping[str, float]) -> None:
        """Note packs that were replaced just now, to go in so many seconds."""
        now = self._runtime.clock()
        listed = {name: now + seconds for name, seconds in names.items()}
        replaced.write(self._common, {**replaced.read(self._common), **listed})

    def drop(self, also: Collection[str] = ()) -> None:
        """Remove the packs whose time has come, and others, if what is in them is also elsewhere.

        That is looked up, not believed: what replaced a pack may itself be gone.
        """
        listed = replaced.read(self._common)
        if not listed:
            return
        now = self._runtime.clock()
        bases = {os.path.basename(base): base for base in self._packs.bases()}
        # A clock that was put back must not keep them for ever.
        due = {name for name, at in listed.items() if not now < at <= now + GRACE_SECONDS_LARGE}
        due |= set(also) & set(listed)
        due |= {name for name in _surplus(listed) if _until_early(listed[name] - now) <= 0}
        if not due:
            return
        held = {bases[name]: _names(bases[name]) for name in due if name in bases}
        missing = set[bytes]().union(*held.values())
        for base in sorted((bases[name] for name in set(bases) - set(listed)), key=_age):
            if not missing:
                break
            missing -= _names(base)
        gone = [base for base, names in held.items() if not names & missing]
        # Somebody died when their index was gone, and they were not.
        gone += [self._packs.base(name) for name in due - bases.keys()]
        gone = [base for base in gone if not is_kept(base)]
        if gone:
            # git may have made an index over several packs since, and would rely on it.
            self._packs.forget_caches()
            self._packs.remove(*gone)
        replaced.write(self._common, {name: at for name, at in listed.items() if name not in due})


def _names(base: str) -> set[bytes]:
    """Return what a pack holds; nothing that anybody could rely on if its index is damaged."""
    try:
        return {*PackIndex(base).names()}
    except (OSError, ValueError):
        return {base.encode()}


def _surplus(listed: Mapping[str, float]) -> list[str]:
    """Return the packs that are more than should stay, those that go first."""
    return sorted(listed, key=listed.__getitem__)[:-_PACKS_MAX]


def _until_early(left: float) -> float:
    """Return how long a pack has to stay at least, of what is left of its time."""
    whole = GRACE_SECONDS if left <= GRACE_SECONDS else GRACE_SECONDS_LARGE
    return left - (whole - GRACE_SECONDS_LEAST)


def _age(base: str) -> float:
    """Return how old a pack is, against others: the newest is likely to hold what was replaced."""
    try:
        return -os.stat(base + ".pack").st_mtime
    except FileNotFoundError:
        return 0
