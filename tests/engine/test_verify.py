"""verify() on stores that were changed behind its back, by git or by hand; and repair()."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitstore import Author, BlockingSessionStore
from gitstore.engine import historycache, pathwalk
from gitstore.engine.findings import ProblemKind
from gitstore.engine.repair import repair
from gitstore.engine.verify import verify
from gitstore.errors import CorruptRepositoryError, RepositoryError
from gitstore.git.signing import Checker, Signer, SigningSettings
from gitstore.git.trail import ID_BYTES
from gitstore.session.ids import parse_session_id, path_of
from gitstore.types import CommitId
from tests.engine.test_damage import (
    IDS,
    RUNTIME,
    _save,
    check,
    make_template,
    open_repository,
    open_store,
)
from tests.gitcommand import loosen, run_git

if TYPE_CHECKING:
    from gitstore.engine.findings import VerifyReport
    from gitstore.engine.repair import RepairReport

ANN = Author(name="Ann", email="ann@example.org")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("verify") / "s").path


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "s")


def place(name: str) -> str:
    return path_of(parse_session_id(name))


def tip(path: Path, branch: str = "main") -> CommitId:
    return CommitId(run_git(path, "rev-parse", branch).strip())


def said(report: VerifyReport, kind: ProblemKind) -> str:
    """Return what a report says about one kind of thing, and nothing else."""
    assert {problem.kind for problem in report.problems} <= {kind}, report.problems
    assert report.exit_code == (1 if report.problems else 0)
    return "\n".join(str(problem) for problem in report.problems)


def commit(path: Path, message: str = "by hand") -> None:
    run_git(path, "add", "-A")
    run_git(path, "commit", "-q", "--allow-empty", "-m", message)


def files(path: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in path.rglob("*") if file.is_file()}


# --- history ----------------------------------------------------------------------------------


def test_a_rewritten_branch_is_found_and_named_until_it_is_accepted(store: Path) -> None:
    old = tip(store)
    assert (store / ".git/gitstore/verified").read_text() == f"{old} refs/heads/main\n"
    run_git(store, "commit", "-q", "--amend", "-m", "Something else")
    report = check(store)
    assert old in said(report, ProblemKind.HISTORY)
    assert report.remembered == old
    assert old in said(check(store), ProblemKind.HISTORY), "it was forgotten"
    with open_store(store) as handle:
        _save(handle, "a", 99)
    assert old in said(check(store), ProblemKind.HISTORY)
    with open_repository(store) as repository:
        assert verify(repository, remembered=tip(store)).is_clean
    assert check(store).is_clean


def test_more_commits_and_merges_of_git_are_no_problem(store: Path) -> None:
    with open_store(store) as handle:
        _save(handle, "a", 50)
    assert check(store).is_clean
    run_git(store, "checkout", "-q", "-b", "other", "HEAD~1")
    (store / "notes.txt").write_text("mine\n")
    commit(store)
    run_git(store, "checkout", "-q", "main")
    # A merge changes whatever its second side changed: its trailers are about something else.
    message = "Merge\n\nSession-Id: b\nOperation: merge\n"
    run_git(store, "merge", "-q", "--no-ff", "-m", message, "other")
    report = check(store)
    assert (report.exit_code, report.problems, report.notes) == (0, (), ())
    assert report.checked.commits == 20


def test_a_branch_that_fell_back_to_packed_refs_is_found_without_memory(store: Path) -> None:
    (store / ".git/gitstore/verified").unlink()
    new = tip(store)
    (store / ".git/refs/heads/main").unlink()
    assert tip(store) != new
    assert new in "\n".join(str(each) for each in check(store).problems)


def test_a_head_that_names_a_branch_without_commits(store: Path) -> None:
    (store / ".git/HEAD").write_text("ref: refs/heads/mian\n")
    assert "does HEAD name the right branch" in said(check(store), ProblemKind.REF)


def test_a_head_that_names_no_branch_at_all(store: Path) -> None:
    (store / ".git/HEAD").write_text("ref: refs/heads-of-old/main\n")
    report = check(store)
    assert ["HEAD is on no branch" in problem.text for problem in report.problems] == [True]
    assert report.exit_code == 2


def test_a_repository_that_cannot_be_opened_or_has_no_branch_is_exit_code_2(store: Path) -> None:
    (store / ".git/refs/heads/main").write_text("nonsense\n")
    assert check(store).exit_code == 2
    (store / ".git/config").write_text("[nonsense\n")
    assert check(store).exit_code == 2


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("x\n\nSession-Id: a\nOperation: delete\n", "says delete, but it changed a"),
        ("x\n\nSession-Id: a\nOperation: create\n", "says create, but it changed a"),
        ("x\n\nSession-Id: b\nOperation: update\n", "says it changed b, but it did not"),
        ("x\n\nSession-Id: b\nOperation: update\n", f"but it changed {place('a')}"),
    ],
)
def test_trailers_that_do_not_agree_with_the_diff(store: Path, message: str, text: str) -> None:
    with open_store(store) as handle:
        _save(handle, "a", 70)
    run_git(store, "commit", "-q", "--amend", "-m", message)
    found = said(check(store), ProblemKind.TRAILERS)
    assert text in found
    assert tip(store) in found


def test_trailers_that_agree_are_no_problem_whoever_wrote_them(store: Path) -> None:
    (store / place("a")).unlink()
    commit(store, "x\n\nSession-Id: a\nOperation: delete\n")
    commit(store, "x\n\nOperation: walk the dog\n")
    assert check(store).is_clean


# --- trees and sessions -----------------------------------------------------------------------


def test_whatever_is_no_session_below_the_sessions_folder(store: Path) -> None:
    file = store / place("a")
    shutil.copy(file, store / "sessions/zz.yaml")
    file.chmod(0o755)
    (file.parent / "link.yaml").symlink_to("a.yaml")
    run_git(store, "add", "-A")
    run_git(store, "update-index", "--add", "--cacheinfo", f"160000,{tip(store)},sessions/sub")
    run_git(store, "commit", "-q", "-m", "odd things")
    found = said(check(store), ProblemKind.TREE)
    assert re.search(rf"{place('a')}: .*100755", found)
    assert re.search(r"link\.yaml: .*120000", found)
    assert re.search(r"sessions/sub: .*160000", found)
    assert re.search(r"sessions/zz\.yaml: is not where", found)


def test_a_file_that_is_no_session_of_its_name(store: Path) -> None:
    target = store / place("other")
    target.parent.mkdir(exist_ok=True)
    shutil.copy(store / place("a"), target)
    commit(store)
    assert "must be 'other', as the file is named" in said(check(store), ProblemKind.SESSION)
    target.write_text("[")
    commit(store)
    bad = tip(store)
    target.unlink()
    commit(store)
    assert check(store, deep=False).is_clean
    assert f"{bad}:{place('other')}" in said(check(store, deep=True), ProblemKind.SESSION)


def test_hand_edits_are_noted_and_what_is_no_session_is_a_problem(store: Path) -> None:
    file = store / place("a")
    file.write_bytes(b"# mine\n" + file.read_bytes())
    (store / place("b")).unlink()
    report = check(store)
    assert report.is_clean
    assert ["hand edit" in each.text for each in report.notes] == [True, False]
    file.write_text("[")
    assert place("a") in said(check(store), ProblemKind.WORKING_FILE)


def test_a_row_of_the_cache_that_is_not_what_the_session_says(store: Path) -> None:
    with closing(sqlite3.connect(store / ".git/gitstore/cache.sqlite")) as cache, cache:
        (rows,) = cache.execute("SELECT rows FROM listings").fetchone()
        forged = json.loads(rows)
        forged[-1][forged[0].index("a")] += 1
        cache.execute("UPDATE listings SET rows = ?", (json.dumps(forged),))
    assert "its row for a" in said(check(store), ProblemKind.CACHE)
    kept = files(store / ".git/gitstore")
    (store / ".git/gitstore/cache.sqlite").write_bytes(b"SQLite format 3\0" + bytes(500))
    assert "is damaged" in said(check(store), ProblemKind.CACHE)
    assert files(store / ".git/gitstore").keys() == kept.keys(), "a check removed something"


def test_a_walk_of_the_cache_that_is_not_what_the_commits_say(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pathwalk, "_WORTH_STORING", 0)
    with BlockingSessionStore.open(store) as opened:
        opened.history("a")
    kept = store / ".git/gitstore" / historycache.FILE
    assert said(check(store), ProblemKind.CACHE) == ""
    with closing(sqlite3.connect(kept)) as cache, cache:
        ((path, walk),) = cache.execute("SELECT path, walk FROM walks").fetchall()
        forged = walk[:-ID_BYTES]
        digest = historycache._digest(path, forged)
        cache.execute("UPDATE walks SET walk = ?, digest = ?", (forged, digest))
    assert f"its history of {path}" in said(check(store), ProblemKind.CACHE)
    kept.write_bytes(b"SQLite format 3\0" + bytes(500))
    assert "is damaged" in said(check(store), ProblemKind.CACHE)
    assert kept.exists()


# --- signatures -------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_signatures_are_checked_when_asked_for(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    for name in ("ann", "eve"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(keys / name)]
        subprocess.run(command, check=True, timeout=30)
    allowed = keys / "allowed"
    allowed.write_text(f"ann@example.org {(keys / 'ann.pub').read_text()}")
    path = tmp_path / "s"
    with BlockingSessionStore.open(path, create=True, runtime=RUNTIME) as handle:
        _save(handle, "a", 1)
    checker = Checker(SigningSettings(format="ssh", allowed_signers=str(allowed)))

    def sign(name: str) -> None:
        """Sign the last commit again, as somebody."""
        signer = Signer(SigningSettings(format="ssh", key=str(keys / name)), path=str(path))
        with open_repository(path) as repository, repository.writing():
            draft = repository.draft()
            made = draft.commit(
                "notes", name.encode(), author=ANN, time=0, message="x\n", sign=signer.sign
            )
            assert repository.publish(draft, tree=None, seen={}, who=ANN) is False
            assert repository.create_branch(name, draft)
        run_git(path, "reset", "-q", "--hard", made)

    def found(*, require: bool = False) -> VerifyReport:
        with open_repository(path) as repository:
            return verify(repository, checker=checker, require_signatures=require)

    assert found().is_clean
    assert "it is not signed" in said(found(require=True), ProblemKind.SIGNATURE)
    sign("ann")
    assert found().checked.signed == 1
    assert found().is_clean
    sign("eve")
    assert "unknown-key" in said(found(), ProblemKind.SIGNATURE)
    raw = run_git(path, "cat-file", "commit", "HEAD~1").encode().replace(b"\n\nx", b"\n\ny")
    forged = run_git(path, "hash-object", "-t", "commit", "-w", "--stdin", given=raw).strip()
    run_git(path, "reset", "-q", "--hard", forged)
    run_git(path, "reflog", "expire", "--expire=all", "--all")
    (path / ".git/gitstore/verified").unlink()
    assert f"signature: {forged}: its signature" in said(found(), ProblemKind.SIGNATURE)
    assert "is bad" in said(found(), ProblemKind.SIGNATURE)


# --- damage, and what can be saved --------------------------------------------------------------


def loose(path: Path, name: str) -> Path:
    return path / ".git/objects" / name[:2] / name[2:]


def damage(path: Path, name: str) -> bytes:
    """Damage a loose object; return the damaged bytes."""
    file = loose(path, name)
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-3])
    return file.read_bytes()


def mend(path: Path) -> RepairReport:
    with open_repository(path) as repository:
        return repair(repository, author=ANN, runtime=RUNTIME)


def blob(path: Path, name: str, at: str = "main") -> str:
    return run_git(path, "rev-parse", f"{at}:{place(name)}").strip()


def assert_whole(path: Path, branch: str, folder: Path) -> None:
    """Let git clone the branch and check every object of it."""
    run_git(folder, "clone", "-q", "--no-local", "--single-branch", "-b", branch, str(path), "c")
    run_git(folder / "c", "fsck", "--strict", "--full")


def test_a_check_changes_nothing_in_a_damaged_store(store: Path) -> None:
    damage(store, blob(store, "a"))
    before = files(store)
    assert check(store).exit_code == 1
    assert files(store) == before


@pytest.mark.parametrize("what", ["HEAD~3:sessions", "HEAD:notes.txt", "HEAD~4"])
def test_what_is_missing_anywhere_in_history_is_named(store: Path, what: str) -> None:
    (store / "notes.txt").write_text("mine\n")
    commit(store)
    name = tip(store, what)
    loose(store, name).unlink()
    assert f"object: {name}" in said(check(store, deep=False), ProblemKind.OBJECT)


def test_an_unreachable_damaged_object_is_reported_and_a_save_does_not_take_it(
    store: Path,
) -> None:
    with open_store(store) as handle:
        asset = handle.load("a")
        asset.project_context.name = "later"
        handle.save(asset)
        later = blob(store, "a")
        run_git(store, "reset", "-q", "--hard", "HEAD~1")
        loosen(store)
        damage(store, later)
        with open_repository(store) as repository:
            report = verify(repository, remembered=tip(store))
        assert [each.where for each in report.problems if each.kind == "object"] == [later]
        asset = handle.load("a")
        asset.project_context.name = "later"
        assert handle.save(asset).revision == later
        assert handle.load("a").project_context.name == "later"
    run_git(store, "fsck", "--strict", "--full")


def test_repair_finds_the_lost_bytes_in_the_working_file(store: Path, tmp_path: Path) -> None:
    lost, before = blob(store, "a"), tip(store)
    broken = damage(store, lost)
    assert check(store).exit_code == 1
    report = mend(store)
    assert report.branch == "gitstore-repair-2026-01-02"
    assert {each.session_id: each.source for each in report.restored} == {
        name: "working file" if name == "a" else "branch" for name in IDS
    }
    assert blob(store, "a", report.branch) == lost
    assert tip(store) == before
    assert [Path(each).read_bytes() for each in report.damaged] == [broken]
    assert_whole(store, report.branch, tmp_path)
    message = run_git(store, "log", "-1", "--format=%B", report.branch)
    assert "Operation: repair" in message
    assert mend(store).branch == "gitstore-repair-2026-01-02-2"


def test_repair_goes_back_to_the_newest_state_that_can_be_read(store: Path, tmp_path: Path) -> None:
    damage(store, blob(store, "a"))
    (store / place("a")).unlink()
    report = mend(store)
    sources = {str(each.session_id): each.source for each in report.restored}
    older = run_git(store, "log", "-2", "--format=%H", "--", place("a")).split()
    assert sources["a"] != "branch"
    assert blob(store, "a", report.branch) == blob(store, "a", older[1])
    assert blob(store, "b", report.branch) == blob(store, "b")
    assert report.base == tip(store, f"{older[0]}~1")
    assert_whole(store, report.branch, tmp_path)


@pytest.mark.parametrize("what", ["HEAD", "HEAD^{tree}", "HEAD:sessions"])
def test_repair_without_the_newest_commit_or_tree_asks_index_and_log(
    store: Path, tmp_path: Path, what: str
) -> None:
    with open_store(store) as handle:
        handle.delete("d")
        _save(handle, "b", 60)
    wanted = {name: blob(store, name) for name in IDS if name != "d"}
    loosen(store)
    loose(store, tip(store, what)).unlink()
    shutil.rmtree(store / "sessions")
    report = mend(store)
    assert {str(each.session_id) for each in report.restored} == wanted.keys()
    assert {name: blob(store, name, report.branch) for name in wanted} == wanted
    assert_whole(store, report.branch, tmp_path)


def test_repair_of_a_store_whose_pack_is_gone(store: Path, tmp_path: Path) -> None:
    (pack,) = (store / ".git/objects/pack").glob("*.pack")
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:100])
    wanted = {name: (store / place(name)).read_bytes() for name in IDS}
    report = mend(store)
    assert report.base is None
    assert report.lost == ()
    for name, data in wanted.items():
        assert run_git(store, "show", f"{report.branch}:{place(name)}").encode() == data
    assert any(each.endswith(".pack") for each in report.damaged)
    pack.unlink()
    pack.with_suffix(".idx").unlink()
    assert_whole(store, report.branch, tmp_path)


def test_repair_does_not_bring_back_what_was_deleted(store: Path) -> None:
    with open_store(store) as handle:
        _save(handle, "b", 60)
        lost = blob(store, "b")
        handle.delete("d")
    loosen(store)
    damage(store, lost)
    report = mend(store)
    assert report.base == tip(store, "main~2")
    assert blob(store, "d", "main~2")
    found = run_git(store, "ls-tree", "-r", "--name-only", report.branch)
    assert place("b") in found
    assert place("d") not in found


def test_repair_with_nothing_but_the_log_goes_back_one_save(store: Path) -> None:
    before = tip(store, "main~1")
    loose(store, tip(store)).unlink()
    (store / ".git/index").unlink()
    shutil.rmtree(store / "sessions")
    report = mend(store)
    assert report.base == before
    assert {str(each.session_id) for each in report.restored} == {*IDS}


def test_repair_goes_on_from_where_the_branch_was_when_its_ref_is_lost(store: Path) -> None:
    wanted = {name: blob(store, name) for name in IDS}
    before = tip(store)
    (store / ".git/refs/heads/main").unlink()
    report = mend(store)
    assert report.base == before
    assert {name: blob(store, name, report.branch) for name in IDS} == wanted


def test_repair_of_nothing_makes_no_branch(store: Path) -> None:
    (store / ".git/HEAD").write_text("ref: refs/heads/mian\n")
    (store / ".git/index").unlink()
    shutil.rmtree(store / "sessions")
    with pytest.raises(CorruptRepositoryError, match="nothing of refs/heads/mian"):
        mend(store)
    assert "repair" not in run_git(store, "branch")


@pytest.mark.parametrize("size", [0, 7, 100, 1040, 1500])
def test_a_pack_index_that_ends_too_early(store: Path, size: int) -> None:
    (index,) = (store / ".git/objects/pack").glob("*.idx")
    index.chmod(0o644)
    index.write_bytes(index.read_bytes()[:size])
    assert f"objects/pack/{index.name}: its checksum is wrong" in "\n".join(
        str(each) for each in check(store).problems
    )
    with open_store(store) as handle:
        for at in ("v1", "0123"):
            with pytest.raises(RepositoryError):
                handle.load("a", at=at)


def test_a_delta_that_is_based_on_itself_ends(store: Path) -> None:
    """Offset 0 in a pack leads a naive reader back to where it is, for ever."""
    (pack,) = (store / ".git/objects/pack").glob("*.pack")
    listing = run_git(store, "verify-pack", "-v", str(pack)).splitlines()
    deltas = [line.split() for line in listing if len(line.split()) == 7]
    assert deltas
    data = bytearray(pack.read_bytes())
    for fields in deltas:
        at = int(fields[4])
        while data[at] & 0x80:
            at += 1
        while data[at + 1] & 0x80:
            data[at + 1] = 0x80
            at += 1
        data[at + 1] = 0
    pack.chmod(0o644)
    pack.write_bytes(bytes(data))
    report = check(store)
    assert {each.where for each in report.problems} >= {fields[0] for fields in deltas}
