"""The command line as tests use it: in process, or as a process of its own."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitstore.cli import main

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]
ORCS = ROOT / "fixtures" / "orcs"
#: The session in fixtures/orcs/full.json.
PROJ = "27fa0a57-e208-4767-b0c9-37e3f382681f"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed; folder, commits and times of it masked."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on standard output."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Cli:
    """Runs commands in process, in the folder of a store."""

    capsys: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    folder: Path

    def __call__(self, *argv: str, given: bytes = b"") -> Ran:
        self.patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        code = main(list(argv))
        said = self.capsys.readouterr()
        return Ran(code, said.out, said.err)

    def masked(self, *argv: str, given: bytes = b"") -> tuple[int, str, str]:
        """Run a command; put the folder, commits and times of today out of what it printed."""
        ran = self(*argv, given=given)
        return ran.code, self.mask(ran.out), self.mask(ran.err)

    def mask(self, text: str) -> str:
        text = text.replace(str(self.folder), "STORE")
        text = re.sub(r"\b[0-9a-f]{40}\b", "HASH", text)
        text = re.sub(r"\b[0-9a-f]{10}\b", "COMMIT", text)
        return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)

    def fill(self) -> None:
        """Store the session of fixtures/orcs/full.json."""
        assert self("save", str(ORCS / "full.json")).code == 0


def process_environment(**more: str) -> dict[str, str]:
    """Return an environment for `python -m gitstore` in a process of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        "HOME": "/nonexistent",
        **more,
    }
