"""Talking to a remote: what it has, fetching from it, pushing to it. dulwich's clients do the talking.

Every wait has a limit, every call can be given up from another thread, and nothing but errors of
`gitstore.errors` comes out.
"""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from dulwich.errors import GitProtocolError, HangupException, NotGitRepository, SendPackError
from dulwich.refs import HEADREF, check_ref_format

from gitstore.errors import (
    PushRejectedError,
    RemoteNotFoundError,
    RemoteUnavailableError,
    SyncError,
)
from gitstore.git.files import discard
from gitstore.git.remote import wire
from gitstore.git.remote.credentials import CredentialSource
from gitstore.git.remote.local import LocalClient, check_not_checked_out
from gitstore.git.remote.network import Meter, Network, printable
from gitstore.git.remote.ssh import ssh_command
from gitstore.git.remote.stream import find_program, talking_to_host, talking_to_program
from gitstore.git.remote.talk import Order, PackFile, Talk

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Generator,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from dulwich.client import GitClient
    from dulwich.objects import ObjectID
    from dulwich.pack import UnpackedObject
    from dulwich.refs import Ref

    from gitstore.git.remote.cancellation import Cancellation
    from gitstore.git.remote.stream import Stream
    from gitstore.git.remote.url import RemoteUrl
    from gitstore.git.transfer.outgoing import Outgoing
    from gitstore.types import CommitId, OnProgress

__all__ = ["Network", "Transport"]

_GIT_PORT: Final = 9418
_ID: Final = re.compile(rb"[0-9a-f]{40}")
_LONG_ID: Final = 64
_PACK_BYTES_MIN: Final = 32

#: What dulwich raises when a remote does not keep to the protocol.
_FOREIGN: Final = (
    GitProtocolError, NotGitRepository, AssertionError, LookupError, OSError, TypeError, ValueError,
)  # fmt: skip


class Transport:
    """One remote repository at one URL; `name` is what errors call it."""

    def __init__(self, url: RemoteUrl, *, name: str, network: Network) -> None:
        self._url = url
        self._name = name
        self._network = network

    def advertised(
        self, *, cancel: Cancellation, progress: OnProgress | None = None
    ) -> dict[str, str]:
        """Return what the branches of the remote point at, by ref.

        "HEAD" is among them when it points at a commit, and "HEAD@" names the branch it is on.

        Raises:
            RemoteNotFoundError: there is no such repository.
            RemoteUnavailableError: it cannot be reached, broke off, or took too long.
            AuthenticationError: it wants other credentials.
            HostKeyError: it may be somebody else's host.
        """
        with self._talking("upload-pack", cancel) as talk:
            talk.tell(progress, "connecting", 0, None, "bytes")
            found = talk.client.get_refs(talk.path.encode(), ref_prefix=[b"HEAD", b"refs/heads/"])
            refs = _decoded(found.refs, remote=self._name)
            target = found.symrefs.get(HEADREF)
        if target is not None:
            refs["HEAD@"] = target.decode(errors="replace")
        return refs

    def fetch(
        self,
        tips: Sequence[CommitId],
        *,
        have: Callable[[], Iterator[CommitId]],
        into: str,
        cancel: Cancellation,
        progress: OnProgress | None = None,
    ) -> None:
        """Write what the remote sends for some commits to a new file: a raw pack, not checked.

        `have` gives commits that we have, those first that the remote is likely to have: the pack
        may leave out what they hold. On failure there is no file.

        Raises:
            SyncError: as `advertised`; UntrustedContentError if it sends too much.
            RepositoryError: the file cannot be written.
        """
        pack = PackFile(into)
        try:
            with pack, self._talking("upload-pack", cancel) as talk:
                self._fetch(talk, pack, tips, have(), progress)
        except BaseException:
            discard(into)
            raise

    def push(
        self,
        *,
        ref: str,
        old: CommitId | None,
        new: CommitId,
        pack: Callable[[Collection[str]], Outgoing],
        cancel: Cancellation,
        progress: OnProgress | None = None,
    ) -> None:
        """Move a ref of the remote from `old` (None: it must not be there) to `new`.

        `pack` is called with the ids of all that the remote advertises. When the connection is lost
        after something was sent, the remote is asked whether it took it.

        Raises:
            PushRejectedError: the ref is elsewhere, then nothing was sent; or the remote declined.
            SyncError: as `advertised`.
        """
        order = Order(self._name, ref=ref, old=old, new=new, pack=pack)
        try:
            with self._talking("receive-pack", cancel) as talk:
                taken = self._push(talk, order, progress)
        except RemoteUnavailableError as error:
            if not order.is_sent:
                raise
            self._settle(order, error, cancel)
        else:
            if not taken:
                self._settle(order, None, cancel)

    # --- one exchange -----------------------------------------------------------

    def _fetch(
        self,
        talk: Talk,
        pack: PackFile,
        tips: Sequence[CommitId],
        have: Iterator[CommitId],
        progress: OnProgress | None,
    ) -> None:
        def wanted(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
            _check_ids(refs.values(), remote=self._name)
            talk.meter.allow_pack()
            return [tip.encode() for tip in tips]  # type: ignore[misc]  # a NewType

        def received(data: bytes) -> int:
            with talk.ours():
                talk.cancel.check()
                pack.write(data)
            talk.tell(progress, "receiving", pack.size, None, "bytes")
            return len(data)

        found = talk.client.fetch_pack(
            talk.path, wanted, wire.Haves(talk.each(have)), received, ref_prefix=[b"HEAD"]
        )
        if found.new_shallow:
            raise wire.cut_off(self._name)
        if pack.size < _PACK_BYTES_MIN:
            raise RemoteUnavailableError("it sent nothing; try again", remote=self._name)

    def _push(self, talk: Talk, order: Order, progress: OnProgress | None) -> bool:
        """Push; return whether the remote said that it took it."""
        name: Ref = order.ref.encode()  # type: ignore[assignment]  # a NewType

        def updated(refs: dict[Ref, ObjectID]) -> dict[Ref, ObjectID]:
            _check_ids(refs.values(), remote=self._name)
            order.check(refs.get(name))
            if isinstance(talk.client, LocalClient):
                check_not_checked_out(self._url.path, order.ref, remote=self._name)
            order.known = {value.decode() for value in refs.values()}
            return {name: order.new.encode()}  # type: ignore[dict-item]  # a NewType

        def generated(*_: object, **__: object) -> tuple[int, Iterator[UnpackedObject]]:
            with talk.ours():
                outgoing = order.pack(order.known)
            order.is_sent = True
            return outgoing.count, talk.counted(outgoing, progress)

        try:
            done = talk.client.send_pack(talk.path.encode(), updated, generated, talk.hear)
        except SendPackError as error:
            status = printable(error.args[0] if error.args else b"")
            raise order.rejected(status.removeprefix("unpack "), talk) from error
        if order.new == order.old:
            return True
        status_of = done.ref_status or {}
        reason = status_of.get(name)
        if reason is not None:
            raise order.rejected(reason, talk)
        return name in status_of

    def _settle(
        self, order: Order, failure: RemoteUnavailableError | None, cancel: Cancellation
    ) -> None:
        """Find out whether a push arrived, when the remote did not say."""
        cancel.check()
        try:
            found = self.advertised(cancel=cancel).get(order.ref)
        except SyncError as error:
            message = "it broke off, and whether it took the push is not known; fetch will tell"
            raise RemoteUnavailableError(message, remote=self._name) from failure or error
        if found == order.new:
            return
        if failure is not None:
            raise failure
        raise PushRejectedError(remote=self._name, ref=order.ref, reason="it did not say why")

    @contextmanager
    def _talking(self, service: str, cancel: Cancellation) -> Generator[Talk]:
        """Connect for one exchange; what goes wrong in it comes out as one of our errors."""
        cancel.check()
        talk = Talk(meter=Meter(self._network, remote=self._name), cancel=cancel)
        with self._connected(service, talk) as (talk.client, talk.path, stream):
            try:
                yield talk
            except (SyncError, *_FOREIGN) as error:
                if error is talk.failure:
                    raise
                cancel.check()
                if isinstance(error, SyncError):
                    raise
                raise self._explained(error, stream) from error

    @contextmanager
    def _connected(
        self, service: str, talk: Talk
    ) -> Generator[tuple[GitClient, str, Stream | None]]:
        url, network, meter, cancel = self._url, self._network, talk.meter, talk.cancel
        if url.scheme in ("http", "https"):
            with self._http(talk) as client:
                yield client, "", None
            return
        greeting: tuple[bytes, ...] = ()
        version = b"\0\0version=2\0" if service == "upload-pack" else b""
        if url.scheme == "git":
            assert url.host is not None
            host, port = url.host, url.port or _GIT_PORT
            about = f"host={host}:{port}".encode() + version
            greeting = (f"git-{service}".encode(), url.path.encode(), about)
            opened = talking_to_host(host, port, network=network, meter=meter, cancel=cancel)
        else:
            arguments = self._program(service)
            if arguments is None:
                yield LocalClient(), url.path, None
                return
            environment = {"GIT_PROTOCOL": "version=2"} if version else {}
            opened = talking_to_program(
                arguments, environment=environment, network=network, meter=meter, cancel=cancel
            )
        with opened as stream:
            client = wire.StreamClient(stream, remote=self._name, greeting=greeting)
            yield client, url.path, stream

    def _program(self, service: str) -> list[str] | None:
        """Return the command to talk to; None when git is not there for a repository that is."""
        if self._url.scheme == "file":
            git = find_program("git", self._network)
            return None if git is None else [git, service, self._url.path]
        ssh = find_program("ssh", self._network)
        if ssh is None:
            message = "there is no program ssh on the PATH; install it"
            raise RemoteUnavailableError(message, remote=self._name)
        return ssh_command(ssh, self._url, f"git-{service}", self._network)

    @contextmanager
    def _http(self, talk: Talk) -> Generator[GitClient]:
        from gitstore.git.remote import http  # noqa: PLC0415 -- only those who use it wait for urllib3

        network, url, cancel = self._network, self._url, talk.cancel
        credentials = CredentialSource(url, network=network, cancel=cancel, asking=talk.ours)
        with http.pool_for(url, network=network, remote=self._name, cancel=cancel) as pool:
            client = http.HttpClient(
                url,
                pool=pool,
                network=network,
                meter=talk.meter,
                credentials=credentials,
                cancel=cancel,
            )
            with closing(client):
                yield client

    def _explained(self, error: Exception, stream: Stream | None) -> SyncError:
        if isinstance(error, NotGitRepository):
            return RemoteNotFoundError(
                "there is no git repository; is the URL right?", remote=self._name
            )
        if isinstance(error, OSError):
            message = (
                f"it cannot be used ({printable(error.strerror or str(error))}); is the URL right?"
            )
            return RemoteUnavailableError(message, remote=self._name)
        if not isinstance(error, GitProtocolError):
            message = (
                f"it does not speak git as it should ({printable(str(error))}); is the URL right?"
            )
            return RemoteUnavailableError(message, remote=self._name)
        said = "" if stream is None else stream.said()
        if not said and not isinstance(error, HangupException):
            said = str(error)
        return wire.refusal(said, remote=self._name)


def _decoded(refs: Mapping[Ref, ObjectID | None], *, remote: str) -> dict[str, str]:
    """Return refs as text, without those that have no legal name, no value, or stand for others."""
    values = {name: value for name, value in refs.items() if value is not None}
    _check_ids(values.values(), remote=remote)
    return {
        name.decode(): value.decode()
        for name, value in values.items()
        if name == HEADREF or check_ref_format(name)
    }


def _check_ids(ids: Iterable[ObjectID], *, remote: str) -> None:
    for value in ids:
        if len(value) == _LONG_ID:
            raise wire.other_format(remote)
        if _ID.fullmatch(value) is None:
            raise ValueError(f"not an object id: {value!r}")
