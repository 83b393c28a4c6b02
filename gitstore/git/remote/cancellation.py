"""Ending a call that hangs, from another thread."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class Cancelled(Exception):  # noqa: N818 -- nothing went wrong: somebody wanted it
    """The call was given up, as its `Cancellation` asked."""


class Cancellation:
    """Given to a call that may hang, so that another thread can end it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._cancelled = False
        self._closers: dict[object, Callable[[], None]] = {}

    def cancel(self) -> None:
        """Run the closers of what hangs now, and of all that begins later. From any thread."""
        with self._lock:
            self._cancelled = True
            for closer in self._closers.values():
                closer()

    @contextmanager
    def closing(self, closer: Callable[[], None]) -> Generator[None]:
        """Have `closer` called if this is cancelled within the block, at once if it is already.

        It is never called after the block, so it may close what is not there any more then. It must
        be quick, must not raise, and may run twice.
        """
        key = object()
        with self._lock:
            self._closers[key] = closer
            if self._cancelled:
                closer()
        try:
            yield
        finally:
            with self._lock:
                del self._closers[key]

    def check(self) -> None:
        """Go on, unless this was cancelled.

        Raises:
            Cancelled: it was.
        """
        if self._cancelled:
            raise Cancelled
