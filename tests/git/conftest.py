"""Fixtures of the tests that push and fetch."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.gitcommand import run_git


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with three commits, to be copied."""
    path = tmp_path_factory.mktemp("templates") / "ours"
    run_git("/", "init", "-q", "-b", "main", str(path))
    for number in range(3):
        (path / f"file{number}").write_text("x" * 1000 * number)
        run_git(path, "add", ".")
        run_git(path, "commit", "-q", "-m", f"add file{number}")
    return path


@pytest.fixture
def ours(template: Path, tmp_path: Path) -> Path:
    """A repository with three commits."""
    return Path(shutil.copytree(template, tmp_path / "ours"))
