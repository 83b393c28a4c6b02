"""Whose turn it is: one thread at a time serves the requests of all that wait.

A caller queues its requests. If nobody leads it leads: it serves everything that is queued by then,
and wakes those whose requests are settled; once its own are, it hands the lead to whoever has waited
longest. Groups form by themselves under load, a lone caller waits for nobody, and since the queue is
served in order, nobody waits for more than those who came before.

Who leads after several were served together expects as much again, and waits as long as others come:
else the first of every round would be served alone, and the rest after it.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gitstore.engine.requests import Request

#: Requests served in one turn: bounds what is held in memory, and how long the others wait.
GROUP_MAX = 64
#: Long enough for a thread that is ready to run; a small part of any turn.
_MOMENT_SECONDS = 5e-5


class Turns:
    """The queue of one store; `serve` settles a group of requests, or raises."""

    def __init__(
        self, serve: Callable[[list[Request]], None], *, sleep: Callable[[float], None]
    ) -> None:
        self._serve = serve
        self._sleep = sleep
        #: Guards what follows.
        self._mutex = threading.Lock()
        self._queue: deque[tuple[Request, _Waiter]] = deque()
        self._has_leader = False
        #: Requests of the queue that are being served.
        self._begun = 0
        #: Whether the last turn was for several callers.
        self._was_shared = False

    @property
    def waiting(self) -> int:
        """How many requests wait for a turn that has not begun."""
        return len(self._queue) - self._begun

    def run(self, requests: Sequence[Request]) -> int:
        """Have the requests served; each is settled when this returns.

        Returns:
            How many were served by this caller, others' among them: none when somebody else led.
        """
        served = 0
        if not requests:
            return served
        waiter = _Waiter(requests)
        try:
            with self._mutex:
                self._queue.extend((request, waiter) for request in requests)
                waiter.leads, self._has_leader = not self._has_leader, True
            while not waiter.leads and not waiter.is_settled:
                waiter.wait()
            while not waiter.is_settled:
                served += self._lead()
        finally:
            self._leave(waiter)
        return served

    def _lead(self) -> int:
        """Serve those who have waited longest, and wake them; return how many requests that were."""
        if self._was_shared:
            self._gather()
        with self._mutex:
            # They stay in the queue until they are woken: else an interruption here would lose them.
            waiting = (each for each in self._queue if not each[0].is_settled)
            group = list(islice(waiting, GROUP_MAX))
            self._begun = len(group)
        try:
            self._serve([request for request, _ in group])
        finally:
            callers = {waiter for _, waiter in group}
            self._was_shared = len(callers) > 1
            for waiter in callers:
                if waiter.is_settled:
                    waiter.wake()
            with self._mutex:
                self._queue = deque(each for each in self._queue if not each[0].is_settled)
                self._begun = 0
        return len(group)

    def _gather(self) -> None:
        """Let others queue their requests, as long as any do."""
        came = 0
        while came < len(self._queue) < GROUP_MAX:
            came = len(self._queue)
            self._sleep(_MOMENT_SECONDS)

    def _leave(self, waiter: _Waiter) -> None:
        """Pass on the lead. What nobody has begun must not be committed when the caller is gone."""
        with self._mutex:
            if waiter.is_settled and not waiter.leads:
                return
            self._queue = deque(each for each in self._queue if each[1] is not waiter)
            if not waiter.leads:
                return
            self._has_leader = bool(self._queue)
            if self._queue:
                following = self._queue[0][1]
                following.leads = True
                following.wake()


class _Waiter:
    """Somebody whose requests are queued, and who may be called upon to lead."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.leads = False
        self._requests = requests
        self._asleep = threading.Lock()
        self._asleep.acquire()

    @property
    def is_settled(self) -> bool:
        """Whether all the requests have had their turn."""
        return all(request.is_settled for request in self._requests)

    def wait(self) -> None:
        """Sleep until somebody wakes this one."""
        self._asleep.acquire()

    def wake(self) -> None:
        """Let it look again; waking twice is as good as once."""
        with suppress(RuntimeError):
            self._asleep.release()
