"""A sync with nothing to do: how often it bothers the remote."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from gitstore import BlockingSessionStore
from gitstore.errors import RemoteBranchGoneError
from gitstore.git.remote.network import Network
from tests.engine.sync_scenes import NETWORK, make_remote, open_replica, session
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Spied:
    """A replica whose git writes down what it is run for, and then is the real one."""

    def __init__(self, folder: Path) -> None:
        git = shutil.which("git")
        assert git is not None
        self._log = folder / "log"
        self._log.touch()
        programs = folder / "programs"
        programs.mkdir()
        program = programs / "git"
        program.write_text(f'#!/bin/sh\necho "$1" >> "{self._log}"\nexec "{git}" "$@"\n')
        program.chmod(0o755)
        path = os.pathsep.join([str(programs), NETWORK.environment["PATH"]])
        self.remote = make_remote(folder)
        with open_replica(folder / "replica", True) as store:
            store.save(session("one", "hello"))
            store.sync()
        network = Network(environment={**NETWORK.environment, "PATH": path})
        self.store = BlockingSessionStore.open(folder / "replica", network=network)

    def asked(self) -> list[str]:
        """Return what the remote was asked for since the last look."""
        said = self._log.read_text().split()
        self._log.write_text("")
        return said


@pytest.fixture
def spied(tmp_path: Path) -> Iterator[Spied]:
    """Give a replica that is level with its remote."""
    made = Spied(tmp_path)
    yield made
    made.store.close()


def test_a_sync_with_nothing_to_do_asks_once(spied: Spied) -> None:
    report = spied.store.sync()
    tip = run_git(spied.remote, "rev-parse", "main").strip()
    assert (report.local, report.remote, report.rounds) == (tip, tip, 1)
    assert (report.sent, report.new, report.updated) == ((), (), ())
    assert spied.asked() == ["upload-pack"]


def test_what_was_saved_is_sent_and_a_push_always_asks(spied: Spied) -> None:
    spied.store.save(session("two", "more"))
    assert spied.store.sync().sent == ("two",)
    assert spied.asked() == ["upload-pack", "receive-pack"]
    spied.store.push()
    assert spied.asked() == ["upload-pack"]


def test_a_push_that_goes_elsewhere_is_not_taken_for_done(spied: Spied, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.git"
    run_git(tmp_path, "clone", "-q", "--bare", str(spied.remote), str(elsewhere))
    run_git(elsewhere, "update-ref", "-d", "refs/heads/main")
    folder = tmp_path / "replica"
    run_git(folder, "config", "remote.origin.pushurl", str(elsewhere))
    run_git(folder, "config", "remote.origin.url", str(spied.remote))
    with pytest.raises(RemoteBranchGoneError, match="main"):
        spied.store.sync()
    assert spied.asked() == ["upload-pack", "upload-pack"]
