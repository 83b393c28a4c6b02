"""deleted(), restore(), undo() and copy(), with git as the referee."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from gitstore.blocking import BlockingSessionStore, system_runtime
from gitstore.engine import restore as restoring
from gitstore.engine.reading import Reader
from gitstore.engine.transactions import Writer
from gitstore.engine.worktree import HandEdits
from gitstore.errors import (
    SerializationError,
    SessionExistsError,
    SessionNotFoundError,
    UnknownCommitError,
)
from gitstore.git.repository import Repository
from gitstore.session import codec
from gitstore.session.ids import parse_session_id, path_of, session_id_of
from gitstore.session.message import Trailers, compose, parse
from gitstore.session.model import SessionAsset
from gitstore.session.parts import ConversationTurn
from gitstore.types import MISSING, Author, Outcome, SessionId
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitstore.engine.restore import Deleted
    from gitstore.types import At, Saved

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN = Author(name="Ann", email="ann@example.org")


def session(session_id: str, *texts: str) -> SessionAsset:
    asset = SessionAsset.new(id=session_id, now=NOW)
    for text in texts:
        asset.add_turn(ConversationTurn.user(text, id=f"t-{text}", now=NOW), now=NOW)
    return asset


class Store:
    """A store, and what is not wired into it here."""

    def __init__(self, folder: Path) -> None:
        runtime = system_runtime()
        self.folder = folder
        self.store = BlockingSessionStore.open(
            folder,
            create=True,
            durability="process",
            author=ANN,
            runtime=runtime,
            auto_maintain=False,
        )
        self.repository = Repository.open(
            str(folder),
            branch=None,
            durability="process",
            lock_timeout_seconds=2,
            trust_owner=False,
            runtime=runtime,
        )
        self.writer = Writer(self.repository, author=ANN, runtime=runtime)
        edits = HandEdits(self.repository, runtime=runtime)
        self.reader = Reader(self.repository, self.writer, edits)

    def deleted(self) -> list[Deleted]:
        return restoring.deleted(self.repository)

    def restore(self, session_id: str, at: At | None = None, actor: str | None = None) -> Saved:
        name = parse_session_id(session_id)
        return restoring.restore(self.repository, self.writer, session_id=name, at=at, actor=actor)

    def undo(self, commit: str | None) -> list[Saved]:
        assert commit is not None
        return restoring.undo(self.repository, self.writer, commit=commit)

    def copy(self, session_id: str, new_id: str, at: At | None = None) -> Saved:
        return restoring.copy(
            self.repository,
            self.writer,
            self.reader,
            session_id=parse_session_id(session_id),
            new_id=parse_session_id(new_id),
            at=at,
        )

    def file(self, session_id: str) -> Path:
        return self.folder / path_of(SessionId(session_id))

    def texts(self, session_id: str) -> list[str]:
        return [turn.content for turn in self.store.load(session_id).history.turns]

    def git(self, *arguments: str) -> str:
        return run_git(self.folder, *arguments)

    def trailer(self, name: str, commit: str | None) -> str:
        assert commit is not None
        return self.git("log", "-1", f"--format=%(trailers:key={name},valueonly)", commit).strip()


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path / "s")
    yield found
    assert_git_is_content(found.folder)
    found.store.close()
    found.repository.close()


# --- deleted and restore -------------------------------------------------------


def test_a_deleted_session_is_listed_and_comes_back_byte_for_byte(at: Store) -> None:
    at.store.save(session("a", "one"))
    at.file("a").write_text("# mine\n" + at.file("a").read_text())
    at.store.load("a")  # adopts
    wanted = at.file("a").read_bytes()
    before = at.git("rev-parse", "main").strip()
    gone = at.store.delete("a", actor="agent-7")
    (row,) = at.deleted()
    assert (row.session_id, row.commit, row.last_commit) == ("a", gone.commit, before)
    assert row.last_revision == at.git("rev-parse", f"{before}:{path_of(SessionId('a'))}").strip()
    assert (row.author, row.actor) == (ANN, "agent-7")
    assert row.time.timestamp() == int(at.git("log", "-1", "--format=%at"))
    saved = at.restore("a", actor="bob")
    assert (saved.outcome, saved.revision) == (Outcome.CREATED, row.last_revision)
    assert at.file("a").read_bytes() == wanted
    assert at.deleted() == []
    assert at.trailer("Restored-From", saved.commit) == before
    assert at.trailer("Operation", saved.commit) == "restore"
    assert at.trailer("Actor", saved.commit) == "bob"
    assert at.git("log", "-1", "--format=%s") == f"Restore session a from {before[:10]}\n"
    assert [change.operation for change in at.store.history("a")][:2] == ["restore", "delete"]


def test_the_latest_deletion_counts(at: Store) -> None:
    for text in ("one", "two"):
        at.store.save(session("a", text))
        at.store.delete("a")
    at.store.save(session("b"))
    at.store.delete("b")
    assert [row.session_id for row in at.deleted()] in (["a", "b"], ["b", "a"])
    at.restore("a")
    assert at.texts("a") == ["two"]


def test_what_exists_needs_a_moment(at: Store) -> None:
    first = at.store.save(session("a", "one"))
    second = at.store.save(session("a", "two"))
    with pytest.raises(SessionExistsError):
        at.restore("a")
    saved = at.restore("a", first.commit)
    assert (saved.outcome, saved.revision) == (Outcome.UPDATED, first.revision)
    assert at.texts("a") == ["one"]
    assert at.restore("a", first.commit).outcome is Outcome.UNCHANGED
    at.restore("a", second.commit)
    assert at.store.load("a").revision == second.revision


def test_a_hand_edit_is_kept_before_an_old_state_replaces_it(at: Store) -> None:
    first = at.store.save(session("a", "one"))
    at.file("a").write_text(at.file("a").read_text().replace("one", "by hand"))
    saved = at.restore("a", first.commit)
    assert saved.adopted is not None
    assert "by hand" in at.git("show", f"{saved.adopted}:{path_of(SessionId('a'))}")
    assert at.texts("a") == ["one"]


def test_what_never_was_cannot_come_back(at: Store) -> None:
    at.store.save(session("a"))
    with pytest.raises(SessionNotFoundError):
        at.restore("b")
    with pytest.raises(SessionNotFoundError) as caught:
        at.restore("b", "main")
    assert caught.value.at == "main"
    with pytest.raises(UnknownCommitError):
        at.restore("a", "nowhere")


def test_a_file_that_is_no_session_comes_back_too(at: Store) -> None:
    at.store.save(session("a"))
    at.file("a").write_text("not: [a session\n")
    at.git("commit", "-qam", "break it")
    at.git("rm", "-q", path_of(SessionId("a")))
    at.git("commit", "-qm", "remove it")
    at.restore("a")
    assert at.file("a").read_text() == "not: [a session\n"


def test_a_deletion_on_a_merged_side_is_found(at: Store) -> None:
    """Where git's simplification follows the side that never had the session."""
    at.store.save(session("a"))
    at.git("checkout", "-qb", "side")
    side = BlockingSessionStore.open(at.folder, durability="process")
    side.save(session("b", "lost"))
    gone = side.delete("b")
    side.close()
    at.git("checkout", "-q", "main")
    at.store.save(session("a", "one"))
    at.git("merge", "-q", "--no-edit", "side")
    assert at.git("log", "--format=%H", "--", path_of(SessionId("b"))) == ""
    assert [(row.session_id, row.commit) for row in at.deleted()] == [("b", gone.commit)]
    at.restore("b")
    assert at.texts("b") == ["lost"]


def test_what_only_a_merge_dropped_is_found(at: Store) -> None:
    at.store.save(session("a"))
    at.git("checkout", "-qb", "side")
    with BlockingSessionStore.open(at.folder, durability="process") as side:
        side.save(session("b", "lost"))
    at.git("checkout", "-q", "main")
    at.store.save(session("a", "one"))
    at.git("merge", "-q", "--no-edit", "-s", "ours", "side")
    merge = at.git("rev-parse", "main").strip()
    assert [(row.session_id, row.commit) for row in at.deleted()] == [("b", merge)]
    at.restore("b")
    assert at.texts("b") == ["lost"]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_deleted_agrees_with_git(at: Store, seed: int) -> None:
    chance = random.Random(seed)
    for step in range(25):
        name = chance.choice("abcd")
        if at.store.exists(name) and chance.random() < 0.5:
            at.store.delete(name)
        else:
            at.store.save(session(name, str(step)))
    expected: dict[str, tuple[str, str]] = {}
    said = at.git("log", "--raw", "--no-abbrev", "--diff-filter=D", "--format=%H", "main")
    commit = ""
    for line in said.split("\n"):
        if len(line) == 40:
            commit = line
        elif line.startswith(":"):
            session_id = session_id_of(line.split("\t")[1])
            assert session_id is not None
            expected.setdefault(session_id, (commit, line.split(" ")[2]))
    expected = {name: row for name, row in expected.items() if not at.store.exists(name)}
    found = {row.session_id: (row.commit, row.last_revision) for row in at.deleted()}
    assert found == expected


def test_a_clock_that_went_back_does_not_confuse_the_order(at: Store) -> None:
    """The commit that git made last says that it is the oldest."""
    at.store.save(session("a", "one"))
    at.store.delete("a")
    at.store.save(session("a", "two"))
    at.git("rm", "-q", path_of(SessionId("a")))
    run_git(at.folder, "commit", "-qm", "x", GIT_COMMITTER_DATE="1000000000 +0000")
    at.restore("a")
    assert at.texts("a") == ["two"]


# --- undo ----------------------------------------------------------------------


def test_undo_of_each_kind_of_change_and_of_the_undo(at: Store) -> None:
    created = at.store.save(session("a", "one"))
    updated = at.store.save(session("a", "two"))
    (back,) = at.undo(updated.commit)
    assert (back.outcome, back.revision) == (Outcome.UPDATED, created.revision)
    assert at.trailer("Undoes", back.commit) == updated.commit
    assert at.trailer("Operation", back.commit) == "undo"
    (again,) = at.undo(back.commit)
    assert again.revision == updated.revision
    deleted = at.store.delete("a")
    (back,) = at.undo(deleted.commit)
    assert (back.outcome, back.revision) == (Outcome.CREATED, updated.revision)
    (again,) = at.undo(back.commit)
    assert (again.outcome, again.revision) == (Outcome.DELETED, None)
    assert not at.store.exists("a")
    (nothing,) = at.undo(deleted.commit[:12] if deleted.commit else None)
    assert nothing.outcome is Outcome.CREATED
    other = at.store.save(session("b"))
    (back,) = at.undo(other.commit)
    assert back.outcome is Outcome.DELETED
    assert not at.store.exists("b")
    (nothing,) = at.undo(other.commit)
    assert (nothing.outcome, nothing.commit, nothing.conflicts) == (Outcome.UNCHANGED, None, ())


def test_undo_keeps_what_was_written_since(at: Store) -> None:
    asset = session("a", "one")
    at.store.save(asset)
    asset.add_turn(ConversationTurn.user("wrong", id="t-wrong", now=NOW), now=NOW)
    wrong = at.store.save(asset)
    asset.add_turn(ConversationTurn.user("later", id="t-later", now=NOW), now=NOW)
    at.store.save(asset)
    (back,) = at.undo(wrong.commit)
    assert (back.merged, back.conflicts) == (True, ())
    assert at.texts("a") == ["one", "later"]


def test_undo_tells_where_both_changed(at: Store) -> None:
    asset = session("a")
    asset.project_context.name = "first"
    at.store.save(asset)
    asset.project_context.name = "second"
    second = at.store.save(asset)
    asset.project_context.name = "third"
    at.store.save(asset)
    (back,) = at.undo(second.commit)
    (conflict,) = back.conflicts
    assert (conflict.where, conflict.base, conflict.ours, conflict.theirs) == (
        "project_context.name", "second", "third", "first",
    )  # fmt: skip
    assert at.store.load("a").project_context.name == "third"


def test_undo_of_a_creation_keeps_a_session_that_changed_since(at: Store) -> None:
    created = at.store.save(session("a"))
    changed = at.store.save(session("a", "work"))
    (back,) = at.undo(created.commit)
    (conflict,) = back.conflicts
    assert (back.outcome, conflict.where, conflict.theirs) == (Outcome.UNCHANGED, "", MISSING)
    assert back.revision == changed.revision
    at.store.delete("a")
    (back,) = at.undo(changed.commit)
    assert (back.outcome, back.revision) == (Outcome.UNCHANGED, None)
    assert back.conflicts[0].ours is MISSING


def test_undo_of_what_a_person_committed_touches_every_session(at: Store) -> None:
    old = {name: at.store.save(session(name, "one")).revision for name in "abc"}
    for name in "ab":
        at.file(name).write_text(at.file(name).read_text().replace("one", "by hand"))
    at.git("rm", "-q", path_of(SessionId("c")))
    at.git("commit", "-qam", "all at once")
    saved = at.undo(at.git("rev-parse", "main").strip())
    assert {each.session_id: each.revision for each in saved} == old
    assert len({each.commit for each in saved}) == 3


def test_undo_of_a_merge_takes_the_other_side_back(at: Store) -> None:
    first = at.store.save(session("a", "one"))
    at.git("checkout", "-qb", "side")
    with BlockingSessionStore.open(at.folder, durability="process") as side:
        side.save(session("a", "side"))
        side.save(session("b"))
    at.git("checkout", "-q", "main")
    kept = at.store.save(session("c"))
    at.git("merge", "-q", "--no-edit", "side")
    saved = at.undo("main")
    assert {each.session_id: each.revision for each in saved} == {"a": first.revision, "b": None}
    assert at.store.load("c").revision == kept.revision


def test_undo_refuses_what_is_not_in_this_history(at: Store) -> None:
    at.store.save(session("a", "one"))
    at.git("checkout", "-qb", "side")
    with BlockingSessionStore.open(at.folder, durability="process") as side:
        foreign = side.save(session("a", "side"))
    at.git("checkout", "-q", "main")
    for commit in (foreign.commit, "nowhere", "f" * 40):
        with pytest.raises(UnknownCommitError):
            at.undo(commit)
    assert at.undo(at.git("rev-list", "--max-parents=0", "main").strip()) == []


def test_undo_that_would_have_to_merge_no_session_is_refused(at: Store) -> None:
    at.store.save(session("a", "one"))
    second = at.store.save(session("a", "two"))
    at.file("a").write_text("not: [a session\n")
    at.git("commit", "-qam", "break it")
    with pytest.raises(SerializationError):
        at.undo(second.commit)
    assert at.file("a").read_text() == "not: [a session\n"


# --- copy ----------------------------------------------------------------------


def test_a_copy_says_where_it_came_from(at: Store) -> None:
    at.store.save(session("a", "one"))
    at.file("a").write_text(at.file("a").read_text().replace("id: a\n", "id: a\n# mine\n", 1))
    saved = at.copy("a", "b")
    origin = at.git("rev-parse", "main~1").strip()
    loaded = at.store.load("b")
    assert loaded.metadata == {"copied_from": {"id": "a", "commit": origin}}
    assert at.trailer("Copied-From", saved.commit) == f"a@{origin}"
    assert at.trailer("Operation", saved.commit) == "copy"
    assert "# mine" in at.git("show", f"{origin}:{path_of(SessionId('a'))}")
    assert "# mine" in at.file("b").read_text()
    source = at.store.load("a")
    assert (loaded.history, loaded.created_at, loaded.updated_at) == (
        source.history, source.created_at, source.updated_at,
    )  # fmt: skip
    loaded.add_turn(ConversationTurn.user("two", id="t-two", now=NOW), now=NOW)
    at.store.save(loaded)
    assert (at.texts("a"), at.texts("b")) == (["one"], ["one", "two"])


def test_a_copy_of_the_past_and_what_stands_in_its_way(at: Store) -> None:
    first = at.store.save(session("a", "one"))
    at.store.delete("a")
    with pytest.raises(SessionNotFoundError):
        at.copy("a", "b")
    at.copy("a", "b", first.commit)
    assert at.texts("b") == ["one"]
    with pytest.raises(SessionExistsError):
        at.copy("a", "b", first.commit)
    with pytest.raises(SessionExistsError, match="case"):
        at.copy("b", "B")


def test_further_trailers_can_forge_nothing() -> None:
    extra = {
        "Copied-From": "a@1\nActor: evil",
        "Actor": "evil",
        "session-id": "evil",
        "Oper\nation: evil\n\nX": "kept",
        "": "lost",
        "Empty": " ",
    }
    name = parse_session_id("s")
    message = compose(operation="copy", session_id=name, message=None, actor=None, extra=extra)
    assert message == (
        "Copy session s\n\nSession-Id: s\nOperation: copy\nCopied-From: a@1 Actor: evil\n"
        "OperationevilX: kept\n"
    )
    assert parse(message) == Trailers(subject="Copy session s", session_id=name, operation="copy")


def delete_on_a_side(at: Store, *texts: str, date: int) -> str:
    """On a branch off main: save each text as session ``a``, then delete it; merge that branch."""
    at.git("checkout", "-qb", "side")
    for text in texts:
        at.file("a").parent.mkdir(exist_ok=True)
        at.file("a").write_bytes(codec.encode(session("a", text).to_document()))
        at.git("add", "-A")
        run_git(at.folder, "commit", "-qm", text, GIT_COMMITTER_DATE=f"{date} +0000")
    at.git("rm", "-q", path_of(SessionId("a")))
    run_git(at.folder, "commit", "-qm", "away", GIT_COMMITTER_DATE=f"{date} +0000")
    side = at.git("rev-parse", "side").strip()
    at.git("checkout", "-q", "main")
    return side


def test_a_merge_is_not_blamed_for_what_one_side_deleted(at: Store) -> None:
    at.store.save(session("a", "one"))
    at.git("branch", "side")
    gone = at.store.delete("a")
    at.git("checkout", "-q", "side")
    with BlockingSessionStore.open(at.folder, durability="process") as side:
        side.save(session("b"))
    at.git("checkout", "-q", "main")
    at.git("merge", "-q", "--no-edit", "side")
    assert [(row.session_id, row.commit) for row in at.deleted()] == [("a", gone.commit)]


def test_of_two_sides_that_deleted_it_the_later_counts(at: Store) -> None:
    at.store.save(session("a", "one"))
    later = int(at.git("log", "-1", "--format=%ct")) + 5000
    side = delete_on_a_side(at, "two", date=later)
    at.store.delete("a")
    at.git("merge", "-q", "--no-edit", "side")
    assert [row.commit for row in at.deleted()] == [side]
    at.restore("a")
    assert at.texts("a") == ["two"]


def test_what_descends_is_later_whatever_the_clocks_said(at: Store) -> None:
    at.store.save(session("a", "one"))
    at.store.delete("a")
    delete_on_a_side(at, "two", date=1_000_000_000)
    at.store.save(session("b"))
    at.git("merge", "-q", "--no-edit", "side")
    at.restore("a")
    assert at.texts("a") == ["two"]
