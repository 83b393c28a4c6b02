"""gitstore itself, through its blocking face. Every figure has the whole call in it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gitstore import BlockingSessionStore, dump_session
from tests.benchmarks.measure import OURS, timed
from tests.benchmarks.peers.subject import Subject
from tests.benchmarks.sessions import add_turn, change

if TYPE_CHECKING:
    from pathlib import Path

    from gitstore import Durability, SessionAsset
    from tests.benchmarks.measure import Act, Samples
    from tests.benchmarks.peers.subject import Edit


class Gitstore:
    """A store that stays open: load, change, and the save is what is timed."""

    def __init__(self, folder: Path, *, durability: Durability) -> None:
        self.store = BlockingSessionStore.open(folder, durability=durability)
        self._held: dict[str, SessionAsset] = {}

    def save(self, edit: Edit) -> Act:
        """Load the session and change it; return the save."""
        asset = self.store.load(edit.name)
        change(asset, seed=edit.seed, size=edit.size)
        return partial(self.store.save, asset)

    def append(self, name: str, *, seed: int, lines: int) -> Act:
        """Add a turn to the session, which is loaded once; return the save."""
        asset = self._held.get(name)
        if asset is None:
            asset = self._held[name] = self.store.load(name)
        add_turn(asset, seed=seed, lines=lines)
        return partial(self.store.save, asset)

    def watch(self, samples: Samples) -> bool:
        """Note from now on what the store's writer takes of each save; tell whether there is one."""
        writer: Any = getattr(self.store, "_writer", None)
        run = getattr(writer, "run", None)
        if run is None:
            return False
        writer.run = lambda requests: timed(partial(run, requests), samples)
        return True

    def held(self, name: str) -> bytes:
        """Return the bytes of a session that was appended to."""
        return dump_session(self._held[name])

    def delete(self, name: str, path: str) -> Act:
        """Return the delete."""
        del path
        return partial(self.store.delete, name)

    def close(self) -> None:
        """Close the store."""
        self.store.close()


def subjects(*, bare: bool) -> list[Subject]:
    """Return gitstore in both durabilities; with a working tree, as `open(create=True)` makes it."""
    durable = Subject(
        name=OURS,
        durability="full: survives power loss",
        bare=bare,
        layout="sharded",
        open=partial(Gitstore, durability="full"),
        settings={} if bare else {"core.splitIndex": "true"},
    )
    process = replace(
        durable,
        name=f"{OURS}, process",
        durability="process: survives the death of the process",
        open=partial(Gitstore, durability="process"),
    )
    return [durable, process]


def whole_index() -> Subject:
    """Return gitstore in a working tree that somebody else made: its index is not split."""
    durable = subjects(bare=False)[0]
    return replace(durable, name=f"{OURS}, index in one file", settings={})
