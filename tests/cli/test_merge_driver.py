"""The merge driver: plain git merges, pulls, rebases and picks sessions by meaning."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gitstore import BlockingSessionStore, ConversationTurn, SessionAsset, dump_session
from gitstore.cli import main
from gitstore.mergedriver import command
from gitstore.session.ids import parse_session_id, path_of
from tests.cli.commandline import ROOT, process_environment
from tests.gitcommand import assert_git_is_content, environment, run_git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATH = path_of(parse_session_id("plan"))


def plan(*texts: str, name: str | None = None, language: str | None = None) -> SessionAsset:
    """Return the session with a turn for each text, later for a later letter."""
    asset = SessionAsset.new(id="plan", now=NOW)
    asset.project_context.name = name
    for text in texts:
        at = NOW + timedelta(minutes=ord(text[0]))
        asset.add_turn(ConversationTurn.user(text, id=f"t-{text}", now=at), now=NOW)
    if language is not None:
        asset.project_context.technologies.append(language)
    return asset


def turns(asset: SessionAsset) -> list[str]:
    return [turn.content for turn in asset.history.turns]


def driver(folder: Path, *versions: bytes, path: str = PATH) -> tuple[int, bytes]:
    """Run the driver in process, as git would; return its exit code and the resulting file."""
    files = [folder / name for name in ("base", "ours", "theirs")]
    for file, data in zip(files, versions, strict=True):
        file.write_bytes(data)
    code = main(["merge-driver", *map(str, files), path])
    assert sorted(folder.iterdir()) == sorted(files)
    return code, files[1].read_bytes()


# --- by itself -------------------------------------------------------------------


def test_both_sides_turns_stay_in_order(tmp_path: Path) -> None:
    base, ours, theirs = plan("a"), plan("a", "c", name="n"), plan("a", "b", language="Go")
    code, data = driver(tmp_path, *map(dump_session, (base, ours, theirs)))
    assert (code, data) == (0, dump_session(plan("a", "b", "c", name="n", language="Go")))


def test_both_sides_may_have_made_the_session(tmp_path: Path) -> None:
    code, data = driver(tmp_path, b"", dump_session(plan("c")), dump_session(plan("b")))
    assert (code, data) == (0, dump_session(plan("b", "c")))


def test_comments_of_a_hand_edit_stay(tmp_path: Path) -> None:
    base = dump_session(plan("a", name="mine"))
    assert b"  name: mine\n" in base
    edited = base.replace(b"  name: mine\n", b"  # ask Ben\n  name: mine\n")
    saved = dump_session(plan("a", "b", name="mine"))
    for ours, theirs in ((edited, saved), (saved, edited)):
        code, data = driver(tmp_path, base, ours, theirs)
        assert code == 0
        assert data == saved.replace(b"  name: mine\n", b"  # ask Ben\n  name: mine\n")


def test_a_conflict_leaves_both_values_and_nothing_else_to_decide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, ours, theirs = plan("a"), plan("a", "c", name="mine"), plan("a", "b", name="other")
    code, data = driver(tmp_path, *map(dump_session, (base, ours, theirs)))
    assert code == 1
    expected = dump_session(plan("a", "b", "c", name="mine")).replace(
        b"  name: mine\n",
        b"<<<<<<< ours\n  name: mine\n=======\n  name: other\n>>>>>>> theirs\n",
    )
    assert data == expected
    assert capsys.readouterr().err == "gitstore: both sides changed plan project_context.name\n"


@pytest.mark.parametrize("bad", [b"id: plan\nturns: [\n", b"\xff\xfe", b"<<<<<<< HEAD\n"])
def test_a_side_that_is_no_session_is_kept_whole(
    tmp_path: Path, bad: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    base, good = dump_session(plan("a")), dump_session(plan("b"))
    for ours, theirs in ((bad, good), (good, bad)):
        code, data = driver(tmp_path, base, ours, theirs)
        assert code == 1
        assert _side(data, "ours") == ours.rstrip(b"\n") + b"\n"
        assert _side(data, "theirs") == theirs.rstrip(b"\n") + b"\n"
        assert "not merged by meaning" in capsys.readouterr().err


def _side(data: bytes, wanted: str) -> bytes:
    """Return one side of a file with markers, as whoever resolves it would take it."""
    side, kept = None, b""
    for line in data.splitlines(keepends=True):
        if line == b"<<<<<<< ours\n":
            side = "ours"
        elif line == b"=======\n":
            side = "theirs"
        elif line == b">>>>>>> theirs\n":
            side = None
        elif side in (None, wanted):
            kept += line
    return kept


def test_another_file_below_sessions_is_marked_line_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "sessions/README.md"
    code, data = driver(tmp_path, b"a\nb\n", b"A\nb\n", b"a\nB\n", path=path)
    assert code == 1
    assert data == b"<<<<<<< ours\nA\nb\n=======\na\nB\n>>>>>>> theirs\n"
    assert capsys.readouterr().err == (
        "gitstore: sessions/README.md: not merged by meaning: sessions/README.md is no session's file\n"
    )
    # One side alone needs no meaning.
    assert driver(tmp_path, b"a\n", b"a\n", b"B\n", path=path) == (0, b"B\n")
    assert driver(tmp_path, b"a\n", b"A\n", b"a\n", path=path) == (0, b"A\n")


def test_files_that_are_missing_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge-driver", "a", "b"]) == 129
    assert "usage" in capsys.readouterr().err
    missing = str(tmp_path / "missing")
    assert main(["merge-driver", missing, missing, missing, PATH]) == 129
    assert capsys.readouterr().err == (
        f"gitstore: {PATH}: cannot be merged: No such file or directory; nothing was changed\n"
    )


def test_it_needs_no_extra_and_trusts_no_file_around_it(tmp_path: Path) -> None:
    """In a working tree with modules of its own, where typer and rich cannot be imported."""
    for name in ("typer", "rich", "gitstore", "yaml", "pydantic"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the repository')\n")
    files = [tmp_path / name for name in ("base", "ours", "theirs")]
    for file, asset in zip(files, (plan("a"), plan("a", "c"), plan("a", "b")), strict=True):
        file.write_bytes(dump_session(asset))
    line = command(sys.executable)
    for placeholder, value in zip(("%O", "%A", "%B", "%P"), (*map(str, files), PATH), strict=True):
        line = line.replace(placeholder, shlex.quote(value))
    blocked = "import sys; sys.modules['typer'] = sys.modules['rich'] = None"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(blocked)
    found = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=tmp_path,
        env=process_environment(PYTHONPATH=found),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert files[1].read_bytes() == dump_session(plan("a", "b", "c"))


# --- in git's hands ---------------------------------------------------------------


def git(path: Path, *arguments: str, check: bool = True) -> str:
    """Run git; the driver that it calls finds the package in this checkout."""
    return run_git(path, *arguments, check=check, PYTHONPATH=str(ROOT))


def save(path: Path, asset: SessionAsset) -> None:
    with BlockingSessionStore.open(path, durability="process") as store:
        store.save(asset)


def load(path: Path) -> SessionAsset:
    with BlockingSessionStore.open(path, durability="process") as store:
        return store.load("plan")


@pytest.fixture
def clones(tmp_path: Path) -> tuple[Path, Path]:
    """Two clones of a bare repository, which both have the session with its first turn."""
    here, there, remote = tmp_path / "here", tmp_path / "there", tmp_path / "remote.git"
    with BlockingSessionStore.open(here, create=True, durability="process") as store:
        store.save(plan("a"))
    run_git(tmp_path, "clone", "-q", "--bare", str(here), str(remote))
    run_git(here, "remote", "add", "origin", str(remote))
    run_git(here, "fetch", "-q")
    run_git(here, "branch", "-q", "-u", "origin/main")
    run_git(tmp_path, "clone", "-q", str(remote), str(there))
    BlockingSessionStore.open(there).close()
    return here, there


def diverge(here: Path, there: Path, ours: SessionAsset, theirs: SessionAsset) -> None:
    """Let both clones save, and the other one push."""
    save(there, theirs)
    run_git(there, "push", "-q", "origin", "main")
    save(here, ours)
    run_git(here, "fetch", "-q")


def _pull(here: Path) -> None:
    git(here, "pull", "-q", "--no-rebase", "--no-edit")


def _rebase(here: Path) -> None:
    git(here, "pull", "-q", "--rebase")


def _pick(here: Path) -> None:
    git(here, "cherry-pick", "origin/main")


@pytest.mark.parametrize("join", [_pull, _rebase, _pick])
def test_git_merges_by_meaning(clones: tuple[Path, Path], join: Callable[[Path], None]) -> None:
    here, there = clones
    diverge(here, there, plan("a", "c", name="n"), plan("a", "b", language="Go"))
    join(here)
    assert_git_is_content(here)
    merged = load(here)
    assert turns(merged) == ["a", "b", "c"]
    assert (merged.project_context.name, merged.project_context.technologies) == ("n", ["Go"])
    if join is not _pick:
        git(here, "push", "-q", "origin", "main")
        git(there, "pull", "-q")
        assert turns(load(there)) == ["a", "b", "c"]


@pytest.mark.parametrize("python", ["/nonexistent/python", "/bin/false"])
def test_without_its_program_both_sides_are_in_the_file(
    clones: tuple[Path, Path], python: str
) -> None:
    """The environment that gitstore was installed in was removed, or is broken."""
    here, there = clones
    run_git(here, "config", "merge.gitstore.driver", command(python))
    diverge(here, there, plan("a", "c"), plan("a", "b"))
    git(here, "merge", "--no-edit", "origin/main", check=False)
    assert run_git(here, "status", "--porcelain") == f"UU {PATH}\n"
    merged = (here / PATH).read_bytes()
    assert _side(merged, "ours") == dump_session(plan("a", "c"))
    assert _side(merged, "theirs") == dump_session(plan("a", "b"))


def test_a_conflict_is_gits_to_show_and_a_persons_to_resolve(clones: tuple[Path, Path]) -> None:
    here, there = clones
    diverge(here, there, plan("a", "c", name="mine"), plan("a", "b", name="other"))
    done = subprocess.run(
        ["git", "-C", str(here), "merge", "--no-edit", "origin/main"],
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert b"gitstore: both sides changed plan project_context.name" in done.stderr
    assert b"Traceback" not in done.stderr
    assert run_git(here, "status", "--porcelain") == f"UU {PATH}\n"
    file = here / PATH
    lines = file.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(("<<<", "===", ">>>", "  name: mine"))]
    file.write_text("".join(kept))
    run_git(here, "add", PATH)
    run_git(here, "commit", "-q", "--no-edit")
    assert_git_is_content(here)
    assert load(here).project_context.name == "other"
    assert turns(load(here)) == ["a", "b", "c"]
