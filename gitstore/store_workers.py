"""The worker threads of a store on one event loop, and the saves that share one of them."""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from anyio import (
    CancelScope,
    CapacityLimiter,
    Event,
    current_effective_deadline,
    get_cancelled_exc_class,
    to_thread,
)
from anyio.lowlevel import RunVar

from gitstore.engine.pending import run_together
from gitstore.engine.turns import GROUP_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitstore.engine.pending import PendingSave

T = TypeVar("T")
P = ParamSpec("P")

#: Worker threads that one store may use at once on one loop.
_THREADS_MAX = 64


class Job(Generic[T]):
    """A call that either never begins, or is finished before its caller goes on.

    With `cancel`, what makes it end early, a caller that is cancelled has it end first.
    """

    def __init__(
        self, function: Callable[[], T], *, cancel: Callable[[], None] | None = None
    ) -> None:
        self._function = function
        self._cancel = cancel
        self._taken = threading.Lock()
        self._ended = threading.Event()

    async def run(self, limiter: CapacityLimiter) -> T:
        """Make the call in a worker thread, and return what it returns."""
        try:
            # Not abandoned: without a way to end it, anyio waits; with one, `_until_ended` does.
            return await to_thread.run_sync(
                self._call, abandon_on_cancel=self._cancel is not None, limiter=limiter
            )
        except get_cancelled_exc_class():
            # asyncio's Task.cancel goes through anyio's shield and leaves the thread alone.
            if not self._taken.acquire(blocking=False):
                await self._until_ended()
            raise

    def _call(self) -> T:
        if not self._taken.acquire(blocking=False):
            message = "cancelled before it began"
            raise RuntimeError(message)
        try:
            return self._function()
        finally:
            self._ended.set()

    async def _until_ended(self) -> None:
        while not self._ended.is_set():
            try:
                with CancelScope(shield=True):
                    await to_thread.run_sync(self._end, limiter=CapacityLimiter(1))
            except get_cancelled_exc_class():
                continue  # cancelled again: the first cancellation is raised when the call ended

    def _end(self) -> None:
        if self._cancel is not None:
            self._cancel()
        self._ended.wait()


class Workers:
    """The threads that work for one store on one loop; only tasks of that loop may ask for them.

    Saves queue here, and one thread at a time makes them. Whose save finds nobody leading leads: its
    thread takes all that wait by the time it begins, up to what one publication holds, and when it
    is done the lead goes to whoever has waited longest. So a lone save starts at once, and those that
    are begun meanwhile are made together.
    """

    def __init__(self) -> None:
        #: Bounds the threads.
        self.limiter = CapacityLimiter(_THREADS_MAX)
        # The loop appends; the thread of who leads pops, and when there is none, the loop.
        self._waiting: deque[_Ticket] = deque()
        self._has_leader = False

    @classmethod
    def of(cls, store: object) -> Workers:
        """Return those of a store on the loop that runs: loops have nothing in common."""
        here = _here.get(None)
        if here is None:
            _here.set(here := WeakKeyDictionary())
        mine = here.get(store)
        if mine is None:
            mine = here[store] = cls()
        return mine

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a thread; a call that began is finished before the caller goes on."""
        return await Job(partial(function, *args, **kwargs)).run(self.limiter)

    async def save(self, pending: PendingSave) -> None:
        """Run a save, in one thread with others, in the order in which they were begun.

        It is settled when this returns. When this raises, it was either never begun, or ended: then it
        is settled too, or what is raised is what ended it.
        """
        ticket = _Ticket(pending)
        self._waiting.append(ticket)
        ticket.leads, self._has_leader = not self._has_leader, True
        if not ticket.leads:
            await self._follow(ticket)
        if ticket.leads:
            await self._lead(ticket)

    async def _follow(self, ticket: _Ticket) -> None:
        """Wait until it is served, or called upon to lead."""
        cancellation: BaseException | None = None
        try:
            await ticket.woken.wait()
        except get_cancelled_exc_class() as error:
            if self._withdraw(ticket):
                raise
            # A scope cancels again at the next await, as after any call in a thread; asyncio's
            # Task.cancel does not.
            if current_effective_deadline() > -inf:
                cancellation = error
        while not ticket.woken.is_set():
            try:
                with CancelScope(shield=True):
                    await ticket.woken.wait()
            except get_cancelled_exc_class() as error:
                cancellation = cancellation or error
        if cancellation is not None:
            self._withdraw(ticket)
            raise cancellation

    async def _lead(self, ticket: _Ticket) -> None:
        """Have those who have waited longest served, this one first, and pass on the lead."""
        group: list[_Ticket] = []
        try:
            await Job(partial(self._serve, group)).run(self.limiter)
        finally:
            ticket.claim()  # unless the thread did: no other may take it when its caller is gone
            for each in reversed(group):
                if each is ticket or each.pending.is_settled:
                    each.woken.set()
                else:
                    # The thread was interrupted, which is the business of this caller only.
                    each.give_back()
                    self._waiting.appendleft(each)
            self._pass_on()

    def _serve(self, group: list[_Ticket]) -> None:
        """In a thread: run what waits."""
        while self._waiting and len(group) < GROUP_MAX:
            ticket = self._waiting.popleft()
            if ticket.claim():
                group.append(ticket)
        run_together([each.pending for each in group])

    def _withdraw(self, ticket: _Ticket) -> bool:
        """Cancel a save that waits; False if a thread has it already."""
        if not ticket.claim():
            return False
        if ticket.leads:
            self._pass_on()
        return True

    def _pass_on(self) -> None:
        while self._waiting and self._waiting[0].is_claimed:
            self._waiting.popleft()  # cancelled while it waited
        self._has_leader = bool(self._waiting)
        if self._waiting:
            self._waiting[0].leads = True
            self._waiting[0].woken.set()


class _Ticket:
    """A save in the queue; who claims it first, its caller or a thread, decides on it."""

    def __init__(self, pending: PendingSave) -> None:
        self.pending = pending
        self.leads = False
        #: Set when the save is settled, or is to lead.
        self.woken = Event()
        self._claimed = threading.Lock()

    @property
    def is_claimed(self) -> bool:
        """Whether nobody else may claim it."""
        return self._claimed.locked()

    def claim(self) -> bool:
        """Take it, unless it is taken."""
        return self._claimed.acquire(blocking=False)

    def give_back(self) -> None:
        """Let it be claimed again."""
        self._claimed.release()


#: By store: neither a loop nor a store is kept alive by the other.
_here: RunVar[WeakKeyDictionary[object, Workers]] = RunVar("gitstore workers")
