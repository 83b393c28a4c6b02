"""What auditors take away: logs that programs read back, and a page that a browser opens."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore import Author, BlockingSessionStore, ConversationTurn, SessionAsset
from gitstore.engine.report import COLUMNS, ReportedSession, html_report, log_csv, log_jsonl, report
from gitstore.engine.report.style import STYLE
from gitstore.session.diff import diff_documents
from gitstore.session.ids import path_of
from gitstore.session.meta import SessionMeta
from gitstore.types import Change, CommitId, Revision, SessionId, SignatureState
from tests.gitcommand import run_git
from tests.strategies import texts

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, 9, 30, tzinfo=UTC)
ID = SessionId("fix-login")
EVIL = "</pre></style><script>document.title='taken'</script><img src=x onerror=alert(1)>&amp;\"'"


def change(**more: Any) -> Change:
    values: dict[str, Any] = {
        "commit": CommitId("c" * 40),
        "session_id": ID,
        "revision": Revision("b" * 40),
        "operation": "update",
        "author": Author(name="Ann", email="ann@example.org"),
        "actor": None,
        "time": NOW,
        "subject": "Update",
        "parents": (CommitId("d" * 40),),
        "sessions": (ID,),
        "summary": "+1 turn",
        "signature": None,
    }
    return Change(**values | more)


# --- logs


def test_json_lines_hold_every_value() -> None:
    first = change(
        time=NOW.astimezone(timezone(timedelta(hours=2))),
        signature=SignatureState.GOOD,
        subject="é\u2028\x1b[31m",
        actor="bot",
    )
    bare = change(revision=None, session_id=None, parents=(), sessions=())
    lines = list(log_jsonl([first, bare]))
    assert all(line.isascii() and line.count("\n") == 1 and line.endswith("\n") for line in lines)
    rows = [json.loads(line) for line in lines]
    assert [list(row) for row in rows] == [list(COLUMNS)] * 2
    assert rows[0] == {
        "time": "2026-01-01T09:30:00Z",
        "commit": "c" * 40,
        "parents": ["d" * 40],
        "operation": "update",
        "session_id": "fix-login",
        "sessions": ["fix-login"],
        "revision": "b" * 40,
        "author_name": "Ann",
        "author_email": "ann@example.org",
        "actor": "bot",
        "signature": "good",
        "subject": "é\u2028\x1b[31m",
        "summary": "+1 turn",
    }
    empty = {key for key, value in rows[1].items() if value in (None, [])}
    assert empty == {"session_id", "revision", "actor", "signature", "parents", "sessions"}


def read_csv(lines: list[str]) -> list[dict[str, str]]:
    return list(csv.DictReader("".join(lines).splitlines(keepends=True)))


def test_csv_can_be_read_back() -> None:
    odd = change(sessions=("a", "b c"), subject='say "hi", you', parents=("1" * 40, "2" * 40))
    lines = list(log_csv([odd, change(revision=None)]))
    assert all(line.endswith("\r\n") for line in lines)
    rows = read_csv(lines)
    assert [list(row) for row in rows] == [list(COLUMNS)] * 2
    assert rows[0]["sessions"] == 'a "b c"'
    assert rows[0]["parents"] == f"{'1' * 40} {'2' * 40}"
    assert rows[0]["subject"] == 'say "hi", you'
    assert rows[1]["revision"] == ""


@given(texts())
def test_no_cell_runs_as_a_formula_and_none_breaks_its_line(text: str) -> None:
    author = Author(name=text, email="=cmd|' /C calc'!A0")
    lines = list(log_csv([change(subject=text, author=author, summary="+1 turn")]))
    assert [line.count("\n") for line in lines] == [1, 1]
    (row,) = read_csv(lines)
    assert row["author_email"] == "'=cmd|' /C calc'!A0"
    assert row["summary"] == "'+1 turn"
    assert (
        not row["subject"]
        .lstrip()
        .startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
    )
    assert "\0" not in row["subject"]
    # One apostrophe off, and it is the text again, as far as it can be seen.
    assert text.isprintable() is False or row["subject"].removeprefix("'") in (text, text[1:])


@pytest.mark.parametrize(
    "text", ["=1+1", " \u3000=1", "@SUM(A1)", "-2", "\uff1d1", "'quoted", "\t=1"]
)
def test_formulas_are_defused(text: str) -> None:
    (row,) = read_csv(list(log_csv([change(subject=text)])))
    assert row["subject"] == ("\\x09=1" if text == "\t=1" else f"'{text}")


# --- the page


class Outline(HTMLParser):
    """Reads a page as a browser does, and notes what matters here."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.bare_heads = 0
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert len(given) == len(attrs)
        self.tags.add(tag)
        self.attributes |= given.keys()
        if tag not in self.VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        self.bare_heads += tag == "th" and given.get("scope") not in ("row", "col")
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if "href" in given else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def assert_sound(page: str) -> Outline:
    """See that a page is well-formed, loads and runs nothing, and can be read by ear."""
    outline = Outline(page)
    assert outline.open == []
    assert not outline.tags & {"script", "img", "link", "iframe", "object", "form", "base", "svg"}
    assert not [name for name in outline.attributes if name.startswith("on")]
    assert not outline.attributes & {"src", "style", "srcset", "action", "background"}
    assert len(outline.ids) == len(set(outline.ids))
    assert set(outline.links) <= {f"#{name}" for name in outline.ids}
    assert outline.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(outline.headings))
    assert outline.bare_heads == 0
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    return outline


def page_of(text: str) -> str:
    """Return a page with the text in every place that a text can get to."""
    document = {
        "id": text,
        "metadata": {text: text, "long": text + "\n" + text},
        "history": {
            "turns": [
                {"id": text, "role": text, "timestamp": text, "content": text, text: text},
                {"id": "b", "content": [text], "role": "user", "tags": [text]},
                text,
            ]
        },
    }
    after = {**document, "history": {"turns": [{"id": "b", "content": text + "\nx", "tags": []}]}}
    session = ReportedSession(
        meta=SessionMeta(
            id=SessionId(text),
            name=text,
            created_at=NOW,
            updated_at=NOW,
            project_path=text,
            turn_count=1,
            problem=text,
        ),
        document=document,
    )
    made = change(
        subject=text,
        summary=text,
        actor=text,
        operation=text,
        sessions=(SessionId(text),) * 4,
        author=Author(name=text, email=text),
    )
    diffs = [
        diff_documents(*sides, session_id=SessionId(text))
        for sides in ((None, document), (document, after), (after, None))
    ]
    return html_report(
        [made],
        title=text,
        made_at=NOW,
        facts={text: text},
        sessions=[session, session],
        diffs={made.commit: [*diffs, text]},
    )


@given(texts() | st.just(EVIL))
def test_no_text_becomes_markup(text: str) -> None:
    outline = assert_sound(page_of(text))
    assert outline.tags | {"br"} == Outline(page_of("x")).tags
    if text == EVIL:
        assert outline.text.count("<script>") >= 15


def test_the_page_tells_what_happened() -> None:
    states = list(SignatureState)
    made = [
        change(
            commit=CommitId(f"{number:040x}"), signature=state, time=NOW + timedelta(hours=number)
        )
        for number, state in enumerate([None, *states])
    ]
    text = Outline(html_report(made, title="All", made_at=NOW)).text
    for word in ("not checked", "unsigned", "good", "bad", "unknown key", "expired key"):
        assert text.count(word) == 2  # counted above, and in its row
    assert "2026-01-01 09:30:00" in text
    assert f"2026-01-01 {9 + len(states):02}:30:00" in text
    assert text.count("+1 turn") == len(made)
    assert Outline(html_report([], title="None", made_at=NOW)).text.count("never") == 2


def test_what_is_cut_is_said() -> None:
    long, lines = "x" * 50_000, "y\n" * 500
    new = {"history": {"turns": [{"id": "a", "content": long}, {"id": "b", "content": lines}]}}
    diff = diff_documents({}, new, session_id=ID)
    meta = SessionMeta(
        id=ID, name=None, created_at=NOW, updated_at=NOW, project_path=None, turn_count=2
    )
    page = html_report(
        [change()],
        title="t",
        made_at=NOW,
        sessions=[ReportedSession(meta=meta, document=new)],
        diffs={CommitId("c" * 40): [diff]},
    )
    assert "x" * 40_000 in page
    assert "x" * 40_001 not in page
    assert "10,000 more characters are in the store." in page
    assert "301 more lines are in the store." in page
    assert "The rest of the last line is in the store." in page


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours (WCAG 2, 1.4.3)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_every_text_can_be_read_on_its_background() -> None:
    schemes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    ]
    assert len(schemes) == 3  # light, dark, paper
    for colours in schemes:
        pairs = [
            (name, back)
            for name in ("text", "faint", "link", "good", "bad", "warn")
            for back in ("page", "panel")
        ]
        pairs += [(name, f"{name}-back") for name in ("old", "new", "hunk")]
        for name, back in pairs:
            assert contrast(colours[name], colours[back]) >= 4.5, (name, back)


# --- from a repository


def written(folder: Path) -> BlockingSessionStore:
    """Return a store with a session that was created, edited, broken by hand, and mended."""
    store = BlockingSessionStore.open(
        folder,
        create=True,
        durability="process",
        author=Author(name="Ann Müller", email="ann@example.org"),
    )
    asset = SessionAsset.new(id=ID, name="Fix the login", now=NOW)
    asset.add_turn(ConversationTurn.user(f"It fails:\n{EVIL}", id="t1", now=NOW), now=NOW)
    store.save(asset)
    asset.history.turns[0].content += "\nEvery time."
    asset.metadata["ticket"] = "APP-1"
    store.save(asset, actor="claude")
    store.save(SessionAsset.new(id="notes", name="Notes", now=NOW))
    good = store.save(asset).revision
    path = folder / path_of(ID)
    path.write_text("no: [session")
    run_git(folder, "commit", "-qam", "broke it")
    path.write_bytes(store._repository.read_blob(good or Revision("")))
    run_git(folder, "commit", "-qam", "mended it")
    return store


def test_a_report_of_a_session(tmp_path: Path) -> None:
    with written(tmp_path / "s") as store:
        changes = list(store.history(ID))
        page = report(store._repository, ID, changes, made_at=NOW)
        few = report(store._repository, ID, changes, made_at=NOW, diffs_max=1)
    outline = assert_sound(page)
    assert [line for line in outline.ids if line.startswith("c")] == [
        "changes",
        *(f"c{each.commit}" for each in changes),
    ]
    assert outline.text.count("Session fix-login cannot be shown") == 2
    for said in (
        "+Every time.",
        "APP-1",
        "Ann Müller",
        "as claude",
        "created with 1 turn",
        "1. user",
    ):
        assert said in outline.text
    assert "of the newest 1 changes" in few
    assert len([name for name in Outline(few).ids if re.fullmatch("c[0-9a-f]{40}", name)]) == 1


def test_a_report_of_the_store_and_of_what_was_deleted(tmp_path: Path) -> None:
    with written(tmp_path / "s") as store:
        store.delete("notes")
        page = report(
            store._repository, None, list(store.history()), made_at=NOW, rows=store.list()
        )
        gone = SessionId("notes")
        deleted = report(store._repository, gone, list(store.history(gone)), made_at=NOW)
    text = assert_sound(page).text
    assert "Session notes: deleted" in text
    assert "Session notes: created" in text
    outline = assert_sound(deleted)
    assert "Sessiondeleted" in outline.text.replace("\n", "")
    assert "turns" not in outline.ids


def test_a_commit_of_many_sessions_shows_some(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    run_git(tmp_path, "init", "-q", "-b", "main", "s")
    for number in range(12):
        name = SessionId(f"n{number}")
        file = folder / path_of(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        asset = SessionAsset.new(id=name, now=NOW)
        lines = (f"{key}: {json.dumps(value)}\n" for key, value in asset.to_document().items())
        file.write_text("".join(lines))
    run_git(folder, "add", ".")
    run_git(folder, "commit", "-qm", "many")
    with BlockingSessionStore.open(folder, durability="process") as store:
        page = report(store._repository, None, list(store.history()), made_at=NOW)
    text = Outline(page).text
    assert len(re.findall(r"Session n\d+: created", text)) == 10
    assert "2 more sessions changed." in text


# --- in a browser


def chromium() -> str:
    """Return the browser; without it the test is left out, but never where all must run."""
    found = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if found is None:
        reason = "no Chromium here: install the package `chromium`"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def browse(page: Path, folder: Path) -> tuple[list[str], set[str], bytes]:
    """Open a page; return what the console said, the addresses asked for, and a picture."""
    log, picture = folder / "net.json", folder / "page.png"
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    done = subprocess.run(
        [
            *(chromium(), "--headless", "--disable-gpu", "--no-first-run", *root, *quiet),
            *("--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars"),
            *("--enable-logging=stderr", "--window-size=1000,1600", "--disable-dev-shm-usage"),
            *(f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"),
            *(f"--screenshot={picture}", page.as_uri()),
        ],
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, "HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr.decode()
    said = re.findall(r":CONSOLE[^\]]*\] (.*)", done.stderr.decode(errors="replace"))
    # What the browser asks for itself has no page as its origin.
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    asked = {
        params["url"]
        for params in events
        if str(params.get("initiator", "not an origin")) != "not an origin"
        and str(params.get("url", "")).startswith(("http:", "https:"))
    }
    return said, asked, picture.read_bytes()


def colours(png: bytes) -> int:
    """Return how many different bytes the picture is made of: a blank page has few."""
    data, at = b"", 8
    while at < len(png):
        size, kind = int.from_bytes(png[at : at + 4]), png[at + 4 : at + 8]
        data += png[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    return len(set(zlib.decompress(data)))


@pytest.mark.faults
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    with written(tmp_path / "s") as store:
        signed = [replace(each, signature=SignatureState.GOOD) for each in store.history(ID)]
        page = report(store._repository, ID, signed, made_at=NOW)
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    said, asked, picture = browse(tmp_path / "page.html", tmp_path / "first")
    assert (said, asked) == ([], set())
    assert colours(picture) > 100
    # The same page with an image and a script put in: the policy stops both, and says so.
    address = "http://a.example/x.png"
    bad = page.replace("</main>", f"<img src={address}><script>console.log('ran')</script></main>")
    (tmp_path / "bad.html").write_text(bad, encoding="utf-8")
    said, asked, _ = browse(tmp_path / "bad.html", tmp_path / "second")
    assert len([line for line in said if "Content Security Policy" in line]) == 2
    assert (len(said), asked) == (2, set())
    # And without the policy, so that we know we would see it.
    (tmp_path / "worse.html").write_text(
        bad.replace("Content-Security-Policy", "x"), encoding="utf-8"
    )
    said, asked, _ = browse(tmp_path / "worse.html", tmp_path / "third")
    assert [line for line in said if line.startswith('"ran"')]
    assert asked == {address}
