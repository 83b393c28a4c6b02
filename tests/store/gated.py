"""A repository in which a write can be held where it is about to become visible."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from gitstore import BlockingSessionStore, GitSessionStore
from gitstore.blocking import system_runtime
from gitstore.git.repository import Repository

if TYPE_CHECKING:
    from pathlib import Path

    from gitstore import StorageError

_PATIENCE_SECONDS = 20


class GatedRepository(Repository):
    """Publishes only while its gate is open, which it is at first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gate = threading.Event()
        self.gate.set()
        #: Set by a write that stands at the gate.
        self.reached = threading.Event()
        #: Writes that are in `publish` now.
        self.inside = 0
        #: Calls of `publish` so far.
        self.published = 0
        #: What the next calls of `publish` fail with.
        self.failure: StorageError | None = None

    def publish(self, *args: Any, **kwargs: Any) -> bool:
        failure = self.failure
        self.inside += 1
        self.published += 1
        try:
            self.reached.set()
            assert self.gate.wait(_PATIENCE_SECONDS), "nobody opened the gate"
            if failure is not None:
                raise failure
            return super().publish(*args, **kwargs)
        finally:
            self.inside -= 1

    def shut(self) -> None:
        """Hold the next write."""
        self.gate.clear()
        self.reached.clear()

    def wait_reached(self) -> None:
        """Wait until a write stands at the gate."""
        assert self.reached.wait(_PATIENCE_SECONDS), "no write came"


def gated_store(path: Path) -> tuple[BlockingSessionStore, GatedRepository]:
    """Make a store of which the writes can be held."""
    BlockingSessionStore.open(path, create=True, durability="process").close()
    repository = GatedRepository.open(
        str(path),
        branch=None,
        durability="process",
        lock_timeout_seconds=10,
        trust_owner=False,
        runtime=system_runtime(),
    )
    assert isinstance(repository, GatedRepository)
    return BlockingSessionStore(repository), repository


async def gated_async_store(path: Path) -> tuple[GitSessionStore, GatedRepository]:
    """Make an async store of which the writes can be held."""
    from anyio.to_thread import run_sync

    blocking, repository = await run_sync(gated_store, path)
    return GitSessionStore(blocking), repository
