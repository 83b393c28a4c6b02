"""git over HTTP: requests that time out, can be given up, and keep credentials to their host."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # it is documented

import urllib3
from dulwich.client import AbstractHttpGitClient
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from gitstore.errors import (
    AuthenticationError,
    InvalidRemoteError,
    RemoteNotFoundError,
    RemoteUnavailableError,
)
from gitstore.git.remote.network import printable
from gitstore.git.remote.stream import connect, shut

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator, Iterator

    from urllib3 import BaseHTTPResponse

    from gitstore.errors import SyncError
    from gitstore.git.remote.cancellation import Cancellation
    from gitstore.git.remote.credentials import CredentialSource
    from gitstore.git.remote.network import Meter, Network
    from gitstore.git.remote.url import RemoteUrl

_REDIRECTS_MAX: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE = 200, 401, 403, 404, 410
_WANTS_PROXY_PASSWORD, _SERVER_ERROR = 407, 500
_REFS: Final = "info/refs?service="
_PORTS: Final = {"http": 80, "https": 443}
_SAID_MAX: Final = 1000


class HttpClient(AbstractHttpGitClient):
    """dulwich's client over requests of our own, for one exchange."""

    def __init__(
        self,
        url: RemoteUrl,
        *,
        pool: urllib3.PoolManager,
        network: Network,
        meter: Meter,
        credentials: CredentialSource,
        cancel: Cancellation,
    ) -> None:
        super().__init__(base_of(url))
        self._pool = pool
        self._network = network
        self._meter = meter
        self._credentials = credentials
        self._cancel = cancel
        self._origin = _origin(base_of(url))
        self._bases = {base_of(url)}
        self._responses: list[BaseHTTPResponse] = []

    def close(self) -> None:
        """Hang up, also where an answer was not read to its end."""
        for response in self._responses:
            response.close()

    def _get_url(self, path: str | bytes) -> str:
        return self._base_url

    def _http_request(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,  # noqa: FBT001, FBT002 -- dulwich's interface
    ) -> tuple[Any, Callable[[int], bytes]]:
        """Return a response and what reads it, having tried what credentials there are.

        Raises:
            SyncError: there is no repository, it wants other credentials, or cannot be reached.
        """
        if not any(url.startswith(base) for base in self._bases):
            raise self._error(RemoteUnavailableError, f"it sends us elsewhere, to {_shown(url)}")
        while True:
            response, where = self._follow(url, headers or {}, data)
            if response.status != _UNAUTHORIZED:
                break
            response.drain_conn()
            response.release_conn()
            self._unauthorized(where, again=not (data is not None and not isinstance(data, bytes)))
        self._check(response, is_refs=data is None)
        self._credentials.accepted()
        # What dulwich looks at.
        response.content_type = response.headers.get("Content-Type")  # type: ignore[attr-defined]
        response.redirect_location = where if where != url else ""  # type: ignore[attr-defined]
        if _REFS in where:
            self._bases.add(where[: where.index(_REFS)])
        return response, partial(self._read, response)

    def _follow(
        self, url: str, headers: dict[str, str], data: bytes | Iterator[bytes] | None
    ) -> tuple[BaseHTTPResponse, str]:
        """Return the answer to a request, and its URL; the question for refs may be redirected."""
        for _ in range(_REDIRECTS_MAX):
            response = self._ask(url, headers, data)
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or target is None:
                return response, url
            response.drain_conn()
            response.release_conn()
            url = self._redirected(url, urljoin(url, target), may_follow=data is None)
        raise self._error(RemoteUnavailableError, "it redirects in circles; is the URL right?")

    def _redirected(self, url: str, target: str, *, may_follow: bool) -> str:
        old, new = urlsplit(url), urlsplit(target)
        allowed = {"https"} if old.scheme == "https" else {"http", "https"}
        service = _REFS + url.rpartition(_REFS)[2]
        if not may_follow or new.scheme not in allowed or not target.endswith(service):
            message = f"it redirects to {_shown(target)}, which is not followed; is the URL right?"
            raise self._error(RemoteUnavailableError, message)
        # Without the user name that it may try to give us.
        return new._replace(netloc=new.netloc.rpartition("@")[2]).geturl()

    def _ask(
        self, url: str, headers: dict[str, str], data: bytes | Iterator[bytes] | None
    ) -> BaseHTTPResponse:
        self._cancel.check()
        sent = {"User-Agent": "git/gitstore", "Pragma": "no-cache", **headers}
        header = self._credentials.header
        if header is not None and _origin(url) == self._origin:
            sent["Authorization"] = header
        try:
            response = self._pool.request(
                "GET" if data is None else "POST",
                url,
                body=data,
                headers=sent,
                preload_content=False,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(
                    connect=self._network.timeout_seconds, read=self._network.timeout_seconds
                ),
            )
        except urllib3.exceptions.HTTPError as error:
            raise self._failed(error) from error
        self._responses.append(response)
        return response

    def _read(self, response: BaseHTTPResponse, size: int) -> bytes:
        """Return `size` bytes of a response, or fewer at its end."""
        parts: list[bytes] = []
        while size:
            since = self._network.monotonic()
            try:
                part = response.read1(size)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise self._failed(error) from error
            if not part:
                break
            self._meter.got(len(part), since=since)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _unauthorized(self, where: str, *, again: bool) -> None:
        """Go on to the next credentials, or give up."""
        if _origin(where) != self._origin:
            message = f"it redirects to {_shown(where)}, which wants credentials; use that URL"
            raise self._error(AuthenticationError, message)
        if again and self._credentials.refused():
            return
        if self._credentials.were_tried:
            message = "it refused user name or password; check them"
        else:
            message = (
                "it wants a user name and password, and there are none; "
                "set up a credential helper (`git help credentials`), or pass credentials="
            )
        raise self._error(AuthenticationError, message)

    def _check(self, response: BaseHTTPResponse, *, is_refs: bool) -> None:
        status = response.status
        kind = response.headers.get("Content-Type") or ""
        if status == _OK and (not is_refs or kind.startswith("application/x-git-")):
            return
        said = "" if "html" in kind else self._said(response)
        shown = f"HTTP {status}" + (f": {said}" if said else "")
        if status == _FORBIDDEN:
            message = f"it does not let you in ({shown}); may this user use the repository?"
            raise self._error(AuthenticationError, message)
        if status in (_OK, _NOT_FOUND, _GONE) or status in _REDIRECTS:
            message = f"there is no git repository that you may use ({shown}); is the URL right?"
            raise self._error(RemoteNotFoundError, message)
        if status == _WANTS_PROXY_PASSWORD:
            raise self._error(
                AuthenticationError, "the proxy wants credentials; put them into its URL"
            )
        when = "try again later" if status >= _SERVER_ERROR else "is the URL right?"
        raise self._error(RemoteUnavailableError, f"it answered {shown}; {when}")

    def _said(self, response: BaseHTTPResponse) -> str:
        try:
            return printable(
                self._credentials.hide(response.read(_SAID_MAX).decode(errors="replace"))
            )
        except (urllib3.exceptions.HTTPError, OSError):
            return ""

    def _failed(self, error: Exception) -> SyncError:
        if isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError):
            return self._meter.silent()
        if isinstance(error, urllib3.exceptions.LocationParseError):
            return self._error(InvalidRemoteError, "the URL cannot be used")
        if isinstance(error, urllib3.exceptions.SSLError | ssl.SSLError):
            reason = printable(str(error.args[0] if error.args else error))
            return self._error(
                RemoteUnavailableError, f"its certificate cannot be trusted ({reason})"
            )
        reason = printable(self._credentials.hide(str(error)))
        return self._error(RemoteUnavailableError, f"it hung up ({reason}); try again")

    def _error(self, kind: Callable[..., SyncError], message: str) -> SyncError:
        return kind(message, remote=self._meter.remote)


@contextmanager
def pool_for(
    url: RemoteUrl, *, network: Network, remote: str, cancel: Cancellation
) -> Generator[urllib3.PoolManager]:
    """Make the connections for one exchange; all are closed after it, and when it is given up."""
    opened: list[socket.socket] = []

    def dial(host: str, port: int) -> socket.socket:
        connection = connect(host, port, network=network, remote=remote, cancel=cancel)
        # TLS takes the socket over; a second handle on it can still be shut down.
        opened.append(connection.dup())
        return connection

    def give_up() -> None:
        for connection in opened:
            shut(connection)

    context = ssl.create_default_context(cafile=network.ca_file)
    options: dict[str, Any] = {"ssl_context": context, "maxsize": 1}
    proxy = _proxy(url, network)
    pool = urllib3.PoolManager(**options) if proxy is None else _proxied(proxy, options)
    pool.pool_classes_by_scheme = _pools(dial)
    try:
        with cancel.closing(give_up):
            yield pool
    finally:
        pool.clear()
        for connection in opened:
            connection.close()


def base_of(url: RemoteUrl) -> str:
    """Return the URL that requests begin with: without credentials, with a slash at the end."""
    port = "" if url.port is None else f":{url.port}"
    path = quote(url.path, safe="/%:@!$&'()*+,;=~-._")
    return f"{url.scheme}://{url.host}{port}{path.rstrip('/')}/"


def _pools(dial: Callable[[str, int], socket.socket]) -> dict[str, Any]:
    """Return urllib3's pools with connections that `dial` opens."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return dial(self._dns_host, self.port)

    class Encrypted(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return dial(self._dns_host, self.port)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain  # type: ignore[mutable-override]  # made for this

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted  # type: ignore[mutable-override]  # made for this

    return {"http": PlainPool, "https": EncryptedPool}


def _proxy(url: RemoteUrl, network: Network) -> str | None:
    """Return the proxy that the environment names for a URL, as curl reads it."""
    given = {name.lower(): value for name, value in network.environment.items() if value}
    # In a CGI program HTTP_PROXY is a header of the request.
    plain = network.environment.get("http_proxy")
    proxy = (plain if url.scheme == "http" else given.get("https_proxy")) or given.get("all_proxy")
    if proxy is None or proxy_bypass_environment(url.host or "", {"no": given.get("no_proxy", "")}):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _proxied(proxy: str, options: dict[str, Any]) -> urllib3.PoolManager:
    parts = urlsplit(proxy)
    login, _, where = parts.netloc.rpartition("@")
    headers = urllib3.make_headers(proxy_basic_auth=unquote(login)) if login else None
    address = f"{parts.scheme}://{where}"
    return urllib3.ProxyManager(address, proxy_headers=headers, **options)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
