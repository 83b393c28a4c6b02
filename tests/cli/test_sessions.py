"""save, show, list, delete: what they print, and what they store."""

from __future__ import annotations

import json
import re
import shlex
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gitstore import (
    BlockingSessionStore,
    ConversationTurn,
    SessionAsset,
    dump_session,
    read_session,
)
from tests.cli.commandline import ORCS, PROJ, process_environment
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.commandline import Cli

FULL = (ORCS / "full.json").read_bytes()


def plain(session_id: str, name: str | None = None) -> SessionAsset:
    text = (ORCS / "minimal.json").read_bytes()
    asset = SessionAsset.from_orcs_json(text)
    asset.id = session_id
    asset.project_context.name = name
    return asset


# --- save ----------------------------------------------------------------


def test_save_tells_what_it_did(cli: Cli) -> None:
    path = str(ORCS / "full.json")
    assert cli.masked("save", path) == (0, f"created {PROJ} in commit COMMIT\n", "")
    assert cli.masked("save", path) == (0, f"unchanged {PROJ}\n", "")


def test_save_reads_yaml_and_orcs_json_alike(cli: Cli) -> None:
    yaml = dump_session(SessionAsset.from_orcs_json(FULL))
    assert cli("save", "-", given=b" \n" + FULL).out.startswith("created")
    assert cli("save", "-", given=yaml).out == f"unchanged {PROJ}\n"


def test_save_json_shape(cli: Cli) -> None:
    ran = cli("save", str(ORCS / "full.json"), "--json")
    with BlockingSessionStore.open(cli.folder) as store:
        newest = store.history(PROJ)[0]
    assert ran.json == {
        "session_id": PROJ,
        "outcome": "created",
        "revision": newest.revision,
        "commit": newest.commit,
        "adopted": None,
        "merged": False,
        "conflicts": [],
        "masked": [],
    }


def test_save_passes_message_actor_and_author(cli: Cli) -> None:
    said = ("--message", "First draft", "--actor", "bot")
    cli("--author", "Ben <ben@example.org>", "save", str(ORCS / "full.json"), *said)
    with BlockingSessionStore.open(cli.folder) as store:
        change = store.history(PROJ)[0]
    assert (change.subject, change.actor) == ("First draft", "bot")
    assert (change.author.name, change.author.email) == ("Ben", "ben@example.org")


def test_save_with_an_expectation(cli: Cli) -> None:
    path = str(ORCS / "full.json")
    assert cli("save", path, "--expected", "absent").code == 0
    assert cli.masked("save", path, "--expected", "absent") == (
        4,
        "",
        f"gitstore: session exists: {PROJ}; save it without --expected to overwrite it\n",
    )
    asset = SessionAsset.from_orcs_json(FULL)
    asset.project_context.name = "renamed"
    changed = dump_session(asset)
    assert cli.masked("save", "-", "--expected", "0" * 40, given=changed) == (
        4,
        "",
        (
            f"gitstore: {PROJ}: expected HASH, found HASH; "
            "`gitstore show --json ID` tells what is stored now\n"
        ),
    )
    stored = cli("show", PROJ, "--json").json["revision"]
    assert cli("save", "-", "--expected", stored, given=changed).code == 0
    assert cli("show", PROJ, "--json").json["session"]["project_context"]["name"] == "renamed"


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (b"", "document"),
        (b"id: x\nversion: 1\ncreated_at: soon\n", "created_at"),
        (b"{", "json (line 1, column 2)"),
        (b"\xef\xbb\xbf{}", "json (line 1, column 1)"),
        (b"id: \xff\n", "document (line 1, column 5)"),
        (b"version: 2\nid: x\n", "version"),
    ],
)
def test_bad_input_is_one_line_that_names_the_place(cli: Cli, given: bytes, place: str) -> None:
    ran = cli("save", "-", given=given)
    assert (ran.code, ran.out) == (5, "")
    assert ran.err.count("\n") == 1
    assert re.fullmatch(rf"gitstore: (x: )?standard input: {re.escape(place)}.*: .*\n", ran.err)
    assert cli("list").out == ""


def test_a_file_that_cannot_be_read(cli: Cli) -> None:
    assert cli.masked("save", "nowhere.yaml") == (
        5,
        "",
        (
            "gitstore: nowhere.yaml: cannot be read: No such file or directory; "
            "check the path and its permissions\n"
        ),
    )
    assert cli("save", str(cli.folder)).err.count("Is a directory") == 1
    assert cli("save", "a\0b").code == 5


def test_an_id_that_is_no_file_name(cli: Cli) -> None:
    ran = cli("save", "-", given=FULL.replace(PROJ.encode(), b"../x"))
    assert ran.code == 5
    assert ran.err.startswith("gitstore: not a session id: '../x': ")


# --- show ----------------------------------------------------------------


def test_show_is_readable(cli: Cli) -> None:
    cli.fill()
    code, out, err = cli.masked("show", PROJ)
    assert (code, err) == (0, "")
    assert out == (
        f"session   {PROJ}\n"
        "name      proj\n"
        "project   /home/u/proj\n"
        "created   2026-11-23T11:55:32.428Z\n"
        "updated   2026-11-23T11:55:32.428Z\n"
        "revision  HASH\n"
        "turns     2\n"
        "facts     db = pg\n"
        "skills    lint\n"
        "granted   ls, git push\n"
        "\n"
        "-- 3 earlier turns, 1970-01-01T00:00:00.001Z to 1970-01-01T00:00:00.002Z\n"
        "    s\n"
        "\n"
        "-- user  2026-11-23T11:55:32.428Z  [t1]\n"
        "    hello\n"
        "\n"
        "-- assistant  2026-11-23T11:55:32.428Z\n"
        "    line1\n"
        "    line2 \U0001f600 \\x07 \\u2028\n"
        '    * bash {"cmd": "ls"} (failed, 12 ms)\n'
        "    * bash (ok, 0 ms)\n"
    )


def test_show_yaml_is_the_file_and_orcs_is_lossless(cli: Cli) -> None:
    cli.fill()
    file = next(cli.folder.rglob(f"{PROJ}.yaml"))
    assert cli("show", PROJ, "--yaml").out.encode() == file.read_bytes()
    assert json.loads(cli("show", PROJ, "--orcs").out) == json.loads(FULL)


def test_show_json_shape(cli: Cli) -> None:
    cli.fill()
    value = cli("show", PROJ, "--json").json
    with BlockingSessionStore.open(cli.folder) as store:
        asset = store.load(PROJ)
    assert value == {"revision": asset.revision, "session": asset.to_document()}


def test_show_as_it_was(cli: Cli) -> None:
    cli.fill()
    first = cli("log", "--json").json[0]["commit"]
    asset = SessionAsset.from_orcs_json(FULL)
    asset.project_context.name = "renamed"
    cli("save", "-", given=dump_session(asset))
    assert "name      renamed\n" in cli("show", PROJ).out
    assert "name      proj\n" in cli("show", PROJ, "--at", first).out
    assert "name      proj\n" in cli("show", PROJ[:4], "--at", first[:10]).out
    cli("delete", PROJ)
    assert "name      proj\n" in cli("show", PROJ[:4], "--at", first).out


@pytest.mark.parametrize(
    ("at", "code", "said"),
    [
        ("feed", 3, "unknown commit: 'feed'; `gitstore log` lists them"),
        ("2020-01-01T00:00Z", 3, "nothing at 2020-01-01T00:00:00+00:00: the history begins"),
        ("2020-01-01", 2, "2020-01-01T00:00:00 has no time zone; give one, such as a Z at its end"),
        (
            "2020-01-01Tnoon",
            2,
            "'2020-01-01Tnoon' is no time; write it as 2026-01-31T12:00:00Z, 2026-01-31Z,",
        ),
    ],
)
def test_show_at_no_such_moment(cli: Cli, at: str, code: int, said: str) -> None:
    cli.fill()
    ran = cli("show", PROJ, "--at", at)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


def test_only_one_form_at_a_time(cli: Cli) -> None:
    assert cli("show", PROJ, "--json", "--yaml").code == 2


def test_show_at_a_time_before_there_was_any(cli: Cli) -> None:
    first = cli("log", "--json").json
    cli.fill()
    before = run_git(cli.folder, "rev-parse", "main~1").strip()
    assert first == []
    assert cli.masked("show", PROJ, "--at", before) == (
        3,
        "",
        f"gitstore: session not found: {PROJ} at HASH; `gitstore list` shows what is stored\n",
    )


# --- prefixes ------------------------------------------------------------


def test_ids_may_be_shortened_while_they_are_unique(cli: Cli) -> None:
    for session_id in ("ab", "abc", "abd", "xyz"):
        cli("save", "-", given=dump_session(plain(session_id)))
    assert cli("show", "x").out.startswith("session   xyz\n")
    assert cli("show", "ab").out.startswith("session   ab\n"), "an exact id is never short"
    assert cli.masked("show", "a") == (
        2,
        "",
        "gitstore: a is short for ab, abc, abd; give more characters\n",
    )
    assert cli.masked("delete", "q") == (
        3,
        "",
        "gitstore: session not found: q; `gitstore list` shows what is stored\n",
    )
    assert cli("delete", "").code == 5
    assert [row["id"] for row in cli("list", "--json").json] == ["ab", "abc", "abd", "xyz"]


def test_an_ambiguous_prefix_lists_five(cli: Cli) -> None:
    for number in range(7):
        cli("save", "-", given=dump_session(plain(f"s{number}")))
    ran = cli("show", "s")
    assert (
        ran.err == "gitstore: s is short for s0, s1, s2, s3, s4 and 2 more; give more characters\n"
    )


# --- list ----------------------------------------------------------------


def test_list_is_a_table(cli: Cli) -> None:
    assert cli.masked("list") == (0, "", "")
    cli.fill()
    cli("save", "-", given=dump_session(plain("日本", "wide")))
    assert cli.masked("list") == (
        0,
        (
            "ID                                    NAME  TURNS  UPDATED                   STATE\n"
            f"{PROJ}  proj  2      2026-11-23T11:55:32.428Z  LocalOnly\n"
            "日本                                  wide  0      1970-01-01T00:00:00.000Z  LocalOnly\n"
        ),
        "",
    )
    assert cli("list", "--limit", "1").out.count("\n") == 2


def test_list_names_what_cannot_be_read(cli: Cli) -> None:
    cli.fill()
    file = next(cli.folder.rglob(f"{PROJ}.yaml"))
    file.write_text("id: [\n")
    ran = cli("list")
    assert ran.code == 0
    assert "PROBLEM" in ran.out.splitlines()[0]
    assert "LocalOnly  " in ran.out.splitlines()[1]
    assert "line" in ran.out.splitlines()[1]
    failed = cli("show", PROJ)
    assert (failed.code, failed.out) == (5, "")
    assert failed.err.count("\n") == 1


def test_list_json_shape(cli: Cli) -> None:
    cli.fill()
    revision = cli("show", PROJ, "--json").json["revision"]
    assert cli("list", "--json").json == [
        {
            "id": PROJ,
            "name": "proj",
            "created_at": "2026-11-23T11:55:32.428Z",
            "updated_at": "2026-11-23T11:55:32.428Z",
            "project_path": "/home/u/proj",
            "turn_count": 2,
            "sync_state": "LocalOnly",
            "revision": revision,
            "problem": None,
        }
    ]


# --- delete --------------------------------------------------------------


def test_delete_prints_the_way_back(cli: Cli) -> None:
    cli.fill()
    assert cli.masked("delete", PROJ) == (
        0,
        f"deleted {PROJ} in commit COMMIT\nto get it back: gitstore restore {PROJ}\n",
        "",
    )
    assert cli("list").out == ""


def test_delete_json_shape(cli: Cli) -> None:
    cli.fill()
    value = cli("delete", PROJ, "--json", "--message", "Gone", "--actor", "bot").json
    newest = cli("log", "--json").json[0]
    assert (newest["subject"], newest["actor"]) == ("Gone", "bot")
    assert value.pop("restore") == f"gitstore restore {PROJ}"
    assert value == {
        "session_id": PROJ,
        "outcome": "deleted",
        "revision": None,
        "commit": newest["commit"],
        "adopted": None,
        "merged": False,
        "conflicts": [],
        "masked": [],
    }


def test_the_way_back_works_in_a_shell(cli: Cli, tmp_path: Path) -> None:
    session_id, elsewhere = "It's 日本", str(tmp_path / "a store")
    asset = plain(session_id)
    asset.add_turn(ConversationTurn.user("keep me\n"))
    assert cli("--store", elsewhere, "init").code == 0
    cli("--store", elsewhere, "save", "-", given=dump_session(asset))
    line = cli("--store", elsewhere, "delete", session_id).out.splitlines()[1]
    command = line.removeprefix("to get it back: ")
    script = tmp_path / "bin" / "gitstore"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m gitstore "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    env = process_environment()
    env["PATH"] = f"{script.parent}:{env['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command],
        check=False,
        cwd=tmp_path,
        env=env,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    back = cli("--store", elsewhere, "show", session_id, "--yaml").out
    assert read_session(back.encode()) == asset


def test_what_could_not_be_read_comes_back_too(cli: Cli) -> None:
    cli.fill()
    file = next(cli.folder.rglob(f"{PROJ}.yaml"))
    file.write_text("id: [\n")
    line = cli("delete", PROJ).out.splitlines()[1]
    assert not file.exists()
    assert cli(*shlex.split(line.removeprefix("to get it back: "))[1:]).code == 0
    assert file.read_text() == "id: [\n"
