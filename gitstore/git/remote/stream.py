"""Both ways of talking to a server without HTTP: a socket, and a program behind a pair of them.

A program gets one end of a pair of sockets as its standard input and output, so that timeouts,
half-closing and cancellation are the same thing for all: what waits on a socket wakes up when the
socket is shut down.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO, TYPE_CHECKING, Final

from gitstore.errors import RemoteUnavailableError
from gitstore.git.remote.network import printable

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from typing import Any

    from gitstore.git.remote.cancellation import Cancellation
    from gitstore.git.remote.network import Meter, Network

_PIECE: Final = 1 << 16
#: What a program says to people before it ends; the end of it tells why.
_SAID_MAX: Final = 1 << 14
#: Long enough for a server to notice that we hung up.
_END_SECONDS: Final = 2.0


class Stream:
    """Bytes to and from a server."""

    def __init__(self, connection: socket.socket, *, network: Network, meter: Meter) -> None:
        connection.settimeout(network.timeout_seconds)
        self._socket = connection
        self._network = network
        self._meter = meter
        self._buffer = b""

    def read(self, size: int) -> bytes:
        """Return `size` bytes, or fewer at the end.

        Raises:
            RemoteUnavailableError: nothing came for too long, or it hung up.
        """
        while len(self._buffer) < size:
            since = self._network.monotonic()
            try:
                part = self._socket.recv(max(_PIECE, size - len(self._buffer)))
            except TimeoutError as error:
                raise self._meter.silent() from error
            except OSError as error:
                raise self._hung_up(error) from error
            if not part:
                break
            self._meter.got(len(part), since=since)
            self._buffer += part
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def write(self, data: bytes) -> int:
        """Send all of `data`.

        Raises:
            RemoteUnavailableError: nothing could be sent for too long, or it hung up.
        """
        view = memoryview(data)
        while view:
            since = self._network.monotonic()
            try:
                sent = self._socket.send(view[:_PIECE])
            except TimeoutError as error:
                raise self._meter.silent() from error
            except OSError as error:
                raise self._hung_up(error) from error
            self._meter.moved(sent, since=since)
            view = view[sent:]
        return len(data)

    def can_read(self) -> bool:
        """Whether there is something to read now."""
        if self._buffer:
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def finish(self) -> None:
        """Tell the server that nothing more will be sent."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Hang up. Closing twice is fine."""
        self._socket.close()

    def said(self) -> str:
        """Return what the program at the other end said to people: nothing, without one."""
        return ""

    def _hung_up(self, error: OSError) -> RemoteUnavailableError:
        reason = error.strerror or type(error).__name__
        message = f"it hung up ({self.said() or reason}); try again"
        return RemoteUnavailableError(message, remote=self._meter.remote)


class ProgramStream(Stream):
    """Bytes to and from a program."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        connection: socket.socket,
        *,
        network: Network,
        meter: Meter,
    ) -> None:
        super().__init__(connection, network=network, meter=meter)
        assert process.stderr is not None
        self._process = process
        self._said = bytearray()
        # A daemon: a grandchild that keeps the pipe open must not keep us.
        self._listener = Thread(target=self._listen, args=(process.stderr,), daemon=True)
        self._listener.start()

    def close(self) -> None:
        """Hang up, and make sure that the program ends."""
        super().close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            kill_group(self._process)
            self._process.wait()
        self._listener.join(_END_SECONDS)

    def said(self) -> str:
        """Return what the program said to people, line by line."""
        self._listener.join(_END_SECONDS)
        return self._said.decode(errors="replace")

    def _listen(self, pipe: IO[bytes]) -> None:
        """Take all that the program says, so that it never waits for us; keep the end."""
        with pipe:
            while part := os.read(pipe.fileno(), _PIECE):
                self._said += part
                del self._said[:-_SAID_MAX]


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a program that leads a group of processes, and whatever it started."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def shut(connection: socket.socket) -> None:
    """Wake up whoever waits on a socket, in any thread: it has ended."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def find_program(name: str, network: Network) -> str | None:
    """Return the absolute path of a program, if there is one on the PATH that was given."""
    found = shutil.which(name, path=network.path) if network.path else None
    # Found by a relative entry of the PATH it could be a file of the repository's.
    return found if found is not None and os.path.isabs(found) else None


@contextmanager
def talking_to_program(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    network: Network,
    meter: Meter,
    cancel: Cancellation,
) -> Generator[Stream]:
    """Run a program, whose path is absolute, and talk to it.

    Raises:
        RemoteUnavailableError: it cannot be run.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = subprocess.Popen(  # noqa: S603 -- no shell, and no program that a repository names
                arguments,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                cwd="/",
                env={**network.programs_environment, **environment},
                start_new_session=True,  # without a terminal of its own to ask at
            )
    except OSError as error:
        ours.close()
        message = f"{arguments[0]} cannot be run ({error.strerror}); is it installed right?"
        raise RemoteUnavailableError(message, remote=meter.remote) from error
    stream = ProgramStream(process, ours, network=network, meter=meter)

    def give_up() -> None:
        kill_group(process)
        shut(ours)

    try:
        with cancel.closing(give_up):
            yield stream
    except BaseException:
        kill_group(process)
        raise
    finally:
        stream.close()


@contextmanager
def talking_to_host(
    host: str, port: int, *, network: Network, meter: Meter, cancel: Cancellation
) -> Generator[Stream]:
    """Connect to a host and talk to it.

    Raises:
        RemoteUnavailableError: it cannot be reached.
    """
    connection = connect(host, port, network=network, remote=meter.remote, cancel=cancel)
    stream = Stream(connection, network=network, meter=meter)
    try:
        with cancel.closing(partial(shut, connection)):
            yield stream
    finally:
        stream.close()


def connect(
    host: str, port: int, *, network: Network, remote: str, cancel: Cancellation
) -> socket.socket:
    """Return a connection to the first address of a host that answers.

    Raises:
        RemoteUnavailableError: none does.
        Cancelled: it was given up.
    """
    failure: OSError | None = None
    for family, kind, protocol, _, address in _addresses(host, port, network, remote, cancel):
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(network.timeout_seconds)
        try:
            with cancel.closing(partial(shut, connection)):
                connection.connect(address)
        except OSError as error:
            connection.close()
            cancel.check()
            failure = error
            continue
        except BaseException:
            connection.close()
            raise
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    if isinstance(failure, TimeoutError):
        reason = f"no answer within {network.timeout_seconds:g} s"
    else:
        reason = "it has no address" if failure is None else failure.strerror or str(failure)
    message = (
        f"cannot connect to {host}:{port} ({reason}); is the address right, and are you online?"
    )
    raise RemoteUnavailableError(message, remote=remote) from failure


def _addresses(
    host: str, port: int, network: Network, remote: str, cancel: Cancellation
) -> list[tuple[Any, ...]]:
    """Look a host up, in a thread that may be left behind: nothing can interrupt a resolver."""
    found: SimpleQueue[list[tuple[Any, ...]] | OSError | None] = SimpleQueue()

    def look_up() -> None:
        try:
            found.put(socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.put(error if isinstance(error, OSError) else OSError(str(error)))

    with cancel.closing(partial(found.put, None)):
        Thread(target=look_up, daemon=True).start()
        try:
            answer = found.get(timeout=network.timeout_seconds)
        except Empty:
            answer = OSError("the name server does not answer")
    cancel.check()
    if isinstance(answer, list):
        return answer
    reason = "" if answer is None else answer.strerror or str(answer)
    message = f"the host {host} was not found ({printable(reason)}); is the name right?"
    raise RemoteUnavailableError(message, remote=remote) from answer
