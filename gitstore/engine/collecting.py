"""Holds off Python's garbage collector while a large session is made.

A session of 1,000 turns is 11,000 objects that the collector walks, and as many again pass away while
it is read. Left alone, the collector looks 40 times at what is half made, takes it for something that
lasts, and is brought to a full pass of the whole process the sooner: tens of milliseconds, in which
no thread runs, the event loop's least of all. Held off, it looks once, when all is done.
"""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: Sessions of fewer bytes are made of fewer objects than the collector waits for anyway.
_BYTES_MIN: Final = 64 << 10
#: Larger ones take a second and more, in which the garbage of others must not pile up.
_BYTES_MAX: Final = 4 << 20
#: One for each call that has switched the collector off.
_pausing: Final[set[object]] = set()


def uncollected(make: Callable[[], T], *, size: int) -> T:
    """Return what `make` returns, without automatic collections in between; `size` is in bytes.

    The collector is on afterwards if it was on before. A pause belongs to the call that began it:
    another call that overlaps does not make it longer, so that it ends however many there are.
    """
    # Off already: by somebody who wants it so, or by a call that will switch it on.
    if not _BYTES_MIN <= size <= _BYTES_MAX or not gc.isenabled():
        return make()
    pause = object()
    try:
        _pausing.add(pause)
        gc.disable()
        return make()
    finally:
        # First, since an interrupt can come after any call.
        gc.enable()
        _pausing.discard(pause)


def _resume_in_child() -> None:
    """Switch it on in a process that was forked in a pause: the call that would is not in there."""
    if _pausing:
        _pausing.clear()
        gc.enable()


os.register_at_fork(after_in_child=_resume_in_child)
