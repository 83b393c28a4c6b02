"""The store and its remote: how they stand, what is exchanged, how both sides are merged."""

from __future__ import annotations

from gitstore.engine.standing import Standing
from gitstore.engine.sync.view import SyncView

__all__ = ["Standing", "SyncView"]
