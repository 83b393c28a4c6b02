"""Git's index as we change it, against git and dulwich."""

from __future__ import annotations

import hashlib
import os
import random
import struct
from typing import TYPE_CHECKING

import pytest
from dulwich.index import Index as DulwichIndex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitstore.errors import CorruptRepositoryError, UnsupportedRepositoryError
from gitstore.git.index import Index
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from pathlib import Path

SECOND_NS = 1_000_000_000


def write(folder: Path, name: str, text: str) -> str:
    """Write a file and return its blob id."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return hashlib.sha1(b"blob %d\0%s" % (len(text.encode()), text.encode())).hexdigest()


def encoded(index: Index, folder: Path, *, began_ns: int) -> bytes:
    """Return the index file."""
    body = index.body(str(folder), began_ns=began_ns)
    return b"".join([*body, index.checksum(body)])


def store(folder: Path, index: Index) -> None:
    """Put an index in place as the publisher does."""
    lock = folder / ".git/index.lock"
    lock.write_bytes(b"")
    made_ns = lock.stat().st_mtime_ns
    lock.write_bytes(encoded(index, folder, began_ns=made_ns))
    os.utime(lock, ns=(made_ns, made_ns))
    lock.rename(folder / ".git/index")


def change(
    folder: Path, index: Index, expected: dict[str, str], name: str, text: str | None
) -> None:
    """Write a file, its entry, and what is expected of it; without a text, remove them."""
    if text is None:
        index.remove(name.encode())
        expected.pop(name, None)
        (folder / name).unlink(missing_ok=True)
    else:
        expected[name] = write(folder, name, text)
        index.put(name.encode(), expected[name], os.lstat(folder / name), trusted=True)


def staged(folder: Path) -> dict[str, str]:
    """Return what git sees in the index."""
    lines = run_git(folder, "ls-files", "--stage", "-z").split("\0")[:-1]
    rows = (line.split("\t") for line in lines)
    return {name: info.split()[1] for info, name in rows}


def repository(folder: Path, version: int = 2, *, split: bool = False) -> Path:
    run_git(folder.parent, "init", "-q", "-b", "main", str(folder))
    run_git(folder, "config", "index.version", str(version))
    run_git(folder, "config", "core.splitIndex", str(split).lower())
    return folder


names = st.one_of(
    st.builds(
        "sessions/{:02x}/{}.yaml".format,
        st.integers(0, 3),
        st.text("ab-._z", min_size=1, max_size=12).filter(lambda t: t[0] not in ".-"),
    ),
    st.sampled_from(["a", "README", "sessionsx", "sessions-old/x", "z/y", "sessions/loose"]),
)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("version", [2, 3, 4])
@settings(
    max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    before=st.sets(names, max_size=12),
    changes=st.lists(st.tuples(names, st.booleans()), min_size=1, max_size=8),
)
def test_git_and_dulwich_read_what_we_write(
    tmp_path_factory: pytest.TempPathFactory,
    version: int,
    split: bool,
    before: set[str],
    changes: list[tuple[str, bool]],
) -> None:
    folder = repository(tmp_path_factory.mktemp("index") / "r", version, split=split)
    expected = {name: write(folder, name, f"before {name}") for name in sorted(before)}
    if before:
        run_git(folder, "add", "--", *sorted(before))
    if version == 3 and before:  # an extended flag is what makes an index version 3
        extra = write(folder, "later", "later")
        run_git(folder, "add", "-N", "later")
        expected["later"] = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
        assert extra
    index = Index.read(str(folder / ".git/index"))
    assert (index.shared is not None) == (split and bool(expected))
    for name, removed in changes:
        change(folder, index, expected, name, None if removed else f"after {name}")
    store(folder, index)
    assert staged(folder) == expected
    assert run_git(folder, "diff-files", "--name-only").split() == (
        ["later"] if "later" in expected else []
    )
    if index.shared is None:  # dulwich cannot read the other kind
        read = DulwichIndex(folder / ".git/index")
        assert {name.decode(): read.get_sha1(name).decode() for name in read} == expected
    again = Index.read(str(folder / ".git/index"))
    assert {name.decode(): cached.id for name, cached in again.items()} == expected


def test_the_entry_is_what_git_would_write(tmp_path: Path) -> None:
    folder = repository(tmp_path / "r")
    name = "sessions/ab/s.yaml"
    blob = write(folder, name, "content")
    index = Index.read(str(folder / ".git/index"))
    index.put(name.encode(), blob, os.lstat(folder / name), trusted=True)
    store(folder, index)
    ours = run_git(folder, "ls-files", "--debug", "--stage")
    (folder / ".git/index").unlink()
    run_git(folder, "add", name)
    assert run_git(folder, "ls-files", "--debug", "--stage") == ours


def test_an_edit_in_the_same_second_and_of_the_same_size_is_seen(tmp_path: Path) -> None:
    folder = repository(tmp_path / "r")
    index_path = str(folder / ".git/index")
    (first, one), (second, two) = (
        (name, write(folder, name, "aaaa")) for name in ("sessions/01/a.yaml", "sessions/02/b.yaml")
    )
    status = os.lstat(folder / first)
    index = Index(index_path)
    index.put(first.encode(), one, status, trusted=True)
    store(folder, index)
    # Edited in place: same inode, same size, another instant of the same second.
    (folder / first).write_text("bbbb")
    instant = status.st_mtime_ns // SECOND_NS * SECOND_NS + (status.st_mtime_ns + 7) % SECOND_NS
    os.utime(folder / first, ns=(instant, instant))
    # Much later another session is saved.
    index.put(second.encode(), two, os.lstat(folder / second), trusted=True)
    lock = folder / ".git/index.new"
    later = status.st_mtime_ns + 30 * SECOND_NS
    lock.write_bytes(encoded(index, folder, began_ns=later))
    os.utime(lock, ns=(later, later))
    lock.rename(folder / ".git/index")
    assert run_git(folder, "diff-files", "--name-only").split() == [first]


def test_a_foreign_racy_entry_is_compared_too(tmp_path: Path) -> None:
    folder = repository(tmp_path / "r")
    write(folder, "user.txt", "aaaa")
    run_git(folder, "add", "user.txt")
    status = os.lstat(folder / "user.txt")
    index_path = folder / ".git/index"
    os.utime(index_path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    (folder / "user.txt").write_text("bbbb")
    instant = status.st_mtime_ns // SECOND_NS * SECOND_NS + (status.st_mtime_ns + 7) % SECOND_NS
    os.utime(folder / "user.txt", ns=(instant, instant))
    index = Index.read(str(index_path))
    blob = write(folder, "sessions/01/a.yaml", "x")
    status = os.lstat(folder / "sessions/01/a.yaml")
    index.put(b"sessions/01/a.yaml", blob, status, trusted=True)
    later = status.st_mtime_ns + 30 * SECOND_NS
    lock = folder / ".git/index.new"
    lock.write_bytes(encoded(index, folder, began_ns=later))
    os.utime(lock, ns=(later, later))
    lock.rename(index_path)
    assert run_git(folder, "diff-files", "--name-only").split() == ["user.txt"]


def test_a_short_name_is_not_looked_for_in_what_is_in_front_of_another(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index"))
    # As the entry of the file "a": its length in two bytes, the name, and a NUL.
    size = int.from_bytes(b"\0\x01a\0", "big")
    for name, text in (("A", "text"), ("B", "x" * size), ("a", "text")):
        change(tmp_path, index, {}, name, text)
    found = [(name, entry.size) for name, entry in index.items()]
    assert found == [(b"A", 4), (b"B", size), (b"a", 4)]


def test_an_untrusted_entry_makes_git_look_at_the_file(tmp_path: Path) -> None:
    folder = repository(tmp_path / "r")
    blob = write(folder, "sessions/01/a.yaml", "aaaa")
    (folder / "sessions/01/a.yaml").write_text("bbbb")
    index = Index(str(folder / ".git/index"))
    status = os.lstat(folder / "sessions/01/a.yaml")
    index.put(b"sessions/01/a.yaml", blob, status, trusted=False)
    store(folder, index)
    assert run_git(folder, "diff-files", "--name-only").split() == ["sessions/01/a.yaml"]


def test_stale_extensions_are_left_out_and_resolve_undo_is_kept(tmp_path: Path) -> None:
    folder = repository(tmp_path / "r")
    run_git(folder, "config", "core.untrackedCache", "true")
    write(folder, "a", "base")
    run_git(folder, "add", "a")
    run_git(folder, "commit", "-qm", "base")
    run_git(folder, "checkout", "-qb", "other")
    write(folder, "a", "theirs")
    run_git(folder, "commit", "-qam", "theirs")
    run_git(folder, "checkout", "-q", "main")
    write(folder, "a", "ours")
    run_git(folder, "commit", "-qam", "ours")
    run_git(folder, "merge", "other", check=False)
    write(folder, "a", "resolved")
    run_git(folder, "add", "a")
    run_git(folder, "status")
    path = folder / ".git/index"
    assert {b"REUC", b"UNTR"} <= {
        kind for kind in (b"TREE", b"REUC", b"UNTR") if kind in path.read_bytes()
    }
    index = Index.read(str(path))
    blob = write(folder, "sessions/01/s.yaml", "x")
    index.put(b"sessions/01/s.yaml", blob, os.lstat(folder / "sessions/01/s.yaml"), trusted=True)
    store(folder, index)
    data = path.read_bytes()
    assert [kind in data for kind in (b"REUC", b"TREE", b"UNTR", b"FSMN")] == [
        True,
        False,
        False,
        False,
    ]
    run_git(folder, "hash-object", "-w", "sessions/01/s.yaml")
    run_git(folder, "commit", "-qm", "merged")
    assert run_git(folder, "status", "--porcelain") == ""


def test_the_stages_of_an_unfinished_merge_are_told(tmp_path: Path) -> None:
    folder = repository(tmp_path / "r")
    lines = b"".join(
        b"100644 %s %d\tsessions/01/s.yaml\n"
        % (
            run_git(folder, "hash-object", "-w", "--stdin", given=b"%d" % stage).strip().encode(),
            stage,
        )
        for stage in (1, 2, 3)
    )
    run_git(folder, "update-index", "--index-info", given=lines)
    index = Index.read(str(folder / ".git/index"))
    assert [entry.stage for entry in index.get(b"sessions/01/s.yaml")] == [1, 2, 3]
    index.remove(b"sessions/01/s.yaml")
    store(folder, index)
    assert staged(folder) == {}


def test_a_sparse_index_is_refused(tmp_path: Path) -> None:
    folder = repository(tmp_path / "r")
    for name in ("a/b/c", "d/e"):
        write(folder, name, name)
    run_git(folder, "add", ".")
    run_git(folder, "commit", "-qm", "m")
    run_git(folder, "sparse-checkout", "set", "--cone", "--sparse-index", "d")
    with pytest.raises(UnsupportedRepositoryError) as caught:
        Index.read(str(folder / ".git/index"))
    assert caught.value.feature == "a sparse index"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"DIRC",
        b"JUNK" + bytes(60),
        struct.pack(">4sLL", b"DIRC", 2, 5) + bytes(40),
        struct.pack(">4sLL", b"DIRC", 2, 0) + b"x" * 20,
    ],
)
def test_a_damaged_index_is_told(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "index"
    path.write_bytes(data)
    with pytest.raises(CorruptRepositoryError):
        Index.read(str(path))


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.write_bytes(struct.pack(">4sLL", b"DIRC", 9, 0) + bytes(20))
    with pytest.raises(UnsupportedRepositoryError):
        Index.read(str(path))


def test_no_index_is_an_empty_one(tmp_path: Path) -> None:
    assert list(Index.read(str(tmp_path / "index")).items()) == []


def test_what_is_not_hashed_again_is_still_in_the_checksum(tmp_path: Path) -> None:
    """Enough runs for many states of the checksum to be kept; changes hit any of them, in any order."""
    chance = random.Random(1)
    (tmp_path / "f").write_text("x")
    status = os.lstat(tmp_path / "f")
    index = Index(str(tmp_path / "index"))
    ids = [f"{number:040x}" for number in range(50)]
    for number in range(6000):
        name = b"sessions/%02x/session-%06d.yaml" % (number % 256, number)
        index.put(name, chance.choice(ids), status, trusted=True)
    index.put(b"README", ids[0], status, trusted=True)
    for step in range(60):
        number = chance.randrange(6100)
        name = b"sessions/%02x/session-%06d.yaml" % (number % 256, number)
        if step % 10 == 9:
            index.remove(name)
        elif step % 7:
            index.put(name, chance.choice(ids), status, trusted=True)
        body = index.body(str(tmp_path), began_ns=status.st_mtime_ns)
        checksum = index.checksum(body)
        assert checksum == hashlib.sha1(b"".join(body)).digest()
    assert len(index._hashes) > 5, "no state was kept: this tests nothing"


def test_git_looks_itself_at_entries_of_the_second_in_which_the_index_was_made(
    tmp_path: Path,
) -> None:
    folder = repository(tmp_path / "r")
    name = "sessions/01/a.yaml"
    blob = write(folder, name, "aaaa")
    status = os.lstat(folder / name)
    index = Index(str(folder / ".git/index"))
    index.put(name.encode(), blob, status, trusted=True)
    (folder / name).write_text("bbbb")
    second = status.st_mtime_ns // SECOND_NS * SECOND_NS
    os.utime(folder / name, ns=(second + 7, second + 7))
    lock = folder / ".git/index.new"
    lock.write_bytes(encoded(index, folder, began_ns=second + SECOND_NS - 1))
    os.utime(lock, ns=(second, second + SECOND_NS - 1))
    lock.rename(folder / ".git/index")
    assert index.get(name.encode())[0].size == 4, "it was smudged although it is still racy"
    assert run_git(folder, "diff-files", "--name-only").split() == [name]
