"""log, diff, diff-store, blame, deleted, restore, undo, copy: what they print, and what they do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from gitstore import (
    Author,
    BlockingSessionStore,
    Change,
    CommitId,
    ConversationTurn,
    SessionAsset,
    SignatureState,
    dump_session,
)
from gitstore.cli.audit import changes_table
from tests.cli.commandline import PROJ
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from tests.cli.commandline import Cli

THEN = datetime(2026, 1, 31, 12, tzinfo=UTC)


def book(*texts: str, session_id: str = "book", name: str | None = "one") -> bytes:
    """Return a session file of some turns, the same every time."""
    asset = SessionAsset.new(id=session_id, name=name, now=THEN)
    for number, text in enumerate(texts, 1):
        turn = ConversationTurn.user(text, now=THEN, id=f"t{number}")
        asset.history.turns.append(turn)
    return dump_session(asset)


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """Two sessions: `book` changed twice since it was made, `note` deleted by a bot."""
    cli("save", "-", given=book("a"))
    cli("save", "-", given=book("first", session_id="note"))
    cli("--author", "Ben <ben@example.org>", "save", "-", given=book("a", "b\nc\n"))
    cli("save", "-", given=book("a", "b\nC\n", name="two"))
    cli("delete", "note", "--actor", "bot")
    return cli


def commits(cli: Cli, *argv: str) -> list[str]:
    return [row["commit"] for row in cli("log", "--json", *argv).json]


# --- log -----------------------------------------------------------------


def test_log_says_what_changed(filled: Cli) -> None:
    assert filled.masked("log") == (
        0,
        (
            "COMMIT      TIME                  BY   WHAT                 CHANGED\n"
            "COMMIT  TIME  bot  Delete session note  note: deleted\n"
            "COMMIT  TIME  Ann  Update session book  book: 1 turn edited, name changed\n"
            "COMMIT  TIME  Ben  Update session book  book: +1 turn\n"
            "COMMIT  TIME  Ann  Create session note  note: created with 1 turn\n"
            "COMMIT  TIME  Ann  Create session book  book: created with 1 turn\n"
        ),
        "",
    )


def test_log_is_filtered(filled: Cli) -> None:
    everything = commits(filled)
    assert everything == run_git(filled.folder, "log", "--format=%H", "--", "sessions").split()
    assert commits(filled, "--author", "BEN@") == everything[2:3]
    assert commits(filled, "--operation", "create") == everything[3:]
    assert commits(filled, "--limit", "2", "--reverse") == everything[1::-1]
    assert commits(filled, "book", "--operation", "update", "--author", "ann") == everything[1:2]
    assert commits(filled, "--since", "1 hour ago") == everything
    assert commits(filled, "--until", "yesterday") == []
    assert commits(filled, "--since", "2020-01-01Z", "--until", "now", "not") == [
        everything[0],
        everything[3],
    ]


def test_log_at_no_time(filled: Cli) -> None:
    for argv, said in (
        (("--since", "soon"), "gitstore: Invalid value for --since: 'soon' is no time; write it"),
        (("--until", "2026-02-31Z"), "gitstore: Invalid value for --until: '2026-02-31Z' is no"),
        (("--since", "2026-01-31"), "gitstore: STORE: 2026-01-31T00:00:00 has no time zone; give"),
        (("--limit", "-1"), "gitstore: Invalid value for '--limit'"),
    ):
        code, out, err = filled.masked("log", *argv)
        assert (code, out, err.count("\n")) == (2, "", 1), argv
        assert err.startswith(said)


def test_log_tells_of_signatures_when_there_are_any() -> None:
    def change(letter: str, state: SignatureState | None) -> Change:
        return Change(
            commit=CommitId(letter * 40),
            session_id=None,
            revision=None,
            operation="update",
            author=Author(name="Ann", email="ann@example.org"),
            actor=None,
            time=THEN,
            subject="More",
            signature=state,
        )

    signed = [change("a", SignatureState.EXPIRED), change("b", SignatureState.UNSIGNED)]
    assert changes_table(signed) == (
        "COMMIT      TIME                  BY   SIGNATURE  WHAT\n"
        "aaaaaaaaaa  2026-01-31T12:00:00Z  Ann  expired    More\n"
        "bbbbbbbbbb  2026-01-31T12:00:00Z  Ann  unsigned   More\n"
    )
    assert "SIGNATURE" not in changes_table(signed[1:])
    assert changes_table([change("a", None)]).splitlines()[0].split()[-1] == "WHAT"


# --- diff ----------------------------------------------------------------

LAST_DIFF = (
    "session book: COMMIT -> COMMIT\n"
    "1 turn edited, name changed\n"
    "\n"
    'project_context.name: "one" -> "two"\n'
    "\n"
    "turn t2 edited\n"
    "  content:\n"
    "    @@ -1,3 +1,3 @@\n"
    "     b\n"
    "    -c\n"
    "    +C\n"
    "     \n"
)


def test_diff_is_of_the_last_change_unless_told(filled: Cli) -> None:
    assert filled.masked("diff", "bo") == (0, LAST_DIFF, "")
    _, second, _, first = commits(filled)[1:5]
    assert filled.masked("diff", "book", second[:10]) == (0, LAST_DIFF, "")
    assert filled.masked("diff", "book", first, second) == (
        0,
        (
            "session book: COMMIT -> COMMIT\n"
            "+1 turn\n"
            "\n"
            "turn t2 [1] (user, 2026-01-31T12:00:00.000Z) added\n"
            "  +b\n"
            "  +c\n"
            "  +\n"
        ),
        "",
    )
    assert filled.masked("diff", "book", second, second)[1].endswith("\nnothing changed\n")


def test_diff_json_shape(filled: Cli) -> None:
    log = filled("log", "book", "--json").json
    value = filled("diff", "book", log[2]["commit"], "--json").json
    turn = {"id": "t2", "timestamp": "2026-01-31T12:00:00.000Z", "role": "user"}
    assert value == {
        "session_id": "book",
        "old_revision": log[2]["revision"],
        "new_revision": log[0]["revision"],
        "outcome": "updated",
        "summary": "+1 turn, name changed",
        "fields": [{"where": "project_context.name", "old": "one", "new": "two"}],
        "turns_added": [{"position": 1, "turn": {**turn, "content": "b\nC\n"}}],
        "turns_removed": [],
        "turns_changed": [],
        "turns_moved": [],
    }
    value = filled("diff", "book", "--json").json
    field = {"where": "content", "old": "b\nc\n", "new": "b\nC\n"}
    assert value["turns_changed"] == [{"id": "t2", "fields": [field]}]


def test_diff_of_what_is_not_there(filled: Cli) -> None:
    assert filled("diff", "nobody").code == 3
    assert filled("diff", "book", "feed").code == 3
    assert filled("diff", "book", "2026-01-31x").code == 2
    assert filled.masked("diff", "not")[1].splitlines()[1] == "deleted with 1 turn"


def test_diff_store(filled: Cli) -> None:
    root = run_git(filled.folder, "rev-list", "--max-parents=0", "main").strip()
    before = commits(filled)[3]
    assert filled.masked("diff-store", root) == (0, "created book\n", "")
    assert filled.masked("diff-store", before) == (0, "updated book\ndeleted note\n", "")
    assert filled.masked("diff-store", "main", "main") == (0, "nothing changed\n", "")
    assert filled("diff-store", before, "HEAD", "--json").json == {
        "old_commit": before,
        "new_commit": commits(filled)[0],
        "created": [],
        "updated": ["book"],
        "deleted": ["note"],
    }
    assert filled("diff-store", "yesterday").code == 3, "before there was a store"
    assert filled("diff-store").code == 2


# --- blame ---------------------------------------------------------------


def test_blame(filled: Cli) -> None:
    assert filled.masked("blame", "book") == (
        0,
        (
            "COMMIT      TIME                  BY   WHERE              TURN\n"
            "COMMIT  TIME  Ann  id\n"
            "COMMIT  TIME  Ann  version\n"
            "COMMIT  TIME  Ann  created_at\n"
            "COMMIT  TIME  Ann  updated_at\n"
            "COMMIT  TIME  Ann  project_context\n"
            "COMMIT  TIME  Ann  history.turns[t1]  user: a\n"
            "COMMIT  TIME  Ann  history.turns[t2]  user: b C\n"
        ),
        "",
    )
    made, grown = commits(filled, "book", "--reverse")[:2]
    lines = filled("blame", "book", "--at", grown).out.splitlines()
    assert lines[-1].split() == [grown[:10], lines[-1].split()[1], "Ben", *lines[-1].split()[3:]]
    assert lines[-2].startswith(made[:10])
    assert filled("blame", "note").code == 3
    assert filled("blame", "note", "--at", "main~1").code == 3
    assert filled("blame", "not", "--at", grown).out.count("history.turns") == 1


def test_blame_json_shape(filled: Cli) -> None:
    newest = filled("log", "book", "--json", "--limit", "1").json[0]
    value = filled("blame", "book", "--json").json
    assert (value["session_id"], value["revision"]) == ("book", newest["revision"])
    assert value["turns"][1] == {
        "where": "history.turns[t2]",
        "commit": newest["commit"],
        "author": {"name": "Ann", "email": "ann@example.org"},
        "time": newest["time"],
    }
    assert value["fields"][0]["where"] == "id"


def test_blame_of_a_hand_edit_names_its_commit(filled: Cli) -> None:
    file = next(filled.folder.rglob("book.yaml"))
    file.write_text(file.read_text().replace("content: a", "content: A"))
    value = filled("blame", "book", "--json").json
    assert value["turns"][0]["commit"] == commits(filled, "--limit", "1")[0]


# --- deleted, restore, undo, copy ----------------------------------------


def test_deleted_and_back(filled: Cli) -> None:
    before = run_git(filled.folder, "rev-parse", "main~1:sessions")
    newest = filled("log", "note", "--json").json
    assert filled.masked("deleted") == (
        0,
        "ID    DELETED               BY   IN          LAST IN\nnote  TIME  bot  COMMIT  COMMIT\n",
        "",
    )
    assert filled("deleted", "--json").json == [
        {
            "session_id": "note",
            "commit": newest[0]["commit"],
            "last_commit": commits(filled)[1],
            "last_revision": newest[1]["revision"],
            "author": {"name": "Ann", "email": "ann@example.org"},
            "actor": "bot",
            "time": newest[0]["time"],
        }
    ]
    assert filled.masked("restore", "no", "--actor", "Ann") == (
        0,
        "created note in commit COMMIT\n",
        "",
    )
    assert filled.masked("deleted") == (0, "", "")
    assert run_git(filled.folder, "rev-parse", "main:sessions") == before
    assert commits(filled, "--operation", "restore") == commits(filled, "--limit", "1")
    assert_git_is_content(filled.folder)


def test_restore_of_a_state(filled: Cli) -> None:
    first = filled("log", "book", "--json", "--reverse").json[0]
    value = filled("restore", "bo", "--at", first["commit"], "--message", "Back", "--json").json
    assert (value["outcome"], value["revision"]) == ("updated", first["revision"])
    assert filled("log", "--json", "--limit", "1").json[0]["subject"] == "Back"


def test_what_cannot_come_back(filled: Cli) -> None:
    before = commits(filled)
    for argv, code, said in (
        (("restore", "book"), 4, "session exists: book; --at says which of its states is to be"),
        (("restore", "nobody"), 3, "session not found: nobody"),
        (("restore", "book", "--at", "feed"), 3, "STORE: unknown commit: 'feed'; `gitstore log`"),
        (("restore", "book", "--at", "yesterday"), 3, "STORE: nothing at "),
        (("undo", "feed"), 3, "STORE: unknown commit: 'feed'"),
        (("copy", "nobody", "new"), 3, "session not found: nobody"),
        (("copy", "book", "../new"), 5, "not a session id: '../new': "),
        (("copy", "book", "book"), 4, "session exists: book; "),
    ):
        ended, out, err = filled.masked(*argv)
        assert (ended, out, err.count("\n")) == (code, "", 1), argv
        assert err.startswith(f"gitstore: {said}")
        assert commits(filled) == before


def test_undo_keeps_what_came_since(filled: Cli) -> None:
    grown, renamed = commits(filled, "book", "--reverse")[1:]
    filled("save", "-", given=book("a", "b\nC\n", "d", name="three"))
    assert filled.masked("undo", renamed) == (
        0,
        (
            "updated book in commit COMMIT\n"
            "  not taken back, since it was changed again: project_context.name\n"
        ),
        "",
    )
    session = filled("show", "book", "--json").json["session"]
    assert session["project_context"]["name"] == "three"
    assert [turn["content"] for turn in session["history"]["turns"]] == ["a", "b\nc\n", "d"]
    value = filled("undo", grown[:10], "--json", "--actor", "bot").json
    assert [sorted(saved) for saved in value] == [
        ["adopted", "commit", "conflicts", "masked", "merged", "outcome", "revision", "session_id"]
    ]
    assert filled("log", "--json", "--limit", "1").json[0]["actor"] == "bot"


def test_undo_of_nothing(cli: Cli) -> None:
    cli.fill()
    root = run_git(cli.folder, "rev-list", "--max-parents=0", "main").strip()
    said = "nothing to take back: that commit changed no session\n"
    assert cli.masked("undo", root) == (0, said, "")
    assert cli("undo", root, "--json").json == []


def test_copy_says_where_it_is_from(filled: Cli) -> None:
    grown = commits(filled, "book", "--reverse")[1]
    assert filled.masked("copy", "bo", "fork", "--at", grown[:10]) == (
        0,
        "created fork in commit COMMIT\n",
        "",
    )
    session = filled("show", "fork", "--json").json["session"]
    assert session["metadata"]["copied_from"] == {"id": "book", "commit": grown}
    assert filled("copy", "fork", "again", "--json").json["outcome"] == "created"
    with BlockingSessionStore.open(filled.folder) as store:
        assert {row.id for row in store.list()} == {"book", "fork", "again"}


# --- what was there once may be shortened too -----------------------------


def test_ids_of_what_is_gone_may_be_shortened(cli: Cli) -> None:
    cli.fill()
    cli("save", "-", given=book("a", session_id="27-other"))
    first = commits(cli, "--operation", "create")[1]
    cli("delete", PROJ)
    # A beginning that fits what is stored means that, but for what asks for the deleted.
    assert cli("show", "27").out.startswith("session   27-other\n")
    assert cli("show", PROJ[:6], "--at", first).out.startswith(f"session   {PROJ}\n")
    assert cli("restore", "27").out.startswith(f"created {PROJ} ")


def test_list_at_shows_the_store_as_it_was(filled: Cli) -> None:
    before_the_delete = commits(filled)[1]
    assert [row["id"] for row in filled("list", "--json").json] == ["book"]
    told = filled("list", "--at", before_the_delete, "--json").json
    assert sorted(row["id"] for row in told) == ["book", "note"]
    assert filled("list", "--at", "0" * 40).code == 3


def test_show_takes_counts_back_and_revisions(filled: Cli) -> None:
    revisions = [row["revision"] for row in filled("log", "book", "--json").json]
    for at in ("@{1}", revisions[1], revisions[1][:12]):
        assert filled("show", "book", "--at", at, "--json").json["revision"] == revisions[1]
