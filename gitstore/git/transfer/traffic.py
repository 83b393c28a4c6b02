"""What a repository takes in from remotes, and gives out to them. No ref moves here."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gitstore.git.contents import Contents
from gitstore.git.files import discard
from gitstore.git.survey import NamedRef, Survey
from gitstore.git.transfer.incoming import Incoming
from gitstore.git.transfer.outgoing import Outgoing, compression_level, outgoing
from gitstore.git.translate import translated

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from gitstore.git.files import Disk
    from gitstore.git.location import Location
    from gitstore.git.lock import Workshop
    from gitstore.git.objects import Objects
    from gitstore.git.refs import Refs
    from gitstore.git.remote.cancellation import Cancellation
    from gitstore.git.transfer.incoming import SessionRules
    from gitstore.types import CommitId, OnProgress


class Traffic(Contents):
    """The half of a repository that remotes see. Safe to share between threads."""

    def __init__(
        self,
        location: Location,
        *,
        branch: str,
        refs: Refs,
        objects: Objects,
        disk: Disk,
        workshop: Workshop,
    ) -> None:
        super().__init__(location, branch=branch, refs=refs, objects=objects)
        self._disk = disk
        self._workshop = workshop

    def survey(self) -> Survey:
        """Return what a check of the whole repository looks at."""
        return Survey(self._location, ref=self.ref, objects=self._objects, disk=self._disk)

    @contextmanager
    def scratch(self) -> Generator[str]:
        """Lend out a path for a new file in `folder`, which goes afterwards, or when we die."""
        with translated(self.path), self._workshop.scratch() as path:
            yield path

    def receive(
        self,
        pack_file: str,
        tip: CommitId,
        *,
        remote: str,
        rules: SessionRules,
        cancel: Cancellation | None = None,
        progress: OnProgress | None = None,
        keep: bool = False,
    ) -> str | None:
        """Check a pack that a remote sent and all that is new in `tip`, then keep it, durably.

        With `keep`, git is told to leave the pack alone until `let_go` of what is returned. No ref moves. The pack may lack what the refs reach. Progress is of phase "checking".

        Raises:
            UntrustedContentError: something is damaged, missing or could do harm; nothing was kept.
            Cancelled: `cancel` was; nothing was kept.
        """
        folder = os.path.join(self._location.common, "objects", "pack")
        found = [each.target for each in self.survey().refs() if isinstance(each, NamedRef)]
        with translated(self.path):
            head = self._refs.read("HEAD")
            incoming = Incoming(
                self._objects, remote=remote, rules=rules, cancel=cancel, progress=progress
            )
            kept = incoming.receive(
                pack_file,
                tip,
                ours=found if head is None else [*found, head],
                folder=folder,
                workshop=self._workshop,
                disk=self._disk,
            )
        if keep:
            return kept
        self.let_go(kept)
        return None

    def let_go(self, kept: str | None) -> None:
        """Leave a received pack to git, now that a ref names what is in it or nobody wants it."""
        if kept is not None:
            discard(kept)

    def vet(
        self,
        tip: CommitId,
        *,
        ours: CommitId | None,
        remote: str,
        rules: SessionRules,
        cancel: Cancellation | None = None,
        progress: OnProgress | None = None,
    ) -> None:
        """Check all that a commit has and `ours` has not: for what git brought or made here.

        Raises:
            UntrustedContentError: something is missing or could do harm.
            Cancelled: `cancel` was.
        """
        with translated(self.path):
            incoming = Incoming(
                self._objects, remote=remote, rules=rules, cancel=cancel, progress=progress
            )
            incoming.vet(tip, ours=[] if ours is None else [ours])

    def outgoing(self, new: CommitId, known: Collection[str]) -> Outgoing:
        """Return the objects that a remote lacks of a commit, when it has the commits `known`.

        Costs what is new, not what is shared. Ids that are not here may be among `known`.

        Raises:
            CorruptRepositoryError: a commit or folder is missing or damaged.
        """
        level = self.setting("pack", "compression") or self.setting("core", "compression")
        with translated(self.path):
            return outgoing(
                self._objects,
                new,
                known,
                corrupt=self._malformed,
                level=compression_level(level),
            )
