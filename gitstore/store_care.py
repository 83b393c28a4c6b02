"""The care half of the store, for async callers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitstore.blocking_care import BlockingCare
    from gitstore.engine.maintenance import MaintenanceReport
    from gitstore.engine.stats import Stats

T = TypeVar("T")
P = ParamSpec("P")


class Care(ABC):
    """The work that changes no session, done in worker threads. `GitSessionStore` is one."""

    @property
    @abstractmethod
    def _care(self) -> BlockingCare:
        """The blocking twin."""

    @abstractmethod
    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a worker thread."""

    async def maintain(
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
        return await self._run(self._care.maintain, full=full, progress=progress)

    async def stats(self) -> Stats:
        """Return how large the store is: packs, loose objects, sessions, growth.

        Cost: a look at every file of objects and every commit; 100,000 sessions take some seconds.
        """
        return await self._run(self._care.stats)
