"""A split index: what git makes of ours, what we make of git's, and when a shared one is written anew."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore import BlockingSessionStore, ConversationTurn, SessionAsset
from gitstore.errors import CorruptRepositoryError, RepositoryError
from gitstore.git.index import Index
from gitstore.git.indexstates import indexed_files
from gitstore.git.sharedindex import Link, Positions, shared_path
from tests.git.test_index import SECOND_NS, change, encoded, repository, staged, store, write
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = 700
PAST = 1_700_000_000


def name_of(number: int) -> str:
    return f"sessions/{number % 16:02x}/s-{number:04}.yaml"


def shared_files(folder: Path) -> set[str]:
    return {path.name for path in (folder / ".git").glob("sharedindex.*")}


def entries(index: Index) -> list[tuple[bytes, str, int]]:
    return [(name, entry.id, entry.stage) for name, entry in index.items()]


def debugged(folder: Path) -> str:
    """Return all that git reads in the index, whether the shared one holds it or not."""
    found = run_git(folder, "ls-files", "--stage", "--debug")
    return found.replace("flags: 8000000\n", "flags: 0\n")  # git's CE_UPDATE_IN_BASE


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A repository of some files that are older than its index, which is split."""
    folder = repository(tmp_path / "r", split=True)
    for number in range(MANY):
        write(folder, name_of(number), f"content {number}")
        os.utime(folder / name_of(number), (PAST, PAST))
    run_git(folder, "add", ".")
    run_git(folder, "commit", "-qm", "base")
    assert Index.read(str(folder / ".git/index")).shared is not None
    return folder


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[BlockingSessionStore]:
    with BlockingSessionStore.open(
        tmp_path / "s", create=True, durability="process", auto_maintain=False
    ) as store:
        yield store


def save_many(store: BlockingSessionStore, count: int) -> None:
    for number in range(count):
        store.save(SessionAsset.new(id=f"s-{number}"))


# --- read what git writes --------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3, 4])
def test_what_git_splits_is_read_as_git_reads_it(tmp_path: Path, version: int) -> None:
    folder = repository(tmp_path / "r", version, split=True)
    run_git(folder, "config", "splitIndex.maxPercentChange", "100")
    for number in range(200):
        write(folder, name_of(number), f"{number}")
    run_git(folder, "add", ".")
    run_git(folder, "commit", "-qm", "base")
    before = shared_files(folder)
    for number in (0, 63, 64, 65, 127, 128, 199):
        write(folder, name_of(number), "changed")
    run_git(folder, "rm", "-q", *map(name_of, (1, 70, 129)))
    for name in ("README", "sessions/00/a.yaml", "sessions/0f/zz.yaml", "z"):
        write(folder, name, name)
    run_git(folder, "add", ".")
    if version == 3:
        write(folder, "later", "later")
        run_git(folder, "add", "-N", "later")
    assert shared_files(folder) == before, "git wrote a whole one: this tests nothing"
    index = Index.read(str(folder / ".git/index"))
    assert {name.decode(): blob for name, blob, _ in entries(index)} == staged(folder)
    told = debugged(folder)
    index.unsplit()
    run_git(folder, "config", "core.splitIndex", "false")
    store(folder, index)
    assert debugged(folder) == told


def test_the_stages_of_a_merge_in_a_split_index_are_told(split: Path) -> None:
    lines = b"".join(
        b"100644 %s %d\t%s\n"
        % (
            run_git(split, "hash-object", "-w", "--stdin", given=b"%d" % stage).strip().encode(),
            stage,
            name_of(5).encode(),
        )
        for stage in (1, 2, 3)
    )
    zero = b"0 " + b"0" * 40 + b"\t" + name_of(5).encode() + b"\n"
    run_git(split, "update-index", "--index-info", given=zero + lines)
    index = Index.read(str(split / ".git/index"))
    assert [entry.stage for entry in index.get(name_of(5).encode())] == [1, 2, 3]
    name = name_of(6).encode()
    index.put(name, "1" * 40, os.lstat(split / name_of(6)), trusted=True)
    store(split, index)
    assert run_git(split, "ls-files", "-u").count(name_of(5)) == 3
    assert staged(split)[name_of(6)] == "1" * 40
    index.remove(name_of(5).encode())
    store(split, index)
    assert run_git(split, "ls-files", "-u") == ""
    assert entries(Index.read(str(split / ".git/index"))) == entries(index)


def test_what_a_split_index_vouches_for_is_what_a_whole_one_does(split: Path) -> None:
    write(split, name_of(3), "changed")
    write(split, "sessions/00/new.yaml", "new")
    for name in (name_of(3), "sessions/00/new.yaml"):
        os.utime(split / name, (PAST, PAST))
    run_git(split, "add", ".")
    run_git(split, "rm", "-q", name_of(4))
    path = str(split / ".git/index")
    found = indexed_files(path, "sessions")
    assert len(found) == MANY
    run_git(split, "update-index", "--no-split-index")
    assert indexed_files(path, "sessions") == found


# --- git reads what we write -----------------------------------------------------


def test_changes_of_all_kinds_one_after_another_are_what_git_sees(split: Path) -> None:
    chance = random.Random(1)
    expected = staged(split)
    path = str(split / ".git/index")
    index = Index.read(path)
    shared = index.shared
    for step in range(120):
        name = name_of(chance.randrange(MANY + 40))
        change(split, index, expected, name, None if chance.random() < 0.3 else f"step {step}")
        if step % 10 == 0:
            store(split, index)
            assert staged(split) == expected
            assert run_git(split, "diff-files", "--name-only") == ""
            assert entries(Index.read(path)) == entries(index)
        if step % 40 == 0:
            index = Index.read(path)
    assert index.shared == shared
    assert os.path.getsize(path) < os.path.getsize(shared_path(str(split / ".git"), shared or b""))


def test_a_shared_entry_that_was_racy_makes_git_look(tmp_path: Path) -> None:
    folder = repository(tmp_path / "r", split=True)
    write(folder, "user.txt", "aaaa")
    run_git(folder, "add", "user.txt")
    index_path = folder / ".git/index"
    status = os.lstat(folder / "user.txt")
    os.utime(index_path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    # Edited in the second in which the index was written: same inode, same size.
    (folder / "user.txt").write_text("bbbb")
    instant = status.st_mtime_ns // SECOND_NS * SECOND_NS + (status.st_mtime_ns + 7) % SECOND_NS
    os.utime(folder / "user.txt", ns=(instant, instant))
    index = Index.read(str(index_path))
    blob = write(folder, "sessions/01/a.yaml", "x")
    index.put(b"sessions/01/a.yaml", blob, os.lstat(folder / "sessions/01/a.yaml"), trusted=True)
    later = status.st_mtime_ns + 30 * SECOND_NS
    lock = folder / ".git/index.new"
    lock.write_bytes(encoded(index, folder, began_ns=later))
    os.utime(lock, ns=(later, later))
    lock.rename(index_path)
    assert index.shared is not None
    assert run_git(folder, "diff-files", "--name-only").split() == ["user.txt"]


def test_a_shared_entry_that_was_racy_and_is_no_more_is_left_alone(split: Path) -> None:
    name, path = name_of(3), split / ".git/index"
    write(split, name, "changed")
    os.utime(split / name, (PAST - 9, PAST - 9))
    run_git(split, "add", name)
    os.utime(path, (PAST, PAST))
    index = Index.read(str(path))
    index.body(str(split), began_ns=(PAST + 9) * SECOND_NS)
    assert index.get(name.encode())[0].size == len("changed")


# --- bitmaps ---------------------------------------------------------------------


@given(
    count=st.integers(1, 300),
    deleted=st.sets(st.integers(0, 299)),
    replaced=st.sets(st.integers(0, 299)),
)
def test_the_extension_says_what_went_into_it(
    count: int, deleted: set[int], replaced: set[int]
) -> None:
    link = Link(*(sorted(each for each in some if each < count) for some in (deleted, replaced)))
    data = b"".join(bitmap(some, count) for some in (deleted, replaced))
    assert Link.decode(b"c" * 20 + data, count) == link


def bitmap(some: set[int], count: int) -> bytes:
    """Return the bitmap of those that are less than `count`, of all, after some of the others came and went."""
    positions = Positions(count)
    for each in range(count):
        positions.add(each)
    for each in set(range(count)) - some:
        positions.remove(each)
    for each in range(0, count, 2):
        (positions.remove if each in some else positions.add)(each)
    for each in range(0, count, 2):
        (positions.add if each in some else positions.remove)(each)
    return positions.encode()


def test_runs_of_one_bit_are_read_and_are_not_longer_than_there_are_entries() -> None:
    empty = struct.pack(">LLQL", 0, 1, 0, 0)
    ones = struct.pack(">LLQQL", 130, 2, 1 | 2 << 1 | 1 << 33, 0b11, 0)
    assert Link.decode(b"c" * 20 + ones + empty, 130) == Link([*range(130)], [])
    endless = struct.pack(">LLQL", 0xFFFFFFFF, 1, 1 | 0xFFFFFFFF << 1, 0)
    for bad in (endless + empty, ones + empty, empty, empty + empty + b"x", empty + ones[:-1]):
        with pytest.raises((ValueError, struct.error)):
            Link.decode(b"c" * 20 + bad, 129)


# --- when it is missing or damaged -----------------------------------------------


def test_without_the_shared_index_nothing_is_saved_and_the_way_out_is_told(
    opened: BlockingSessionStore,
) -> None:
    save_many(opened, 3)
    folder = Path(opened.path)
    (shared,) = shared_files(folder)
    before = (folder / ".git" / shared).read_bytes()
    tip = run_git(folder, "rev-parse", "main")
    parts, checksum = Index("").whole()
    another = b"".join([*parts, checksum])
    for damage in (None, before[:-30], before[:40] + b"?" + before[41:], another):
        (folder / ".git" / shared).unlink()
        if damage is not None:
            (folder / ".git" / shared).write_bytes(damage)
        with (
            BlockingSessionStore.open(folder) as other,
            pytest.raises(CorruptRepositoryError, match="git reset"),
        ):
            other.save(SessionAsset.new(id="s-new"))
        assert run_git(folder, "rev-parse", "main") == tip
        (folder / ".git" / shared).touch()
        assert indexed_files(str(folder / ".git/index"), "sessions") == {}
    (folder / ".git/index").unlink()
    run_git(folder, "reset", "-q")
    with BlockingSessionStore.open(folder) as other:
        other.save(SessionAsset.new(id="s-new"))
    assert_git_is_content(folder)


def test_a_shared_index_that_cannot_be_opened_is_not_called_damaged(
    opened: BlockingSessionStore,
) -> None:
    """Nobody may be told to remove an index because of a file that is there, and may be sound."""
    save_many(opened, 3)
    folder = Path(opened.path)
    (name,) = shared_files(folder)
    shared, aside = folder / ".git" / name, folder / "aside"
    shared.rename(aside)
    shared.mkdir()  # it is there, and no rights are needed to see this fail
    with BlockingSessionStore.open(folder) as other:
        with pytest.raises(RepositoryError, match=f"Is a directory .*{name}") as raised:
            other.save(SessionAsset.new(id="s-new"))
        assert not isinstance(raised.value, CorruptRepositoryError)
        shared.rmdir()
        aside.rename(shared)
        other.save(SessionAsset.new(id="s-new"))
    assert_git_is_content(folder)


# --- in a store ------------------------------------------------------------------


def test_a_store_made_here_is_split_and_one_that_was_there_stays_as_it_is(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path / "made", create=True) as store:
        store.save(SessionAsset.new(id="s"))
    assert run_git(tmp_path / "made", "config", "--type=bool", "core.splitIndex") == "true\n"
    assert len(shared_files(tmp_path / "made")) == 1
    found = tmp_path / "found"
    run_git(tmp_path, "init", "-q", "-b", "main", str(found))
    with BlockingSessionStore.open(found, create=True) as store:
        store.save(SessionAsset.new(id="s"))
        assert shared_files(found) == set()
        run_git(found, "update-index", "--split-index")
        store.save(SessionAsset.new(id="t"))
        assert Index.read(str(found / ".git/index")).shared is not None
        run_git(found, "config", "core.splitIndex", "false")
        store.save(SessionAsset.new(id="u"))
        assert Index.read(str(found / ".git/index")).shared is None
        run_git(found, "config", "core.splitIndex", "true")
        store.save(SessionAsset.new(id="v"))
        assert Index.read(str(found / ".git/index")).shared is not None
    for folder in (tmp_path / "made", found):
        assert_git_is_content(folder)


def test_a_new_shared_index_is_written_now_and_then_and_old_ones_go(
    opened: BlockingSessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitstore.git.index.DIFFERENCES_MAX", 40)
    folder, seen = Path(opened.path), set[str]()
    for number in range(5 * 40):
        opened.save(SessionAsset.new(id=f"s-{number % 50}"))
        seen |= shared_files(folder)
    assert 4 <= len(seen) <= 6
    left = shared_files(folder)
    assert len(left) == 3, "the one in use, and two for who read an index before"
    opened.close()
    assert (
        os.path.basename(shared_path("", Index.read(str(folder / ".git/index")).shared or b""))
        in left
    )
    assert_git_is_content(folder)


def test_people_who_commit_and_delete_beside_a_store_keep_it_in_step(
    opened: BlockingSessionStore,
) -> None:
    save_many(opened, 20)
    folder = Path(opened.path)
    write(folder, "notes.txt", "mine")
    run_git(folder, "add", "notes.txt")
    asset = opened.load("s-3")
    asset.add_turn(ConversationTurn.user("again"))
    opened.save(asset)
    assert run_git(folder, "diff", "--cached", "--name-only").split() == ["notes.txt"]
    run_git(folder, "commit", "-qm", "notes")
    opened.delete("s-4")
    run_git(folder, "stash", "list")
    run_git(folder, "checkout", "-q", "-b", "other", "HEAD~3")
    run_git(folder, "checkout", "-q", "main")
    opened.save(SessionAsset.new(id="s-new"))
    assert_git_is_content(folder)
    assert len(opened.list()) == 20
