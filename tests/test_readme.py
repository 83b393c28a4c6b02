"""README: its code runs and prints what it says, its commands too, and it leaves no name out.

What differs from run to run is masked on both sides: commits and revisions (7 to 40 hex digits, each
its own word), and times to the second. A time with milliseconds is a session's, and must be right.
The folder /home/ann/agent-sessions stands for the store's. A commit that an earlier output shows
stands, in a later command, for the one that was really made there.
"""

from __future__ import annotations

import io
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gitstore
from gitstore import StorageError, dump_session, read_session
from gitstore.cli import main
from gitstore.cli.failures import EXIT_CODES, exit_code

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
SHOWN_STORE = "/home/ann/agent-sessions"
#: The commands that are not run here: they install the project, or are its checks.
SETUP = {
    "python -m pip install '.[cli]' && gitstore demo",
    "python -m pip install '.[test]' && python -m pytest",
    "python -m pip install '.[dev]'",
    "ruff check . && ruff format --check .",
    "mypy && pyright",
    "lint-imports",
    "python -m pytest",
}
HASH = re.compile(r"\b[0-9a-f]{7,40}\b")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True)
class Block:
    """One fenced block; `said` is the text block right after it."""

    kind: str
    text: str
    said: str | None


def blocks() -> Iterator[Block]:
    found = re.findall(r"^```(\w+)\n(.*?)^```\n+(?:(?=^```text\n(.*?)^```))?", README, re.S | re.M)
    for kind, text, said in found:
        yield Block(kind, text, said or None)


BLOCKS = list(blocks())


def of_kind(kind: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind == kind]


def mask(text: str) -> str:
    return TIME.sub("TIME", HASH.sub("HASH", text))


# --- what runs -----------------------------------------------------------


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert README.count("```") == 2 * len(BLOCKS)
    assert {block.kind for block in BLOCKS} == {"python", "text", "sh", "console", "yaml"}
    assert len(of_kind("text")) == sum(block.said is not None for block in BLOCKS)


@pytest.mark.parametrize("number", range(len(of_kind("python"))))
def test_python_prints_what_it_says(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    block = of_kind("python")[number]
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, f"README python block {number}", "exec"), {"__name__": "__main__"})
    assert mask(capsys.readouterr().out) == mask(block.said or "")


def test_commands_print_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # One story: each block goes on where the one before ended.
    story = "".join(block.text for block in of_kind("console"))
    (sample,) = of_kind("yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITSTORE_DIR", raising=False)
    monkeypatch.setenv("GITSTORE_AUTHOR", "Ann <ann@example.org>")
    (tmp_path / "ledger.yaml").write_text(sample.text, "utf-8")
    made: dict[str, str] = {}
    for step in re.split(r"^\$ ", story, flags=re.M)[1:]:
        command, _, shown = step.partition("\n")
        said = _run(_replaced(command, made), monkeypatch, capsys)
        said = said.replace(str(tmp_path), SHOWN_STORE)
        assert mask(said) == mask(shown), command
        _learn(made, shown, said)


def _run(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    said = ""
    for part in command.split(" | "):
        name, *arguments = shlex.split(part)
        assert name == "gitstore", "only our own commands are shown"
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(said.encode())))
        assert main(arguments) == 0, command
        said = capsys.readouterr().out
    return said


def _learn(made: dict[str, str], shown: str, said: str) -> None:
    """Note which shown commit stands for which real one; the two must agree throughout."""
    for old, new in zip(HASH.findall(shown), HASH.findall(said), strict=True):
        key, value = old[:7], new[:7]
        assert made.setdefault(key, value) == value, "one name in README for two commits"
        made.setdefault(old, new)


def _replaced(command: str, made: dict[str, str]) -> str:
    return HASH.sub(lambda match: made[match.group()], command)


def test_the_sample_file_is_canonical() -> None:
    (sample,) = of_kind("yaml")
    assert dump_session(read_session(sample.text.encode())).decode() == sample.text


# --- what must be there --------------------------------------------------


def test_set_up_is_two_commands_and_nothing_else_goes_unrun() -> None:
    lines = [line for block in of_kind("sh") for line in block.text.splitlines()]
    assert set(lines) == SETUP
    assert len(lines) == len(SETUP)
    assert "pip install gitstore" not in README


def test_every_public_name_is_there() -> None:
    missing = [name for name in gitstore.__all__ if f"`{name}`" not in README]
    assert missing == []


def test_every_error_has_its_row_and_its_exit_code() -> None:
    rows = re.findall(r"^\| ((?:· )*)`(\w+Error)` \| .* \|(?: (\d+) )?\s*\|$", README, re.M)
    told = {name: (len(dots) // 2, code) for dots, name, code in rows}
    errors = [getattr(gitstore, name) for name in gitstore.__all__ if name.endswith("Error")]
    assert set(told) == {error.__name__ for error in errors}
    for error in errors:
        depth = sum(issubclass(base, StorageError) for base in error.__mro__) - 1
        base = error.__name__ in {"StorageError", "SessionError", "RepositoryError", "SyncError"}
        code = "" if base else str(exit_code(error.__new__(error)))
        assert told[error.__name__] == (depth, code)


def test_every_exit_code_is_there() -> None:
    (told,) = re.findall(r"^Exit codes: (.*?)\.\s", README, re.M | re.S)
    documented = re.findall(r"^  (\d+) ", EXIT_CODES, re.M)
    assert re.findall(r"(?:^|· )(\d+) ", told.replace("\n", " ")) == documented


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", README))
    assert len(named) > 10
    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []


def test_every_guarantee_names_a_test() -> None:
    (section,) = re.findall(r"^## Guarantees\n(.*?)^## ", README, re.M | re.S)
    promises = re.split(r"^\d+\. ", section, flags=re.M)[1:]
    assert len(promises) > 5
    assert [promise for promise in promises if "`tests/" not in promise] == []
