"""Repositories to measure on: made once by git itself, copied for each subject, checked afterwards."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.gitcommand import environment, run_git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_START = 1_700_000_000


def commit_stream(
    files: Iterable[tuple[str, bytes]],
    *,
    number: int = 0,
    message: bytes = b"Update session",
    ref: bytes = b"refs/heads/main",
) -> Iterator[bytes]:
    """Give one commit of those files, for git fast-import."""
    yield b"commit %s\ncommitter B <b@example.org> %d +0000\n" % (ref, _START + number)
    yield b"data %d\n%s\n" % (len(message), message)
    for path, data in files:
        yield b"M 100644 inline %s\ndata %d\n" % (path.encode(), len(data))
        yield data
        yield b"\n"


def build(folder: Path, stream: Iterable[bytes], *, bare: bool = True) -> Path:
    """Make a repository out of a stream for git fast-import; with a working tree if it is not bare."""
    kind = ["--bare"] if bare else []
    folder.mkdir(parents=True)
    run_git(folder, "init", "-q", "-b", "main", *kind, ".")
    command = ["git", "-C", str(folder), "-c", "fastimport.unpackLimit=1", "fast-import", "--quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment()) as process:
        assert process.stdin is not None
        for part in stream:
            process.stdin.write(part)
        process.stdin.close()
        if process.wait():
            message = f"git fast-import failed in {folder}"
            raise AssertionError(message)
    for key, value in (("user.name", "Bench"), ("user.email", "bench@example.org")):
        run_git(folder, "config", key, value)
    if not bare:
        run_git(folder, "reset", "-q", "--hard")
    return folder


def copy(base: Path, folder: Path, *, settings: dict[str, str] | None = None) -> Path:
    """Copy a repository for one subject; the index knows the copied files."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", str(base), str(folder)], check=True)
    if (folder / ".git").is_dir():
        run_git(folder, "update-index", "-q", "--refresh")
    for key, value in (settings or {}).items():
        run_git(folder, "config", key, value)
    return folder


def settle() -> None:
    """Wait until the disk has what was copied: a sync that is measured may not pay for it."""
    os.sync()


def commits(folder: Path) -> int:
    """Return how many commits the branch has."""
    return int(run_git(folder, "rev-list", "--count", "main"))


def check(folder: Path, *, added: int, before: int, subject: str) -> None:
    """Raise unless git finds the repository whole and the branch grew by the commits that were timed."""
    done = subprocess.run(
        ["git", "-C", str(folder), "fsck", "--connectivity-only", "--no-dangling"],
        capture_output=True,
        check=False,
        env=environment(),
    )
    made = commits(folder) - before
    if done.returncode or made != added:
        message = (
            f"{subject}: {added} commits were timed, {made} were made; git fsck: {done.stderr!r}"
        )
        raise AssertionError(message)


def disk_bytes(folder: Path, *, but: Callable[[Path], bool] = lambda _: False) -> int:
    """Return the sum of the sizes of all files below."""
    total = 0
    for root, _, names in os.walk(folder):
        paths = [Path(root) / name for name in names]
        total += sum(path.stat().st_size for path in paths if not but(path))
    return total
