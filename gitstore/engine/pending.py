"""A save that is under way, in steps that suit a caller with an event loop."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from gitstore.engine.requests import Save
from gitstore.session import codec
from gitstore.session.frozen import freeze, thawed
from gitstore.session.ids import parse_session_id
from gitstore.session.model import SessionAsset
from gitstore.session.redact import redact_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitstore.engine.transactions import Writer
    from gitstore.session.redact import Redaction
    from gitstore.types import Expected, Masked, Saved


class PendingSave:
    """A save in three steps: only the second blocks, so only it must leave the event loop.

    Making one takes the snapshot: what the caller changes afterwards is not saved.
    """

    def __init__(
        self,
        writer: Writer,
        asset: SessionAsset,
        *,
        expected: Expected,
        message: str | None,
        actor: str | None,
        redact: Redaction | None,
    ) -> None:
        self.writer = writer
        self._redact = redact
        self._asset = asset
        self._document = freeze(asset)
        self._loaded = asset.revision
        self._expected = expected
        self._message = message
        self._actor = actor
        self._session_id = parse_session_id(asset.id)
        self._masked: tuple[Masked, ...] = ()
        self._request: Save | None = None
        self._merged: SessionAsset | None = None
        #: What went wrong before the request was made, or after it was served.
        self._error: BaseException | None = None

    @property
    def calls_back(self) -> bool:
        """Whether `run` calls functions of the caller's, which may take any time or ask for their thread."""
        rules = () if self._redact is None else self._redact.values()
        return not all(isinstance(rule, re.Pattern) for rule in rules)

    @property
    def is_done(self) -> bool:
        """Whether the snapshot was committed, or was stored already."""
        return self._error is None and self._request is not None and self._request.saved is not None

    @property
    def is_settled(self) -> bool:
        """Whether `finish` can tell how it went."""
        return self._error is not None or (self._request is not None and self._request.is_settled)

    def run(self) -> None:
        """Mask, encode and commit the snapshot; `finish` tells how that went."""
        run_together([self])

    def request(self) -> Save | None:
        """Mask and encode the snapshot, once; None if that cannot be done."""
        if self._request is None:
            try:
                self._request = self._encoded()
            except BaseException as error:  # noqa: BLE001 -- raised again by `finish`: it is this caller's alone
                self._error = error
        return self._request

    def conclude(self) -> None:
        """Read what was stored in place of the snapshot, if anything was: `finish` must be quick."""
        request = self._request
        if request is None or request.saved is None or request.merged is None:
            return
        try:
            self._merged = SessionAsset.from_document(request.merged)
        except BaseException as error:  # noqa: BLE001 -- as above
            self._error = error

    def finish(self) -> Saved:
        """Bring the caller's asset up to date, and return what was done, or raise why nothing was."""
        if self._error is not None:
            raise self._error
        assert self._request is not None
        saved = self._request.result()
        if self._masked:
            saved = replace(saved, masked=self._masked)
        if self._merged is not None:
            self._asset.refresh(self._merged)
        self._asset.mark_stored(saved.revision)
        return saved

    def _encoded(self) -> Save:
        if self._redact is not None:
            redacted = redact_document(thawed(self._document), self._redact)
            self._document, self._masked = redacted.document, redacted.masked
        return Save(
            session_id=self._session_id,
            operation="save",
            expected=self._expected,
            message=self._message,
            actor=self._actor,
            document=self._document,
            data=codec.encode(self._document, session_id=self._session_id),
            loaded=self._loaded,
        )


def run_together(group: Sequence[PendingSave]) -> None:
    """Run some saves of one writer, all in one turn; each fails alone.

    What is raised has ended the turn, as an interrupt does: a save that is not settled then may be run
    again.
    """
    try:
        requests = [request for each in group if (request := each.request()) is not None]
        group[0].writer.run(requests)
    finally:
        for each in group:
            each.conclude()
