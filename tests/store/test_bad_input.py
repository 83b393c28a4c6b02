"""Promise 8: bad input gets one documented error that says where and what to do, and changes nothing."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gitstore import (
    AmbiguousCommitError,
    BeforeHistoryError,
    BlockingSessionStore,
    CorruptRepositoryError,
    InvalidSessionIdError,
    NaiveTimeError,
    OutOfSpaceError,
    PermissionDeniedError,
    RepositoryError,
    RepositoryNotFoundError,
    SerializationError,
    StorageError,
    UnknownCommitError,
    UnsafePathError,
    UnsupportedRepositoryError,
    UnsupportedVersionError,
    UntrustedOwnerError,
    dump_session,
)
from gitstore.session.codec import MAX_BYTES
from gitstore.session.ids import parse_session_id, path_of
from gitstore.testing.promises import say, session
from tests.conftest import Git
from tests.gitcommand import loosen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534
IS_ROOT = os.geteuid() == 0


def state(folder: Path) -> str:
    """Return a digest of names, modes and contents of everything below a folder.

    Not of gitstore's own lock and cache, which hold nothing that anybody stored, nor of objects
    that no ref leads to: what is written before a failure is there until `git prune`.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if "gitstore" in parts or "objects" in parts:
            assert not path.name.startswith(("own-", "tmp-", "tmp_obj")), f"left behind: {path}"
            continue
        status = path.lstat()
        digest.update(f"{path.relative_to(folder)} {status.st_mode} ".encode())
        if stat.S_ISLNK(status.st_mode):
            digest.update(os.readlink(path).encode())
        elif stat.S_ISREG(status.st_mode):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def nothing_changes(folder: Path) -> Iterator[None]:
    before = state(folder)
    yield
    assert state(folder) == before, "something was changed"


def refuses(
    kind: type[StorageError], call: Callable[[], Any], folder: Path, advice: str
) -> StorageError:
    """Return the error of a call that must change nothing; the message must hold the advice."""
    with nothing_changes(folder), pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert advice in str(caught.value)
    if isinstance(caught.value, RepositoryError):
        assert caught.value.path in str(caught.value)
    return caught.value


def new_store(path: Path, **options: Any) -> BlockingSessionStore:
    store = BlockingSessionStore.open(path, create=True, durability="process", **options)
    store.save(session("s-1", "hello"))
    return store


# --- no repository, or one that cannot be used -------------------------------------


def nothing_there(path: Path) -> None:
    assert not path.exists()


def an_empty_folder(path: Path) -> None:
    path.mkdir()


def a_file(path: Path) -> None:
    path.write_text("I am a file")


def a_folder_with_an_empty_git_folder(path: Path) -> None:
    (path / ".git").mkdir(parents=True)


@pytest.mark.parametrize(
    "there", [nothing_there, an_empty_folder, a_file, a_folder_with_an_empty_git_folder]
)
def test_no_repository(tmp_path: Path, there: Callable[[Path], None]) -> None:
    path = tmp_path / "r"
    there(path)
    refuses(
        RepositoryNotFoundError, lambda: BlockingSessionStore.open(path), tmp_path, "create=True"
    )


def test_a_repository_is_not_looked_for_above(tmp_path: Path) -> None:
    Git(tmp_path)("init", "-q")
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner"
    refuses(RepositoryNotFoundError, lambda: BlockingSessionStore.open(path), tmp_path, "create")


def test_no_repository_is_made_where_something_else_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    for name, bare in (("file", False), ("file", True), ("full", True)):
        path = tmp_path / name

        def call(path: Path = path, bare: bool = bare) -> object:
            return BlockingSessionStore.open(path, create=True, bare=bare)

        refuses(RepositoryError, call, tmp_path, "choose an empty folder")


@pytest.mark.parametrize(
    ("setting", "value", "feature"),
    [
        ("extensions.refStorage", "reftable", "refstorage = reftable"),
        ("extensions.objectFormat", "sha256", "objectformat = sha256"),
        ("extensions.somethingNew", "true", "somethingnew = true"),
        ("core.sparseCheckout", "true", "a sparse checkout"),
    ],
)
def test_features_that_cannot_be_kept_right(
    tmp_path: Path, setting: str, value: str, feature: str
) -> None:
    new_store(tmp_path).close()
    with (tmp_path / ".git/config").open("a") as config:
        section, name = setting.split(".")
        config.write(f"[{section}]\n\t{name} = {value}\n")
    error = refuses(
        UnsupportedRepositoryError,
        lambda: BlockingSessionStore.open(tmp_path),
        tmp_path,
        "is not supported; ",
    )
    assert isinstance(error, UnsupportedRepositoryError)
    assert error.feature == feature


def test_a_real_sha256_repository(tmp_path: Path) -> None:
    Git(tmp_path)("init", "-q", "--object-format=sha256")
    refuses(
        UnsupportedRepositoryError,
        lambda: BlockingSessionStore.open(tmp_path),
        tmp_path,
        "git init --object-format=sha1",
    )


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a folder away")
def test_a_repository_of_another_user(tmp_path: Path) -> None:
    new_store(tmp_path).close()
    os.chown(tmp_path / ".git", NOBODY, NOBODY)
    error = refuses(
        UntrustedOwnerError,
        lambda: BlockingSessionStore.open(tmp_path),
        tmp_path,
        "trust_owner=True",
    )
    assert isinstance(error, UntrustedOwnerError)
    assert error.owner == NOBODY
    with BlockingSessionStore.open(tmp_path, trust_owner=True) as store:
        assert store.exists("s-1")


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_sessions_folder_that_is_none(tmp_path: Path, kind: str) -> None:
    path, outside = tmp_path / "r", tmp_path / "outside"
    BlockingSessionStore.open(path, create=True).close()
    outside.mkdir()
    if kind == "link":
        (path / "sessions").symlink_to(outside)
    else:
        (path / "sessions").write_text("mine")
    refuses(UnsafePathError, lambda: BlockingSessionStore.open(path), tmp_path, "make it a folder")
    (path / "sessions").unlink()
    with BlockingSessionStore.open(path) as store:
        (path / "sessions").symlink_to(outside)  # only now
        refuses(UnsafePathError, lambda: store.save(session("s-1")), outside, "move it away")
        assert Git(path)("ls-tree", "-r", "--name-only", "main").split() == [".gitattributes"]


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("config", b"[core\n"),
        ("config", b"\xff\xfe\0"),
        ("HEAD", b""),
        ("HEAD", b"nonsense\n"),
        ("refs/heads/main", b"not an id\n"),
        ("refs/heads/main", b""),
    ],
)
def test_a_damaged_repository(tmp_path: Path, file: str, data: bytes) -> None:
    new_store(tmp_path).close()
    (tmp_path / ".git" / file).write_bytes(data)

    def use() -> None:
        with BlockingSessionStore.open(tmp_path) as store:
            store.save(session("s-2"))

    with nothing_changes(tmp_path), pytest.raises(RepositoryError) as caught:
        use()
    assert str(tmp_path) in str(caught.value)


def test_bad_branch_names(tmp_path: Path) -> None:
    new_store(tmp_path).close()
    for bad in ("", "a..b", "-x", "a b", "../../x", "x.lock", "a\0b", "refs/heads/.."):
        if bad:
            refuses(
                RepositoryError,
                partial(BlockingSessionStore.open, tmp_path, branch=bad),
                tmp_path,
                "git branch",
            )


# --- the operating system says no --------------------------------------------------


@pytest.fixture
def common_folder() -> Iterator[Path]:
    """A folder that nobody (as the user of that name) may enter, and owns."""
    with tempfile.TemporaryDirectory(prefix="gitstore-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if IS_ROOT:
            os.chown(folder, NOBODY, NOBODY)
        yield folder


@contextmanager
def powerless() -> Iterator[None]:
    """Work as a user to whom the modes of files matter: root becomes nobody."""
    if not IS_ROOT:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.parametrize("locked", [".git/objects", ".git", ".git/refs/heads", "sessions", "."])
def test_folders_that_cannot_be_written(common_folder: Path, locked: str) -> None:
    path = common_folder / "r"
    with powerless():
        store = new_store(path)
        # One more shard than there is, so that `sessions` itself must be written.
        asset = session("s-2", "hello")
        folders = [each for each in [path / locked, *(path / locked).rglob("*")] if each.is_dir()]
        for each in folders:
            each.chmod(0o555)
        try:
            refuses(PermissionDeniedError, lambda: store.save(asset), path, "check who owns it")
            assert asset.revision is None
            assert store.load("s-1") == session("s-1", "hello"), "reading still works"
            assert [row.id for row in store.list()] == ["s-1"]
        finally:
            for each in folders:
                each.chmod(0o755)
        store.save(asset)
        Git(path).assert_sound()


def test_files_that_cannot_be_read(common_folder: Path) -> None:
    path = common_folder / "r"
    with powerless():
        store = new_store(path)
        file = path / path_of(parse_session_id("s-1"))
        file.chmod(0)
        try:
            for call in (lambda: store.load("s-1"), lambda: store.save(session("s-1"))):
                with pytest.raises(PermissionDeniedError) as caught:
                    call()
                assert file.name in str(caught.value)
            store.save(session("other"))
            problems = {row.id: row.problem is None for row in store.list()}
            assert problems == {"s-1": False, "other": True}, "one bad file hides no other"
        finally:
            file.chmod(0o644)


def test_a_repository_that_cannot_be_opened(common_folder: Path) -> None:
    path = common_folder / "r"
    with powerless():
        new_store(path).close()
        (path / ".git/config").chmod(0)
        with pytest.raises(PermissionDeniedError) as caught:
            BlockingSessionStore.open(path)
        (path / ".git/config").chmod(0o644)
    assert "check who owns it" in str(caught.value)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    if not IS_ROOT:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("bare", [False, True], ids=["worktree", "bare"])
def test_a_full_disk(small_disk: Path, bare: bool) -> None:
    path = small_disk / "r"
    with new_store(path, bare=bare) as store:
        asset = store.load("s-1")
        say(asset, os.urandom(200_000).hex(), turn="t1")
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as handle:
            try:
                while True:
                    handle.write(b"x" * 4096)
            except OSError:
                pass
        refuses(OutOfSpaceError, lambda: store.save(asset), path, "free some space")
        assert asset.revision == store.load("s-1").revision
        filler.unlink()
        store.save(asset)
        assert store.load("s-1") == asset
        Git(path).assert_sound()


# --- what is stored is no session ----------------------------------------------------


GOOD = dump_session(session("s-1", "hello"))
BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "document"),
    "not utf-8": (GOOD.replace(b"hello", b"\xff"), "document"),
    "utf-16": (GOOD.decode().encode("utf-16"), "document"),
    "not yaml": (b"id: [\n", "id[0]"),
    "a list": (b"- 1\n", "document"),
    "no version": (GOOD.replace(b"version: 1\n", b""), "version"),
    "wrong type": (GOOD.replace(b"role: user", b"role: 5"), "history.turns[0].role"),
    "missing field": (GOOD.replace(b"    role: user\n", b""), "history.turns[0].role"),
    "naive time": (GOOD.replace(b".000Z'\nproject", b".000'\nproject"), "updated_at"),
    "another id": (GOOD.replace(b"id: s-1", b"id: s-2"), "id"),
    "deep": (b"id: s-1\nversion: 1\nmetadata: " + b"[" * 5000, "metadata"),
    "alias": (GOOD + b"metadata: {a: &x 1, b: *x}\n", "metadata"),
    "duplicate key": (GOOD + b"id: s-1\n", "id"),
    "two documents": (GOOD + b"---\n" + GOOD, "document"),
    "tag": (GOOD + b"metadata: !!python/object:os.system {}\n", "metadata"),
    "huge": (GOOD + b"#" * MAX_BYTES, "document"),
}


def plant(path: Path, data: bytes) -> None:
    """Commit some bytes as the file of s-1, with git alone."""
    commit = b"commit refs/heads/main\ncommitter A <a@b.c> 1700000000 +0000\ndata 1\nx\n"
    parent = b"from refs/heads/main^0\n"
    file = f"M 100644 inline {path_of(parse_session_id('s-1'))}\ndata {len(data)}\n".encode()
    Git(path)("fast-import", "--quiet", data=commit + parent + file + data + b"\ndone\n")


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_that_are_no_session(tmp_path: Path, name: str) -> None:
    data, where = BAD_FILES[name]
    with new_store(tmp_path, bare=True) as store:
        store.save(session("other"))
        plant(tmp_path, data)
        with nothing_changes(tmp_path), pytest.raises(SerializationError) as caught:
            store.load("s-1")
        assert caught.value.session_id == "s-1"
        assert caught.value.where.startswith(where)
        assert caught.value.problem
        with nothing_changes(tmp_path):
            rows = {str(row.id): row for row in store.list()}
        assert rows["other"].problem is None
        assert {*rows} == {"s-1", "other"}
        # A listing counts turns without reading them.
        assert rows["s-1"].problem or where.startswith("history") or name in ("alias", "tag")
        store.save(session("s-1", "new"))
        assert store.load("s-1") == session("s-1", "new"), "a save repairs it"


def test_a_session_of_a_newer_version(tmp_path: Path) -> None:
    with new_store(tmp_path, bare=True) as store:
        plant(tmp_path, GOOD.replace(b"version: 1", b"version: 2"))
        error = refuses(
            UnsupportedVersionError, lambda: store.load("s-1"), tmp_path, "update gitstore"
        )
        assert isinstance(error, UnsupportedVersionError)
        assert (error.version, error.supported, error.where) == (2, 1, "version")


def test_objects_that_are_missing_or_damaged(tmp_path: Path) -> None:
    with new_store(tmp_path, bare=True) as store:
        revision = store.load("s-1").revision
        store.save(session("other"))
    assert revision is not None
    loosen(tmp_path)
    file = tmp_path / "objects" / revision[:2] / revision[2:]
    data = file.read_bytes()
    for broken in (None, b"", data[:-4], b"x" * 40, data[:10] + b"\0" + data[11:]):
        file.unlink(missing_ok=True)
        if broken is not None:
            file.write_bytes(broken)
        with BlockingSessionStore.open(tmp_path) as store:
            error = refuses(CorruptRepositoryError, lambda: store.load("s-1"), tmp_path, "git fsck")
            assert isinstance(error, CorruptRepositoryError)
            problems = {row.id: row.problem for row in store.list() if row.problem}
            assert [*problems] == ["s-1"]


# --- arguments ---------------------------------------------------------------------------


def test_commits_that_are_not_there(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        for bad in (
            "",
            "0" * 40,
            "abc",
            "HEAD~1",
            "main:x",
            "a\0b",
            "--all",
            "x/../y",
            "né",
            "@{1}",
        ):
            error = refuses(
                UnknownCommitError, partial(store.load, "s-1", at=bad), tmp_path, "git log"
            )
            assert isinstance(error, UnknownCommitError)
            assert error.at == bad
        tree = Git(tmp_path)("rev-parse", "main^{tree}")
        refuses(UnknownCommitError, lambda: store.load("s-1", at=tree), tmp_path, "git log")


def test_an_ambiguous_abbreviation(tmp_path: Path) -> None:
    new_store(tmp_path, bare=True).close()
    stream = b"".join(
        b"commit refs/heads/topic\ncommitter A <a@b.c> %d +0000\ndata 1\nx\n" % (1_700_000_000 + n)
        for n in range(1200)
    )
    Git(tmp_path)("fast-import", "--quiet", data=stream + b"done\n")
    names = sorted(Git(tmp_path)("rev-list", "topic").split())
    same = [(a, b) for a, b in pairwise(names) if a[:4] == b[:4]]
    first, second = same[0]
    with BlockingSessionStore.open(tmp_path) as store:
        error = refuses(
            AmbiguousCommitError,
            lambda: store.load("s-1", at=first[:4]),
            tmp_path,
            "give more digits",
        )
        assert isinstance(error, AmbiguousCommitError)
        assert error.at == first[:4]
        assert {first, second} <= {*error.candidates}


def test_times_that_mean_nothing(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        naive = datetime(2026, 1, 1)  # noqa: DTZ001 -- the bad input
        error = refuses(
            NaiveTimeError, lambda: store.load("s-1", at=naive), tmp_path, "such as UTC"
        )
        assert isinstance(error, ValueError)
        early = datetime(1999, 1, 1, tzinfo=UTC)
        before = refuses(
            BeforeHistoryError, lambda: store.load("s-1", at=early), tmp_path, "the history begins"
        )
        assert isinstance(before, BeforeHistoryError)
        assert before.at == early
        assert before.first is not None


@pytest.mark.parametrize("bad", [None, 5, b"s-1", "", "a/b", "..", "a" * 300])
def test_ids_that_are_none(tmp_path: Path, bad: Any) -> None:
    with new_store(tmp_path) as store:
        calls = (store.load, store.exists, store.delete)
        for call in calls:
            refuses(InvalidSessionIdError, partial(call, bad), tmp_path, "not a session id")


def test_values_that_cannot_be_stored(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        values: list[Any] = [float("nan"), object(), {1: 2}, "\ud800", [[], {"x": b""}]]
        for bad in values:
            asset = store.load("s-1")
            asset.metadata["bad"] = bad
            error = refuses(
                SerializationError, partial(store.save, asset), tmp_path, "metadata.bad"
            )
            assert isinstance(error, SerializationError)
            assert error.session_id == "s-1"
        asset, deep = store.load("s-1"), list[Any]()
        for _ in range(200):
            deep = [deep]
        asset.metadata["bad"] = deep
        refuses(SerializationError, lambda: store.save(asset), tmp_path, "deeper than")


def test_a_cache_that_cannot_be_used_is_done_without(common_folder: Path) -> None:
    path = common_folder / "r"
    with powerless():
        store = new_store(path)
        store.list()
        store.close()
        cache = path / ".git/gitstore"
        for broken in (lambda: cache.chmod(0), lambda: (cache / "cache.sqlite").write_text("x")):
            broken()
            with BlockingSessionStore.open(path) as again:
                assert [row.id for row in again.list()] == ["s-1"]
            cache.chmod(0o755)
