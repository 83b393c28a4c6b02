"""The remotes of a repository, in its own configuration: read and written as `git remote` does."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dulwich.file import FileLocked
from dulwich.refs import DiskRefsContainer, check_ref_format

from gitstore.errors import (
    CorruptRepositoryError,
    InvalidRemoteError,
    RemoteNotFoundError,
    RepositoryLockedError,
)
from gitstore.git.configtext import ConfigText
from gitstore.git.remote.url import masked, parse_url
from gitstore.git.translate import translated
from gitstore.types import Remote

if TYPE_CHECKING:
    from collections.abc import Callable

    from dulwich.refs import Ref

    from gitstore.git.files import Disk
    from gitstore.git.location import Location
    from gitstore.git.lock import Workshop
    from gitstore.git.remote.url import RemoteUrl

_HEADS: Final = "refs/heads/"
#: User names of web servers are shorter; tokens that stand in their place are not.
_TOKEN_CHARS: Final = 20
_TRACKING: Final = "refs/remotes/"
#: What git calls a remote that nobody named.
_ORIGIN: Final = "origin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A remote, and what the store's branch is there and here."""

    name: str
    url: RemoteUrl
    push_url: RemoteUrl
    #: The branch there.
    branch: str
    #: The remote-tracking ref here.
    ref: str


class Remotes:
    """The remotes of one repository, as seen from one branch.

    The configuration is read afresh each time, and written line by line under git's lock.
    """

    def __init__(self, location: Location, *, branch: str, disk: Disk, workshop: Workshop) -> None:
        self._config = location.config
        self._path = location.path
        self._common = location.common
        self._folder = location.root or location.common
        self._branch = branch
        self._disk = disk
        self._workshop = workshop

    def all(self) -> list[Remote]:
        """Return the remotes in the order of the configuration."""
        with translated(self._path):
            default = self.default()
            return [
                Remote(
                    name=name,
                    url=self._shown(self._url(name)),
                    branch=self._branch_of(name),
                    is_default=name == default,
                )
                for name in self._names()
            ]

    def default(self) -> str | None:
        """Return the remote to use: the branch's own, else the only one, else origin."""
        with translated(self._path):
            names = self._names()
            own = self._config.get(f"branch.{self._branch}", "remote")
        if own in names:
            return own
        if len(names) == 1:
            return names[0]
        return _ORIGIN if _ORIGIN in names else None

    def find(self, name: str | None) -> Tracked:
        """Return a remote by its name; None is the default.

        Raises:
            RemoteNotFoundError: there is none, or none that is the one to use.
            InvalidRemoteError: its URL cannot be used, or what the branch follows is no branch.
        """
        known = self._names_now()
        chosen = self.default() if name is None else name
        if chosen is None:
            problem = f"name one of {', '.join(known)}" if known else "add one (`git remote add`)"
            message = f"there is no default remote; {problem}"
            raise RemoteNotFoundError(message, remote=_ORIGIN)
        if chosen not in known:
            raise self._unknown(chosen)
        with translated(self._path):
            branch = self._branch_of(chosen)
            if branch.startswith("refs/") or not check_ref_format(_ref(_HEADS + branch)):
                message = (
                    f"branch.{self._branch}.merge names {branch!a}, which is no branch; run "
                    f"`git config branch.{self._branch}.merge {_HEADS}{self._branch}`"
                )
                raise InvalidRemoteError(message, remote=chosen)
            return Tracked(
                name=chosen,
                url=self._parsed(self._url(chosen)),
                push_url=self._parsed(self._push_url(chosen)),
                branch=branch,
                ref=self._ref_of(chosen, branch),
            )

    def add(self, name: str, url: str) -> None:
        """Add a remote; the store's branch follows it, if it follows none yet.

        Raises:
            InvalidRemoteError: the name is taken or no name, or the URL cannot be written down.
        """
        if not _is_name(name):
            message = "not a name for a remote; use letters, digits and dashes"
            raise InvalidRemoteError(message, remote=ascii(name))
        self._check_url(url)
        section, branch = f"remote.{name}", f"branch.{self._branch}"

        def add(text: ConfigText) -> None:
            if text.has(section):
                message = "there is a remote of that name; remove it first, or choose another name"
                raise InvalidRemoteError(message, remote=name)
            text.set(section, "url", url)
            text.set(section, "fetch", f"+{_HEADS}*:{_TRACKING}{name}/*")
            if not text.has(branch, "remote") and not text.has(branch, "merge"):
                text.set(branch, "remote", name)
                text.set(branch, "merge", _HEADS + self._branch)

        self._edit(add)

    def remove(self, name: str) -> None:
        """Remove a remote, its remote-tracking refs, and what says that branches follow it.

        Raises:
            RemoteNotFoundError: there is none of that name.
        """
        if name not in self._names_now():
            raise self._unknown(name)
        followers = [
            branch
            for branch in self._config.subsections("branch")
            if self._config.get(f"branch.{branch}", "remote") == name
        ]

        def remove(text: ConfigText) -> None:
            text.remove_section(f"remote.{name}")
            for branch in followers:
                text.remove(f"branch.{branch}", "remote")
                text.remove(f"branch.{branch}", "merge")
                text.remove_empty(f"branch.{branch}")

        # The refs first: without them the remote is only asked again, but under a new remote of
        # the same name they would be taken for its own.
        with translated(self._path):
            self._forget_refs(name)
        self._edit(remove)

    def set_url(self, name: str, url: str) -> None:
        """Give a remote another URL; what it pushes to stays if that is set apart.

        Raises:
            RemoteNotFoundError: there is none of that name.
            InvalidRemoteError: the URL cannot be written down.
        """
        if name not in self._names_now():
            raise self._unknown(name)
        self._check_url(url)
        self._edit(lambda text: text.set(f"remote.{name}", "url", url))

    def set_default(self, section: str, name: str, value: str) -> bool:
        """Set an option if it has no value yet; return whether it was set."""
        with translated(self._path):
            if self._config.get(section, name) is not None:
                return False
        done = False

        def set_it(text: ConfigText) -> None:
            nonlocal done
            if not text.has(section, name):
                text.set(section, name, value)
                done = True

        self._edit(set_it)
        return done

    # --- reading ----------------------------------------------------------------

    def _names_now(self) -> list[str]:
        with translated(self._path):
            return self._names()

    def _names(self) -> list[str]:
        names = dict.fromkeys(self._config.subsections("remote"))
        return [name for name in names if self._config.every(f"remote.{name}", "url")]

    def _url(self, name: str) -> str:
        # The first is fetched from; a push to several at once is not supported.
        return self._rewritten(self._config.every(f"remote.{name}", "url")[0], "insteadof")

    def _push_url(self, name: str) -> str:
        own = self._config.every(f"remote.{name}", "pushurl")
        if own:
            return self._rewritten(own[0], "insteadof")
        url = self._config.every(f"remote.{name}", "url")[0]
        rewritten = self._rewritten(url, "pushinsteadof")
        return self._url(name) if rewritten == url else rewritten

    def _rewritten(self, url: str, option: str) -> str:
        """Apply ``url.<base>.insteadOf``: the longest beginning counts."""
        matches = [
            (len(beginning), base)
            for base in self._config.subsections("url")
            for beginning in self._config.every(f"url.{base}", option)
            if url.startswith(beginning)
        ]
        if not matches:
            return url
        length, base = max(matches, key=lambda match: match[0])
        return base + url[length:]

    def _branch_of(self, name: str) -> str:
        section = f"branch.{self._branch}"
        merge = self._config.get(section, "merge")
        if merge is None or self._config.get(section, "remote") != name:
            return self._branch
        return merge.removeprefix(_HEADS)

    def _ref_of(self, name: str, branch: str) -> str:
        """Return what the fetch refspecs map a branch to, below refs/remotes/ in any case."""
        source = _HEADS + branch
        for spec in self._config.every(f"remote.{name}", "fetch"):
            left, _, right = spec.removeprefix("+").partition(":")
            before, star, after = left.partition("*")
            if star and source.startswith(before) and source.endswith(after):
                middle = source[len(before) : len(source) - len(after)]
                target = right.replace("*", middle, 1)
            else:
                target = right if left == source else ""
            if target.startswith(_TRACKING) and check_ref_format(_ref(target)):
                return target
        return f"{_TRACKING}{name}/{branch}"

    def _parsed(self, url: str) -> RemoteUrl:
        return parse_url(url, folder=self._folder)

    def _shown(self, url: str) -> str:
        try:
            return self._parsed(url).shown
        except InvalidRemoteError:
            return masked(url)

    def _check_url(self, url: str) -> None:
        parsed = self._parsed(url)
        is_token = parsed.scheme in ("http", "https") and len(parsed.username or "") >= _TOKEN_CHARS
        if parsed.password is not None or is_token:
            what = "password" if parsed.password is not None else "token for a user name"
            message = (
                f"the URL has a {what}, which would be written down; leave it out, and let "
                "a credential helper keep it (`git help credentials`)"
            )
            raise InvalidRemoteError(message, remote=masked(url))

    def _unknown(self, name: str) -> RemoteNotFoundError:
        known = ", ".join(self._names_now()) or "none"
        message = f"there is no remote of that name; known: {known}"
        return RemoteNotFoundError(message, remote=masked(name))

    # --- writing ----------------------------------------------------------------

    def _edit(self, change: Callable[[ConfigText], None]) -> None:
        """Change the configuration under git's lock; on an error it stays as it was."""
        with translated(self._path), self._workshop.writing():
            # Some keep it elsewhere, and git writes through the link.
            path = os.path.realpath(os.path.join(self._common, "config"))
            lock = self._workshop.lock(path)
            try:
                with open(path, "rb") as file:
                    before = file.read()
                    mode = os.fstat(file.fileno()).st_mode & 0o7777
                text = ConfigText(before)
                change(text)
                if text.data() == before:
                    return
                if not text.is_sound():
                    message = "it breaks off in the middle of a value; repair it with an editor"
                    raise CorruptRepositoryError(message, path=path)
                lock.stage(text.data())
                os.chmod(path + ".lock", mode)
                lock.publish()
            finally:
                lock.release()
            self._disk.sync_folder(os.path.dirname(path))

    def _forget_refs(self, name: str) -> None:
        """Remove the remote-tracking refs of a remote, and their reflogs."""
        base = f"{_TRACKING}{name}/"
        others = tuple(f"{_TRACKING}{other}/" for other in self._names() if other != name)
        refs = DiskRefsContainer(self._common)
        for key in refs.subkeys(_ref(base)):
            ref = base + key.decode()
            if ref.startswith(tuple(other for other in others if other.startswith(base))):
                continue
            try:
                refs.remove_if_equals(_ref(ref), None)
            except FileLocked as error:
                lock = os.path.join(self._common, ref + ".lock")
                message = f"{lock} is there; if no git command is running, remove it and try again"
                raise RepositoryLockedError(message, path=self._path, lock=lock) from error
            log = os.path.join(self._common, "logs", ref)
            if os.path.isfile(log):
                os.unlink(log)
        if not any(other.startswith(base) for other in others):
            shutil.rmtree(os.path.join(self._common, "logs", base), ignore_errors=True)


def _is_name(name: str) -> bool:
    return (
        name.isprintable()
        and not name.startswith("-")
        and check_ref_format(_ref(f"{_TRACKING}{name}/test"))
    )


def _ref(name: str) -> Ref:
    return name.encode(errors="replace")  # type: ignore[return-value]  # a NewType
