"""A session file as a value: YAML bytes to a `SessionAsset` and back, without a store."""

from __future__ import annotations

from gitstore.session import codec
from gitstore.session.frozen import freeze
from gitstore.session.model import SessionAsset


def read_session(data: bytes) -> SessionAsset:
    """Return the session in the bytes of a session file.

    Raises:
        SerializationError: the bytes are no session; `where`, `line` and `column` say where.
        UnsupportedVersionError: they were written by a newer gitstore.
    """
    return SessionAsset.from_document(codec.decode(data))


def dump_session(asset: SessionAsset) -> bytes:
    """Return the canonical YAML of a session, as a store writes it.

    Raises:
        SerializationError: the session holds values that cannot be stored.
    """
    return codec.encode(freeze(asset), session_id=asset.id)
