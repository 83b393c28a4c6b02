"""Making a store small again, beside readers and writers, without the git command.

1. A lock of our own and git's ``gc.pid`` keep other maintenance out, gitstore's and git's.
2. Loose objects and small packs are read, and written as one new pack: everything that is in them,
   reachable or not. Writers are not kept waiting.
3. The pack is synced and read back: every object of it, or, where packs were only put together, its
   checksums (`gitstore.git.maintain.join`). Then it is named, and that is synced.
4. What it replaced is removed, packs and loose objects, a moment later: whoever listed it can still open
   it, and whoever looks for it then finds the new pack (`gitstore.git.maintain.retired`).

A crash leaves a temporary file, or objects that are there twice. Packs with ``.keep``, ``.promisor``
or ``.mtimes`` beside them are left alone.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from gitstore.errors import CorruptRepositoryError, RepositoryLockedError
from gitstore.git.files import Disk, discard
from gitstore.git.lock import Workshop
from gitstore.git.maintain.choice import LOOSE_MAX, Choice, count
from gitstore.git.maintain.join import Join, apart
from gitstore.git.maintain.lock import MaintenanceLock
from gitstore.git.maintain.pack import Packer, PackStream, prove
from gitstore.git.maintain.prune import Pruner
from gitstore.git.maintain.retired import (
    GRACE_SECONDS,
    GRACE_SECONDS_LARGE,
    GRACE_SECONDS_LEAST,
    Retired,
)
from gitstore.git.maintain.sources import LooseSource, PackSource, UnreadableError
from gitstore.git.repack import Packs
from gitstore.git.translate import translated

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gitstore.git.location import Location
    from gitstore.git.maintain.sources import Source
    from gitstore.types import Runtime

#: Objects of a pack from which on it stays for longer, after an automatic run.
_LARGE: Final = 8192
_ATTEMPTS: Final = 5
#: Times that an object is looked at: to be ordered, to be packed, to be proved.
_PASSES: Final = 3
#: Steps between two words about progress.
_TOLD: Final = 64
#: A run looks after so much work whether it is to stop; an automatic one also rests, so that others get on.
_WORK_SECONDS: Final = 0.004
_REST_SECONDS: Final = 0.001
#: How often it looks for what has come meanwhile.
_RELIEF_SECONDS: Final = 0.02
#: From how many packs on, or so many loose objects as are too much, it puts them together then.
_RELIEF_PACKS: Final = 6
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
        self._choice = Choice(location.common, self._packs, self._retired, is_automatic=automatic)
        #: When it last looked for what has come meanwhile; `inf` while it is at that.
        self._relieved = 0.0

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
            if self._automatic:
                self._gather()
        return Done(repacked=repacked, pruned=pruned, unreadable=tuple(sorted(unreadable)))

    def put_together(self, *, is_stopped: Callable[[], bool] = lambda: False) -> bool:
        """Put what came last into one pack; return False if by now there is enough for a `run`.

        Raises: as `run`.
        """
        self._is_stopped = is_stopped
        with translated(self._location.path), self._lock.held():
            self._retired.drop()
            self._roll_up(hastily=True)
            return self._choice.is_light(0, self._choice.packs(0))

    def drop_replaced(self) -> None:
        """Remove the packs that were replaced long enough ago.

        Raises:
            RepositoryLockedError: other maintenance is going on.
        """
        with translated(self._location.path), self._lock.held():
            self._retired.drop()

    def grace_left(self) -> float | None:
        """Return how long to wait for readers until the next `drop_replaced`, or None: nothing goes soon."""
        with translated(self._location.path):
            return self._retired.seconds_left()

    def pressure(self) -> tuple[int, int]:
        """Return how many packs an automatic run could roll up, and about how many loose objects."""
        with translated(self._location.path):
            return self._choice.pressure()

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

    def _roll_up(
        self,
        *,
        full: bool = False,
        hastily: bool = False,
        left: Collection[bytes] = (),
        unreadable: set[str] | None = None,
    ) -> int:
        """Make one pack of what was chosen; return how many objects it holds."""
        unreadable = set() if unreadable is None else unreadable
        attempts = 0
        while attempts < _ATTEMPTS:
            known = len(unreadable)
            loose = self._choice.loose(left, unreadable, hastily=hastily)
            bases = self._choice.packs(
                len(loose.entries), full=full, hastily=hastily, unreadable=unreadable
            )
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

    def _gather(self) -> None:
        """Put packs one behind the other that are too large to be made small once more."""
        bases = self._choice.settled()
        with self._choice.without(bases, ()):
            while len(bases := apart(bases)) > 1:
                try:
                    join = Join(LooseSource(self._objects), bases, pause=self._pause)
                    new = self._written(join.count, join.fill, join.prove)
                except UnreadableError as error:
                    # Gone since we looked, or damaged: then it stays as it is.
                    bases = [base for base in bases if base + ".pack" != error.where]
                else:
                    self._retire({os.path.basename(base): base for base in bases if base != new})
                    break

    def _replaced(self, loose: LooseSource, bases: Sequence[str]) -> Collection[bytes]:
        """Put loose objects and packs into a new pack, and remove them; return what it holds."""
        if self._automatic and self._choice.is_light(len(loose.entries), bases):
            names, new = self._joined(loose, bases)
        else:
            names, new = self._made_small(loose, bases)
        old = {os.path.basename(base): base for base in bases if base != new}
        self._retire(old)
        if loose.entries or not self._automatic:
            # dulwich looks for packs, then for a loose object, and not again for packs.
            self._runtime.sleep(GRACE_SECONDS_LEAST)
        self._retired.drop(also=() if self._automatic else old)
        # Somebody may have repacked all of it meanwhile, as far as it is named.
        for name in loose.entries if os.path.exists(new + ".idx") else ():
            discard(loose.path(name))
        if not self._automatic:
            # As git: 4 KB each. Not in automatic runs, which might take them from who lists them.
            for folder in {os.path.dirname(loose.path(name)) for name in loose.entries}:
                with suppress(OSError):
                    os.rmdir(folder)
        return names

    def _joined(self, loose: LooseSource, bases: Sequence[str]) -> tuple[Collection[bytes], str]:
        """Put packs one behind the other; return what the new one holds, and its path."""
        join = Join(loose, bases, pause=self._pause)
        if join.repeats:
            return self._made_small(loose, bases)
        return join.names, self._written(len(join.names), join.fill, join.prove)

    def _made_small(
        self, loose: LooseSource, bases: Sequence[str]
    ) -> tuple[Collection[bytes], str]:
        """Tell one version of a file by another; return what the new pack holds, and its path."""
        with self._choice.without(bases, loose.entries), ExitStack() as opened:
            sources = _sources(loose, bases, opened)
            names = dict.fromkeys(sources)
            self._step, self._steps = 0, _PASSES * len(names)

            def fill(stream: PackStream) -> None:
                Packer(sources, stream, pause=self._pause).run()
                # What is known of each object takes more room than most: not of old and new packs at once.
                sources.clear()
                opened.close()

            def prove_all(temporary: str, _: str) -> None:
                try:
                    prove(temporary, names, pause=self._pause)
                except UnreadableError:
                    # What was copied as bytes may have been damaged before: then that is what is told.
                    with ExitStack() as again:
                        for name, source in _sources(loose, bases, again).items():
                            self._pause()
                            source.read(name)
                    raise

            return names, self._written(len(names), fill, prove_all)

    def _written(
        self,
        count: int,
        fill: Callable[[PackStream], None],
        prove: Callable[[str, str], None],
    ) -> str:
        """Write one pack, proved and durable; return its path without suffix."""
        temporary = self._lock.temporary()
        try:
            with closing(PackStream(temporary, count, disk=self._disk)) as stream:
                fill(stream)
                checksum = stream.finish()
            del stream  # as large as what proves it
            self._disk.sync_folder(self._lock.folder)
            try:
                prove(temporary, checksum)
            except UnreadableError as error:
                if error.where != temporary + ".pack":
                    raise
                message = f"the new pack is damaged ({error}); what it was made of was kept"
                raise CorruptRepositoryError(message, path=self._location.path) from error
            return self._packs.put(temporary, checksum)
        finally:
            for suffix in (".pack", ".idx"):
                discard(temporary + suffix)

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

    def _retire(self, bases: Mapping[str, str]) -> None:
        """Have packs that were replaced removed later; given by name, with their paths."""
        if not bases:
            return
        # What describes several packs at once must not name one that is gone.
        self._packs.forget_caches()
        self._retired.add(
            {
                name: GRACE_SECONDS_LARGE
                if self._automatic and count(base) >= _LARGE
                else GRACE_SECONDS
                for name, base in bases.items()
            }
        )

    def _pause(self) -> None:
        """Tell how far it is; now and then let others go on, or stop here if that was asked for."""
        self._step += 1
        if self._progress is not None and self._step % _TOLD == 0:
            self._progress(min(self._step, self._steps), self._steps)
        if self._runtime.monotonic() - self._rested > _WORK_SECONDS:
            if self._is_stopped():
                raise StoppedError
            if self._automatic:
                self._relieve()
                self._runtime.sleep(_REST_SECONDS)
            self._rested = self._runtime.monotonic()

    def _relieve(self) -> None:
        """While something is made small, put together what comes meanwhile, lest it piles up."""
        now = self._runtime.monotonic()
        if now - self._relieved < _RELIEF_SECONDS or not self._choice.is_at_work:
            return
        packs, loose = self._choice.pressure()
        if packs >= _RELIEF_PACKS or loose >= LOOSE_MAX:
            self._relieved = inf
            step = self._step, self._steps
            with suppress(RepositoryLockedError):
                self._roll_up(hastily=True)
            self._step, self._steps = step
        elif (self._retired.seconds_left() or 0.0) < 0:
            self._retired.drop()
        self._relieved = self._runtime.monotonic()


def _sources(loose: LooseSource, bases: Sequence[str], opened: ExitStack) -> dict[bytes, Source]:
    """Open packs; return where each object is, in one of them or loose."""
    found: dict[bytes, Source] = {}
    for base in bases:
        pack = PackSource(base)
        opened.callback(pack.close)
        found |= {name: pack for name in pack.entries if name not in found}
    return found | {name: loose for name in loose.entries if name not in found}
