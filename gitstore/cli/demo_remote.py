"""The steps of the demo that need the git command."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gitstore import Author, BlockingSessionStore, ConversationTurn, Network

if TYPE_CHECKING:
    from collections.abc import Iterable

DEMO_AUTHOR: Final = Author(name="Ann", email="ann@example.org")
_OTHER: Final = Author(name="Ben", email="ben@example.org")
#: No step of the demo takes git a second.
_GIT_SECONDS_MAX: Final = 30.0
_NO_GIT: Final = "this step needs the git command, which is not installed; gitstore itself does not"


def log_lines(path: str) -> Iterable[str]:
    """Return the repository's history as git prints it."""
    if shutil.which("git") is None:
        return [_NO_GIT]
    try:
        return _git(Path(path), "log", "--oneline").splitlines()
    except (OSError, subprocess.SubprocessError) as error:
        return [_failure(error)]


def remote_lines(store: BlockingSessionStore, *, root: Path, author: Author) -> Iterable[str]:
    """Sync the store with a remote that another machine syncs with, too: a second clone plays it."""
    if shutil.which("git") is None:
        yield _NO_GIT
        return
    remote, other = root / "remote.git", root / "other-machine"
    network = Network(environment=os.environ)
    try:
        _git(root, "init", "--quiet", "--bare", f"--initial-branch={store.branch}", str(remote))
    except (OSError, subprocess.SubprocessError) as error:
        yield _failure(error)
        return
    store.add_remote("origin", str(remote))
    yield f"sync() sent {len(store.sync().sent)} sessions to {remote.name}"
    theirs, ours = _first_and_last(store)
    with BlockingSessionStore.clone(str(remote), other, author=_OTHER, network=network) as there:
        _reply(there, theirs, "Done on the other machine.")
        there.sync()
    yield f"{_OTHER.name} cloned it, added a turn to {theirs} on another machine, and synced"
    _reply(store, ours, "Done here.")
    yield f"{author.name} added a turn to {ours} here"
    status = store.fetch()
    yield "after fetch(), sync_status() says:"
    yield f"sessions: {status.pending_uploads} to push, {status.pending_downloads} to pull, {len(status.conflicts)} in conflict"
    yield f"commits: {status.ahead} ahead, {status.behind} behind"
    report = store.sync()
    yield f"sync() brought {', '.join(report.updated)} and sent {', '.join(report.sent)}, in one merge"


def _first_and_last(store: BlockingSessionStore) -> tuple[str, str]:
    rows = sorted(store.list(), key=lambda row: row.id)
    return rows[0].id, rows[-1].id


def _reply(store: BlockingSessionStore, session_id: str, text: str) -> None:
    with store.edit(session_id) as asset:
        asset.add_turn(ConversationTurn.assistant(text))


def _git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, untouched by the user's configuration and environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    alone = {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PAGER": "cat",
    }
    done = subprocess.run(  # noqa: S603 - fixed arguments, and paths of our own
        ["git", *arguments],  # noqa: S607 - the git that the user has
        cwd=folder,
        env={**kept, **alone},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=_GIT_SECONDS_MAX,
    )
    return done.stdout.decode(errors="replace")


def _failure(error: OSError | subprocess.SubprocessError) -> str:
    said = getattr(error, "stderr", None) or b""
    last = said.decode(errors="replace").strip().splitlines()[-1:]
    return f"git failed here, the rest goes on: {' '.join(last) or error}"
