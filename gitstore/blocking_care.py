"""What keeps a store small and tells how large it is: the care half of the blocking store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from gitstore.engine.maintenance import maintain
from gitstore.engine.stats import stats

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitstore.engine.maintenance import MaintenanceReport
    from gitstore.engine.stats import Stats
    from gitstore.git.repository import Repository
    from gitstore.types import Runtime


class BlockingCare(ABC):
    """The work that changes no session. `BlockingSessionStore` is one."""

    _repository: Repository
    _runtime: Runtime
    _lock_timeout_seconds: float

    @abstractmethod
    def _check_open(self) -> None:
        """Raise if the store is closed."""

    def maintain(
        self, *, full: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> MaintenanceReport:
        """Pack loose objects and small packs, so that old versions take little room.

        No object that is packed goes, and readers and writers may go on meanwhile. Cost follows what
        is new since the last time; with `full` all packs become one, and loose objects that nothing
        has named for two weeks are pruned. Packs with a ``.keep`` stay as they are. `progress` is
        told, in the thread that works, how many of how many steps are done.

        Raises:
            RepositoryLockedError: other maintenance, or `git gc`, is going on.
            RepositoryError: nothing is lost; its subclass says why.
        """
        self._check_open()
        return maintain(
            self._repository,
            runtime=self._runtime,
            lock_timeout_seconds=self._lock_timeout_seconds,
            full=full,
            progress=progress,
        )

    def stats(self) -> Stats:
        """Return how large the store is: packs, loose objects, sessions, growth.

        Cost: a look at every file of objects and every commit; 100,000 sessions take some seconds.
        """
        self._check_open()
        return stats(self._repository, runtime=self._runtime)
