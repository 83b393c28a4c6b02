"""Sessions that were read are kept: what is handed out is the caller's own, and never an old one."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitstore import BlockingSessionStore, SessionNotFoundError, dump_session
from gitstore.blocking import system_runtime
from gitstore.engine import assetcache
from gitstore.engine.assetcache import AssetCache
from gitstore.session import codec
from gitstore.session.frozen import FrozenDocument
from gitstore.session.ids import parse_session_id, path_of
from gitstore.testing.promises import say, session, turns
from gitstore.types import Revision
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = parse_session_id("s-1")
R1, R2 = Revision("1" * 40), Revision("2" * 40)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockingSessionStore]:
    """A store whose clock is late enough for every file to have settled."""
    real = system_runtime()
    runtime = replace(real, clock=lambda: real.clock() + 60)
    folder = tmp_path / "r"
    with BlockingSessionStore.open(
        folder, create=True, durability="process", runtime=runtime
    ) as opened:
        opened.save(session(NAME, "hello"))
        yield opened


def document(*said: str) -> FrozenDocument:
    """Return what is read of a session."""
    return codec.decode_frozen(dump_session(session(NAME, *said)))[0]


def test_changing_a_loaded_session_changes_no_other_load(store: BlockingSessionStore) -> None:
    store.load(NAME)  # the others come from what is kept of this one
    first, second = store.load(NAME), store.load(NAME)
    first.history.turns[0].content = "changed"
    first.history.turns[0].tags.append("x")
    first.metadata["k"] = {"deep": [1]}
    say(first, "more", turn="t1")
    for asset in (second, store.load(NAME)):
        assert asset.history.turns[0].content == "hello"
        assert asset.history.turns[0].tags == []
        assert asset.metadata == {}
        assert turns(asset) == ["t0"]
        assert asset.revision == store.load(NAME).revision


def test_a_load_is_never_older_than_the_last_save(store: BlockingSessionStore) -> None:
    with BlockingSessionStore.open(store.path) as other:
        for number in range(1, 6):
            asset = store.load(NAME)
            say(asset, f"{number}", turn=f"t{number}")
            saved = other.save(asset)
            for each in (store, other):
                loaded = each.load(NAME)
                assert turns(loaded)[-1] == f"t{number}"
                assert loaded.revision == saved.revision
    store.delete(NAME)
    with pytest.raises(SessionNotFoundError):
        store.load(NAME)
    assert_git_is_content(store.path)


@pytest.mark.parametrize("keeps", ["nothing", "size", "size and time"])
def test_a_hand_edit_is_seen_by_the_next_load(store: BlockingSessionStore, keeps: str) -> None:
    for _ in range(2):
        assert store.load(NAME).history.turns[0].content == "hello"
    file = Path(store.path, path_of(NAME))
    status = file.stat()
    time.sleep(0.01)  # a tick of the file system's clock
    file.write_bytes(
        file.read_bytes().replace(b"hello", b"HELLO" if keeps != "nothing" else b"HELLO 2")
    )
    if keeps == "size and time":
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.load(NAME).history.turns[0].content.startswith("HELLO")
    assert run_git(store.path, "status", "--porcelain") == ""


def test_an_edit_in_the_same_instant_is_seen(tmp_path: Path) -> None:
    """A file that was just written may change again without another time: it is read."""
    with BlockingSessionStore.open(tmp_path, create=True, durability="process") as store:
        store.save(session(NAME, "hello"))
        file = Path(store.path, path_of(NAME))
        for number in range(5):
            word = f"word{number}".encode()
            data = file.read_bytes()
            with file.open("r+b") as opened:
                opened.write(data.replace(data[data.rindex(b"content: ") + 9 : -1], word, 1))
                opened.truncate()
            loaded = store.load(NAME)
            assert loaded.history.turns[0].content == word.decode()
            edits, path = store._reader._edits, path_of(NAME)
            tree = edits.tree()
            assert tree is not None
            # Kernels with coarse clocks give the next edit the same time: it must not be trusted yet.
            assert not edits.holds(path, edits.state_of(tree, path), loaded.revision)


def test_a_branch_that_moved_under_an_unchanged_file_is_seen(store: BlockingSessionStore) -> None:
    asset = store.load(NAME)
    say(asset, "more", turn="t1", minute=1)
    store.save(asset)
    for _ in range(2):
        assert turns(store.load(NAME)) == ["t0", "t1"]
    run_git(store.path, "reset", "-q", "--soft", "HEAD~1")
    # The file now differs from the branch: an edit, as git sees it too.
    assert turns(store.load(NAME)) == ["t0", "t1"]
    assert "adopt" in run_git(store.path, "log", "-1", "--format=%B")


def test_what_another_branch_has_there_is_not_read(store: BlockingSessionStore) -> None:
    """A file that is known is not asked whose it is; once it changes, it is."""
    for _ in range(2):
        assert store.load(NAME).history.turns[0].content == "hello"
    run_git(store.path, "switch", "-q", "-c", "other")
    assert store.load(NAME).history.turns[0].content == "hello"
    file, tip = Path(store.path, path_of(NAME)), run_git(store.path, "rev-parse", "main")
    file.write_bytes(file.read_bytes().replace(b"hello", b"HELLO"))
    for _ in range(2):
        assert store.load(NAME).history.turns[0].content == "hello"
    assert run_git(store.path, "rev-parse", "main") == tip
    run_git(store.path, "symbolic-ref", "HEAD", "refs/heads/main")
    assert store.load(NAME).history.turns[0].content == "HELLO"
    assert run_git(store.path, "status", "--porcelain") == ""


def test_the_past_is_read_and_not_kept(store: BlockingSessionStore) -> None:
    """Whoever looks through a history takes no room from the sessions that are in use."""
    first = store.load(NAME)
    say(first, "more", turn="t1", minute=1)
    old, new = first.revision, store.save(first).revision
    for _ in range(2):
        assert turns(store.load(NAME, at="@{1}")) == ["t0"]
        assert turns(store.load(NAME)) == ["t0", "t1"]
    assert [revision for _, revision in store._reader._assets._kept] == [old, new]
    with BlockingSessionStore.open(store.path) as other:
        assert turns(other.load(NAME, at="@{1}")) == ["t0"]
        assert not other._reader._assets._kept


def test_the_cache_tells_sessions_and_revisions_apart() -> None:
    cache = AssetCache()
    cache.keep(NAME, R1, document("one"), size=500)
    cache.keep(NAME, R2, document("two", "three"), size=500)
    one, two = cache.get(NAME, R1), cache.get(NAME, R2)
    assert one is not None
    assert two is not None
    assert (len(one.history.turns), len(two.history.turns)) == (1, 2)
    assert (one.revision, two.revision) == (R1, R2)
    assert cache.get(parse_session_id("s-2"), R1) is None


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assetcache, "BYTES_MAX", 20_000)
    cache = AssetCache()
    for number in range(100):
        cache.keep(NAME, Revision(f"{number:040}"), document("x" * 500), size=800)
        assert cache.get(NAME, Revision(f"{number:040}")) is not None, "the last one stays"
    held = sum(each.size for each in cache._kept.values())
    assert 5000 < held <= 20_000
    assert cache.get(NAME, Revision(f"{0:040}")) is None
    cache.keep(NAME, R1, document("x" * 15_000), size=15_000)
    assert cache.get(NAME, R1) is None, "one session may not push out all others"


def test_what_is_kept_does_not_change_with_what_was_handed_out() -> None:
    cache = AssetCache()
    cache.keep(NAME, R1, document("one", "two"), size=500)
    for _ in range(2):
        asset = cache.get(NAME, R1)
        assert asset is not None
        assert (turns(asset), asset.metadata) == (["t0", "t1"], {})
        asset.metadata["k"] = "changed"
        asset.history.turns.clear()


def test_a_session_whose_turns_were_not_read_one_by_one_is_kept() -> None:
    """As of a file that a person wrote in a form of their own."""
    for said in ([], ["one", "two"]):
        cache, wanted = AssetCache(), session(NAME, *said)
        cache.keep(NAME, R1, FrozenDocument(wanted.to_document(), []), size=500)
        assert cache.get(NAME, R1) == wanted
        assert [len(kept.turns) for kept in cache._kept.values()] == [len(said)]
