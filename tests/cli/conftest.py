"""A store to run commands in."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
import typer.main

from gitstore import BlockingSessionStore
from tests.cli.commandline import Cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def one_parser() -> Iterator[None]:
    """Make the parser of the command line once, as every process does.

    It is made of the signatures of all commands, and took most of the time of these tests.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Commands, run in the folder of an empty store, by Ann."""
    folder = tmp_path / "store"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("GITSTORE_DIR", "GITSTORE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITSTORE_AUTHOR", "Ann <ann@example.org>")
    # Nothing here is about power loss, and tests are many: no waiting for the disk.
    BlockingSessionStore.open(folder, create=True, durability="process").close()
    return Cli(capsys, monkeypatch, folder)
