"""Listing: what is remembered from one listing to the next never shows."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import MISSING, FrozenInstanceError, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore import BlockingSessionStore, SessionAsset, SessionMeta, dump_session
from gitstore.blocking import system_runtime
from gitstore.engine.catalog import Catalog
from gitstore.engine.folders import NO_FOLDER, Folders
from gitstore.engine.listing import NOTHING, Listing, ordered
from gitstore.engine.standing import Standing
from gitstore.git.index import Index
from gitstore.session.ids import path_of
from gitstore.testing.promises import NOON, say, session
from gitstore.types import CommitId, Progress, Revision, SessionId, SyncMode, SyncState, SyncStatus
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gitstore.engine.worktree import HandEdit
    from gitstore.errors import StorageError

COUNT = 9


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockingSessionStore]:
    """A store of some sessions, whose clock is late enough for every file to have settled."""
    real = system_runtime()
    runtime = replace(real, clock=lambda: real.clock() + 60)
    with BlockingSessionStore.open(
        tmp_path / "r",
        create=True,
        durability="process",
        runtime=runtime,
        auto_maintain=False,
    ) as opened:
        for number in range(COUNT):
            opened.save(session(f"s-{number}", "hello", minute=number % 4))
        yield opened


def fresh(store: BlockingSessionStore) -> list[SessionMeta]:
    """Return what a store lists that remembers nothing."""
    Path(store.path, ".git/gitstore/cache.sqlite").unlink(missing_ok=True)
    with BlockingSessionStore.open(store.path) as other:
        return other.list()


def file_of(store: BlockingSessionStore, name: str) -> Path:
    return Path(store.path, path_of(SessionId(name)))


def test_every_change_shows_in_the_next_listing(store: BlockingSessionStore) -> None:
    assert store.list() == fresh(store)
    asset = store.load("s-3")
    say(asset, "more", turn="t1", minute=50)
    store.save(asset)
    assert store.list()[0].id == "s-3"
    assert store.list() == fresh(store)
    store.delete("s-3")
    store.save(session("s-new", minute=2))
    assert store.list() == fresh(store)
    with BlockingSessionStore.open(store.path) as other:
        other.save(session("s-other", "x", minute=3))
    assert store.list() == fresh(store)
    run_git(store.path, "rm", "-q", path_of(SessionId("s-5")))
    run_git(store.path, "commit", "-q", "-m", "away")
    assert store.list() == fresh(store)
    assert len(store.list()) == COUNT
    assert_git_is_content(store.path)


def test_a_hand_edit_of_any_file_is_found(store: BlockingSessionStore) -> None:
    for _ in range(2):
        store.list()
    file = file_of(store, "s-7")
    status = file.stat()
    with file.open("r+b") as opened:  # in place: the folder's times stay, and the size
        data = opened.read().replace(b"A session", b"Z session")
        opened.seek(0)
        opened.write(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [row.id for row in store.list() if row.name == "Z session"] == ["s-7"]
    assert run_git(store.path, "status", "--porcelain") == ""
    assert "adopt" in run_git(store.path, "log", "-1", "--format=%B")
    file.write_bytes(b"history: [\n")
    assert [row.id for row in store.list() if row.problem] == ["s-7"]
    file.write_bytes(data)
    assert [row.id for row in store.list() if row.problem] == []


def test_files_that_stay_while_the_branch_moves_are_edits(store: BlockingSessionStore) -> None:
    for _ in range(2):
        store.list()
    file = file_of(store, "s-7")
    was = run_git(store.path, "rev-parse", "HEAD").strip()
    file.write_bytes(file.read_bytes().replace(b"A session", b"Z session"))
    run_git(store.path, "commit", "-qam", "another name")
    for _ in range(2):
        assert [row.id for row in store.list() if row.name == "Z session"] == ["s-7"]
    run_git(store.path, "update-ref", "refs/heads/main", was)
    # The file is what it was at the last look, but no longer what is committed.
    assert [row.id for row in store.list() if row.name == "Z session"] == ["s-7"]
    assert run_git(store.path, "log", "-1", "--format=%P").strip() == was
    assert_git_is_content(store.path)


def test_a_new_file_is_found_in_a_folder_that_was_whole(store: BlockingSessionStore) -> None:
    for _ in range(2):
        store.list()
    asset = session("s-new")
    new = file_of(store, asset.id)
    new.parent.mkdir(exist_ok=True)
    new.write_bytes(dump_session(asset))
    (new.parent / "link.yaml").symlink_to(new)
    os.mkfifo(new.parent / "pipe.yaml")
    assert len(store.list()) == COUNT + 1
    assert "adopt" in run_git(store.path, "log", "-1", "--format=%B")


@pytest.mark.parametrize("later", [0, 60])
def test_a_file_that_was_just_written_is_read_again(
    store: BlockingSessionStore, later: int
) -> None:
    """It could change once more without another time: it has to settle first."""
    real = system_runtime()
    runtime = replace(real, clock=lambda: real.clock() + later)
    run_git(store.path, "update-index", "--refresh")
    with BlockingSessionStore.open(store.path, runtime=runtime) as other:
        asset = session("s-new")
        file = file_of(store, asset.id)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(dump_session(asset))
        revision = store.load("s-new").revision
        for _ in range(2):
            assert len(other.list()) == COUNT + 1
        edits = other._catalog._edits
        path = path_of(SessionId("s-new"))
        tree = edits.tree()
        assert tree is not None
        assert edits.holds(path, edits.state_of(tree, path), revision) == bool(later)


def test_files_that_come_and_go_do_not_disturb_a_listing(store: BlockingSessionStore) -> None:
    rows, done = store.list(), threading.Event()
    folder = file_of(store, "s-1").parent

    def churn() -> None:
        while not done.is_set():
            for number in range(50):
                (folder / f"note-{number}.txt").touch()
            for number in range(50):
                (folder / f"note-{number}.txt").unlink()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        assert all(store.list() == rows for _ in range(100))
    finally:
        done.set()
        thread.join()


def test_a_new_store_takes_gits_word_for_files_that_are_older_than_the_index(
    store: BlockingSessionStore,
) -> None:
    rows = store.list()
    index = Path(store.path, ".git/index")
    file = file_of(store, "s-7")
    revision = store.load("s-7").revision
    assert revision is not None
    file.write_bytes(file.read_bytes().replace(b"A session", b"Z session"))
    with BlockingSessionStore.open(store.path) as other:
        # An index of a later second still vouches for the file as it was before the edit.
        vouched = other._repository.indexed_files("sessions").get(path_of(SessionId("s-7")))
        assert vouched is None or vouched.mtime_ns != file.stat().st_mtime_ns
    # What no git would write: the entry of another content, with the status of this one.
    forged = Index.read(str(index))
    forged.put(path_of(SessionId("s-7")).encode(), revision, file.stat(), trusted=True)
    now = time.time_ns()
    body = forged.body(store.path, began_ns=now)
    index.write_bytes(b"".join([*body, forged.checksum(body)]))
    os.utime(index, ns=(now, now + 5 * 10**9))
    with BlockingSessionStore.open(store.path) as other:
        assert other.list() == rows, "proof that the file was not read"
        status = file.stat()
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # another ctime
        assert [row.id for row in other.list() if row.name == "Z session"] == ["s-7"]
    assert run_git(store.path, "status", "--porcelain") == ""


@pytest.mark.parametrize("same_second", [False, True], ids=["later", "in the same second"])
def test_an_edit_made_before_a_store_is_opened_is_found(
    store: BlockingSessionStore, *, same_second: bool
) -> None:
    store.list()
    file, index = file_of(store, "s-7"), Path(store.path, ".git/index")
    run_git(store.path, "update-index", "--refresh")
    if not same_second:
        os.utime(index, ns=(0, file.stat().st_mtime_ns + 5 * 10**9))
    file.write_bytes(file.read_bytes().replace(b"A session", b"Z session"))
    if same_second:
        edited = file.stat().st_mtime_ns
        os.utime(index, ns=(edited, edited))
    with BlockingSessionStore.open(store.path) as other:
        assert [row.id for row in other.list() if row.name == "Z session"] == ["s-7"]


def test_what_differs_between_folders_is_told_shard_by_shard(store: BlockingSessionStore) -> None:
    folders = Folders(store._repository)
    first = folders.at(store._repository.tip())
    file = file_of(store, "s-1")
    wrong = file.parent.with_name("00" if file.parent.name != "00" else "01")
    shutil.copytree(file.parent, wrong)  # the same tree, in a folder where it is nobody's
    run_git(store.path, "add", "sessions")
    run_git(store.path, "commit", "-q", "-m", "a copy")
    copied = folders.at(store._repository.tip())
    assert copied.revisions == first.revisions
    assert copied.changed_since(first) == {}
    run_git(store.path, "rm", "-rq", str(file.parent))
    run_git(store.path, "commit", "-q", "-m", "away")
    store.save(session("s-new"))
    third = folders.at(store._repository.tip())
    assert third.revisions == Folders(store._repository).at(store._repository.tip()).revisions
    assert third.changed_since(first) == {
        **dict.fromkeys(first.revisions.keys() - third.revisions.keys()),
        SessionId("s-new"): third.revisions[SessionId("s-new")],
    }
    assert SessionId("s-1") not in third.revisions
    back = {name: first.revisions.get(name) for name in third.changed_since(first)}
    assert first.changed_since(third) == back


def test_a_file_in_the_wrong_folder_is_nobodys(store: BlockingSessionStore) -> None:
    file = file_of(store, "s-1")
    wrong = file.parent.with_name("00" if file.parent.name != "00" else "01")
    wrong.mkdir(exist_ok=True)
    shutil.copy(file, wrong / file.name)
    (wrong / file.name).write_bytes(b"name: another\n")
    assert all(row.problem is None for row in store.list())
    assert [row.name for row in store.list() if row.id == "s-1"] == ["A session"]


def test_what_is_handed_out_is_the_callers_own(store: BlockingSessionStore) -> None:
    before = store.list()
    kept = list(before)
    before.clear()
    assert store.list() == kept
    store.list(limit=2).append(kept[0])
    assert store.list(where=lambda row: row.id == "s-1")[0].id == "s-1"
    assert store.list() == kept


@pytest.mark.parametrize("bare", [False, True], ids=["working tree", "bare"])
def test_progress_is_told_of_what_has_to_be_read(
    store: BlockingSessionStore, tmp_path: Path, *, bare: bool
) -> None:
    clone = tmp_path / "clone"
    run_git(tmp_path, "clone", "-q", *(["--bare"] if bare else []), store.path, str(clone))
    for again in range(2):
        told: list[tuple[int, int | None]] = []

        def tell(progress: Progress, told: list[tuple[int, int | None]] = told) -> None:
            assert (progress.phase, progress.unit) == ("listing", "sessions")
            told.append((progress.done, progress.total))

        with BlockingSessionStore.open(clone) as copy:
            rows = copy.list(progress=tell)
            assert len(rows) == COUNT
            assert told == ([] if again else [(0, COUNT), (COUNT, COUNT)]), "read once, then kept"
            told.clear()
            copy.list(progress=tell)
            assert told == []
            asset = copy.load("s-1")
            say(asset, "more", turn="t9")
            if not again:
                copy.save(asset)
                copy.list(progress=tell)
                assert told == [(0, 1), (1, 1)]


def test_progress_of_a_listing_of_the_past_is_told_to_its_end(
    store: BlockingSessionStore, tmp_path: Path
) -> None:
    run_git(tmp_path, "clone", "-q", "--bare", store.path, "clone")
    told: list[tuple[int, int | None]] = []
    with BlockingSessionStore.open(tmp_path / "clone") as copy:
        rows = copy.list(at="main", progress=lambda at: told.append((at.done, at.total)))
    assert len(rows) == COUNT
    assert told == [(0, COUNT), (COUNT, COUNT)]


def test_rows_are_kept_on_disk_and_their_damage_is_harmless(store: BlockingSessionStore) -> None:
    rows = store.list()
    file = Path(store.path, ".git/gitstore/cache.sqlite")
    with sqlite3.connect(file) as connection:
        ((text,),) = connection.execute("SELECT rows FROM listings")
        ids, revisions, names, *rest = json.loads(text)
        assert len(ids) == COUNT
        # Proof that the file is used: what it says is believed, since it is keyed by content.
        names[ids.index("s-2")] = "from the cache"
        forged = json.dumps([ids, revisions, names, *rest])
        connection.execute("UPDATE listings SET rows = ?", (forged,))
    connection.close()
    with BlockingSessionStore.open(store.path) as other:
        assert [row.id for row in other.list() if row.name == "from the cache"] == ["s-2"]
    short = '[["s-2"], ["0"], [null], [0], [0], [null], []]'
    for text in ("[[1]]", f"[{6 * '[[]], '}[[]]]", short, "{", "[" * 100_000, "[null]", "7"):
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("INSERT INTO listings VALUES (?)", (text,))
        with BlockingSessionStore.open(store.path) as other:
            assert other.list() == rows
        with closing(sqlite3.connect(file)) as connection:
            assert (text,) not in connection.execute("SELECT rows FROM listings").fetchall()
    for damage in (b"", b"no database", file.read_bytes()[:5000]):
        file.write_bytes(damage)
        with BlockingSessionStore.open(store.path) as other:
            assert other.list() == rows


def test_a_session_from_before_1970_is_listed(store: BlockingSessionStore) -> None:
    old = datetime(1969, 7, 20, 20, 17, tzinfo=UTC)
    store.save(SessionAsset.new(id="s-old", now=old))
    for listed in (store.list(), store.list(), fresh(store)):
        assert listed[-1].updated_at == old
        assert len(listed) == COUNT + 1


def test_a_row_is_what_it_was_made_of_and_cannot_change() -> None:
    given = {each.name: object() for each in fields(SessionMeta)}
    made = SessionMeta(**given)  # type: ignore[arg-type]  # whatever it is, each field must have its own
    assert {name: getattr(made, name) for name in given} == given
    least = [each.name for each in fields(SessionMeta) if each.default is MISSING]
    for wanted in fields(SessionMeta)[len(least) :]:
        small = SessionMeta(**{name: given[name] for name in least})  # type: ignore[arg-type]  # as above
        assert getattr(small, wanted.name) is wanted.default
        with pytest.raises(FrozenInstanceError):
            setattr(small, wanted.name, None)
    assert replace(made) == made != replace(made, problem="another")


def test_sync_states_are_those_of_now(store: BlockingSessionStore, tmp_path: Path) -> None:
    origin = tmp_path / "origin.git"
    assert {row.sync_state for row in store.list()} == {SyncState.LOCAL_ONLY}
    run_git(tmp_path, "init", "-q", "--bare", "-b", "main", str(origin))
    run_git(store.path, "remote", "add", "origin", str(origin))
    run_git(store.path, "push", "-q", "-u", "origin", "main")
    with BlockingSessionStore.open(store.path) as other:
        for _ in range(2):
            assert {row.sync_state for row in other.list()} == {SyncState.SYNCED}
        asset = other.load("s-4")
        say(asset, "more", turn="t1", minute=9)
        other.save(asset)
        for _ in range(2):
            states = {row.id: row.sync_state for row in other.list()}
            assert states.pop(SessionId("s-4")) is SyncState.LOCAL_AHEAD
            assert set(states.values()) == {SyncState.SYNCED}
        run_git(other.path, "push", "-q")
        assert {row.sync_state for row in other.list()} == {SyncState.SYNCED}


def test_rows_are_made_once_with_the_state_that_most_have(
    store: BlockingSessionStore, tmp_path: Path
) -> None:
    run_git(tmp_path, "clone", "-q", store.path, str(tmp_path / "clone"))
    for _ in range(2):  # from the files, and from what was kept on disk
        with BlockingSessionStore.open(tmp_path / "clone") as copy:
            rows = copy._catalog.list()
            listed = copy._catalog.in_order(rows, copy._sync.standing())
            assert [each.sync_state for each in listed] == [SyncState.SYNCED] * COUNT
            assert set(map(id, listed)) == set(map(id, rows.values()))


def test_what_is_saved_while_edits_are_adopted_is_listed_as_it_is_then(
    store: BlockingSessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, adopt = file_of(store, "s-7"), Catalog._adopt
    file.write_bytes(file.read_bytes().replace(b"A session", b"Z session"))

    def save_first(catalog: Catalog, edits: Sequence[HandEdit]) -> dict[SessionId, StorageError]:
        asset = store.load("s-3")
        say(asset, "more", turn="t1", minute=50)
        store.save(asset)
        return adopt(catalog, edits)

    with BlockingSessionStore.open(store.path) as other, monkeypatch.context() as patched:
        patched.setattr(Catalog, "_adopt", save_first)
        rows = {row.id: row for row in other.list()}
    assert rows[SessionId("s-3")].turn_count == 2
    assert rows[SessionId("s-7")].name == "Z session"
    assert list(rows.values()) == store.list() == fresh(store)


def row(name: str, minute: int, revision: int = 0) -> SessionMeta:
    return SessionMeta(
        id=SessionId(name),
        name=None,
        created_at=NOON,
        updated_at=NOON + timedelta(minutes=minute),
        project_path=None,
        turn_count=0,
        revision=Revision(f"{revision:040}"),
    )


tables = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.integers(0, 3), st.integers(0, 1)), max_size=8
)


@given(st.lists(tables, min_size=1, max_size=6), st.booleans())
def test_a_listing_that_follows_another_is_in_order(
    steps: list[dict[str, tuple[int, int]]], remote: bool
) -> None:
    """Rows come, go and move; states change: the order is that of a new listing."""
    listing = NOTHING
    head = CommitId("1" * 40) if remote else None
    for number, table in enumerate(steps):
        rows: dict[SessionId, SessionMeta] = {}
        changes: dict[SessionId, SessionMeta | None] = {}
        for name, (minute, revision) in table.items():
            old, new = listing.rows.get(SessionId(name)), row(name, minute, revision)
            same = old is not None and replace(old, sync_state=new.sync_state) == new
            rows[SessionId(name)] = old if old is not None and same else new
            if not same:
                changes[SessionId(name)] = new
        changes |= dict.fromkeys(listing.rows.keys() - rows.keys())
        listing = listing.followed_by(NO_FOLDER, changes)
        assert [each.id for each in listing.order] == [each.id for each in ordered(rows.values())]
        status = SyncStatus(mode=SyncMode.ONLINE, remote=head)
        ahead = {name: SyncState.LOCAL_AHEAD for name in rows if number % 2}
        listing = listing.standing(Standing(status=status, states=ahead))
        usual = SyncState.SYNCED if remote else SyncState.LOCAL_ONLY
        assert all(each.sync_state is ahead.get(each.id, usual) for each in listing.order)
        assert [listing.rows[each.id] for each in listing.order] == listing.order


def test_many_new_rows_are_in_order_too() -> None:
    first = {SessionId(f"a{n}"): row(f"a{n}", n % 7) for n in range(100)}
    new = {SessionId(f"b{n}"): row(f"b{n}", n % 5) for n in range(100)}
    listing = Listing(NO_FOLDER, first).followed_by(NO_FOLDER, new)
    assert listing.order == ordered((first | new).values())
