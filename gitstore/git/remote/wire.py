"""The git protocol, spoken by dulwich over a `Stream`, and what remotes mean when they refuse."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Final

from dulwich.client import TraditionalGitClient
from dulwich.protocol import Protocol

from gitstore.errors import (
    AuthenticationError,
    HostKeyError,
    RemoteNotFoundError,
    RemoteUnavailableError,
    UntrustedContentError,
)
from gitstore.git.remote.network import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dulwich.objects import ObjectID

    from gitstore.errors import SyncError
    from gitstore.git.remote.stream import Stream
    from gitstore.types import CommitId

#: More than any branch is ahead of what a remote knows; else a little too much is sent.
_HAVES_MAX: Final = 1024

_HOST_KEY: Final = ("host key verification failed", "host identification has changed")
_DENIED: Final = ("permission denied (", "too many authentication failures")
_OWNER: Final = ("dubious ownership",)
_ABSENT: Final = (
    "does not appear to be a git repository",
    "not a git repository",
    "repository not exported",
    "repository not found",
    "project you were looking for could not be found",
    "no such file or directory",
    "service not enabled",
)


class Wire(Protocol):
    """Packets over a stream; knows an error, and a history that is cut off, for what they are."""

    def __init__(self, stream: Stream, *, remote: str) -> None:
        # Whoever opened the stream closes it: dulwich forgets to when the first packet is an error.
        super().__init__(stream.read, stream.write, shutdown_write=stream.finish)
        self._remote = remote

    def read_pkt_line(self) -> bytes | None:
        """Return the next packet.

        Raises:
            SyncError: the remote refuses, or has only a part of its history.
        """
        line = super().read_pkt_line()
        if line is not None and line.startswith(b"ERR "):
            raise refusal(printable(line[4:]), remote=self._remote)
        if line is not None and line.startswith(b"shallow"):
            raise cut_off(self._remote)
        return line


class StreamClient(TraditionalGitClient):
    """dulwich's client on one stream, for one exchange."""

    def __init__(self, stream: Stream, *, remote: str, greeting: tuple[bytes, ...]) -> None:
        super().__init__()
        self._stream = stream
        self._remote = remote
        self._greeting = greeting

    def _connect(
        self,
        cmd: bytes,
        path: str | bytes,
        protocol_version: int | None = None,
    ) -> tuple[Protocol, Callable[[], bool], IO[bytes] | None]:
        wire = Wire(self._stream, remote=self._remote)
        if self._greeting:
            wire.send_cmd(*self._greeting)
        return wire, self._stream.can_read, None


class Haves:
    """What we have, in the form in which dulwich asks: None is the end."""

    def __init__(self, commits: Iterator[CommitId]) -> None:
        self._commits = commits
        self._left = _HAVES_MAX

    def __next__(self) -> ObjectID | None:
        commit = next(self._commits, None) if self._left else None
        self._left -= 1
        return None if commit is None else commit.encode()  # type: ignore[return-value]  # NewType

    def ack(self, sha: ObjectID) -> None:
        """Stop: the newest that both have is what the pack is made against."""
        self._left = 0

    def nak(self) -> None:
        """Go on."""


def refusal(said: str, *, remote: str) -> SyncError:
    """Return what a remote, ssh or git means by what it said: the last lines, in any case."""
    text = said.lower()
    lines = [line for line in said.splitlines() if line.strip()]
    shown = printable(_telling(lines))
    if any(sign in text for sign in _HOST_KEY):
        changed = "is another than the known one" if "has changed" in text else "is unknown"
        return HostKeyError(
            f"the key of this host {changed}; compare it with what its owner says, "
            "then put it into your known_hosts file (`ssh-keyscan HOST`)",
            remote=remote,
        )
    if any(sign in text for sign in _DENIED):
        return AuthenticationError(
            f"it refused the key ({shown}); load the right one with `ssh-add`", remote=remote
        )
    if any(sign in text for sign in _OWNER):
        return RemoteNotFoundError(
            "the repository belongs to another user, and git does not use it; if you trust them, "
            "run `git config --global --add safe.directory PATH`",
            remote=remote,
        )
    if any(sign in text for sign in _ABSENT):
        return RemoteNotFoundError(
            f"there is no git repository that you may use ({shown}); is the URL right?",
            remote=remote,
        )
    return RemoteUnavailableError(
        f"it broke off ({shown or 'without a word'}); try again", remote=remote
    )


def cut_off(remote: str) -> UntrustedContentError:
    """Return the error for a remote that is a shallow clone."""
    return UntrustedContentError(
        remote=remote,
        commit=None,
        where="its history",
        problem="is cut off (it is a shallow clone; run `git fetch --unshallow` there)",
    )


def other_format(remote: str) -> RemoteNotFoundError:
    """Return the error for a remote whose objects have other names."""
    message = "it is no SHA-1 repository; make one with `git init --object-format=sha1`"
    return RemoteNotFoundError(message, remote=remote)


def _telling(lines: list[str]) -> str:
    """Return the line that says most: the one git calls fatal, or the last."""
    fatal = [line for line in lines if line.startswith(("fatal: ", "error: ", "ERROR: "))]
    return (fatal or lines or [""])[0 if fatal else -1]
