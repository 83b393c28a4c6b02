"""The real clock, and real chance: what a `Runtime` is unless the caller gives another."""

from __future__ import annotations

import os
import random
import time

from gitstore.types import Runtime


def system_runtime() -> Runtime:
    """Return the real clock, and real chance."""
    return Runtime(
        clock=time.time,  # noqa: TID251 -- the one place that chooses the clock
        monotonic=time.monotonic,
        sleep=time.sleep,
        token=lambda: os.urandom(8).hex(),
        chance=random.random,
    )
