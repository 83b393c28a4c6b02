"""gitsheets (npm): TOML records in a repository, driven through a Node process that stays open."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.peers.subject import UNSYNCED, Subject
from tests.gitcommand import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.benchmarks.measure import Act

#: The sheet: where its records are.
SHEET = (
    ".gitsheets/sessions.toml",
    b'[gitsheet]\nroot = "sessions"\npath = "${{ shard }}/${{ id }}"\n',
)
_DRIVER = Path(__file__).with_name("gitsheets.js")


def _record(name: str, path: str, data: bytes) -> dict[str, str]:
    return {"id": name, "shard": path.split("/")[1], "text": data.decode()}


def files(sharded: Iterable[tuple[str, str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Give the sheet, and sessions (id, path, bytes) as records of it."""
    yield SHEET
    for name, path, data in sharded:
        record = _record(name, path, data)
        lines = (f"{key} = {json.dumps(value)}\n" for key, value in record.items())
        yield path.removesuffix(".yaml") + ".toml", "".join(lines).encode()


class Gitsheets:
    """One Node process on one bare repository."""

    def __init__(self, folder: Path, *, modules: Path | None) -> None:
        node = shutil.which("node")
        if node is None or modules is None or not (modules / "node_modules/gitsheets").is_dir():
            message = "needs node, and --node FOLDER in which `npm install gitsheets` was run"
            raise ImportError(message)
        self._process = subprocess.Popen(
            [node, str(_DRIVER), str(modules)],
            cwd=folder,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._wait()

    def _wait(self) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"\n":
            message = f"gitsheets ended with {self._process.wait()}"
            raise AssertionError(message)

    def write(self, name: str, path: str, data: bytes) -> Act:
        """Return the upsert and its commit."""
        record = _record(name, path, data)
        return partial(self._send, json.dumps(record).encode() + b"\n")

    def _send(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()
        self._wait()

    def delete(self, name: str, path: str) -> Act:
        """Not measured."""
        raise NotImplementedError

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def subjects(modules: Path | None) -> list[Subject]:
    """Return gitsheets on a bare repository."""
    return [
        Subject(
            name="gitsheets",
            durability=UNSYNCED,
            bare=True,
            layout="toml",
            open=partial(Gitsheets, modules=modules),
            notes="TOML; calls the git command; its processor time is in another process",
            deletes=False,
        )
    ]
