"""A session file as a value: YAML bytes to a `SessionAsset` and back, without a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitstore.session import codec
from gitstore.session.assembly import assemble
from gitstore.session.frozen import freeze

if TYPE_CHECKING:
    from gitstore.session.model import SessionAsset


def read_session(data: bytes, *, session_id: str | None = None) -> SessionAsset:
    """Return the session in the bytes of a session file; of that id, if one is given.

    Raises:
        SerializationError: the bytes are no session; `where`, `line` and `column` say where.
        UnsupportedVersionError: they were written by a newer gitstore.
    """
    document, _ = codec.decode_frozen(data, session_id=session_id)
    return assemble(document, session_id=session_id)


def dump_session(asset: SessionAsset) -> bytes:
    """Return the canonical YAML of a session, as a store writes it.

    Raises:
        SerializationError: the session holds values that cannot be stored.
    """
    return codec.encode(freeze(asset), session_id=asset.id)
