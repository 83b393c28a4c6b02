"""A save that is under way, in steps that suit a caller with an event loop."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitstore.engine.requests import Save
from gitstore.session import codec
from gitstore.session.frozen import freeze, thawed
from gitstore.session.ids import parse_session_id
from gitstore.session.model import SessionAsset
from gitstore.session.redact import redact_document

if TYPE_CHECKING:
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
        self._writer = writer
        self._redact = redact
        self._asset = asset
        self._document = freeze(asset)
        self._loaded = asset.revision
        self._expected = expected
        self._message = message
        self._actor = actor
        self._session_id = parse_session_id(asset.id)
        self._merged: SessionAsset | None = None
        self._saved: Saved | None = None

    @property
    def is_done(self) -> bool:
        """Whether the snapshot was committed, or was stored already."""
        return self._saved is not None

    def run(self) -> None:
        """Mask, encode and commit the snapshot."""
        masked: tuple[Masked, ...] = ()
        if self._redact is not None:
            redacted = redact_document(thawed(self._document), self._redact)
            self._document, masked = redacted.document, redacted.masked
        request = Save(
            session_id=self._session_id,
            operation="save",
            expected=self._expected,
            message=self._message,
            actor=self._actor,
            document=self._document,
            data=codec.encode(self._document, session_id=self._session_id),
            loaded=self._loaded,
        )
        self._writer.run([request])
        saved = replace(request.result(), masked=masked)
        if request.merged is not None:
            self._merged = SessionAsset.from_document(request.merged)
        self._saved = saved

    def finish(self) -> Saved:
        """Bring the caller's asset up to date, and return what was done."""
        assert self._saved is not None
        if self._merged is not None:
            self._asset.refresh(self._merged)
        self._asset.mark_stored(self._saved.revision)
        return self._saved
