"""verify, repair, redact, report, export-log, purge, prune-history: what they print and do."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from gitstore import VerifyReport
from gitstore.cli.shapes import verify_shape
from tests.cli.commandline import ORCS, PROJ
from tests.cli.test_audit import book, commits
from tests.gitcommand import assert_git_is_content, loosen, run_git

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.commandline import Cli

KEY = "AKIA" + "ABCDEFGHIJKLMNOP"
SECRET = book(f"the key is {KEY}, and {KEY}", "nothing here")
MASKED = {"where": "history.turns[0].content", "name": "aws-access-key", "count": 2}


def damage(cli: Cli, session_id: str) -> str:
    """Empty the newest blob of a session; return its id."""
    revision: str = cli("log", session_id, "--limit", "1", "--json").json[0]["revision"]
    loosen(cli.folder)
    path = cli.folder / ".git" / "objects" / revision[:2] / revision[2:]
    path.chmod(0o600)
    path.write_bytes(b"")
    return revision


# --- verify: 0, 8, 9 -----------------------------------------------------


def test_verify_of_what_is_right(cli: Cli) -> None:
    cli.fill()
    assert cli.masked("verify", "--deep") == (
        0,
        (
            "checked 2 commits, 4 trees, 2 files, 1 session version, 0 good signatures\n"
            "nothing is wrong\n"
        ),
        "",
    )
    tip = commits(cli)[0]
    assert cli("verify", "--remembered", tip, "--json").json == {
        "is_clean": True,
        "is_complete": True,
        "is_cut": False,
        "tip": tip,
        "remembered": tip,
        "checked": {"commits": 2, "trees": 4, "blobs": 2, "sessions": 1, "signed": 0},
        "problems": [],
        "notes": [],
    }


def test_verify_finds_problems(cli: Cli) -> None:
    cli.fill()
    code, out, err = cli.masked("verify", "--require-signatures")
    assert (code, err) == (8, "")
    assert out == (
        "problem  signature: HASH: it is not signed\n"
        "problem  signature: HASH: it is not signed\n"
        "checked 2 commits, 4 trees, 2 files, 1 session version, 0 good signatures\n"
        "2 problems found\n"
    )
    lost = damage(cli, PROJ)
    ran = cli("verify", "--json")
    assert (ran.code, ran.err) == (8, "")
    assert [*ran.json["problems"][0]] == ["kind", "where", "text"]
    assert ("object", lost) in {(each["kind"], each["where"]) for each in ran.json["problems"]}


def test_verify_finds_that_the_history_was_rewritten(cli: Cli) -> None:
    cli.fill()
    tip = commits(cli)[0]
    run_git(cli.folder, "reset", "--hard", "--quiet", "main~1")
    ran = cli("verify", "--remembered", tip)
    assert ran.code == 8
    assert tip in ran.out
    ran = cli("verify", "--remembered", "main")
    assert (ran.code, ran.out) == (2, "")
    assert "'main' is no commit; write all 40 hex digits" in ran.err


@pytest.mark.parametrize(
    ("name", "data"), [("HEAD", "x"), ("refs/heads/main", "x"), ("config", "[")]
)
def test_verify_of_what_cannot_be_checked(cli: Cli, name: str, data: str) -> None:
    cli.fill()
    (cli.folder / ".git" / name).write_text(data)
    ran = cli("verify")
    assert (ran.code, ran.err) == (9, "")
    assert ran.out.startswith("problem  ")
    assert ran.out.endswith("this could not be checked to its end\n")
    assert cli("verify", "--json").json["is_complete"] is False


def test_verify_of_no_repository(cli: Cli, tmp_path: Path) -> None:
    ran = cli("--store", str(tmp_path), "verify")
    assert (ran.code, ran.out, ran.err.count("\n")) == (6, "", 1)


def test_the_shape_of_a_report_without_a_store() -> None:
    report = VerifyReport(tip=None, problems=(), is_complete=False)
    assert verify_shape(report)["is_clean"] is False


# --- repair --------------------------------------------------------------


def test_repair_only_when_told(cli: Cli) -> None:
    cli.fill()
    ran = cli("repair")
    assert (ran.code, ran.out) == (2, "")
    assert "run `gitstore verify`, then add --yes" in ran.err
    assert run_git(cli.folder, "branch", "--format=%(refname:short)") == "main\n"


def test_repair(cli: Cli) -> None:
    cli.fill()
    tip = commits(cli)[0]
    damage(cli, PROJ)
    ran = cli("repair", "--yes", "--json")
    branch = run_git(cli.folder, "branch", "--format=%(refname:short)").split()[0]
    made = run_git(cli.folder, "rev-parse", branch).strip()
    assert ran.json == {
        "branch": branch,
        "commit": made,
        "base": ran.json["base"],
        "restored": [{"session_id": PROJ, "source": "working file"}],
        "lost": [],
        "damaged": ran.json["damaged"],
    }
    assert len(ran.json["damaged"]) == 1
    assert run_git(cli.folder, "rev-parse", "main").strip() == tip
    next(cli.folder.rglob(f"{PROJ}.yaml")).unlink()
    damage(cli, PROJ)
    code, out, err = cli.masked("repair", "--yes")
    assert (code, err) == (0, "")
    assert out.startswith(f"made branch {branch}")
    assert out.splitlines()[1] == f"  lost: {PROJ}"
    assert out.splitlines()[-1] == "0 sessions there, 0 of them rescued, 1 lost"


# --- redact --------------------------------------------------------------


def test_redact_looks_and_tells_no_secret(cli: Cli) -> None:
    (cli.folder / "book.yaml").write_bytes(SECRET)
    said = (
        "WHERE                     KIND            COUNT\n"
        "history.turns[0].content  aws-access-key  2\n"
        "2 secrets would be masked in book\n"
    )
    assert cli.masked("redact", "--dry-run", "book.yaml") == (0, said, "")
    assert cli.masked("redact", "--dry-run", "-", given=SECRET) == (0, said, "")
    assert cli("list").out == "", "only looked"
    cli("save", "-", given=SECRET)
    assert cli.masked("redact", "--dry-run", "boo") == (0, said, "")
    value = cli("redact", "--dry-run", "book", "--json").json
    assert value == {"session_id": "book", "masked": [MASKED]}


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("redact", "book.yaml"), 2, "it only looks: add --dry-run; `gitstore --redact save FILE`"),
        (("redact", "--dry-run", "nobody"), 3, "session not found: nobody"),
        (("redact", "--dry-run", "a\0b"), 5, "not a session id"),
    ],
)
def test_redact_of_nothing(cli: Cli, argv: tuple[str, ...], code: int, said: str) -> None:
    ran = cli(*argv)
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1)
    assert said in ran.err


def test_secrets_are_masked_before_they_are_saved(cli: Cli) -> None:
    assert cli.masked("--redact", "save", "-", given=SECRET) == (
        0,
        "created book in commit COMMIT, with 2 secrets masked\n",
        "",
    )
    value = cli("--redact", "save", "-", "--json", given=SECRET).json
    assert (value["outcome"], value["masked"]) == ("unchanged", [MASKED])
    found = subprocess.run(
        ["grep", "-r", KEY, str(cli.folder)], check=False, capture_output=True, timeout=60
    )
    assert found.returncode == 1
    everything = run_git(cli.folder, "log", "-p", "--all")
    assert KEY not in everything
    assert "[redacted:aws-access-key]" in everything
    assert cli("save", "-", given=SECRET).out.startswith("updated book")


def test_secrets_are_masked_before_they_are_imported(cli: Cli, tmp_path: Path) -> None:
    session = json.loads((ORCS / "full.json").read_text())
    session["history"]["turns"][0]["content"] = KEY
    file = tmp_path / "secret.json"
    file.write_text(json.dumps(session))
    argv = ("--redact", "import", "orcs", str(file))
    assert cli.masked(*argv) == (
        0,
        f"created {PROJ} in commit COMMIT, with 1 secret masked\n",
        "",
    )
    again = cli(*argv, "--json")
    assert (again.code, again.json[0]["outcome"]) == (0, "unchanged")
    assert again.json[0]["masked"] == [{**MASKED, "count": 1}]
    assert KEY not in run_git(cli.folder, "log", "-p")
    assert cli("import", "orcs", str(file)).code == 4, "what is stored is another content"


# --- signing -------------------------------------------------------------


def test_commits_are_signed_when_asked(cli: Cli, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=60
    )
    allowed = tmp_path / "allowed"
    allowed.write_text(f"ann@example.org {key.with_suffix('.pub').read_text()}")
    ran = cli("--sign", "save", "-", given=book("a"))
    assert (ran.code, ran.out, ran.err.count("\n")) == (6, "", 1), "no key is named"
    assert cli("--sign", "verify").code == 6, "and that is no damage"
    for name, value in (
        ("gpg.format", "ssh"),
        ("user.signingkey", str(key)),
        ("gpg.ssh.allowedSignersFile", str(allowed)),
    ):
        run_git(cli.folder, "config", name, value)
    assert cli("--sign", "save", "-", given=book("a")).code == 0
    run_git(cli.folder, "verify-commit", "main")
    assert cli("verify", "--json").json["checked"]["signed"] == 1
    cli("save", "-", given=book("b"))
    assert "gpgsig" not in run_git(cli.folder, "cat-file", "commit", "main")


# --- report, export-log --------------------------------------------------


def test_report_is_written_once(cli: Cli) -> None:
    cli.fill()
    file = cli.folder / "page.html"
    code, out, err = cli.masked("report", "-o", "page.html")
    size = file.stat().st_size
    assert (code, out, err) == (0, f"wrote page.html, {size} bytes\n", "")
    assert file.read_text().startswith("<!DOCTYPE html>")
    file.write_text("mine")
    assert cli.masked("report", "-o", "page.html") == (
        4,
        "",
        "gitstore: page.html exists; --force replaces it\n",
    )
    assert file.read_text() == "mine"
    assert cli("report", "nobody", "-o", "page.html").code == 4, "said before the work is done"
    value = cli("report", PROJ[:3], "-o", "page.html", "--force", "--json").json
    assert value == {
        "session_id": PROJ,
        "format": "html",
        "path": "page.html",
        "bytes": file.stat().st_size,
        "text": None,
    }
    assert PROJ in file.read_text()


def test_report_goes_to_standard_output_too(cli: Cli) -> None:
    cli.fill()
    page = cli("report", "--limit", "0").out
    assert page.startswith("<!DOCTYPE html>")
    assert len(page) < len(cli("report").out)
    value = cli("report", "--json").json
    assert value["path"] is None
    assert value["bytes"] == len(value["text"].encode())
    assert cli("report", "nobody").code == 3


def test_report_that_cannot_be_written(cli: Cli) -> None:
    assert cli.masked("report", "-o", "none/page.html") == (
        1,
        "",
        (
            "gitstore: none/page.html: cannot be written: No such file or directory; "
            "check the path and its permissions\n"
        ),
    )
    assert cli("report", "-o", "a\0b").code == 1
    (cli.folder / "link").symlink_to("elsewhere")
    assert cli("export-log", "-o", "link").code == 4
    assert not (cli.folder / "elsewhere").exists()


def test_export_log(cli: Cli) -> None:
    cli.fill()
    cli("delete", PROJ)
    rows = [json.loads(line) for line in cli("export-log").out.splitlines()]
    assert [row["commit"] for row in rows] == commits(cli)
    table = [*csv.DictReader(io.StringIO(cli("export-log", PROJ, "--format", "csv").out))]
    assert [row["operation"] for row in table] == ["delete", "create"]
    value = cli("export-log", "--format", "csv", "--json").json
    assert (value["format"], value["text"].count("\r\n")) == ("csv", 3)
    assert cli("export-log", "-o", "log.jsonl").code == 0
    assert (cli.folder / "log.jsonl").read_text() == cli("export-log").out
    assert cli("export-log", "--format", "xml").code == 2


# --- purge, prune-history ------------------------------------------------


@pytest.fixture
def grown(cli: Cli) -> Cli:
    """A session, and another that is changed and deleted."""
    cli.fill()
    cli("save", "-", given=SECRET)
    cli("delete", "book")
    return cli


def test_purge_must_be_confirmed(grown: Cli) -> None:
    before = commits(grown)
    for argv in (
        ("purge", "book"),
        ("purge", "book", "--confirm", "boo"),
        ("prune-history", "--before", "now"),
        ("prune-history", "--before", "now", "--confirm", "book", "--force"),
    ):
        ran = grown(*argv)
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), argv
        assert "this cannot be undone; add --confirm and the" in ran.err
    assert commits(grown) == before


def test_purge(grown: Cli) -> None:
    assert grown("purge", "boo", "--confirm", "boo").code == 3, "no beginning of an id here"
    assert KEY in run_git(grown.folder, "log", "-p", "--all")
    code, out, err = grown.masked("purge", "book", "--confirm", "book", "--actor", "bot")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("removed book: 2 commits rewritten, 2 of them left out, ")
    assert lines[1] == "main was COMMIT, is COMMIT"
    assert lines[2].startswith("The history of main was rewritten")
    assert len(lines) == 3
    assert KEY not in run_git(grown.folder, "log", "-p", "--all")
    assert grown("log", "--json").json[0]["session_id"] in (None, PROJ)
    assert_git_is_content(grown.folder)
    assert grown("purge", "book", "--confirm", "book").code == 3


def test_purge_of_what_another_branch_has(grown: Cli) -> None:
    run_git(grown.folder, "branch", "other")
    before = commits(grown)
    code, out, err = grown.masked("purge", "book", "--confirm", "book")
    assert (code, out, err.count("\n")) == (6, "", 1)
    assert "refs/heads/other would keep it" in err
    assert "--force" in err
    assert "force=" not in err
    assert commits(grown) == before
    value = grown("purge", "book", "--confirm", "book", "--force", "--json").json
    assert [*value] == [
        "branch",
        "old",
        "new",
        "changed",
        "dropped",
        "removed",
        "kept_by",
        "advice",
    ]
    assert (value["old"], value["kept_by"]) == (before[0], ["refs/heads/other"])


def test_prune_history(grown: Cli) -> None:
    argv = ("prune-history", "--before", "now", "--confirm", "main")
    code, out, err = grown.masked(*argv)
    assert (code, err) == (0, "")
    assert out.startswith("forgot what was before: 4 commits rewritten, 3 of them left out, ")
    assert run_git(grown.folder, "rev-list", "--count", "main").strip() == "1"
    assert KEY not in run_git(grown.folder, "log", "-p", "--all")
    assert [row["id"] for row in grown("list", "--json").json] == [PROJ]
    assert_git_is_content(grown.folder)
    assert grown.masked(*argv)[:2] == (0, "nothing to remove from the branch\n")
    for before in ("2020-01-01Z", "2020-01-01", "soon"):
        refused = grown("prune-history", "--before", before, "--confirm", "main")
        assert refused.code == (3 if before.endswith("Z") else 2)
