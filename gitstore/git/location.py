"""Where a repository is, and whether gitstore may and can use it."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dulwich.refs import check_ref_format
from dulwich.repo import Repo

from gitstore.errors import (
    CorruptRepositoryError,
    RepositoryError,
    RepositoryLockedError,
    RepositoryNotFoundError,
    UnsafePathError,
    UnsupportedRepositoryError,
    UntrustedOwnerError,
)
from gitstore.git.config import TRUE, Config
from gitstore.git.configtext import ConfigText
from gitstore.git.files import Disk
from gitstore.git.lock import flocked

if TYPE_CHECKING:
    from collections.abc import Generator

    from gitstore.types import Runtime

_ADVICE = {
    "refstorage": "use the files format (`git init --ref-format=files`, then push there)",
    "objectformat": "use SHA-1 (`git init --object-format=sha1`)",
}
_KNOWN_EXTENSIONS = {
    "noop": None,
    "worktreeconfig": None,
    "objectformat": "sha1",
    "refstorage": "files",
}
_MERGE_STATES = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD")
_INIT_PREFIX = ".gitstore-init-"
#: Making one takes a few milliseconds.
_CREATE_SECONDS_MAX = 10.0
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """The folders of a repository, all absolute."""

    #: What the caller named.
    path: str
    #: Root of the working tree; None in a bare repository.
    root: str | None
    #: The git directory of this working tree: HEAD, index.
    control: str
    #: The git directory that all working trees share: objects, refs, config.
    common: str
    config: Config

    @property
    def is_merging(self) -> bool:
        """Whether a merge, cherry-pick or revert waits in the working tree to be finished."""
        return any(os.path.exists(os.path.join(self.control, name)) for name in _MERGE_STATES)

    @property
    def logs_refs(self) -> bool:
        """Whether refs get a reflog that have none yet (git's core.logAllRefUpdates)."""
        value = self.config.get("core", "logallrefupdates")
        return self.root is not None if value is None else value.lower() in {*TRUE, "always"}

    def splits_index(self, *, is_split: bool) -> bool:
        """Whether git's index is to be split (git's core.splitIndex); else it stays as it is."""
        value = self.config.get("core", "splitindex")
        return is_split if value is None else value.lower() in TRUE


def elsewhere(location: Location, branch: str) -> str | None:
    """Return the working tree, other than the location's own, that has a branch checked out."""
    above = os.path.join(location.common, "worktrees")
    controls = [os.path.join(above, name) for name in _listed(above)]
    if (location.config.get("core", "bare") or "").lower() not in TRUE:
        controls.append(location.common)
    for control in controls:
        if control == location.control or _line(control, "HEAD") != f"ref: refs/heads/{branch}":
            continue
        # Of a linked one, git notes where its .git file is; the folder may be gone since.
        pointer = _line(control, "gitdir") if control != location.common else control
        if os.path.exists(os.path.join(control, pointer)):
            return os.path.dirname(os.path.join(control, pointer))
    return None


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _line(folder: str, name: str) -> str:
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def locate(path: str) -> Location:
    """Find the repository whose working tree or bare folder is exactly `path`.

    Raises:
        RepositoryNotFoundError: there is none.
    """
    path = os.path.abspath(path)
    inner = os.path.join(path, ".git")
    if os.path.isdir(inner):
        root, control = path, inner
    elif os.path.isfile(inner):
        root, control = path, _pointed_at(inner)
    else:
        root, control = None, path
    common = _common_of(control)
    if not all(os.path.exists(os.path.join(common, name)) for name in ("objects", "refs")) or (
        not os.path.exists(os.path.join(control, "HEAD"))
    ):
        what = "no git repository is there" if os.path.isdir(path) else "there is no such folder"
        raise RepositoryNotFoundError(
            f"{what}; open it with create=True, or run `gitstore init`", path=path
        )
    config = Config(os.path.join(common, "config"))
    return Location(path=path, root=root, control=control, common=common, config=config)


def check(location: Location, *, trust_owner: bool) -> None:
    """Refuse what gitstore cannot keep right or should not trust.

    Raises:
        UntrustedOwnerError: it belongs to another user (as git's safe.directory).
        UnsupportedRepositoryError: reftable, SHA-256, sparse checkout, an unknown extension.
        UnsafePathError: the sessions folder is a symbolic link.
    """
    for folder in {location.path, location.control, location.common}:
        owner = os.stat(folder).st_uid
        if owner != os.geteuid() and not trust_owner:
            raise UntrustedOwnerError(path=location.path, owner=owner)
    _check_format(location)
    if location.root is None:
        return
    sessions = os.path.join(location.root, "sessions")
    if os.path.lexists(sessions) and not stat.S_ISDIR(os.lstat(sessions).st_mode):
        message = "sessions/ is a symbolic link or a file; make it a folder"
        raise UnsafePathError(message, path=location.root)
    if os.stat(location.root).st_dev != os.stat(location.common).st_dev:
        raise UnsupportedRepositoryError(
            path=location.path,
            feature="a git directory on another file system than the working tree",
            advice="keep both on one disk, or use a bare repository",
        )


def check_branch(branch: str, *, path: str) -> str:
    """Return `branch` if git allows the name.

    Raises:
        RepositoryError: it does not.
    """
    name = f"refs/heads/{branch}".encode(errors="replace")
    if branch.startswith("-") or not check_ref_format(name):  # type: ignore[arg-type]
        raise RepositoryError(f"not a branch name: {branch!a}; `git branch` lists them", path=path)
    return branch


def create(path: str, *, bare: bool, branch: str, runtime: Runtime) -> None:
    """Make an empty repository, all at once: a crash leaves none.

    Raises:
        RepositoryError: `path` is no folder, or holds files where a bare repository should be.
    """
    path = os.path.abspath(path)
    parent = os.path.dirname(path) if bare else path
    if os.path.lexists(path) and (not os.path.isdir(path) or (bare and os.listdir(path))):
        message = "a file or a folder with other content is there; choose an empty folder"
        raise RepositoryError(message, path=path)
    os.makedirs(parent, exist_ok=True)
    with _creating(parent, runtime=runtime):
        _create(path, parent, bare=bare, branch=branch, runtime=runtime)


@contextmanager
def _creating(parent: str, *, runtime: Runtime) -> Generator[None]:
    """Keep other creators out of a folder, and remove what dead ones left in it."""
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = runtime.monotonic() + _CREATE_SECONDS_MAX
        while not flocked(descriptor):
            if runtime.monotonic() >= deadline:
                message = "another process is making a repository there; try again"
                raise RepositoryLockedError(message, path=parent, lock=parent)
            runtime.sleep(_POLL_SECONDS)
        for name in os.listdir(parent):
            if name.startswith(_INIT_PREFIX):
                shutil.rmtree(os.path.join(parent, name), ignore_errors=True)
        yield
    finally:
        os.close(descriptor)


def _create(path: str, parent: str, *, bare: bool, branch: str, runtime: Runtime) -> None:
    scratch = os.path.join(parent, _INIT_PREFIX + runtime.token())
    try:
        make = Repo.init_bare if bare else Repo.init
        make(scratch, mkdir=True, default_branch=branch.encode()).close()
        made = scratch if bare else os.path.join(scratch, ".git")
        if not bare:
            _split_index(os.path.join(made, "config"))
        Disk("full").sync_tree(made)
        try:
            os.rename(made, path if bare else os.path.join(path, ".git"))
        except OSError:
            if not os.path.exists(os.path.join(path, "HEAD" if bare else ".git/HEAD")):
                raise  # else somebody made one at the same time: it is as good as ours
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for folder in (path, parent, os.path.dirname(parent)):
        Disk("full").sync_folder(folder)


def _split_index(path: str) -> None:
    """Have git, and us, split the index: a save then writes what changed, however many sessions there are."""
    with open(path, "r+b") as file:
        text = ConfigText(file.read())
        text.set("core", "splitIndex", "true")
        file.seek(0)
        file.write(text.data())


def _check_format(location: Location) -> None:
    for name, value in location.config.items("extensions"):
        wanted = value.lower()
        if name not in _KNOWN_EXTENSIONS or _KNOWN_EXTENSIONS[name] not in (None, wanted):
            raise UnsupportedRepositoryError(
                path=location.path,
                feature=f"{name} = {wanted}",
                advice=_ADVICE.get(name, "make a clone without it"),
            )
    if (location.config.get("core", "sparsecheckout") or "").lower() in TRUE and location.root:
        raise UnsupportedRepositoryError(
            path=location.path,
            feature="a sparse checkout",
            advice="turn it off with `git sparse-checkout disable`",
        )


def _pointed_at(file: str) -> str:
    """Return the git directory that the ``.git`` file of a linked working tree names."""
    with open(file, encoding="utf-8", errors="replace") as lines:
        text = lines.readline()
    if not text.startswith("gitdir: "):
        message = ".git is neither a folder nor names one; `git worktree repair` may help"
        raise CorruptRepositoryError(message, path=os.path.dirname(file))
    return os.path.abspath(os.path.join(os.path.dirname(file), text[8:].rstrip("\n")))


def _common_of(control: str) -> str:
    try:
        with open(os.path.join(control, "commondir"), encoding="utf-8") as lines:
            return os.path.abspath(os.path.join(control, lines.read().strip()))
    except (FileNotFoundError, NotADirectoryError):
        return control
