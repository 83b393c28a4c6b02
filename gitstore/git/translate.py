"""dulwich and OS errors, as gitstore errors."""

from __future__ import annotations

import errno
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dulwich.errors import (
    ApplyDeltaError,
    ChecksumMismatch,
    FileFormatException,
    NotGitRepository,
    ObjectFormatException,
    WrongObjectException,
)

from gitstore.errors import (
    CorruptRepositoryError,
    OutOfSpaceError,
    PermissionDeniedError,
    RepositoryError,
    RepositoryNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Generator

_DAMAGE = (
    ApplyDeltaError,
    ChecksumMismatch,
    FileFormatException,
    ObjectFormatException,
    WrongObjectException,
    zlib.error,
)
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextmanager
def translated(path: str) -> Generator[None]:
    """Raise what dulwich and the operating system raise as a `RepositoryError` about `path`."""
    try:
        yield
    except NotGitRepository as error:
        raise RepositoryNotFoundError("this is no git repository", path=path) from error
    except _DAMAGE as error:
        message = f"the repository is damaged ({error}); `git fsck` says where"
        raise CorruptRepositoryError(message, path=path) from error
    except OSError as error:
        raise from_os_error(error, path=path) from error


def from_os_error(error: OSError, *, path: str) -> RepositoryError:
    """Return the `RepositoryError` that says what `error` means for the repository at `path`."""
    place = "" if error.filename is None else f" ({_text(error.filename)})"
    reason = f"{error.strerror or error}{place}"
    if error.errno in _NO_SPACE:
        return OutOfSpaceError(f"{reason}: nothing was saved; free some space", path=path)
    if error.errno in _DENIED:
        return PermissionDeniedError(f"{reason}: check who owns it and its mode", path=path)
    return RepositoryError(f"{reason}: nothing was acknowledged; try again", path=path)


def _text(name: object) -> str:
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)
