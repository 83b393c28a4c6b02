"""Fixtures that every test shares: both loops, a clean environment, the real git."""

from __future__ import annotations

import gc
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from blockbuster import blockbuster_ctx
from coverage import Coverage
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["tests.servers"]

settings.register_profile("fast", max_examples=25, derandomize=True, deadline=None)
settings.register_profile("deep", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

_WHO = {
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
}


class Git:
    """The real command, run in one folder by somebody called Test."""

    def __init__(self, folder: Path | str = ".") -> None:
        self.folder = Path(folder)

    def at(self, folder: Path | str) -> Git:
        """Return the command for another folder."""
        return Git(folder)

    def __call__(self, *arguments: str, data: bytes | None = None, check: bool = True) -> str:
        """Run ``git ARGUMENTS`` and return what it prints."""
        return self.run(*arguments, data=data, check=check).stdout.decode()

    def run(
        self, *arguments: str, data: bytes | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``git ARGUMENTS``; return how it ended."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={**os.environ, **_WHO},
            input=data,
            capture_output=True,
            check=False,
        )
        if check and done.returncode:
            message = f"git {' '.join(arguments)}: {done.stderr.decode()}{done.stdout.decode()}"
            raise AssertionError(message)
        return done

    def assert_sound(self, *, clean: bool = True) -> None:
        """Fail unless ``git fsck --strict`` is content, and nothing is modified or left over."""
        done = self.run("fsck", "--strict", "--no-dangling", "--no-progress")
        assert done.stdout + done.stderr == b"", "git fsck complains"
        if clean and (self.folder / ".git").exists():
            assert self("status", "--porcelain") == "", "the working tree is not clean"


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("asyncio", {"debug": True}), id="asyncio"),
        pytest.param(("trio", {}), id="trio"),
    ],
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Both event loops; asyncio's in debug mode, which notices what was never awaited."""
    return request.param


@pytest.fixture(scope="module", autouse=True)
def little_to_collect() -> None:
    """Take what outlives a module of tests out of the sight of the garbage collector.

    Every full collection would walk all tests, and all that they import, again: 100 ms each. What
    is garbage is collected first: a file that was never closed is told in the module that made it.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_blocking_in_the_loop() -> Iterator[None]:
    """Make a call from gitstore that blocks asyncio's loop thread an error.

    Once for all tests: what it puts in their place, and takes out again, is most of a small test.
    """
    with blockbuster_ctx("gitstore") as watch:
        if Coverage.current() is not None:
            # It takes a lock of its own in the midst of what it traces: that would be told as ours.
            watch.functions["threading.Lock.acquire"].deactivate()
        yield


@pytest.fixture(scope="session", autouse=True)
def clean_git_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the settings of whoever runs the tests out of them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [*os.environ]:
            if name.startswith(("GIT_", "XDG_")):
                patch.delenv(name)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("LC_ALL", "C.UTF-8")
        yield


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """The real git, in the test's own folder."""
    return Git(tmp_path)
