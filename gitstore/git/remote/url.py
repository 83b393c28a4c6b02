"""URLs of remotes, by a list of what is allowed. Nothing here runs a program that a URL names."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote

from gitstore.errors import InvalidRemoteError

Scheme: TypeAlias = Literal["file", "ssh", "http", "https", "git"]

_SCHEMES: Final[dict[str, Scheme]] = {
    "file": "file",
    "ssh": "ssh",
    "http": "http",
    "https": "https",
    "git": "git",
}
_WITH_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)")
_HELPER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.-]*::")
#: As git tells ``host:path`` from a local path: the colon comes before any slash.
_SCP_LIKE: Final = re.compile(r"(?:([^@/]*)@)?(\[[^\]/]*\]|[^:/\[\]]+):(.*)")
_AUTHORITY: Final = re.compile(r"(?:([^@]*)@)?(\[[^\]]*\]|[^:\[\]@]*)(?::(\d*))?")
_HOST: Final = re.compile(r"[\w.-]+|\[[0-9A-Fa-f:.]+(?:%\w+)?\]")
_SECRETS: Final = re.compile(r"(?<=://)[^/]*@|^[^/@:]*:[^/@]*@")
_PORT_MAX: Final = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteUrl:
    """Where a remote is. `path` is decoded for all schemes but http and https.

    A path of ssh without a leading slash is below the home folder there; of the scheme file it is
    absolute. `host` is in brackets when it is an address of IPv6.
    """

    scheme: Scheme
    host: str | None = None
    port: int | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    path: str
    #: As it was given.
    text: str = field(repr=False)
    #: As it may be shown: without user name and password.
    shown: str


def parse_url(text: str, *, folder: str) -> RemoteUrl:
    """Return the parts of a URL; a relative local path begins at `folder`.

    Raises:
        InvalidRemoteError: it is empty, of another scheme, or made to be taken for something else.
    """
    if not text.strip():
        raise InvalidRemoteError("the URL is empty; give a path or a URL", remote=masked(text))
    if not text.isprintable():
        raise _invalid(text, "it has control characters")
    if match := _WITH_SCHEME.fullmatch(text):
        scheme = _SCHEMES.get(match[1].lower())
        if scheme is None:
            raise _invalid(text, f"the scheme {match[1]}:// is not one of {', '.join(_SCHEMES)}")
        return _with_scheme(text, scheme, match[2])
    if _HELPER.match(text):
        raise _invalid(text, "remote helpers are not run")
    if match := _SCP_LIKE.fullmatch(text):
        user, host, path = match.groups()
        return _ssh(text, user=user, host=host, port=None, path=path)
    path = os.path.abspath(os.path.join(folder, text))
    return RemoteUrl(scheme="file", path=path, text=text, shown=text)


def masked(text: str) -> str:
    """Return the text of a URL, even of an invalid one, without user name and password."""
    return _SECRETS.sub("", "".join(c if c.isprintable() else "?" for c in text))


def _with_scheme(text: str, scheme: Scheme, rest: str) -> RemoteUrl:
    authority, slash, path = rest.partition("/")
    path = slash + path
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise _invalid(text, "host and port cannot be told apart")
    userinfo, host, port = match.groups()
    username, _, password = (userinfo or "").partition(":")
    if scheme not in ("http", "https"):
        if password:
            raise _invalid(text, f"{scheme} takes no password")
        path = unquote(path)
    if scheme == "file":
        return _file(text, host, path)
    number = _port(text, port)
    if scheme == "ssh":
        user = unquote(username) if userinfo else None
        home = path.removeprefix("/") if path.startswith("/~") else path
        return _ssh(text, user=user, host=host, port=number, path=home)
    _check_host(text, host)
    if scheme == "git" and userinfo:
        raise _invalid(text, "git:// takes no user name")
    if scheme == "git" and not path.strip("/"):
        raise _invalid(text, "it has no path")
    if scheme != "git" and ("?" in path or "#" in path):
        raise _invalid(text, "it has a query or a fragment")
    _check_text(text, path, unquote(userinfo or ""))
    return RemoteUrl(
        scheme=scheme,
        host=host,
        port=number,
        username=unquote(username) if username else None,
        password=unquote(password) if password else None,
        path=path,
        text=text,
        shown=masked(text),
    )


def _file(text: str, host: str, path: str) -> RemoteUrl:
    if host not in ("", "localhost") or not path.startswith("/"):
        raise _invalid(text, "a file URL has three slashes and names no host")
    _check_text(text, path)
    return RemoteUrl(scheme="file", path=os.path.normpath(path), text=text, shown=masked(text))


def _ssh(text: str, *, user: str | None, host: str, port: int | None, path: str) -> RemoteUrl:
    _check_host(text, host)
    if user is not None and (not user or user.startswith("-") or ":" in user):
        raise _invalid(text, "the user name could be taken for something else")
    if not path.strip("/") or path.startswith("-"):
        raise _invalid(text, "it has no path, or one that could be taken for an option")
    _check_text(text, path, user or "")
    return RemoteUrl(
        scheme="ssh",
        host=host,
        port=port,
        username=user,
        path=path,
        text=text,
        shown=masked(text) if "://" in text else text[len(user) + 1 :] if user else text,
    )


def _port(text: str, port: str | None) -> int | None:
    if not port:
        return None
    if not 0 < int(port[:6]) <= _PORT_MAX:
        raise _invalid(text, "there is no such port")
    return int(port)


def _check_host(text: str, host: str) -> None:
    if host.startswith("-") or _HOST.fullmatch(host) is None:
        raise _invalid(text, "that is no name of a host")


def _check_text(text: str, *parts: str) -> None:
    """Check what percent signs may have hidden."""
    if not all(part.isprintable() for part in parts):
        raise _invalid(text, "it has control characters")


def _invalid(text: str, problem: str) -> InvalidRemoteError:
    message = f"not a URL that can be used: {problem}; use a path, ssh://, https:// or git://"
    return InvalidRemoteError(message, remote=masked(text))
