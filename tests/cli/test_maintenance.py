"""maintain and stats: what they do, print, and say when they cannot."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from tests.git.test_maintain import fill, packs
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    import pytest

    from tests.cli.commandline import Cli


def test_maintain_makes_one_pack_of_many(cli: Cli) -> None:
    fill(cli.folder, saves=5, bare=False)
    assert len(packs(cli.folder)) == 6
    told = cli("maintain").out
    assert re.fullmatch(r"packs 6 -> 1, loose objects 0 -> 0, [\d.]+ KiB -> [\d.]+ KiB\n", told)
    assert len(packs(cli.folder)) == 1
    assert cli("maintain", "--json").json == {
        "packs": {"before": 1, "after": 1},
        "loose": {"before": 0, "after": 0},
        "bytes": dict.fromkeys(("before", "after"), cli("stats", "--json").json["pack_bytes"]),
        "repacked": 0,
        "pruned": 0,
        "unreadable": [],
    }
    assert_git_is_content(cli.folder)


def test_full_prunes_what_nobody_names(cli: Cli) -> None:
    fill(cli.folder, saves=2, bare=False)
    lost = run_git(cli.folder, "hash-object", "-w", "--stdin", given=b"of nobody").strip()
    os.utime(cli.folder / ".git/objects" / lost[:2] / lost[2:], (0, 0))
    told = cli("maintain", "--full").out
    assert told.splitlines()[1] == "pruned 1 object that nothing named for two weeks"
    assert run_git(cli.folder, "cat-file", "-e", lost, check=False) == ""
    assert lost not in run_git(cli.folder, "cat-file", "--batch-check", "--batch-all-objects")


def test_git_does_it_when_asked_and_runs_no_hook(cli: Cli) -> None:
    fill(cli.folder, saves=5, bare=False)
    for name in ("pre-auto-gc", "post-index-change", "reference-transaction"):
        hook = cli.folder / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\ntouch ../hooked hooked\n")
        hook.chmod(0o755)
    ran = cli("maintain", "--git", "--json")
    assert (ran.code, ran.json["packs"]) == (0, {"before": 6, "after": 1})
    assert not [*cli.folder.rglob("hooked")]
    assert_git_is_content(cli.folder)
    assert cli("maintain", "--git", "--full").code == 2


def test_git_that_is_missing_or_fails_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (cli.folder / ".git/gc.pid").write_text("1 elsewhere")
    code, _, said = cli.masked("maintain", "--git")
    assert code == 6
    assert "`git gc` ended with 128: fatal: gc is already running" in said
    code, _, said = cli.masked("maintain", "--wait=0")
    assert code == 2
    code, _, said = cli.masked("--wait=0", "maintain")
    assert (code, said) == (
        7,
        "gitstore: STORE/.git: `git gc` is going on; nothing was changed, try again later\n",
    )
    monkeypatch.setenv("PATH", "/nonexistent")
    code, _, said = cli.masked("maintain", "--git")
    assert (code, said) == (
        6,
        "gitstore: STORE: there is no git command; `gitstore maintain` needs none\n",
    )


def test_stats_tell_what_there_is(cli: Cli) -> None:
    fill(cli.folder, saves=5, bare=False)
    told = cli("stats").out.splitlines()
    assert told[0].split() == ["WHAT", "COUNT", "SIZE"]
    assert told[1].split()[:2] == ["sessions", "2"]
    assert told[2].split() == ["commits", "6"]
    assert told[3].split()[:5] == ["last", "30", "days", "6", "commits"]
    assert told[4].split()[:2] == ["packs", "6"]
    assert [line.split()[0] for line in told[-3:]] == ["LARGEST", "s0", "s1"]
    assert re.fullmatch(r"s0 +\d\.\d KiB", told[-2])
    found = cli("stats", "--json").json
    assert found["largest"][0]["session_id"] == "s0"
    assert sum(each["bytes"] for each in found["largest"]) == found["session_bytes"]
    assert (found["growth"]["days"], found["growth"]["commits"]) == (30, 6)
    assert found["last_problem"] is None


def test_stats_tell_why_maintenance_failed(cli: Cli) -> None:
    folder = cli.folder / ".git/gitstore/maintenance"
    folder.mkdir()
    (folder / "problem").write_text("the disk\x1b[31m is full")
    assert cli("stats").out.endswith("\nmaintenance failed: the disk\\x1b[31m is full\n")
