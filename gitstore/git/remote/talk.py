"""One exchange with a remote: what is going on, how far it is, and whose fault a failure is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from gitstore.errors import PushRejectedError
from gitstore.git.remote.network import printable
from gitstore.git.translate import from_os_error
from gitstore.types import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator
    from typing import Self

    from dulwich.client import GitClient
    from dulwich.pack import UnpackedObject

    from gitstore.git.remote.cancellation import Cancellation
    from gitstore.git.remote.network import Meter
    from gitstore.git.transfer.outgoing import Outgoing
    from gitstore.types import CommitId, OnProgress

#: How often progress is told, in objects.
_STEP: Final = 256
#: What remotes say to people before they refuse: the last lines are about the refusal.
_SAID_LINES: Final = 4
_SAID_MAX: Final = 4096

_Item = TypeVar("_Item")


class Talk:
    """One exchange: who is talked to, and what failed on our side of it."""

    #: Who is talked to, and which repository there is named to them.
    client: GitClient
    path: str

    def __init__(self, *, meter: Meter, cancel: Cancellation) -> None:
        self.meter = meter
        self.cancel = cancel
        #: What our side raised, to be told from what dulwich raises about the remote.
        self.failure: BaseException | None = None
        self._said = ""

    @contextmanager
    def ours(self) -> Generator[None]:
        """Mark what is raised within as not the remote's doing."""
        try:
            yield
        except BaseException as error:
            self.failure = error
            raise

    def tell(
        self, progress: OnProgress | None, phase: str, done: int, total: int | None, unit: str
    ) -> None:
        """Tell how far it is, if somebody wants to know."""
        if progress is not None:
            with self.ours():
                progress(Progress(phase=phase, done=done, total=total, unit=unit))

    def each(self, items: Iterator[_Item]) -> Iterator[_Item]:
        """Pass items on, marking what fails in making them as ours."""
        while True:
            with self.ours():
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    def counted(self, outgoing: Outgoing, progress: OnProgress | None) -> Iterator[UnpackedObject]:
        """Pass the objects on that are sent, and tell how many they are."""
        for done, record in enumerate(self.each(outgoing.records)):
            if done % _STEP == 0:
                with self.ours():
                    self.cancel.check()
                self.tell(progress, "sending", done, outgoing.count, "objects")
            yield record
        self.tell(progress, "sending", outgoing.count, outgoing.count, "objects")

    def hear(self, text: bytes) -> None:
        """Remember the end of what the remote says to people."""
        self._said = (self._said + text.decode(errors="replace"))[-_SAID_MAX:]

    @property
    def said(self) -> str:
        """What the remote said last, on one line."""
        lines = [line for line in self._said.replace("\r", "\n").split("\n") if line.strip()]
        return printable("; ".join(lines[-_SAID_LINES:]))


class Order:
    """What a push is to do, and how far it came."""

    def __init__(
        self,
        remote: str,
        *,
        ref: str,
        old: CommitId | None,
        new: CommitId,
        pack: Callable[[Collection[str]], Outgoing],
    ) -> None:
        self.ref = ref
        self.old = old
        self.new = new
        self.pack = pack
        #: The ids that the remote has.
        self.known: Collection[str] = ()
        #: Whether the remote may have got it all.
        self.is_sent = False
        self._remote = remote

    def check(self, found: bytes | None) -> None:
        """Refuse to push onto something else than was expected."""
        actual = None if found is None else found.decode()
        if actual != self.old:
            where = "gone" if actual is None else f"at {actual}"
            reason = f"it is {where} there, and not at {self.old or 'nothing'}"
            raise PushRejectedError(remote=self._remote, ref=self.ref, reason=reason)

    def rejected(self, status: str, talk: Talk) -> PushRejectedError:
        """Return the error for what the remote answered, with what it said about it."""
        said = f" ({talk.said})" if talk.said else ""
        reason = printable(status) + said
        return PushRejectedError(remote=self._remote, ref=self.ref, reason=reason)


class PackFile:
    """A new file that takes what comes in."""

    def __init__(self, path: str) -> None:
        self.size = 0
        self._path = path
        try:
            self._file = open(path, "xb", buffering=1 << 20)  # noqa: SIM115 -- closed by __exit__
        except OSError as error:
            raise from_os_error(error, path=path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise from_os_error(error, path=self._path) from error

    def write(self, data: bytes) -> None:
        """Append to the file.

        Raises:
            RepositoryError: it cannot be written.
        """
        try:
            self._file.write(data)
        except OSError as error:
            raise from_os_error(error, path=self._path) from error
        self.size += len(data)
