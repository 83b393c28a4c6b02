"""Session ids: what is refused, and that what is accepted is one file on every system."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gitstore.errors import InvalidSessionIdError, StorageError
from gitstore.session.ids import DIRECTORY, clash_key, parse_session_id, path_of, session_id_of
from gitstore.types import SessionId

if TYPE_CHECKING:
    from pathlib import Path

GOOD = [
    "27fa0a57-e208-4767-b0c9-37e3f382681f",
    "a",
    "A_b-C.9",
    "_",
    "a-",
    "2026-01-01",
    "fix the login page",
    "two  spaces",
    "caf\u00e9",
    "\u65e5\u672c\u8a9e",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "\U0001f600 party",
    "gitignore",
    "x.git",
    "git",
    "con1",
    "console",
    "com",
    "com10",
    "aux-1",
    "x.con",
    "lock",
    "a.lock.b",
    "yaml",
    "a~b",
    "a~1b",
    "!a",
    "#a",
    "[a]",
    "a'b",
    "$(a)",
    "a;b&c",
    "%41",
    "x" * 200,
    "\u00e9" * 100,
    "\U0001f600" * 50,
]

BAD = [
    # empty, whole names, starts and ends
    "", " ", ".", "..", "...", "-", "-rf", "--all", ".hidden", " a", "a ", "a.", "a..", "a .",
    "a.lock", "A.LOCK", "a.tmp", "a~", "a.yaml", "a.YAML", "\u0301a", "\u200ea",
    # paths
    "../x", "a/../../x", "/etc/x", "~/x", "C:x", "a\\b", "a/b", "\\\\host\\x", "a:b", "a::$DATA",
    # names of git, as NTFS and HFS+ spell them too
    ".git", ".GIT", "git~1", "GIT~1", "git~2", "gitmod~1", "gi7eba~1", "git~1.x", ".git.", ".git ",
    ".git::$INDEX_ALLOCATION", ".g\u200cit", "\u200c.git", "g\u200cit", "git\ufeff", ".gitignore",
    ".gitattributes", ".gitmodules", ".mailmap",
    # characters that end lines, hide, turn the text round or are nothing
    "a\0", "a\nb", "a\rb", "a\tb", "a\x1bb", "a\x7f", "a\x85b", "a\x9bb", "a\u2028b", "a\u2029b",
    "a\u200bb", "a\u200db", "a\u2060b", "\ufeffa", "a\u202eb", "a\u2066b", "a\u061cb", "a\u00adb",
    "a\u00a0b", "a\u3000b", "a\u034fb", "a\u3164b", "a\ufe0fb", "a\u2800b", "a\U000e0041b",
    "a\U000e0101b", "a\ud800b", "a\udcffb", "a\ue000b", "a\uffffb", "a\U0003fffdb", "a\U0010fffdb",
    # not NFC
    "cafe\u0301", "\u212b", "\u2126", "\u0344",
    # Windows devices and characters
    "CON", "con", "nul", "NUL.txt", "aux.c.d", "PRN", "COM1", "com0", "LPT9", "com\u00b9", "lpt\u00b3.x",
    "conin$", "CONOUT$", "clock$", "con .x", 'a"b', "a<b", "a>b", "a|b", "a?b", "a*b", "*",
    # too long
    "x" * 201, "\u00e9" * 101, "\U0001f600" * 51, "x" * 1_000_000,
]  # fmt: skip


def accepted(text: str) -> bool:
    try:
        parse_session_id(text)
    except InvalidSessionIdError:
        return False
    return True


@pytest.mark.parametrize("text", GOOD, ids=ascii)
def test_accepts(text: str) -> None:
    assert parse_session_id(text) == text


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text[:30]))
def test_refuses(text: str) -> None:
    with pytest.raises(InvalidSessionIdError) as caught:
        parse_session_id(text)
    assert caught.value.problem
    assert caught.value.session_id is not None
    assert caught.value.session_id[:40] == text[:40]
    assert len(str(caught.value)) < 2_000, "a huge text must not come back in the message"
    assert str(caught.value).isprintable()
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, StorageError)


@pytest.mark.parametrize("value", [None, 7, b"a", ["a"], {"a": 1}, 1.5, object])
def test_refuses_what_is_not_text(value: Any) -> None:
    with pytest.raises(InvalidSessionIdError, match="not text"):
        parse_session_id(value)


def test_a_subclass_of_str_comes_out_plain() -> None:
    class Tricky(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "../escape"

    assert type(parse_session_id(Tricky("abc"))) is str
    assert parse_session_id(Tricky("abc")) == "abc"
    assert not accepted(Tricky("../x"))


@pytest.mark.parametrize("text", ["con", "NUL", "Com5", "lPt0", "a\n", "con\n", "-a", "x" * 201])
def test_the_fast_path_knows_the_same_rules(text: str) -> None:
    """Plain ASCII, which the short pattern decides, but for these."""
    assert not accepted(text)
    assert accepted(text.strip().strip("-")[:199] + "_")


def test_where_a_session_lives() -> None:
    session_id = parse_session_id("27fa0a57-e208-4767-b0c9-37e3f382681f")
    assert path_of(session_id) == "sessions/83/27fa0a57-e208-4767-b0c9-37e3f382681f.yaml"
    assert path_of(parse_session_id("caf\u00e9")) == "sessions/85/caf\u00e9.yaml"


@pytest.mark.parametrize(
    "path",
    [
        "", "sessions", "sessions/b2", "README.md", "sessions/ca/a", "sessions/ca/a.yml",
        "sessions/ca/a.yaml/b", "sessions/00/a.yaml", "sessions/CA/a.yaml", "Sessions/ca/a.yaml",
        "/sessions/ca/a.yaml", "x/sessions/ca/a.yaml", "sessions/ca/a.yaml\n", "sessions/ca/.yaml",
        "sessions/ca/../ca/a.yaml", "sessions//a.yaml", "sessions/a.yaml", "sessions/ca/a.yaml ",
        "sessions/ca/b/a.yaml", "sessions/ca/a.YAML",
    ],
    ids=ascii,
)  # fmt: skip
def test_other_paths_belong_to_nobody(path: str) -> None:
    assert session_id_of("sessions/ca/a.yaml") == "a", "else this test proves nothing"
    assert session_id_of(path) is None


def test_an_invalid_id_has_no_path_even_in_its_own_shard() -> None:
    for text in ["con", "NUL", "lPt0", "x" * 201, "a.lock", ".git", "cafe\u0301", "a\nb"]:
        assert session_id_of(path_of(SessionId(text))) is None


@given(
    st.text(max_size=210)
    | st.text(st.sampled_from("abC.-_ ~1e\u0301\u00e9/:\u200d\u0130\u00df"), max_size=12)
)
@example("a" * 199 + "\u00e9")
def test_text_is_refused_or_is_one_file_name(text: str) -> None:
    try:
        session_id = parse_session_id(text)
    except InvalidSessionIdError:
        return
    assert session_id == text
    path = path_of(session_id)
    folder, shard, name = path.split("/")
    assert folder == DIRECTORY
    assert len(shard) == 2
    assert len(name.encode()) < 255
    assert unicodedata.is_normalized("NFC", path)
    assert path.isprintable()
    assert session_id_of(path) == session_id


def test_every_character_alone_is_decided() -> None:
    """No code point raises anything else, and those accepted are printable."""
    for number in [
        *range(0x3200),
        *range(0xD700, 0x11200),
        *range(0xE0000, 0xE0200),
        sys.maxunicode,
    ]:
        if accepted("a" + chr(number) + "b"):
            assert chr(number).isprintable()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Abc", "aBC"), ("stra\u00dfe", "STRASSE"), ("\u03c3\u03c2", "\u03a3\u03a3"), ("\u00c9", "\u00e9"),
        ("\u0130", "i\u0307"), ("\u1fb3\u0323", "\u03b1\u0323\u03b9"), ("\u01c5", "\u01c4"), ("\u1fb3", "\u1fbc"), ("\u0131", "I"),
        ("\u1e9e", "ss"), ("\ufb01", "FI"), ("\u0390", "\u1fd3"), ("\u017f", "S"), ("\u00b5", "\u03bc"),
    ],
    ids=ascii,
)  # fmt: skip
def test_ids_that_clash(one: str, other: str) -> None:
    assert clash_key(SessionId(one)) == clash_key(SessionId(other))


def test_ids_that_do_not_clash() -> None:
    ids = ["a", "b", "a-", "a_", "e", "\u00e9", "o", "\u00f8", "\u0430", "1", "\u00b9"]
    assert len({clash_key(SessionId(text)) for text in ids}) == len(ids)


def test_the_clash_key_covers_every_way_to_fold_a_character() -> None:
    cased = (
        c for c in map(chr, range(0x1F000)) if len({c, c.lower(), c.upper(), c.casefold()}) > 1
    )
    for one in cased:
        key = clash_key(SessionId(one))
        forms = (
            one.lower(),
            one.upper(),
            one.casefold(),
            one.title(),
            unicodedata.normalize("NFD", one),
            key,
        )
        assert {clash_key(SessionId(form)) for form in forms} == {key}, ascii(one)


def test_git_accepts_what_we_accept(tmp_path: Path) -> None:
    """With the protections for NTFS and HFS+ switched on, git takes every path and no bad one of its own."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for key in ("core.protectNTFS", "core.protectHFS"):
        subprocess.run(["git", "-C", tmp_path, "config", key, "true"], check=True)
    blob = subprocess.run(
        ["git", "-C", tmp_path, "hash-object", "-w", "--stdin"],
        input=b"",
        capture_output=True,
        check=True,
    ).stdout.strip()
    paths = [path_of(parse_session_id(text)) for text in GOOD]
    lines = b"".join(b"100644 %s\t%s\0" % (blob, path.encode()) for path in paths)
    command = ["git", "-C", tmp_path, "update-index", "-z", "--index-info"]
    done = subprocess.run(cast("list[str]", command), input=lines, capture_output=True, check=True)
    listed = subprocess.run(
        ["git", "-C", tmp_path, "ls-files", "-z"], capture_output=True, check=True
    ).stdout
    assert done.stderr == b""
    assert sorted(listed.decode().split("\0")[:-1]) == sorted(paths)
