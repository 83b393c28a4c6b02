"""The real clock, and real chance: what a `Runtime` is unless the caller gives another."""

from __future__ import annotations

import random
import time
import uuid

from gitstore.types import Runtime


def system_runtime() -> Runtime:
    """Return the real clock, and real chance."""
    return Runtime(
        clock=time.time,  # noqa: TID251 -- the one place that chooses the clock
        monotonic=time.monotonic,
        sleep=time.sleep,
        token=lambda: uuid.uuid4().hex[:16],  # noqa: TID251 -- the one place that chooses chance
        chance=random.random,
    )
