"""What comes in from a remote: checked as a whole, then landed as one pack, or refused.

1. The pack is taken apart (`packscan`): every object inflated within limits, hashed, and its form noted.
2. Every commit that is new is checked, with all of its files that its parents do not have in the
   same place: that it is there, complete, of the right kind, and where it may be (`connection`).
3. The pack is written where git looks for it (`landing`). No ref was moved, and none is here.

Of an object that is named where a parent names it too, nothing is asked: what the refs reach was
checked before it got there, or was made here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gitstore.errors import CorruptRepositoryError, UntrustedContentError
from gitstore.git.transfer.connection import Connection, Refused, SessionRules
from gitstore.git.transfer.hygiene import shown
from gitstore.git.transfer.landing import land
from gitstore.git.transfer.packscan import Malformed, PackScan
from gitstore.types import CommitId, Progress

if TYPE_CHECKING:
    from collections.abc import Collection

    from gitstore.git.files import Disk
    from gitstore.git.lock import Workshop
    from gitstore.git.objects import Objects
    from gitstore.git.remote.cancellation import Cancellation
    from gitstore.git.transfer.packscan import Found
    from gitstore.types import OnProgress

__all__ = ["Incoming", "SessionRules"]

_STEP: Final = 256


class Incoming:
    """Takes in what one remote sent. For one call."""

    def __init__(
        self,
        objects: Objects,
        *,
        remote: str,
        rules: SessionRules,
        cancel: Cancellation | None,
        progress: OnProgress | None,
    ) -> None:
        self._objects = objects
        self._remote = remote
        self._rules = rules
        self._cancel = cancel
        self._progress = progress
        self._total = 0
        self._told = -1

    def receive(
        self,
        pack_file: str,
        tip: CommitId,
        *,
        ours: Collection[str],
        folder: str,
        workshop: Workshop,
        disk: Disk,
    ) -> str | None:
        """Check the pack in a file and all that is new in `tip`, then land the pack in `folder`.

        Return what `land` does, or None when there was nothing to land. `ours` are the commits that are complete here: what the refs point at.

        Raises:
            UntrustedContentError: nothing was landed.
            CorruptRepositoryError: what is damaged is here and not in the pack.
        """
        try:
            scan = PackScan(pack_file, external=self._external, step=self._step)
            try:
                self._total = len(scan.places)
                self._check(scan, tip, ours)
                self._check_strays(scan)
                self._tell(self._total)
                # The last moment: what is landed is not taken back.
                self._check_cancelled()
                if scan.places:
                    return land(
                        scan, self._lacking(scan), folder=folder, workshop=workshop, disk=disk
                    )
                return None
            finally:
                scan.close()
        except Malformed as error:
            raise self._refusal(error.where, error.problem) from error

    def vet(self, tip: CommitId, *, ours: Collection[str]) -> None:
        """Check all that is new in a commit that is here already, whoever brought it.

        Raises:
            UntrustedContentError: it could do harm.
            CorruptRepositoryError: it is damaged.
        """
        self._check(None, tip, ours)

    def _check(self, scan: PackScan | None, tip: CommitId, ours: Collection[str]) -> None:
        connection = Connection(self._objects, scan, self._rules, step=self._step)
        try:
            connection.check(bytes.fromhex(tip), {bytes.fromhex(each) for each in ours})
        except Refused as error:
            commit = None if error.commit is None else CommitId(error.commit.hex())
            raise self._refusal(shown(error.where), error.problem, commit) from error

    def _check_strays(self, scan: PackScan) -> None:
        """Refuse what is malformed and was not met on the way; unless it is here, too, already."""
        for name, problem in scan.flaws.items():
            if self._objects.kind_of(name.hex()) is None:
                raise self._refusal(name.hex(), problem)

    def _external(self, name: bytes) -> Found | None:
        """Return an object that we have, for a delta against it."""
        kind = self._objects.kind_of(name.hex())
        return None if kind is None else (kind, self._objects.read(name.hex(), kind))

    def _lacking(self, scan: PackScan) -> list[tuple[bytes, Found]]:
        found: list[tuple[bytes, Found]] = []
        for name in scan.lacking:
            base = self._external(name)
            if base is None:
                message = f"object {name.hex()} vanished while a fetch needed it; fetch again"
                raise CorruptRepositoryError(message, path=self._remote, object_id=name.hex())
            found.append((name, base))
        return found

    def _step(self, done: int) -> None:
        self._check_cancelled()
        if done % _STEP == 0 and done != self._told:
            self._tell(done)

    def _tell(self, done: int) -> None:
        self._told = done
        if self._progress is not None:
            total = self._total or None
            self._progress(Progress(phase="checking", done=done, total=total, unit="objects"))

    def _check_cancelled(self) -> None:
        if self._cancel is not None:
            self._cancel.check()

    def _refusal(
        self, where: str, problem: str, commit: CommitId | None = None
    ) -> UntrustedContentError:
        return UntrustedContentError(
            remote=self._remote, commit=commit, where=where, problem=problem
        )
