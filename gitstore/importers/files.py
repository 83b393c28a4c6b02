"""Reading what somebody hands over: any trouble is one documented error that names the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gitstore import SerializationError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

#: Bytes of one file. A session file may have 16 MiB; the same session as JSON is never four times
#: as long.
INPUT_BYTES_MAX: Final = 64 << 20


def read_file(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        SerializationError: it cannot be read, or is larger than `INPUT_BYTES_MAX`.
    """
    try:
        with path.open("rb") as stream:
            return read_stream(stream, name=str(path))
    except (OSError, ValueError) as error:
        if isinstance(error, SerializationError):
            raise
        # A ValueError is a path with a NUL in it.
        reason = (isinstance(error, OSError) and error.strerror) or "it is no file name"
        problem = f"cannot be read: {reason}; check the path and its permissions"
        raise SerializationError(problem, where=str(path)) from error


def read_stream(stream: BinaryIO, *, name: str) -> bytes:
    """Return all that a stream still holds.

    Raises:
        SerializationError: it is more than `INPUT_BYTES_MAX`.
    """
    data = stream.read(INPUT_BYTES_MAX + 1)
    if len(data) > INPUT_BYTES_MAX:
        problem = f"is larger than {INPUT_BYTES_MAX >> 20} MiB; move large content out of it"
        raise SerializationError(problem, where=name)
    return data


def in_file(error: SerializationError, *, name: str) -> SerializationError:
    """Return the same finding, with the name of the file in front of the place."""
    return SerializationError(
        error.problem,
        where=f"{name}: {error.where}",
        session_id=error.session_id,
        line=error.line,
        column=error.column,
    )
