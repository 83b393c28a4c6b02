"""What may come in under ``sessions/``."""

from __future__ import annotations

from typing import Final

from gitstore.errors import SerializationError
from gitstore.git.transfer.incoming import SessionRules
from gitstore.session import codec
from gitstore.session.codec.limits import TOO_BIG, TOO_DEEP, TOO_LONG, TOO_MANY
from gitstore.session.ids import session_id_of

_LIMITS: Final = frozenset({TOO_BIG, TOO_DEEP, TOO_LONG, TOO_MANY})


def _path_problem(path: str) -> str | None:
    return None if session_id_of(path) else "is not the place of a session with a legal id"


def _content_problem(data: bytes) -> str | None:
    """Return what makes a file dangerous to read. One that is no session only cannot be loaded."""
    try:
        codec.decode_frozen(data)
    except SerializationError as error:
        return f"is {error.problem}" if error.problem in _LIMITS else None
    return None


SESSION_RULES: Final = SessionRules(
    path_problem=_path_problem, content_problem=_content_problem, bytes_max=codec.MAX_BYTES
)
