"""Which revisions are canonical: a save over one that is not must keep what a person wrote into it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gitstore.types import Revision

_KEPT_MAX: Final = 4096


class Forms:
    """The forms of the revisions that were read or written last. Safe to share between threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._canonical: OrderedDict[Revision, bool] = OrderedDict()

    def is_canonical(self, revision: Revision) -> bool | None:
        """Return whether a revision is canonical; None if its bytes must be asked."""
        return self._canonical.get(revision)

    def note(self, revision: Revision, *, is_canonical: bool) -> None:
        """Remember what was found in the bytes of a revision."""
        with self._mutex:
            self._canonical[revision] = is_canonical
            if len(self._canonical) > _KEPT_MAX:
                self._canonical.popitem(last=False)
