"""Files whose last name is removed behind the caller's back, as the disk takes a while to free them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from gitstore.git.files import discard

if TYPE_CHECKING:
    from concurrent.futures import Future

#: Bytes; a smaller file is gone before a thread has been woken.
_BYTES_MIN: Final = 256 << 10


class Freeing:
    """Removes files that nobody needs; large ones in a thread of its own. Used by one thread at a time."""

    def __init__(self) -> None:
        # It starts its thread when there is something to do, and ends it when it is gone itself.
        self._pool = ThreadPoolExecutor(1, "gitstore-freeing")
        self._last: Future[None] | None = None

    def discard(self, path: str) -> None:
        """Remove a file, soon, if it is there; what a crash leaves must be removed by somebody else."""
        if self._last is None or self._last.done():
            with suppress(FileNotFoundError, RuntimeError):
                if os.lstat(path).st_size >= _BYTES_MIN:
                    self._last = self._pool.submit(discard, path)
                    return
        # It is behind, was closed, or is in a forked child, where its thread is not.
        discard(path)

    def close(self) -> None:
        """Wait until everything is removed."""
        self._pool.shutdown()
