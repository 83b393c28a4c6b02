"""What a store may use to reach a remote, and how long it waits."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gitstore.errors import RemoteUnavailableError, UntrustedContentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gitstore.types import AskCredentials

#: More than a server or a hook needs to answer, and not long for a person.
TIMEOUT_SECONDS: Final = 30.0
#: Far more than a history of sessions; a server that sends without end is stopped there.
RECEIVE_BYTES_MAX: Final = 4 << 30

#: Refs and capabilities: a million branches fit.
_TALK_BYTES_MAX: Final = 128 << 20
#: A server that keeps us waiting must send this much in every so many timeouts.
_PACE_BYTES: Final = 1024
_PACE_TIMEOUTS: Final = 4
#: These say where a person keeps git's configuration; others steer git in ways that are not ours.
_GIT_SETTINGS: Final = frozenset(
    {"GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM", "GIT_EXEC_PATH"}
)
_ASKING: Final = frozenset({"SSH_ASKPASS", "SSH_ASKPASS_REQUIRE"})
_SHOWN_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How remotes are reached.

    `environment` is what the programs git and ssh may know of the caller's (PATH, HOME,
    SSH_AUTH_SOCK, proxies); without a PATH they are looked for where the system has its programs. `timeout_seconds` is how long one step may
    bring nothing, not how long a transfer may take.
    """

    #: Asked for a user name and password; git's credential helpers come after it.
    ask: AskCredentials | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout_seconds: float = TIMEOUT_SECONDS
    receive_bytes_max: int = RECEIVE_BYTES_MAX
    use_credential_helpers: bool = True
    #: The only file with keys of ssh hosts; None: the person's own, as ssh finds it.
    ssh_known_hosts: str | None = None
    #: The only key for ssh; None: those of the agent and of the person's configuration.
    ssh_identity: str | None = None
    #: The only configuration of ssh's.
    ssh_config: str | None = None
    #: The certificates to trust instead of the system's.
    ca_file: str | None = None
    #: Seconds that never go back.
    monotonic: Callable[[], float] = time.monotonic

    @property
    def programs_environment(self) -> dict[str, str]:
        """The environment of programs: nothing that steers git elsewhere, and nobody to ask."""
        kept = {
            name: value
            for name, value in self.environment.items()
            if name not in _ASKING and (not name.startswith("GIT_") or name in _GIT_SETTINGS)
        }
        home = os.path.expanduser("~")
        return {"HOME": home, "PATH": self.path, **kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}

    @property
    def path(self) -> str:
        """Where programs are looked for; empty: nowhere."""
        return self.environment.get("PATH", os.defpath)


class Meter:
    """Counts what a remote sends, and stops one that sends too much or too slowly."""

    def __init__(self, network: Network, *, remote: str) -> None:
        self.remote = remote
        self.received = 0
        self._network = network
        self._allowed = _TALK_BYTES_MAX
        self._waited = 0.0
        self._brought = 0

    def allow_pack(self) -> None:
        """Expect a pack from now on, and not only talk."""
        self._allowed += self._network.receive_bytes_max

    def moved(self, count: int, *, since: float) -> None:
        """Count bytes that came in or went out, and how long that was waited for.

        Raises:
            RemoteUnavailableError: it goes too slowly to come to an end.
        """
        self._brought += count
        self._waited += self._network.monotonic() - since
        if self._waited < _PACE_TIMEOUTS * self._network.timeout_seconds:
            return
        if self._brought < _PACE_BYTES:
            raise RemoteUnavailableError(
                f"too slow: {self._brought} bytes in {self._waited:.3g} s; try again later",
                remote=self.remote,
            )
        self._waited, self._brought = 0.0, 0

    def got(self, count: int, *, since: float) -> None:
        """Count bytes that came in.

        Raises:
            RemoteUnavailableError: they come too slowly.
            UntrustedContentError: they are too many.
        """
        self.received += count
        if self.received > self._allowed:
            raise UntrustedContentError(
                remote=self.remote,
                commit=None,
                where="what it sends",
                problem=f"is larger than {self._allowed} bytes",
            )
        self.moved(count, since=since)

    def silent(self) -> RemoteUnavailableError:
        """Return the error for a wait that brought nothing."""
        return RemoteUnavailableError(
            f"it said nothing for {self._network.timeout_seconds:g} s; try again later",
            remote=self.remote,
        )


def printable(text: str | bytes) -> str:
    """Return what a remote or a program said as a piece of one line, safe to show."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _SHOWN_MAX else line[: _SHOWN_MAX - 3] + "..."
