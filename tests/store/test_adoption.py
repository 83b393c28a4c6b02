"""Hand edits: what a person writes into the working tree is committed, told, and never lost."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gitstore import (
    BlockingSessionStore,
    ConcurrentUpdateError,
    Outcome,
    SerializationError,
    SessionAsset,
    SessionNotFoundError,
    StorageError,
    UnsafePathError,
    dump_session,
)
from gitstore.session.codec import MAX_BYTES
from gitstore.session.ids import parse_session_id, path_of
from gitstore.testing.promises import say, session, turns
from tests.conftest import Git
from tests.store.gated import gated_store

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "s-1"
PATH = path_of(parse_session_id(NAME))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockingSessionStore]:
    """A store with a working tree, which holds one session."""
    with BlockingSessionStore.open(
        tmp_path / "r", create=True, durability="process", auto_maintain=False
    ) as opened:
        opened.save(session(NAME, "hello"))
        yield opened


@pytest.fixture
def git(store: BlockingSessionStore) -> Git:
    """The real git, in the store's repository."""
    return Git(store.path)


def file_of(store: BlockingSessionStore, name: str = NAME) -> Path:
    return Path(store.path, path_of(parse_session_id(name)))


def subjects(git: Git) -> list[str]:
    return git("log", "--format=%s", "main").splitlines()


def edited(store: BlockingSessionStore) -> bytes:
    """Change a word of the session by hand, and add a comment."""
    file = file_of(store)
    data = file.read_bytes().replace(b"hello", b"HELLO") + b"# mine\n"
    file.write_bytes(data)
    return data


@pytest.mark.parametrize("call", ["load", "list", "save", "delete", "edit"])
def test_a_hand_edit_is_committed_before_anything_else(
    store: BlockingSessionStore, git: Git, call: str
) -> None:
    asset = store.load(NAME)
    before = git("rev-parse", "main").strip()
    data = edited(store)
    if call == "load":
        assert store.load(NAME).history.turns[0].content == "HELLO"
    elif call == "list":
        assert store.list()[0].problem is None
    elif call == "save":
        say(asset, "more", turn="t1", minute=1)
        saved = store.save(asset)
        assert saved.merged
        assert saved.adopted == git("rev-parse", "main~1").strip()
        assert store.load(NAME).history.turns[0].content == "HELLO"
        assert turns(asset) == ["t0", "t1"]
    elif call == "delete":
        assert store.delete(NAME).adopted == git("rev-parse", "main~1").strip()
    else:
        with store.edit(NAME) as loaded:
            say(loaded, "more", turn="t1")
    commits = git("rev-list", "--reverse", f"{before}..main").split()
    adopted = commits[0]
    assert git.run("show", f"{adopted}:{PATH}").stdout == data, "the very bytes are in history"
    assert git("show", "-s", "--format=%s", adopted).strip() == f"Adopt hand edit of {NAME}"
    assert len(commits) == (1 if call in ("load", "list") else 2)
    git.assert_sound()


def test_comments_survive_a_save(store: BlockingSessionStore, git: Git) -> None:
    edited(store)
    asset = store.load(NAME)
    say(asset, "more", turn="t1", minute=1)
    store.save(asset)
    assert b"# mine" in file_of(store).read_bytes()
    assert turns(store.load(NAME)) == ["t0", "t1"]
    git.assert_sound()


def test_a_hand_edit_is_not_adopted_twice(store: BlockingSessionStore, git: Git) -> None:
    edited(store)
    store.list()
    tip = git("rev-parse", "main")
    store.list()
    store.load(NAME)
    asset = store.load(NAME)
    assert store.save(asset).outcome is Outcome.UNCHANGED
    assert git("rev-parse", "main") == tip


@pytest.mark.parametrize(
    "data", [b"id: s-1\nversion: [", b"", b"\xff\xfe", b"- a\n- b\n", b"just text\n"]
)
def test_an_invalid_hand_edit_is_told_and_kept(
    store: BlockingSessionStore, git: Git, data: bytes
) -> None:
    asset = store.load(NAME)
    store.save(session("other"))
    tip = git("rev-parse", "main")
    file_of(store).write_bytes(data)
    with pytest.raises(SerializationError) as caught:
        store.load(NAME)
    assert caught.value.session_id == NAME
    rows = {str(row.id): row.problem for row in store.list()}
    assert rows["other"] is None, "one bad file hides no other"
    assert rows[NAME]
    assert git("rev-parse", "main") == tip, "what cannot be read is not committed by a reader"
    assert file_of(store).read_bytes() == data
    say(asset, "more", turn="t1", minute=1)
    saved = store.save(asset)
    assert git.run("show", f"{saved.adopted}:{PATH}").stdout == data, "kept before it is replaced"
    assert turns(store.load(NAME)) == ["t0", "t1"]
    git.assert_sound()


def test_a_new_file_is_a_new_session(store: BlockingSessionStore, git: Git) -> None:
    data = b"# by hand\n" + dump_session(session("new", "hi"))
    file = file_of(store, "new")
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)
    assert store.exists("new")
    assert store.load("new") == session("new", "hi")
    assert {row.id for row in store.list()} == {NAME, "new"}
    assert git.run("show", f"main:{path_of(parse_session_id('new'))}").stdout == data
    git.assert_sound()


def test_a_file_with_the_id_of_another_is_no_session(store: BlockingSessionStore) -> None:
    file_of(store).write_bytes(dump_session(session("other")))
    with pytest.raises(SerializationError) as caught:
        store.load(NAME)
    assert caught.value.where == "id"
    assert not store.exists("other")


def test_files_that_are_not_where_a_session_belongs_are_left_alone(
    store: BlockingSessionStore, git: Git
) -> None:
    stray = Path(store.path, "sessions/zz/stray.yaml")
    stray.parent.mkdir()
    stray.write_bytes(dump_session(session("stray")))
    Path(store.path, "sessions/notes.txt").write_text("mine")
    assert [row.id for row in store.list()] == [NAME]
    store.save(session("other"))
    assert git("status", "--porcelain").splitlines() == ["?? sessions/notes.txt", "?? sessions/zz/"]


def test_a_missing_file_is_not_a_deletion(store: BlockingSessionStore, git: Git) -> None:
    file_of(store).unlink()
    asset = store.load(NAME)
    assert [row.id for row in store.list()] == [NAME]
    assert "Delete" not in " ".join(subjects(git))
    say(asset, "more", turn="t1", minute=1)
    store.save(asset)
    assert file_of(store).exists()
    git.assert_sound()


def test_a_session_whose_file_is_missing_can_be_deleted(
    store: BlockingSessionStore, git: Git
) -> None:
    file_of(store).unlink()
    store.delete(NAME)
    with pytest.raises(SessionNotFoundError):
        store.load(NAME)
    git.assert_sound()


@pytest.mark.parametrize("obstacle", ["link", "dangling", "folder", "fifo", "huge", "parent"])
def test_what_is_no_file_of_its_own_is_neither_read_nor_replaced(
    store: BlockingSessionStore, git: Git, obstacle: str
) -> None:
    store.save(session("other"))
    asset = store.load(NAME)
    tip, file = git("rev-parse", "main"), file_of(store)
    secret = Path(store.path, "..", "secret.yaml").resolve()
    secret.write_bytes(dump_session(session(NAME, "secret")))
    file.unlink()
    if obstacle == "link":
        file.symlink_to(secret)
    elif obstacle == "dangling":
        file.symlink_to("nowhere")
    elif obstacle == "folder":
        (file / "inner").mkdir(parents=True)
    elif obstacle == "fifo":
        os.mkfifo(file)
    elif obstacle == "huge":
        with file.open("wb") as handle:
            handle.truncate(MAX_BYTES + 1)
    else:
        file.parent.rmdir()
        file.parent.symlink_to(secret.parent)
    say(asset, "more", turn="t1")
    for call in (lambda: store.load(NAME), lambda: store.save(asset), lambda: store.delete(NAME)):
        with pytest.raises(UnsafePathError) as caught:
            call()
        assert PATH in str(caught.value)
        assert "move it away" in str(caught.value)
    rows = {str(row.id): row for row in store.list()}
    assert rows["other"].problem is None
    assert rows[NAME].turn_count == 1
    assert git("rev-parse", "main") == tip
    assert secret.read_bytes() == dump_session(session(NAME, "secret"))


def test_a_bare_repository_has_no_hand_edits(tmp_path: Path) -> None:
    path = tmp_path / "bare"
    with BlockingSessionStore.open(path, create=True, bare=True, durability="process") as store:
        store.save(session(NAME, "hello"))
        planted = path / PATH
        planted.parent.mkdir(parents=True)
        planted.write_bytes(dump_session(session(NAME, "planted")))
        assert store.load(NAME) == session(NAME, "hello")
        assert len(store.list()) == 1
    Git(path).assert_sound()


# --- other states of the working tree ----------------------------------------------


@pytest.mark.parametrize("how", [("switch", "-q", "-c", "topic"), ("switch", "-q", "--detach")])
def test_while_head_is_elsewhere_the_working_tree_is_left_alone(
    store: BlockingSessionStore, git: Git, how: tuple[str, ...]
) -> None:
    git(*how)
    head = git("rev-parse", "HEAD")
    edit = edited(store)
    asset = store.load(NAME)
    assert asset == session(NAME, "hello"), "what is checked out is not the store's branch"
    say(asset, "more", turn="t1", minute=1)
    saved = store.save(asset)
    store.save(session("other"))
    store.delete("other")
    assert saved.adopted is None
    assert turns(store.load(NAME)) == ["t0", "t1"]
    assert file_of(store).read_bytes() == edit
    assert git("rev-parse", "HEAD") == head
    assert git("rev-list", "--count", f"{head.strip()}..main").strip() == "3"
    assert git("status", "--porcelain") == f" M {PATH}\n"
    git.assert_sound(clean=False)


def conflicting_merge(git: Git, *, path: str, ours: str, theirs: str) -> None:
    """Leave a merge unfinished, with a conflict in one file."""
    # The merge driver of sessions is not installed here: git merges them as text.
    file = Path(git.folder, path)
    git("switch", "-q", "-c", "topic")
    file.write_text(theirs)
    git("add", path)
    git("commit", "-q", "-m", "theirs")
    git("switch", "-q", "main")
    file.write_text(ours)
    git("add", path)
    git("commit", "-q", "-m", "ours")
    assert git.run("merge", "-q", "topic", check=False).returncode != 0


def test_in_a_merge_of_other_files_sessions_are_saved(
    store: BlockingSessionStore, git: Git
) -> None:
    Path(store.path, "notes.txt").write_text("base\n")
    git("add", "notes.txt")
    git("commit", "-q", "-m", "notes")
    conflicting_merge(git, path="notes.txt", ours="ours\n", theirs="theirs\n")
    merge_head = git("rev-parse", "MERGE_HEAD")
    saved = store.save(session("other", "hi"))
    assert saved.outcome is Outcome.CREATED
    assert git("rev-parse", "MERGE_HEAD") == merge_head, "the merge still waits"
    assert len(git("rev-list", "--parents", "-1", "main").split()) == 2, "it was not concluded"
    assert "UU notes.txt" in git("status", "--porcelain")
    assert store.load("other") == session("other", "hi")
    Path(store.path, "notes.txt").write_text("both\n")
    git("add", "notes.txt")
    git("commit", "-q", "-m", "merged")
    git.assert_sound()
    assert {row.id for row in store.list()} == {NAME, "other"}


def test_a_session_in_an_unfinished_merge_is_not_saved(
    store: BlockingSessionStore, git: Git
) -> None:
    base = file_of(store).read_text()
    conflicting_merge(
        git,
        path=PATH,
        ours=base.replace("hello", "ours"),
        theirs=base.replace("hello", "theirs"),
    )
    tip, status = git("rev-parse", "main"), git("status", "--porcelain")
    marked = file_of(store).read_bytes()
    assert b"<<<<<<<" in marked
    with pytest.raises(ConcurrentUpdateError) as caught:
        store.save(session(NAME, "mine"))
    assert caught.value.retryable
    assert "git merge --abort" in str(caught.value)
    assert store.load(NAME).history.turns[0].content == "ours", "the branch can be read"
    assert [row.problem for row in store.list()] == [None]
    assert (git("rev-parse", "main"), git("status", "--porcelain")) == (tip, status)
    assert file_of(store).read_bytes() == marked
    git("merge", "--abort")
    store.save(session(NAME, "mine"))
    git.assert_sound()


def test_what_a_person_staged_stays_staged(store: BlockingSessionStore, git: Git) -> None:
    Path(store.path, "notes.txt").write_text("staged\n")
    git("add", "notes.txt")
    Path(store.path, "notes.txt").write_text("staged\nand more\n")
    store.save(session("other", "hi"))
    asset = store.load(NAME)
    say(asset, "more", turn="t1")
    store.save(asset)
    store.delete("other")
    assert git("status", "--porcelain") == "AM notes.txt\n"
    assert git("show", ":notes.txt") == "staged\n"
    assert "notes.txt" not in git("log", "--name-only", "--format=", "main")


def test_a_half_staged_edit_of_a_session_is_kept_whole(
    store: BlockingSessionStore, git: Git
) -> None:
    file = file_of(store)
    first = file.read_bytes() + b"# staged\n"
    file.write_bytes(first)
    git("add", PATH)
    second = first + b"# not staged\n"
    file.write_bytes(second)
    asset = store.load(NAME)
    say(asset, "more", turn="t1", minute=1)
    store.save(asset)
    data = file.read_bytes()
    assert b"# staged\n# not staged\n" in data
    assert second in [
        git.run("show", f"{commit}:{PATH}").stdout
        for commit in git("rev-list", "main").split()[:-1]
    ]
    git.assert_sound()


def test_an_edit_in_the_second_of_the_save_is_seen_by_git(
    store: BlockingSessionStore, git: Git
) -> None:
    """Same second, same size: git must look at the content (gitformat-index(5), "racy git")."""
    for number in range(12):
        asset = session(NAME, f"hello {number:02}")
        store.save(asset)
        file = file_of(store)
        was = file.read_bytes()
        now = was.replace(b"hello", b"HELLO")
        assert len(now) == len(was)
        assert now != was
        stamp = file.stat().st_mtime_ns
        with file.open("r+b") as handle:  # the same inode
            handle.write(now)
        os.utime(file, ns=(stamp, stamp))
        assert git("status", "--porcelain") == f" M {PATH}\n"
        assert store.load(NAME).history.turns[0].content == f"HELLO {number:02}"
    git.assert_sound()


@pytest.mark.parametrize("by_another_store", [False, True])
def test_a_later_save_of_another_session_hides_no_edit(
    store: BlockingSessionStore, git: Git, by_another_store: bool
) -> None:
    """When the index is written again in a later second, git trusts what was racy before."""
    file = file_of(store)
    for number in range(20):
        store.save(session(NAME, f"hello {number:02}"))
        saved = file.stat()
        with file.open("r+b") as handle:
            handle.write(file.read_bytes().replace(b"hello", b"HELLO"))
        times = (saved.st_mtime, saved.st_ctime, file.stat().st_mtime, file.stat().st_ctime)
        if len({int(moment) for moment in times}) == 1:
            break
        store.load(NAME)  # a second began in between: adopt, and try again
    else:
        pytest.fail("this machine is too slow")
    pause = threading.Event()
    while time.time() < int(saved.st_mtime) + 1.02:
        pause.wait(0.02)
    if by_another_store:
        with BlockingSessionStore.open(store.path, durability="process") as other:
            other.save(session("other"))
    else:
        store.save(session("other"))
    assert git("status", "--porcelain") == f" M {PATH}\n"


def test_a_listing_sees_an_edit_of_the_same_size_and_second(
    store: BlockingSessionStore, git: Git
) -> None:
    assert [row.name for row in store.list()] == ["A session"]
    file = file_of(store)
    stamp = file.stat().st_mtime_ns
    file.write_bytes(file.read_bytes().replace(b"A session", b"B session"))
    os.utime(file, ns=(stamp, stamp))
    assert [row.name for row in store.list()] == ["B session"]
    git.assert_sound()


def test_many_edits_are_adopted_together(store: BlockingSessionStore, git: Git) -> None:
    for number in range(70):  # more than one group
        store.save(session(f"n-{number}", "hello"))
    for number in range(70):
        file = file_of(store, f"n-{number}")
        file.write_bytes(file.read_bytes() + b"# mine\n")
    file_of(store, "n-7").write_bytes(b"[")
    rows = {str(row.id): row.problem for row in store.list()}
    assert [name for name, problem in rows.items() if problem] == ["n-7"]
    assert subjects(git).count("Adopt hand edit of n-8") == 1
    assert sum(subject.startswith("Adopt") for subject in subjects(git)) == 69
    assert git("status", "--porcelain") == f" M {path_of(parse_session_id('n-7'))}\n"


def test_a_save_that_meets_a_bad_edit_loses_neither(store: BlockingSessionStore, git: Git) -> None:
    asset: SessionAsset = store.load(NAME)
    file_of(store).write_bytes(b"a: [")
    assert asset.revision is not None
    with pytest.raises(StorageError):
        store.save(asset, expected=asset.revision)
    store.save(asset)
    blobs = [
        git.run("show", f"{c}:{PATH}", check=False).stdout for c in git("rev-list", "main").split()
    ]
    assert b"a: [" in blobs
    assert store.load(NAME) == session(NAME, "hello")


def test_an_edit_between_the_look_and_the_save_is_kept(tmp_path: Path) -> None:
    """Of two saves in one group the file of the second is edited just before it is replaced."""
    store, repository = gated_store(tmp_path / "r")
    git = Git(store.path)
    for name in ("first", "second"):
        store.save(session(name, "hello"))
    first, second = store.load("first"), store.load("second")
    for asset in (first, second):
        say(asset, "more", turn="t1", minute=1)
    repository.shut()
    with ThreadPoolExecutor(3) as pool:
        held = pool.submit(store.save, session("third"))
        repository.wait_reached()
        saves = [pool.submit(store.save, asset) for asset in (first, second)]
        pause = threading.Event()
        while store._writer.waiting < len(saves):
            pause.wait(0.001)
        edit = file_of(store, "second").read_bytes().replace(b"hello", b"HELLO")
        publish = repository.publish

        def late_edit(*args: Any, **kwargs: Any) -> bool:
            if not file_of(store, "second").read_bytes().count(b"HELLO"):
                file_of(store, "second").write_bytes(edit)
            return publish(*args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(repository, "publish", late_edit)
            repository.gate.set()
            held.result()
            results = [save.result() for save in saves]
    adopted = [saved.adopted for saved in results]
    assert [commit is None for commit in adopted] == [True, False]
    assert git.run("show", f"{adopted[1]}:{path_of(parse_session_id('second'))}").stdout == edit
    loaded = store.load("second")
    assert (turns(loaded), loaded.history.turns[0].content) == (["t0", "t1"], "HELLO")
    assert turns(store.load("first")) == ["t0", "t1"]
    assert "Adopt hand edit of first" not in subjects(git), "its own file, not put back"
    git.assert_sound()
