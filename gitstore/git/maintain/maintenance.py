"""Making a store small again, beside readers and writers, without the git command.

1. A lock of our own and git's ``gc.pid`` keep other maintenance out, gitstore's and git's.
2. Loose objects and small packs are read, and written as one new pack: everything that is in them,
   reachable or not. Writers are not kept waiting.
3. The pack is synced, and every object read back from it; then it is named, and that is synced.
4. What it replaced is removed, a moment later: whoever listed it can still open it, and whoever looks
   for it then finds the new pack (`gitstore.git.maintain.retired`).

A crash leaves a temporary file, or objects that are there twice. Packs with ``.keep``, ``.promisor``
or ``.mtimes`` beside them are left alone.
"""

from __future__ import annotations

import os
import struct
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from gitstore.errors import CorruptRepositoryError, RepositoryLockedError
from gitstore.git.files import Disk, discard
from gitstore.git.lock import Workshop
from gitstore.git.maintain.lock import MaintenanceLock
from gitstore.git.maintain.pack import Packer, PackStream, prove
from gitstore.git.maintain.prune import Pruner
from gitstore.git.maintain.retired import (
    GRACE_SECONDS,
    GRACE_SECONDS_ASKED,
    GRACE_SECONDS_LARGE,
    Retired,
)
from gitstore.git.maintain.sources import (
    LooseSource,
    PackSource,
    UnreadableError,
    loose_names,
)
from gitstore.git.repack import Packs, is_kept
from gitstore.git.translate import translated

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gitstore.git.location import Location
    from gitstore.git.maintain.sources import Source
    from gitstore.types import Runtime

#: A pack stays as it is while it holds so many times what is newer and smaller.
_FACTOR: Final = 2
#: The same for an automatic run, which comes often: it writes the same objects again half as often.
_FACTOR_AUTOMATIC: Final = 0.7
#: What an automatic run takes on at most, so that it ends: objects, and bytes of one pack.
_OBJECTS_MAX: Final = 50_000
_PACK_BYTES_MAX: Final = 256 << 20
#: Objects of a pack from which on it stays for longer, after an automatic run.
_LARGE: Final = 8192
_ATTEMPTS: Final = 5
#: Times that an object is looked at: to be ordered, to be packed, to be proved.
_PASSES: Final = 3
#: What an automatic run only copies: objects, and compressed bytes in packs.
_COPIED_OBJECTS_MAX: Final = 2048
_COPIED_BYTES_MAX: Final = 16 << 20
#: Steps between two words about progress.
_TOLD: Final = 64
#: Where an index says how many objects there are: the last number of its fan.
_COUNT_AT: Final = 8 + 4 * 255
#: A run looks after so much work whether it is to stop; an automatic one also rests, so that others get on.
_WORK_SECONDS: Final = 0.004
_REST_SECONDS: Final = 0.001
#: One folder of loose objects, which stands for all: ids are as good as random.
_SAMPLE: Final = "17"
_FOLDERS: Final = 256
_NOTE_CHARACTERS_MAX: Final = 1000


class StoppedError(Exception):
    """Whoever wanted maintenance wants it no more; nothing was changed since the last step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a run did: objects that were packed anew, loose ones pruned, and what was skipped."""

    repacked: int = 0
    pruned: int = 0
    #: Files that cannot be read, and were left where they are.
    unreadable: tuple[str, ...] = ()


class Maintenance:
    """Repacks one repository; for one run, in one thread.

    An `automatic` one takes on no more than it can end soon, rests now and then, and waits for no
    reader: what it replaced is to be removed by the next one, or by `drop_replaced`.
    """

    def __init__(
        self,
        location: Location,
        *,
        runtime: Runtime,
        lock_timeout_seconds: float,
        automatic: bool = False,
    ) -> None:
        self._location = location
        self._objects = os.path.join(location.common, "objects")
        self._runtime = runtime
        # Not what the store promises: what is removed here had reached the disk long ago.
        self._disk = Disk("full")
        self._workshop = Workshop(
            location.common, disk=self._disk, runtime=runtime, timeout_seconds=lock_timeout_seconds
        )
        self._lock = MaintenanceLock(
            location.common,
            runtime=runtime,
            timeout_seconds=0 if automatic else lock_timeout_seconds,
        )
        self._packs = Packs(location.common, disk=self._disk, workshop=self._workshop)
        self._retired = Retired(location.common, self._packs, runtime=runtime)
        self._note = os.path.join(self._lock.folder, "problem")
        self._rested = runtime.monotonic()
        self._automatic = automatic
        self._is_stopped: Callable[[], bool] = lambda: False
        self._progress: Callable[[int, int], None] | None = None
        self._step, self._steps = 0, 0
        #: How many objects each pack holds, and its bytes: with its name, neither ever changes.
        self._known: dict[str, tuple[int, int]] = {}

    def run(
        self,
        *,
        full: bool = False,
        is_stopped: Callable[[], bool] = lambda: False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Done:
        """Pack what is loose or in small packs; with `full`, everything, and prune.

        `progress` is told how many of how many steps are done.

        Raises:
            StoppedError: `is_stopped` said so.
            RepositoryLockedError: other maintenance is going on.
            CorruptRepositoryError: the new pack could not be read back; the old ones were kept.
        """
        self._is_stopped, self._progress = is_stopped, progress
        with translated(self._location.path), self._lock.held():
            self._retired.drop()
            left: set[bytes] = set()
            pruned = 0
            if full:
                pruner = Pruner(self._location, runtime=self._runtime)
                left = pruner.unreachable()
                pruned = pruner.prune(left, workshop=self._workshop)
            unreadable: set[str] = set()
            repacked = self._roll_up(full=full, left=left, unreadable=unreadable)
        return Done(repacked=repacked, pruned=pruned, unreadable=tuple(sorted(unreadable)))

    def drop_replaced(self) -> None:
        """Remove the packs that were replaced long enough ago.

        Raises:
            RepositoryLockedError: other maintenance is going on.
        """
        with translated(self._location.path), self._lock.held():
            self._retired.drop()

    def grace_left(self) -> float | None:
        """Return how many seconds `drop_replaced` is to wait for readers, or None: nothing goes soon."""
        with translated(self._location.path):
            return self._retired.seconds_left()

    def pressure(self) -> tuple[int, int]:
        """Return how many packs an automatic run could roll up, and about how many loose objects.

        Loose ones are estimated from one folder of 256, as `git gc` does it.
        """
        with translated(self._location.path):
            packs = len(self._sizes(set()))
            loose = self._sampled()
        return packs, loose * _FOLDERS

    def note(self, problem: str | None) -> None:
        """Write down why maintenance failed, or that it did not."""
        if problem is None:
            discard(self._note)
            return
        with suppress(OSError):
            temporary = self._lock.temporary() + ".new"
            self._disk.write_new(temporary, problem.encode(errors="replace"))
            os.rename(temporary, self._note)

    def noted(self) -> str | None:
        """Return why maintenance failed the last time, if it did."""
        try:
            with open(self._note, encoding="utf-8", errors="replace") as file:
                return file.read(_NOTE_CHARACTERS_MAX)
        except OSError:
            return None

    def _roll_up(self, *, full: bool, left: set[bytes], unreadable: set[str]) -> int:
        """Make one pack of what was chosen; return how many objects it holds."""
        attempts = 0
        while attempts < _ATTEMPTS:
            known = len(unreadable)
            loose = self._loose(left, unreadable)
            bases = self._chosen(len(loose.entries), full=full, unreadable=unreadable)
            if not loose.entries and len(bases) < 2:  # noqa: PLR2004 -- one pack is one pack already
                return 0
            try:
                names = self._replaced(loose, bases)
            except UnreadableError as error:
                # Gone since we looked, or damaged: then it stays as it is, and the rest is packed.
                unreadable |= self._broken(error.where, loose)
                # Each damage that is found leaves less to be packed: that comes to an end.
                attempts += len(unreadable) == known
                continue
            return len(names)
        message = "files of objects came and went; nothing was changed, try again"
        raise RepositoryLockedError(message, path=self._location.path, lock=self._objects)

    def _replaced(self, loose: LooseSource, bases: Sequence[str]) -> Collection[bytes]:
        """Put loose objects and packs into a new pack, and remove them; return what it holds."""
        with ExitStack() as opened:
            sources: dict[bytes, Source] = {}
            for base in bases:
                pack = PackSource(base)
                opened.callback(pack.close)
                sources |= {name: pack for name in pack.entries if name not in sources}
            sources |= {name: loose for name in loose.entries if name not in sources}
            self._step, self._steps = 0, _PASSES * len(sources)
            new = self._packed(sources)
        self._drop_packs([base for base in bases if base != new])
        for name in loose.entries:
            discard(loose.path(name))
        if not self._automatic:
            # As git: 4 KB each. Not in automatic runs, which might take them from who lists them.
            for folder in {os.path.dirname(loose.path(name)) for name in loose.entries}:
                with suppress(OSError):
                    os.rmdir(folder)
        return sources

    def _packed(self, sources: Mapping[bytes, Source]) -> str:
        """Write one pack, proved and durable; return its path without suffix."""
        temporary = self._lock.temporary()
        try:
            writer = PackStream(temporary, len(sources), disk=self._disk)
            try:
                packer = Packer(sources, writer, pause=self._pause)
                if self._automatic and _is_light(sources):
                    packer.copy()
                else:
                    packer.run()
                checksum = writer.finish()
            finally:
                writer.close()
            self._disk.sync_folder(self._lock.folder)
            try:
                prove(temporary, sources, pause=self._pause)
            except UnreadableError as error:
                # What was copied as bytes may have been damaged before: then that is what is told.
                for name, source in sources.items():
                    self._pause()
                    source.read(name)
                message = f"the new pack is damaged ({error}); what it was made of was kept"
                raise CorruptRepositoryError(message, path=self._location.path) from error
            return self._packs.put(temporary, checksum)
        finally:
            for suffix in (".pack", ".idx"):
                discard(temporary + suffix)

    def _loose(self, left: set[bytes], unreadable: set[str]) -> LooseSource:
        """Return the loose objects to be packed."""
        loose = LooseSource(self._objects)
        if self._automatic and not self._sampled():
            return loose
        names = (name for name in loose_names(self._objects) if name not in left)
        for name in islice(names, _OBJECTS_MAX if self._automatic else None):
            if loose.path(name) not in unreadable and not loose.add(name):
                unreadable.add(loose.path(name))
        return loose

    def _chosen(self, loose: int, *, full: bool, unreadable: set[str]) -> list[str]:
        """Return the packs to be replaced: those that are small against what is smaller still."""
        sizes = self._sizes(unreadable)
        if full:
            return [base for _, base in sizes if not is_kept(base)]
        factor = _FACTOR_AUTOMATIC if self._automatic else _FACTOR
        taken, smaller = 0, loose
        for number, (count, _) in enumerate(sizes, 1):
            if self._automatic and smaller > _OBJECTS_MAX:
                break
            if count < factor * smaller:
                taken = number
            smaller += count
        return [base for _, base in sizes[:taken] if not is_kept(base)]

    def _sizes(self, unreadable: set[str]) -> list[tuple[int, str]]:
        """Return the packs that may be replaced, and how many objects each holds, smallest first."""
        retired = self._retired.names()
        known, self._known = self._known, {}
        found: list[tuple[int, str]] = []
        for base in self._packs.replaceable():
            if os.path.basename(base) in retired or base + ".pack" in unreadable:
                continue
            with suppress(FileNotFoundError):
                count, size = self._known[base] = known.get(base) or _measured(base)
                is_small = count <= _OBJECTS_MAX and size <= _PACK_BYTES_MAX
                if is_small or not self._automatic:
                    found.append((count, base))
        return sorted(found)

    def _sampled(self) -> int:
        """Return how many loose objects there are in one folder of 256."""
        try:
            return len(os.listdir(os.path.join(self._objects, _SAMPLE)))
        except FileNotFoundError:
            return 0

    def _broken(self, where: str, loose: LooseSource) -> set[str]:
        """Return the files that are there and cannot be read: this one, and all loose ones."""
        found = {where} if os.path.exists(where) else set[str]()
        if not where.endswith(".pack"):
            for name in loose.entries:
                try:
                    loose.read(name)
                except UnreadableError:
                    found.add(loose.path(name))
        return found

    def _drop_packs(self, bases: Sequence[str]) -> None:
        """Remove packs that were replaced, or have them removed later."""
        if not bases:
            return
        # What describes several packs at once must not name one that is gone.
        self._packs.forget_caches()
        large = {base for base in bases if self._automatic and _count(base) >= _LARGE}
        names = [os.path.basename(base) for base in bases if base not in large]
        self._retired.add([*map(os.path.basename, large)], seconds=GRACE_SECONDS_LARGE)
        self._retired.add(names, seconds=GRACE_SECONDS)
        if self._automatic:
            self._retired.drop()
        else:
            self._runtime.sleep(GRACE_SECONDS_ASKED)
            self._retired.drop(also=names)

    def _pause(self) -> None:
        """Tell how far it is; now and then let others go on, or stop here if that was asked for."""
        self._step += 1
        if self._progress is not None and self._step % _TOLD == 0:
            self._progress(min(self._step, self._steps), self._steps)
        if self._runtime.monotonic() - self._rested > _WORK_SECONDS:
            if self._is_stopped():
                raise StoppedError
            if self._automatic:
                self._runtime.sleep(_REST_SECONDS)
            self._rested = self._runtime.monotonic()


def _is_light(sources: Mapping[bytes, Source]) -> bool:
    """Whether there is so little to be packed that making it small can wait until there is more."""
    if len(sources) >= _COPIED_OBJECTS_MAX:
        return False
    stored = (source.entries[name] for name, source in sources.items())
    return sum(each.end - each.start for each in stored) < _COPIED_BYTES_MAX


def _measured(base: str) -> tuple[int, int]:
    """Return how many objects a pack holds, and its bytes."""
    return _count(base), os.stat(base + ".pack").st_size


def _count(base: str) -> int:
    """Return how many objects a pack holds, by its index."""
    try:
        with open(base + ".idx", "rb") as file:
            file.seek(_COUNT_AT)
            (count,) = struct.unpack(">I", file.read(4))
    except (FileNotFoundError, struct.error):
        return 0
    return int(count)
