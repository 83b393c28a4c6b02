"""Sessions that were read, kept by what they are: a revision says all of a session's content."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from gitstore.engine.collecting import uncollected
from gitstore.session.packed import PackedAsset

if TYPE_CHECKING:
    from gitstore.session.model import SessionAsset
    from gitstore.types import Revision, SessionId

#: Bytes that the sessions of one store may take in memory.
BYTES_MAX: Final = 32 << 20
#: What one session takes beside its content.
_OVERHEAD_BYTES: Final = 1024


class AssetCache:
    """The sessions used last. Safe to share between threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._packed: OrderedDict[tuple[SessionId, Revision], PackedAsset] = OrderedDict()
        self._bytes = 0

    def get(self, session_id: SessionId, revision: Revision) -> SessionAsset | None:
        """Return a session of the caller's own, if it is kept."""
        key = (session_id, revision)
        with self._mutex:
            packed = self._packed.get(key)
            if packed is None:
                return None
            self._packed.move_to_end(key)
        asset = uncollected(packed.unpack, size=packed.size)
        asset.mark_stored(revision)
        return asset

    def keep(self, session_id: SessionId, revision: Revision, asset: SessionAsset) -> None:
        """Remember what a session is now; the session itself stays the caller's."""
        packed = PackedAsset(asset)
        size = packed.size + _OVERHEAD_BYTES
        if size > BYTES_MAX // 2:
            return
        key = (session_id, revision)
        with self._mutex:
            if key in self._packed:
                return
            self._packed[key] = packed
            self._bytes += size
            while self._bytes > BYTES_MAX:
                _, oldest = self._packed.popitem(last=False)
                self._bytes -= oldest.size + _OVERHEAD_BYTES
