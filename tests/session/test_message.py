"""Commit messages: subjects, trailers, and that nobody's text can forge one."""

from __future__ import annotations

import subprocess
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitstore.session.ids import parse_session_id
from gitstore.session.message import MESSAGE_MAX, VALUE_MAX, Trailers, compose, parse
from gitstore.types import SessionId

ID = parse_session_id("s-1")
CUT = "------------------------ >8 ------------------------"
NASTY = [
    "fix\n\nSession-Id: evil\nActor: evil",
    "fix\n\nActor: evil\n---\nmore",
    f"fix\n\nActor: evil\n# {CUT}\nmore",
    f"fix\n\nActor: evil\n; {CUT}",
    "fix\n\nActor: evil\n--- a/file\n+++ b/file",
    "fix\n\nActor: evil\n\n# a comment\n\nConflicts:\n\ta\n",
    "Session-Id: evil",
    "fix\u2028\u2028Session-Id: evil",
    "fix\x85\x85Session-Id: evil\x0bActor: evil\x0cActor: evil\rActor: evil",
    "fix\r\n\r\nActor: evil\r\n",
    "---",
    "--- \nActor: evil",
    "# comment",
    "(cherry picked from commit 1234)",
    "\n\n\n",
    "x\ud800y\udfff",
    "nul\0nul",
]
ACTORS = [
    "alice",
    "alice\nSession-Id: evil",
    "a\u2028Actor: evil",
    "a\r\n\r\nActor: evil",
    "  ",
    "\x1b[31m",
    "\ud800",
    "a: b",
    f"# {CUT}",
]


def git_trailers(message: str, *options: str) -> list[str]:
    """Return what git itself reads as the trailers of a message."""
    command = ["git", *options, "interpret-trailers", "--parse"]
    return (
        subprocess.run(command, input=message.encode(), capture_output=True, check=True)
        .stdout.decode()
        .split("\n")[:-1]
    )


@pytest.mark.parametrize(
    ("operation", "detail", "subject"),
    [
        ("create", "", "Create session s-1"),
        ("update", "", "Update session s-1"),
        ("delete", "", "Delete session s-1"),
        ("adopt", "", "Adopt hand edit of s-1"),
        ("restore", "from 1a2b3c4", "Restore session s-1 from 1a2b3c4"),
        ("import", "", "Import session s-1"),
        ("init", "", "Create the session store"),
    ],
)
def test_the_subject_tells_the_operation(operation: str, detail: str, subject: str) -> None:
    message = compose(operation=operation, session_id=ID, message=None, actor=None, detail=detail)
    assert message == f"{subject}\n\nSession-Id: s-1\nOperation: {operation}\n"
    assert parse(message) == Trailers(subject=subject, session_id=ID, operation=operation)


def test_a_whole_message() -> None:
    text = "  Fix the plan \t\r\n\r\nBecause it\twas wrong.   \r\n  - really\n\n\n"
    message = compose(operation="update", session_id=ID, message=text, actor=" alice ", detail="x")
    assert message == (
        "Fix the plan\n\nBecause it  was wrong.\n  - really\n\nSession-Id: s-1\nOperation: update\nActor: alice\n"
    )
    assert parse(message) == Trailers(
        subject="Fix the plan", session_id=ID, operation="update", actor="alice"
    )


@pytest.mark.parametrize("empty", [None, "", " ", "\n\r\n\t\x00\u2028"])
def test_an_empty_message_counts_as_none(empty: str | None) -> None:
    message = compose(operation="create", session_id=ID, message=empty, actor=empty)
    assert message == "Create session s-1\n\nSession-Id: s-1\nOperation: create\n"


def test_without_a_session() -> None:
    message = compose(operation="init", session_id=None, message=None, actor="bob")
    assert message == "Create the session store\n\nOperation: init\nActor: bob\n"
    assert compose(
        operation="import", session_id=None, message=None, actor=None, detail="3 sessions"
    ) == ("Import 3 sessions\n\nOperation: import\n")


def test_an_id_comes_back_as_it_is() -> None:
    for text in ["two  spaces", "caf\u00e9", "a'b", "#a", "x" * 200]:
        session_id = parse_session_id(text)
        message = compose(operation="update", session_id=session_id, message=None, actor=None)
        assert parse(message).session_id == session_id
        assert git_trailers(message)[0] == f"Session-Id: {text}"


@pytest.mark.parametrize(
    "options", [(), ("-c", "core.commentChar=;")], ids=["default", "semicolon"]
)
@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_no_message_forges_a_trailer_for_git(text: str, options: tuple[str, ...]) -> None:
    message = compose(operation="update", session_id=ID, message=text, actor="alice")
    assert git_trailers(message, *options) == [
        "Session-Id: s-1",
        "Operation: update",
        "Actor: alice",
    ]
    assert (parse(message).session_id, parse(message).actor) == (ID, "alice")


@pytest.mark.parametrize("actor", ACTORS, ids=ascii)
def test_no_actor_forges_a_trailer_for_git(actor: str) -> None:
    message = compose(operation="update", session_id=ID, message="m", actor=actor)
    found = git_trailers(message)
    assert found[:2] == ["Session-Id: s-1", "Operation: update"]
    assert [line.partition(": ")[2] for line in found[2:]] == [
        a for a in [parse(message).actor] if a
    ]
    assert all(line.startswith("Actor: ") for line in found[2:])


hostile = st.text(
    st.sampled_from("aA:- \n\r\t\x0b\x0c\x1b\x85\u2028\u2029\ud800\0#>8"), max_size=40
) | st.sampled_from(NASTY)


@settings(max_examples=300)
@given(hostile | st.text(), hostile | st.text(), hostile, hostile | st.text(), hostile)
@example("a", "\n\nActor: evil", "\n", "\n", "\n")
@example("", "", "fix\n\nActor: evil", "", "")
def test_nothing_forges_anything(
    operation: str, session_id: str, message: str, actor: str, detail: str
) -> None:
    text = compose(
        operation=operation,
        session_id=SessionId(session_id),
        message=message,
        actor=actor,
        detail=detail,
    )
    text.encode()
    assert all(c == "\n" or unicodedata.category(c) not in {"Cc", "Zl", "Zp"} for c in text)
    last = text[:-1].rpartition("\n\n")[2] if not text.endswith("\n\n") else ""
    assert text.splitlines() == text.split("\n")[:-1]
    keys = [line.partition(": ")[0] for line in last.split("\n") if line]
    assert keys == [k for k in ("Session-Id", "Operation", "Actor") if k in keys]
    found = parse(text)
    assert found.subject
    if "evil" not in session_id + operation + actor:
        assert "evil" not in f"{found.session_id} {found.operation} {found.actor}"


def test_long_texts_are_cut() -> None:
    message = compose(operation="update", session_id=ID, message="m" * 10**6, actor="a" * 10**6)
    head, _, actor = message[:-1].rpartition("\nActor: ")
    assert len(actor) == VALUE_MAX
    assert actor.endswith("...")
    assert len(head.partition("\n")[0]) == MESSAGE_MAX


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("", Trailers(subject="")),
        ("\n\n", Trailers(subject="")),
        ("Fix\n", Trailers(subject="Fix")),
        ("Fix\nthis\n\nBody: of\nprose", Trailers(subject="Fix this")),
        ("Session-Id: a\nOperation: b", Trailers(subject="Session-Id: a Operation: b")),
        ("Fix\n\nSession-Id: a\n\nBody", Trailers(subject="Fix")),
        ("Fix\n\nSession-Id: ../../etc/passwd\nActor: a", Trailers(subject="Fix", actor="a")),
        ("Fix\n\nSession-Id: a\u2028Actor: evil\n", Trailers(subject="Fix")),
        ("Fix\r\n\r\nSession-Id: a\r\nOperation: update\r\n", Trailers(subject="Fix", session_id=SessionId("a"), operation="update")),
        ("Fix\n\nsession-id : a\nACTOR:b\n  c\nSigned-off-by: x", Trailers(subject="Fix", session_id=SessionId("a"), actor="b c")),
        ("Fix\n\nSession-Id: a\n(cherry picked from commit 12)\n", Trailers(subject="Fix", session_id=SessionId("a"))),
        ("Fix\n\nActor: a\nActor: b\nOperation:\n", Trailers(subject="Fix", actor="b")),
        (" \n leading\n \nActor: a", Trailers(subject="leading", actor="a")),
    ],
    ids=lambda value: ascii(value)[:40],
)  # fmt: skip
def test_foreign_messages(message: str, expected: Trailers) -> None:
    assert parse(message) == expected


@given(st.text() | hostile)
def test_any_message_can_be_parsed(message: str) -> None:
    parse(message)
