"""Loose objects that nothing names, removed after two weeks, as `git prune` does."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Final

from gitstore.git.files import discard
from gitstore.git.maintain.sources import loose_names
from gitstore.git.removal import Vault

if TYPE_CHECKING:
    from gitstore.git.location import Location
    from gitstore.git.lock import Workshop
    from gitstore.types import Runtime

#: git's gc.pruneExpire: somebody may be about to name an object that was written a moment ago.
GRACE_SECONDS: Final = 14 * 24 * 3600
_TEMPORARY: Final = ("tmp_obj_", "tmp_pack_", "tmp_idx_", "tmp_rev_")


class Pruner:
    """Finds and removes loose objects that no ref, reflog, HEAD, index or unfinished state reaches."""

    def __init__(self, location: Location, *, runtime: Runtime) -> None:
        self._location = location
        self._folder = os.path.join(location.common, "objects")
        self._runtime = runtime

    def unreachable(self) -> set[bytes]:
        """Return the loose objects that nothing reaches; none where that cannot be told for sure.

        Cost: reads every commit and tree that is reachable.

        Raises:
            CorruptRepositoryError: a reachable object is missing.
        """
        suspects = {name.hex() for name in loose_names(self._folder)}
        if not suspects:
            return set()
        with closing(Vault(self._location, runtime=self._runtime)) as vault:
            if not vault.can_tell_reachable():
                return set()
            names = vault.names(set())
            roots = {*names.refs.values(), *names.others, *vault.logged(), *vault.mentioned()}
            suspects -= vault.reachable(roots)
            # Looking for many ids in an index takes long, and by now few are left.
            staged = vault.names(suspects).others if suspects else frozenset[str]()
            suspects -= vault.reachable(staged & suspects)
        return {bytes.fromhex(name) for name in suspects}

    def prune(self, unreachable: set[bytes], *, workshop: Workshop) -> int:
        """Remove those of them that are old, and old temporary files; return how many objects went.

        Under the writer lock: who writes an object that is there gives it a new time first.
        """
        before = self._runtime.clock() - GRACE_SECONDS
        objects = [self._path(name) for name in unreachable if _is_old(self._path(name), before)]
        left = [
            os.path.join(folder, file)
            for folder, _, files in os.walk(self._folder)
            for file in files
            if file.startswith(_TEMPORARY) and _is_old(os.path.join(folder, file), before)
        ]
        if not objects and not left:
            return 0
        with workshop.writing():
            for path in (*objects, *left):
                if _is_old(path, before):
                    discard(path)
        return len(objects)

    def _path(self, name: bytes) -> str:
        text = name.hex()
        return os.path.join(self._folder, text[:2], text[2:])


def _is_old(path: str, before: float) -> bool:
    try:
        return os.stat(path).st_mtime < before
    except FileNotFoundError:
        return False
