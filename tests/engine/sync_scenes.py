"""Replicas of one store around one bare remote, on this machine, served by the real git."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gitstore import BlockingSessionStore, ConversationTurn, SessionAsset
from gitstore.git.remote.network import Network
from gitstore.types import Author
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from pathlib import Path

    from gitstore.types import Durability, Runtime

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NETWORK = Network(
    environment={
        "PATH": os.environ.get("PATH", ""),
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
)


def session(
    session_id: str, *texts: str, name: str | None = None, at: datetime = NOW
) -> SessionAsset:
    """Return a session whose turns are a second apart, each with an id made of its text."""
    asset = SessionAsset.new(id=session_id, now=at, name=name)
    for number, text in enumerate(texts):
        when = at + timedelta(seconds=number)
        asset.add_turn(ConversationTurn.user(text, id=f"t-{text}", now=when), now=when)
    return asset


def texts(store: BlockingSessionStore, session_id: str) -> list[str]:
    """Return what the turns of a stored session say."""
    return [turn.content for turn in store.load(session_id).history.turns]


def make_remote(folder: Path, *, strict: bool = True) -> Path:
    """Make an empty bare repository; a strict one refuses what is malformed or rewrites history."""
    remote = folder / "remote.git"
    run_git(folder, "init", "-q", "--bare", "--template=", "-b", "main", str(remote))
    if strict:
        run_git(remote, "config", "receive.fsckObjects", "true")
        run_git(remote, "config", "receive.denyNonFastForwards", "true")
    return remote


def open_replica(
    path: Path,
    connected: bool = False,
    *,
    runtime: Runtime | None = None,
    bare: bool = False,
    durability: Durability = "process",
) -> BlockingSessionStore:
    """Open a store, made if need be; a connected one knows the remote beside it as origin.

    Each has an author of its own, so that no two begin with the same commit.
    """
    store = BlockingSessionStore.open(
        path,
        create=True,
        auto_maintain=False,
        bare=bare,
        author=Author(name=path.name, email=f"{path.name}@example.org"),
        durability=durability,
        network=NETWORK,
        runtime=runtime,
    )
    if connected:
        # A relative path: the folder may be copied.
        store.add_remote("origin", "../remote.git")
    return store
