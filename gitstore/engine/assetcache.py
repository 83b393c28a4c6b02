"""Sessions that were read, kept by what they are: a revision says all of a session's content."""

from __future__ import annotations

import marshal
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from gitstore.engine.collecting import uncollected
from gitstore.session.assembly import assemble
from gitstore.session.frozen import FrozenDocument, freeze_document

if TYPE_CHECKING:
    from gitstore.session.frozen import FrozenTurn
    from gitstore.session.model import SessionAsset
    from gitstore.types import Revision, SessionId

#: Bytes that the sessions of one store may take in memory.
BYTES_MAX: Final = 32 << 20
#: What one session, and one turn, take beside their content.
_OVERHEAD_BYTES: Final = 1024
_TURN_OVERHEAD_BYTES: Final = 320


@dataclass(frozen=True, slots=True)
class _Kept:
    """A document, frozen altogether: little that the garbage collector has to walk."""

    shell: bytes
    turns: list[FrozenTurn]
    size: int

    def document(self) -> FrozenDocument:
        return FrozenDocument(marshal.loads(self.shell), self.turns)  # noqa: S302 - bytes made here


class AssetCache:
    """The sessions used last. Safe to share between threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._kept: OrderedDict[tuple[SessionId, Revision], _Kept] = OrderedDict()
        self._bytes = 0

    def get(self, session_id: SessionId, revision: Revision) -> SessionAsset | None:
        """Return a session of the caller's own, if it is kept."""
        key = (session_id, revision)
        with self._mutex:
            kept = self._kept.get(key)
            if kept is None:
                return None
            self._kept.move_to_end(key)
        make = partial(assemble, kept.document(), session_id=session_id)
        asset = uncollected(make, size=kept.size)
        asset.mark_stored(revision)
        return asset

    def keep(
        self, session_id: SessionId, revision: Revision, document: FrozenDocument, *, size: int
    ) -> None:
        """Remember what was read as a session: so many bytes."""
        frozen = document if document.turns else freeze_document(document.shell)
        if frozen is None:
            return
        size += _OVERHEAD_BYTES + _TURN_OVERHEAD_BYTES * len(frozen.turns)
        if size > BYTES_MAX // 2:
            return
        kept = _Kept(marshal.dumps(frozen.shell), frozen.turns, size)
        key = (session_id, revision)
        with self._mutex:
            if key in self._kept:
                return
            self._kept[key] = kept
            self._bytes += size
            while self._bytes > BYTES_MAX:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.size
