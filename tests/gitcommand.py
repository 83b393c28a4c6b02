"""The real git command, as the referee: no configuration of the machine's reaches it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

WHO = {
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
}


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which git reads no configuration but the repository's."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    nothing = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": "/nonexistent"}
    return {**kept, **nothing, **WHO, "LC_ALL": "C", **more}


def run_git(
    path: Path | str, *arguments: str, given: bytes | None = None, check: bool = True, **more: str
) -> str:
    """Run git in a folder and return what it prints."""
    done = subprocess.run(
        ["git", "-C", str(path), *arguments],
        input=given,
        capture_output=True,
        check=False,
        env=environment(**more),
        timeout=120,
    )
    if check and done.returncode:
        raise AssertionError(f"git {' '.join(arguments)}: {done.stdout!r} {done.stderr!r}")
    return done.stdout.decode(errors="surrogateescape")


def loosen(path: Path, *, keep: Collection[str] = ()) -> None:
    """Let git unpack every pack but those named: a test that damages one object needs it loose."""
    packs = Path(run_git(path, "rev-parse", "--absolute-git-dir").strip()) / "objects/pack"
    for pack in sorted(packs.glob("*.pack")):
        if pack.name not in keep:
            data = pack.read_bytes()
            for file in packs.glob(f"{pack.stem}.*"):
                file.unlink()
            run_git(path, "unpack-objects", "-q", given=data)


def assert_git_is_content(path: Path | str) -> None:
    """Let git check every object, and that working tree, index and HEAD agree."""
    done = subprocess.run(
        ["git", "-C", str(path), "fsck", "--strict", "--full"],
        capture_output=True,
        check=False,
        env=environment(),
        timeout=120,
    )
    said = [line for line in done.stderr.decode().splitlines() if "notice" not in line]
    found = [line for line in done.stdout.decode().splitlines() if not line.startswith("dangling")]
    assert (done.returncode, found, said) == (0, [], [])
    done = subprocess.run(
        ["git", "-C", str(path), "status", "--porcelain"],
        capture_output=True,
        check=False,
        env=environment(),
        timeout=120,
    )
    if b"must be run in a work tree" not in done.stderr:  # which a bare repository has not
        assert (done.returncode, done.stdout) == (0, b""), (done.stdout, done.stderr)
