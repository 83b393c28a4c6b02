"""The benchmarks: they run, say what they measured, and notice work that was not done."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import pytest

from gitstore import BlockingSessionStore, dump_session, read_session
from tests.benchmarks.__main__ import WORKLOADS, main, run
from tests.benchmarks.bench import Arena, Bench, Edits, Open, Options
from tests.benchmarks.measure import OURS, Row, Samples, interleave, ratio
from tests.benchmarks.peers import gitsheets, ours
from tests.benchmarks.peers.plain import LIMIT
from tests.benchmarks.repositories import build, check, commit_stream
from tests.benchmarks.sessions import SIZES, SMALL, name_of, path_of, session, small_files
from tests.benchmarks.targets import TARGETS, judge
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.benchmarks.measure import Act

FIELDS = {
    "workload", "parameters", "subject", "median", "n", "unit", "cpu", "durability", "notes", "ratio",
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the JSON of a short run of three workloads."""
    folder = tmp_path_factory.mktemp("run")
    chosen = ["--only", "delete", "exists", "sync_status", "--sessions", "8", "--rounds", "3"]
    out = folder / "figures.json"
    assert main(["--quick", *chosen, "--json", str(out), "--folder", str(folder)]) == 0
    assert [path.name for path in folder.iterdir()] == [out.name], "the run leaves nothing behind"
    read: dict[str, Any] = json.loads(out.read_text())
    return read


def test_a_run_says_what_was_measured_on_what(found: dict[str, Any]) -> None:
    assert set(found) == {"command", "machine", "versions", "rows", "absent", "targets"}
    assert found["command"].startswith("python -m tests.benchmarks --quick --only delete")
    assert found["machine"]["cores"] >= 1
    assert set(found["versions"]) >= {"python", "git", "dulwich", "pygit2", "GitPython", "xandikos"}
    assert {row["workload"] for row in found["rows"]} == {"delete", "exists", "sync_status"}
    for row in found["rows"]:
        assert set(row) == FIELDS
        if row["median"] is None:
            assert row["subject"] in found["absent"]
            assert row["notes"].startswith("absent: ")
        else:
            assert row["median"] > 0
            assert row["n"] >= 1


def test_every_deletion_says_how_durable_it_is(found: dict[str, Any]) -> None:
    rows = [row for row in found["rows"] if row["workload"] == "delete" and row["median"]]
    assert {row["parameters"]["place"] for row in rows} == {"bare", "working tree"}
    assert {OURS, "gitstore, process", "git add + commit"} <= {row["subject"] for row in rows}
    assert all(row["durability"] for row in rows)
    assert all(row["ratio"] == 1 for row in rows if row["subject"] == OURS)


def test_every_target_is_told_and_none_is_judged_by_other_sizes(found: dict[str, Any]) -> None:
    assert [each["target"] for each in found["targets"]] == [target.text for target in TARGETS]
    states = {each["target"]: each["state"] for each in found["targets"]}
    assert states["exists: under 0.3 ms"] in {"met", "missed"}
    assert set(states.values()) <= {"met", "missed", "not measured"}
    of_saves = [state for target, state in states.items() if target.startswith("save, ")]
    assert set(of_saves) == {"not measured"}, "nothing was saved"


def test_markdown_has_the_command_the_targets_and_the_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(
        ["--quick", "--only", "exists", "--sessions", "3", "--markdown", "--folder", str(tmp_path)]
    )
    said = capsys.readouterr().out
    assert said.startswith("`python -m tests.benchmarks --quick --only exists")
    assert "| exists: under 0.3 ms | " in said
    assert "**exists: 3 sessions**" in said
    assert "| gitstore | " in said


# --- figures -------------------------------------------------------------------------


def row(subject: str, median: float | None, **parameters: str | int) -> Row:
    return Row(workload="save", parameters=parameters, subject=subject, median=median, n=1)


def test_ratios_are_to_gitstore_in_the_same_cell() -> None:
    rows = [row(OURS, 2, size="a"), row("peer", 6, size="a"), row(OURS, 3, size="b")]
    rows += [row("peer", 6, size="b"), row("lost", None, size="b"), row("peer", 6, size="c")]
    assert [ratio(each, rows) for each in rows] == [1, 3, 1, 2, None, None]


def test_a_target_is_met_or_missed_by_the_figures_it_names() -> None:
    where: dict[str, Any] = {"place": "working tree", "sessions": 10_000, "size": "2 KB"}
    rows = [row(OURS, 4, **where), row("git add + commit", 36, **where), row(LIMIT, 0.4, **where)]
    states = {verdict.target: verdict for verdict in judge(rows)}
    git, limit = (verdict for verdict in states.values() if verdict.state != "not measured")
    assert (git.measured, git.state) == ("9.00 x", "met")
    assert (limit.measured, limit.state) == ("10.0 x", "missed")


def test_subjects_take_turns_and_slow_ones_take_fewer() -> None:
    order: list[str] = []
    clock = Samples()

    def subject(name: str) -> Callable[[int], Act]:
        return lambda number: lambda: order.append(f"{name}{number}")

    measured = interleave({"a": subject("a"), "b": subject("b")}, rounds=4, budget_seconds=60)
    assert order == ["a-1", "a-2", "b-1", "b-2", "a0", "b0", "b1", "a1", "a2", "b2", "b3", "a3"]
    assert [len(samples.wall) for samples in measured.values()] == [4, 4]
    measured = interleave({"a": subject("a")}, rounds=9, budget_seconds=1e-12)
    assert len(measured["a"].wall) == 3
    assert clock.wall == []


# --- the work was done ---------------------------------------------------------------


def test_a_workload_that_fails_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Bench) -> list[Row]:
        raise ValueError("no such thing")

    monkeypatch.setitem(WORKLOADS, "append", broken)
    shown: list[str] = []
    names = ["append", "exists"]
    rows = run(Bench(tmp_path, Options(sessions=(2,), rounds=1)), names, show=shown.append)
    assert rows[0].notes == "absent: it failed: ValueError: no such thing"
    assert {each.workload for each in rows[1:]} == {"exists"}
    assert len(shown) == 2
    assert main(["--quick", "--only", "append", "--folder", str(tmp_path)]) == 1


def small(count: int) -> list[tuple[str, bytes]]:
    return [(path_of(name), data) for name, data in small_files(count)]


def test_commits_that_were_not_made_are_noticed(tmp_path: Path) -> None:
    folder = build(tmp_path / "made", commit_stream(small(2)))
    check(folder, added=1, before=0, subject="git")
    with pytest.raises(AssertionError, match="2 commits were timed, 1 were made"):
        check(folder, added=2, before=0, subject="git")


def test_a_commit_without_its_blob_is_noticed(tmp_path: Path) -> None:
    folder = build(tmp_path / "made", commit_stream(small(2)))
    entry = b"100644 blob %s\tlost\n" % (b"1" * 40)
    tree = run_git(folder, "mktree", "--missing", given=entry).strip()
    made = run_git(folder, "commit-tree", tree, "-p", "main", "-m", "lost").strip()
    run_git(folder, "update-ref", "refs/heads/main", made)
    with pytest.raises(AssertionError, match="2 commits were timed, 2 were made"):
        check(folder, added=2, before=0, subject="git")


def _opened(tmp_path: Path) -> Open:
    bench = Bench(tmp_path, Options(quick=True))
    (opened,) = Arena(bench, ours.subjects(bare=True)[:1], 3).open
    return opened


def test_a_save_of_other_bytes_is_noticed(tmp_path: Path) -> None:
    opened = _opened(tmp_path)
    edit = Edits(SMALL, 3)(1, ours=True)
    opened.save(edit)()
    opened.last = replace(edit, seed=edit.seed + 1)
    with pytest.raises(AssertionError, match="stored something else"):
        opened.finish()


def test_what_gitstore_saves_are_the_bytes_that_peers_are_given(tmp_path: Path) -> None:
    opened = _opened(tmp_path)
    edit = Edits(SMALL, 3)(1, ours=True)
    saved: Any = opened.save(edit)()
    assert saved.revision == sha1(b"blob %d\0%s" % (len(edit.data), edit.data)).hexdigest()
    opened.finish()


def test_a_peer_that_is_not_installed_is_named(tmp_path: Path) -> None:
    arena = Arena(Bench(tmp_path, Options(quick=True)), gitsheets.subjects(None), 2)
    (told,) = arena.measure("save", {}, lambda each, _: each.delete("", ""))
    assert (told.subject, told.median) == ("gitsheets", None)
    assert "npm install gitsheets" in told.notes


# --- what is stored ------------------------------------------------------------------


def test_sessions_have_the_size_that_they_are_called_by() -> None:
    bytes_of = {name: len(dump_session(session("x", size))) for name, size in SIZES.items()}
    wanted = {"2 KB": 2e3, "100 KB": 1e5, "1 MB": 1.1e6, "1,000 turns": 1.17e6}
    for name, size in bytes_of.items():
        assert abs(size / wanted[name] - 1) < 0.1, name


def test_small_files_are_sessions_and_a_store_reads_them(tmp_path: Path) -> None:
    files = [*small_files(3)]
    assert all(dump_session(read_session(data)) == data for _, data in files)
    folder = build(tmp_path / "store", commit_stream(small(3)))
    with BlockingSessionStore.open(folder) as store:
        assert store.load(name_of(1)) == read_session(files[1][1])
    shutil.rmtree(folder)


def test_every_workload_has_a_name_that_can_be_asked_for() -> None:
    wanted = {"save", "append", "load", "list", "delete", "exists", "sync_status", "concurrent"}
    wanted |= {"codec", "history", "growth", "automatic", "divergence", "push", "exchange"}
    wanted |= {"memory", "lag", "fsyncs"}
    assert set(WORKLOADS) == wanted
