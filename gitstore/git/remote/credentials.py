"""User names and passwords for one remote: where they come from, and in which order.

They are held in memory for one exchange, sent to the host they are for, and written nowhere.
"""

from __future__ import annotations

import subprocess
from base64 import b64encode
from functools import partial
from typing import TYPE_CHECKING, Final

from gitstore.git.remote.stream import find_program, kill_group
from gitstore.types import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from gitstore.git.remote.cancellation import Cancellation
    from gitstore.git.remote.network import Network
    from gitstore.git.remote.url import RemoteUrl

#: A helper that waits longer waits for somebody who is not there.
_HELPER_SECONDS_MAX: Final = 60.0


class CredentialSource:
    """The credentials for one URL, tried in this order: in the URL, asked for, git's helpers.

    `asking` surrounds the caller's own code, whose errors are to come out as they are.
    """

    def __init__(
        self,
        url: RemoteUrl,
        *,
        network: Network,
        cancel: Cancellation,
        asking: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._url = url
        self._asking = asking
        self._network = network
        self._cancel = cancel
        self._helper = GitHelpers(url, network=network, cancel=cancel)
        self._current: Credentials | None = None
        self._from_helper = False
        self._tried = False
        self._next = self._candidates()
        if url.password is not None:
            self._go_on()

    @property
    def header(self) -> str | None:
        """What goes into ``Authorization`` now; None: nothing."""
        if self._current is None:
            return None
        pair = f"{self._current.username}:{self._current.password}"
        return "Basic " + b64encode(pair.encode()).decode()

    @property
    def were_tried(self) -> bool:
        """Whether there were any credentials at all."""
        return self._tried

    def refused(self) -> bool:
        """Go on to the next credentials, because the remote wants others; False: there are none."""
        if self._from_helper and self._current is not None:
            self._helper.reject(self._current)
        return self._go_on()

    def accepted(self) -> None:
        """Let the helpers know that what they gave is right."""
        if self._from_helper and self._current is not None:
            self._helper.approve(self._current)
            self._from_helper = False

    def hide(self, text: str) -> str:
        """Return what a remote said without the password, should it say that."""
        if self._current is None:
            return text
        secrets = (self._current.password, (self.header or "").removeprefix("Basic "))
        for secret in filter(None, secrets):
            text = text.replace(secret, "***")
        return text

    def _go_on(self) -> bool:
        self._current = next(self._next, None)
        self._tried = self._tried or self._current is not None
        return self._current is not None

    def _candidates(self) -> Generator[Credentials]:
        if self._url.password is not None:
            yield Credentials(username=self._url.username or "", password=self._url.password)
        if self._network.ask is not None:
            with self._asking():
                asked = self._network.ask(self._url.shown)
            if asked is not None:
                yield asked
        if self._network.use_credential_helpers:
            found = self._helper.fill()
            if found is not None:
                self._from_helper = True
                yield found


class GitHelpers:
    """The credential helpers of a person's git, by way of ``git credential``.

    It is run where there is no repository: only the person's own configuration names helpers.
    """

    def __init__(self, url: RemoteUrl, *, network: Network, cancel: Cancellation) -> None:
        self._network = network
        self._cancel = cancel
        # All printable, as `parse_url` sees to: nothing in it can end a line and begin another.
        host = f"{url.host}:{url.port}" if url.port is not None else url.host
        self._about = {"protocol": url.scheme, "host": host, "path": url.path.lstrip("/")}
        if url.username is not None:
            self._about["username"] = url.username

    def fill(self) -> Credentials | None:
        """Return what the helpers know of the remote."""
        answer = self._git("fill")
        lines = {
            name: value for name, _, value in (line.partition("=") for line in answer.split("\n"))
        }
        if "password" not in lines:
            return None
        return Credentials(username=lines.get("username", ""), password=lines["password"])

    def approve(self, credentials: Credentials) -> None:
        """Let the helpers keep what was right."""
        self._git("approve", credentials)

    def reject(self, credentials: Credentials) -> None:
        """Let the helpers forget what was wrong."""
        self._git("reject", credentials)

    def _git(self, action: str, credentials: Credentials | None = None) -> str:
        """Return what ``git credential`` prints; nothing if it fails, or is not there."""
        git = find_program("git", self._network)
        if git is None:
            return ""
        about = dict(self._about)
        if credentials is not None:
            about |= {"username": credentials.username, "password": credentials.password}
        given = "".join(f"{name}={value}\n" for name, value in about.items()) + "\n"
        environment = {**self._network.programs_environment, "GIT_DIR": "/dev/null"}
        process = subprocess.Popen(  # noqa: S603 -- no shell; git of the PATH that was given
            [git, "-c", "core.askPass=", "credential", action],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
        with process, self._cancel.closing(partial(kill_group, process)):
            try:
                out, _ = process.communicate(given.encode(), timeout=_HELPER_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                kill_group(process)
                return ""
            except BaseException:
                kill_group(process)
                raise
        self._cancel.check()
        return out.decode(errors="replace") if process.returncode == 0 else ""
