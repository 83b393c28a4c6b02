"""The base of every exception."""

from __future__ import annotations

from typing import ClassVar


class StorageError(Exception):
    """Base of every gitstore exception."""

    #: Whether the same call may succeed later, unchanged.
    retryable: ClassVar[bool] = False
