"""init, log, status, import, demo: what they print, and what they store."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitstore import BlockingSessionStore, SessionAsset
from gitstore.cli.demo import demo_data
from tests.cli.commandline import ORCS, PROJ, ROOT, process_environment
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from tests.cli.commandline import Cli

LEDGER = "5a1e6f0c-3b7d-4c52-9f18-2d0c7a94be31"


# --- init ----------------------------------------------------------------


def test_init_makes_a_store_once(cli: Cli) -> None:
    assert cli.masked("init", "new") == (0, "made a store in STORE/new, on branch main\n", "")
    assert cli.masked("--store", "new", "init") == (
        0,
        "there is a store in STORE/new, on branch main\n",
        "",
    )
    assert cli("--store", "new", "init", "other").code == 2


def test_init_json_shape(cli: Cli) -> None:
    path = str(cli.folder / "new")
    assert cli("init", "new", "--json").json == {"path": path, "branch": "main", "created": True}
    assert cli("init", "new", "--json").json == {"path": path, "branch": "main", "created": False}


def test_the_store_is_named_by_option_then_environment(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.fill()
    monkeypatch.chdir(tmp_path)
    assert cli.masked("list") == (
        6,
        "",
        f"gitstore: {tmp_path}: no git repository is there; make one with `gitstore init`\n",
    )
    monkeypatch.setenv("GITSTORE_DIR", str(cli.folder))
    assert PROJ in cli("list").out
    assert cli("--store", str(tmp_path / "none"), "list").code == 6


def test_the_author_is_named_by_option_environment_or_git(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by() -> str:
        cli("import", "orcs", str(ORCS / "minimal.json"))
        cli("delete", "x")
        (change,) = cli("log", "--limit", "1", "--json").json
        return f"{change['author']['name']} <{change['author']['email']}>"

    assert by() == "Ann <ann@example.org>"
    monkeypatch.delenv("GITSTORE_AUTHOR")
    run_git(cli.folder, "config", "user.name", "Cleo")
    run_git(cli.folder, "config", "user.email", "cleo@example.org")
    assert by() == "Cleo <cleo@example.org>"


# --- log -----------------------------------------------------------------


def test_log_is_a_table_newest_first(cli: Cli) -> None:
    assert cli.masked("log") == (0, "", "")
    cli.fill()
    cli("delete", PROJ, "--actor", "bot")
    assert cli.masked("log", PROJ[:3]) == (
        0,
        (
            f"COMMIT      TIME                  BY   WHAT{' ' * 49}CHANGED\n"
            f"COMMIT  TIME  bot  Delete session {PROJ}  deleted\n"
            f"COMMIT  TIME  Ann  Create session {PROJ}  created with 2 turns\n"
        ),
        "",
    )
    assert cli("log", "--limit", "1").out.count("\n") == 2
    assert cli.masked("log", "nobody") == (
        3,
        "",
        "gitstore: session not found: nobody; `gitstore list` shows what is stored\n",
    )


def test_log_json_shape(cli: Cli) -> None:
    cli.fill()
    (change,) = cli("log", PROJ, "--json").json
    head = run_git(cli.folder, "log", "-1", "--format=%H %cI").split()
    assert change["time"].replace("Z", "+00:00") == head[1].replace("Z", "+00:00")
    revision = cli("show", PROJ, "--json").json["revision"]
    assert change == {
        "commit": head[0],
        "session_id": PROJ,
        "revision": revision,
        "operation": "create",
        "author": {"name": "Ann", "email": "ann@example.org"},
        "actor": None,
        "time": change["time"],
        "subject": f"Create session {PROJ}",
        "summary": "created with 2 turns",
        "sessions": [PROJ],
        "parents": [run_git(cli.folder, "rev-parse", "HEAD~").strip()],
        "signature": "unsigned",
    }


# --- status --------------------------------------------------------------


def test_no_remote_is_no_error(cli: Cli) -> None:
    cli.fill()
    assert cli.masked("status") == (
        0,
        (
            "1 session, 0 unreadable\n"
            "no remote: the sessions are on this machine only\n"
            "store STORE, branch main\n"
        ),
        "",
    )


def test_status_tells_sessions_first_then_commits(cli: Cli, tmp_path: Path) -> None:
    cli.fill()
    run_git(tmp_path, "clone", "--quiet", "--bare", str(cli.folder), "remote.git")
    run_git(cli.folder, "remote", "add", "origin", str(tmp_path / "remote.git"))
    run_git(cli.folder, "fetch", "--quiet", "origin")
    cli("save", str(ORCS / "minimal.json"))
    assert cli.masked("status") == (
        0,
        (
            "2 sessions, 0 unreadable\n"
            "1 to push, 0 to pull, 0 in conflict\n"
            "1 commit ahead, 0 behind the remote\n"
            "online, last fetched: TIME\n"
            "store STORE, branch main\n"
        ),
        "",
    )
    value = cli("status", "--json").json
    assert value.pop("last_sync").endswith("Z")
    assert value == {
        "path": str(cli.folder),
        "branch": "main",
        "sessions": 2,
        "problems": 0,
        "mode": "Online",
        "pending_uploads": 1,
        "pending_downloads": 0,
        "conflicts": [],
        "ahead": 1,
        "behind": 0,
        "local": run_git(cli.folder, "rev-parse", "main").strip(),
        "remote": run_git(cli.folder, "rev-parse", "origin/main").strip(),
        "problem": None,
        "is_fully_synced": False,
    }


def test_status_names_conflicts_and_what_is_unreadable(cli: Cli, tmp_path: Path) -> None:
    cli.fill()
    run_git(tmp_path, "clone", "--quiet", "--bare", str(cli.folder), "remote.git")
    run_git(tmp_path, "clone", "--quiet", "remote.git", "other")
    for folder, name in ((tmp_path / "other", "theirs"), (cli.folder, "ours")):
        with BlockingSessionStore.open(folder) as store, store.edit(PROJ) as asset:
            asset.project_context.name = name
    run_git(tmp_path / "other", "push", "--quiet", "origin", "HEAD")
    run_git(cli.folder, "remote", "add", "origin", str(tmp_path / "remote.git"))
    run_git(cli.folder, "fetch", "--quiet", "origin")
    cli("save", str(ORCS / "minimal.json"))
    next(cli.folder.rglob("x.yaml")).write_text("id: [\n")
    lines = cli("status").out.splitlines()
    assert lines[0] == "2 sessions, 1 unreadable"
    assert lines[1].startswith("  unreadable: x: ")
    assert lines[2].endswith("1 in conflict")
    assert lines[3] == f"  in conflict: {PROJ}"


# --- import --------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three ORCS files, of which the second is none."""
    made = tmp_path / "orcs"
    made.mkdir()
    shutil.copy(ORCS / "full.json", made / "a.json")
    (made / "b.json").write_text('{"id": "b"}')
    shutil.copy(ORCS / "minimal.json", made / "c.json")
    (made / ".hidden.json").write_text("no session")
    (made / "notes.txt").write_text("no session")
    return made


def test_import_goes_on_after_a_bad_file(cli: Cli, folder: Path) -> None:
    assert cli.masked("import", "orcs", str(folder)) == (
        5,
        (
            f"created {PROJ} in commit COMMIT\n"
            f"failed {folder}/b.json: version: is missing\n"
            "created x in commit COMMIT\n"
        ),
        "",
    )
    assert {row["id"] for row in cli("list", "--json").json} == {PROJ, "x"}


def test_import_stops_when_asked(cli: Cli, folder: Path) -> None:
    assert cli("import", "orcs", str(folder), "--stop").code == 5
    assert {row["id"] for row in cli("list", "--json").json} == {PROJ}


def test_import_again_changes_nothing_and_overwrites_only_when_asked(
    cli: Cli, folder: Path
) -> None:
    (folder / "b.json").unlink()
    cli("import", "orcs", str(folder))
    commits = len(cli("log", "--json").json)
    again = cli("import", "orcs", str(folder / "a.json"), str(folder / "c.json"))
    assert (again.code, again.out) == (0, f"unchanged {PROJ}\nunchanged x\n")
    with BlockingSessionStore.open(cli.folder) as store, store.edit("x") as asset:
        asset.project_context.name = "mine"
    refused = cli("import", "orcs", str(folder / "c.json"))
    assert (refused.code, refused.out) == (
        4,
        f"failed {folder}/c.json: x is stored with other content; --overwrite replaces it\n",
    )
    assert len(cli("log", "--json").json) == commits + 1
    assert cli("import", "orcs", str(folder / "c.json"), "--overwrite").out.startswith("updated x")
    assert "mine" not in cli("show", "x").out


def test_import_of_an_id_that_differs_by_case_only(cli: Cli, folder: Path) -> None:
    one, other = folder / "c.json", folder / "d.json"
    other.write_bytes(one.read_bytes().replace(b'"id":"x"', b'"id":"X"'))
    ran = cli("import", "orcs", str(one), str(other))
    assert ran.code == 4
    assert "X differs from the stored x only by case" in ran.out


def test_import_json_shape(cli: Cli, folder: Path) -> None:
    values = cli("import", "orcs", str(folder), "--json").json
    assert [sorted(value) for value in values] == [
        ["commit", "error", "masked", "outcome", "path", "revision", "session_id"]
    ] * 3
    assert [value["outcome"] for value in values] == ["created", None, "created"]
    assert [value["error"] is None for value in values] == [True, False, True]
    assert values[1]["path"] == str(folder / "b.json")


def test_import_of_nothing_says_so(cli: Cli, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert cli.masked("import", "orcs", str(empty)) == (0, "no *.json files there\n", "")
    assert cli("import", "orcs", str(tmp_path / "none")).code == 5


# --- demo ----------------------------------------------------------------


def test_demo_shows_every_step(cli: Cli, tmp_path: Path) -> None:
    ran = cli("demo", str(tmp_path / "demo"))
    assert (ran.code, ran.err) == (0, "")
    titles = [line for line in ran.out.splitlines() if line[:1].isdigit()]
    assert [title.split(".")[0] for title in titles] == [str(n) for n in range(1, 10)]
    for said in (
        "ledger.json: 1000 turns, created",
        "1002 turns now",
        "unchanged, no commit",
        "load sees the name 'ledger (client A)'",
        "the comment is still there",
        f"deleted {PROJ}",
        "exists: True",
        f"Adopt hand edit of {LEDGER}",
        "sessions: 1 to push, 1 to pull, 0 in conflict",
        "commits: 1 ahead, 1 behind",
        "sync() sent 3 sessions to remote.git",
        "in one merge",
    ):
        assert said in ran.out, said
    assert_git_is_content(tmp_path / "demo" / "store")


def test_demo_without_git_says_what_needs_it(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = cli("demo", str(tmp_path / "demo"), "--json")
    assert ran.code == 0
    needs = [step["step"] for step in ran.json["steps"] if "needs the git command" in str(step)]
    assert needs == [7, 8]


def test_demo_survives_a_git_that_fails(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent))
    ran = cli("demo", str(tmp_path / "demo"))
    assert ran.code == 0
    assert ran.out.count("git failed here, the rest goes on: broken") == 2


def test_demo_uses_no_folder_that_holds_something(cli: Cli, tmp_path: Path) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "file").touch()
    assert cli("demo", str(used)).code == 2
    assert cli("demo", str(used / "file")).code == 2


def test_demo_data_is_small_and_has_the_long_session() -> None:
    files = sorted(demo_data().glob("*.json"))
    assets = [SessionAsset.from_orcs_json(path.read_bytes()) for path in files]
    assert sum(path.stat().st_size for path in files) <= 350_000
    assert max(len(asset.history.turns) for asset in assets) == 1000
    assert [demo_data() / name for name in ("full.json", "unicode.json")] == [files[0], files[2]]
    for name in ("full.json", "unicode.json"):
        assert (demo_data() / name).read_bytes() == (ORCS / name).read_bytes()


def test_the_wheel_brings_the_demo_along(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)],
        cwd=ROOT,
        env=process_environment(),
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    done = subprocess.run(
        [sys.executable, "-m", "gitstore", "demo", "--json"],
        cwd=tmp_path,
        env=process_environment(PYTHONPATH=str(tmp_path / "site"), TMPDIR=str(tmp_path)),
        check=True,
        capture_output=True,
        timeout=60,
    )
    told = json.loads(done.stdout)
    assert "ledger.json: 1000 turns" in str(told["steps"][1])
    assert Path(told["path"]).is_relative_to(tmp_path), "a new temporary folder"
    assert Path(tmp_path / "site" / "gitstore" / "cli" / "demo_data" / "ledger.json").is_file()
