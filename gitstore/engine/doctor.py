"""What stands in the way of the store, git and the remote working together, and what to do about it.

Looks at settings and leftovers; whether what is stored is whole is `verify`'s to say. Changes
nothing that is stored; to see what the file system can do it takes the writer lock, which also removes
what dead writers left.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gitstore.errors import StorageError
from gitstore.git.files import discard, exchange
from gitstore.git.location import locate
from gitstore.session import codec
from gitstore.session.ids import DIRECTORY, SUFFIX
from gitstore.types import Diagnosis, Revision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitstore.git.location import Location
    from gitstore.git.repository import Repository
    from gitstore.types import Runtime, SyncStatus

#: Seconds that no save, and hardly any git command, holds a lock.
_LOCK_SECONDS_MAX: Final = 60.0
_ATTRIBUTES: Final = ".gitattributes"
#: Stands for any session's file.
_SAMPLE: Final = f"{DIRECTORY}/00/x{SUFFIX}"
_WANTED: Final = {"text": "-text", "merge": "merge=gitstore"}


def doctor(
    repository: Repository,
    *,
    status: SyncStatus,
    remote: str | None,
    driver: tuple[str, str],
    runtime: Runtime,
) -> list[Diagnosis]:
    """Look at everything once, and return what was found, in a fixed order.

    `remote` is the name of the remote that is used, `driver` the section of git's configuration that
    names the merge driver, and the command it should name.
    """
    location = locate(repository.path)
    return [
        _driver(repository, *driver),
        _attributes(repository, location),
        _remote(repository, remote),
        _contact(status),
        _conflicts(status),
        _head(repository, location),
        _merge(repository),
        _locks(repository, location, runtime),
        _leftovers(repository, runtime),
        _owner(location),
        _file_system(repository, runtime),
    ]


def _ok(name: str, found: str) -> Diagnosis:
    return Diagnosis(name=name, is_ok=True, found=found)


def _bad(name: str, found: str, advice: str) -> Diagnosis:
    return Diagnosis(name=name, is_ok=False, found=found, advice=advice)


# --- plain git merges by meaning ---------------------------------------------------


def _driver(repository: Repository, section: str, wanted: str) -> Diagnosis:
    name = "merge driver"
    advice = f"run `git config {section}.driver {shlex.quote(wanted)}` in the repository"
    found = repository.setting(section, "driver")
    if found is None:
        return _bad(name, "not configured: plain git would merge sessions as text", advice)
    try:
        program = shlex.split(found)[0]
    except (ValueError, IndexError):
        return _bad(name, f"cannot be run: {found}", advice)
    if Path(program).is_absolute() and not os.access(program, os.X_OK):
        return _bad(name, f"its program is gone: {program}", advice)
    if found != wanted:
        return _bad(name, f"is another than this gitstore's: {found}", advice)
    return _ok(name, "plain git merges sessions by meaning")


def _attributes(repository: Repository, location: Location) -> Diagnosis:
    found: dict[str, str] = {}
    for folder, text in _attribute_files(repository, location):
        found |= _attributes_of(text, _SAMPLE.removeprefix(folder))
    wrong = [wanted for name, wanted in _WANTED.items() if found.get(name) != wanted]
    if not wrong:
        return _ok("attributes", "session files are marked for the merge driver")
    return _bad(
        "attributes",
        f"session files lack {' and '.join(wrong)}: plain git would merge or change them as text",
        f"make `{DIRECTORY}/** {' '.join(_WANTED.values())}` the last line of {_ATTRIBUTES}, commit it",
    )


def _attribute_files(repository: Repository, location: Location) -> Iterator[tuple[str, str]]:
    """Return each file's folder and text; a later one is stronger (gitattributes(5))."""
    for folder in ("", f"{DIRECTORY}/"):
        path = folder + _ATTRIBUTES
        if location.root is None:
            revision = repository.blob_at(repository.tip(), path)
            data = None if revision is None else repository.read_blob(Revision(revision))
            yield folder, (data or b"").decode(errors="replace")
        else:
            yield folder, _text(Path(location.root, path))
    yield "", _text(Path(location.common, "info", "attributes"))


def _text(file: Path) -> str:
    try:
        with file.open("rb") as lines:
            return lines.read(codec.MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _attributes_of(text: str, path: str) -> dict[str, str]:
    """Return what a file of attributes says of a path: each attribute by name, as it is written."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        pattern, *attributes = line.split() or [""]
        if not pattern or pattern.startswith("#") or not _matches(pattern, path):
            continue
        for each in attributes:
            states = ["-text"] if each == "binary" else []
            for attribute in (each, *states):
                found[attribute.lstrip("-!").partition("=")[0]] = attribute
    return found


def _matches(pattern: str, path: str) -> bool:
    """Tell whether a pattern of gitignore(5), of a plain kind, is about a path."""
    if "/" not in pattern:
        path = path.rpartition("/")[2]
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.lstrip("/"))
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return bool(re.fullmatch("".join(meaning.get(each) or re.escape(each) for each in parts), path))


# --- the remote --------------------------------------------------------------------


def _remote(repository: Repository, remote: str | None) -> Diagnosis:
    if remote is None:
        return _ok("remote", "none: the sessions are on this machine only")
    if repository.setting(f"branch.{repository.branch}", "merge") is None:
        return _bad(
            "remote",
            f"{remote}, but plain git does not know which of its branches {repository.branch} follows",
            f"run `git config branch.{repository.branch}.remote {remote}` and "
            f"`git config branch.{repository.branch}.merge refs/heads/{repository.branch}`",
        )
    return _ok("remote", remote)


def _contact(status: SyncStatus) -> Diagnosis:
    last = "never" if status.last_sync is None else f"{status.last_sync:%Y-%m-%dT%H:%M:%SZ}"
    if status.problem is not None:
        return _bad(
            "last contact", f"failed: {status.problem}; the last good one: {last}", "sync again"
        )
    return _ok("last contact", last)


def _conflicts(status: SyncStatus) -> Diagnosis:
    if not status.conflicts:
        return _ok("conflicts", "none")
    return _bad(
        "conflicts",
        ", ".join(status.conflicts),
        "conflicts() lists the fields; decide with resolve(), or pull(on_conflict=...)",
    )


# --- what people and crashes left ----------------------------------------------------


def _head(repository: Repository, location: Location) -> Diagnosis:
    if location.root is None:
        return _ok("HEAD", "a bare repository")
    if repository.working_tree() is None:
        return _bad(
            "HEAD",
            f"is not on {repository.branch}: its sessions are not in the working tree",
            f"run `git switch {repository.branch}`",
        )
    return _ok("HEAD", f"on {repository.branch}")


def _merge(repository: Repository) -> Diagnosis:
    if repository.is_merging():
        return _bad(
            "unfinished merge",
            "a merge, cherry-pick or revert waits in the working tree",
            "finish it with `git commit`, or undo it with `git merge --abort`",
        )
    return _ok("unfinished merge", "none")


def _locks(repository: Repository, location: Location, runtime: Runtime) -> Diagnosis:
    control, common = Path(location.control), Path(location.common)
    own = [control / name for name in ("index", "HEAD")]
    shared = [common / name for name in ("config", "packed-refs", repository.ref)]
    names = [f"{each}.lock" for each in (*own, *shared)]
    old = [name for name in names if _age(Path(name), runtime) > _LOCK_SECONDS_MAX]
    if old:
        return _bad(
            "locks", f"left by a git command: {', '.join(old)}", "if no git runs, remove them"
        )
    return _ok("locks", "none left lying about")


def _leftovers(repository: Repository, runtime: Runtime) -> Diagnosis:
    folder = Path(repository.folder)
    old = [
        file
        for file in (folder.iterdir() if folder.is_dir() else ())
        if file.name.startswith(("own-", "tmp-")) and _age(file, runtime) > _LOCK_SECONDS_MAX
    ]
    if old:
        found = f"{len(old)} files of a writer that died, in {folder}"
        return _bad("leftovers", found, "they are removed now; look again")
    return _ok("leftovers", "none")


def _age(file: Path, runtime: Runtime) -> float:
    """Return how many seconds ago a file was written; 0 if there is none."""
    try:
        return runtime.clock() - file.lstat().st_mtime
    except OSError:
        return 0.0


def _owner(location: Location) -> Diagnosis:
    owners = {
        Path(each).stat().st_uid for each in (location.path, location.control, location.common)
    }
    if owners == {os.geteuid()}:
        return _ok("owner", "you")
    others = ", ".join(f"user {owner}" for owner in sorted(owners - {os.geteuid()}))
    return _bad("owner", others, "what they store is trusted; plain git may refuse the repository")


def _file_system(repository: Repository, runtime: Runtime) -> Diagnosis:
    name = "file system"
    folder = Path(repository.folder)
    one, linked, other = (folder / f"tmp-{runtime.token()}" for _ in range(3))
    try:
        # As a save does: a lock is a link, a working file is exchanged with the new one.
        with repository.writing():
            one.touch()
            other.touch()
            linked.hardlink_to(one)
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                exchanges = exchange(str(one), other.name, folder=inner)
            finally:
                os.close(inner)
    except (OSError, StorageError) as error:
        return _bad(
            name, f"cannot be written as a save would: {error}", "check permissions and space"
        )
    finally:
        for each in (one, linked, other):
            discard(str(each))
    if not exchanges:
        return _ok(
            name, "links, but no exchange of files: an edit in the very instant of a save is lost"
        )
    return _ok(name, "links, and exchanges files")
