"""What reads all sessions reads each object of a pack once, or nearly: in the order in which they lie.

Else, of more sessions than are kept in memory, the bases of deltas are read again for each.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from gitstore import BlockingSessionStore, dump_session
from gitstore.git import packread
from gitstore.git.transfer import packscan
from gitstore.git.transfer.packscan import PackScan
from gitstore.session.ids import parse_session_id, path_of
from gitstore.testing.promises import session
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SESSIONS = 300

READERS: dict[str, Callable[[BlockingSessionStore], int]] = {
    "list": lambda store: len(store.list()),
    "list, then": lambda store: len(store.list(at="main")),
    "verify": lambda store: store.verify().checked.sessions,
}
#: How often each of them asks for a session.
TIMES = {"list": 1, "list, then": 1, "verify": 2}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository of one pack in which each session is a delta on the one before."""
    text = random.Random(1).randbytes(20 * SESSIONS).hex()
    stream = ["commit refs/heads/main\ncommitter A <a@b> 1 +0000\ndata 0\n"]
    for number in range(SESSIONS):
        name = parse_session_id(f"s-{number}")
        data = dump_session(session(name, text[20 * number :][:2000])).decode()
        stream.append(f"M 100644 inline {path_of(name)}\ndata {len(data)}\n{data}\n")
    folder = tmp_path_factory.mktemp("order")
    run_git(folder, "init", "-q", "--bare", "-b", "main")
    run_git(folder, "fast-import", "--quiet", given="".join(stream).encode())
    index = next((folder / "objects/pack").glob("*.idx"))
    assert "chain length = 40" in run_git(folder, "verify-pack", "-v", str(index))
    return folder


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is read from packs from now on, but for commits and trees, which are few; little is kept."""
    read: list[int] = []
    entry = packread._Pack._entry

    def counted(pack: packread._Pack, offset: int) -> tuple[int, int, bytes]:
        found = entry(pack, offset)
        if found[0] not in (1, 2):
            read.append(offset)
        return found

    monkeypatch.setattr(packread._Pack, "_entry", counted)
    monkeypatch.setattr(packread, "_CACHE_BYTES_MAX", 100_000)
    return read


@pytest.mark.parametrize("reader", READERS)
def test_no_base_is_read_again_and_again(packed: Path, entries: list[int], reader: str) -> None:
    (packed / "gitstore/cache.sqlite").unlink(missing_ok=True)
    with BlockingSessionStore.open(packed) as store:
        assert READERS[reader](store) == SESSIONS
        assert len(entries) < 1.2 * TIMES[reader] * SESSIONS


def test_working_files_are_written_in_the_order_of_the_pack(
    packed: Path, tmp_path: Path, entries: list[int]
) -> None:
    with BlockingSessionStore.clone(str(packed), tmp_path / "other") as store:
        assert len(list(tmp_path.glob("other/sessions/*/*"))) == SESSIONS
        assert store.exists("s-0")
    # In this pack some chains lie the other way round.
    assert len(entries) < 2.5 * SESSIONS
    assert_git_is_content(tmp_path / "other")


def test_what_comes_in_is_checked_in_the_order_of_its_pack(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries: list[int] = []
    unpacked = PackScan._unpacked

    def counted(scan: PackScan, place: int) -> bytes:
        entries.append(place)
        return unpacked(scan, place)

    monkeypatch.setattr(PackScan, "_unpacked", counted)
    monkeypatch.setattr(packscan, "_CACHE_BYTES_MAX", 100_000)
    with BlockingSessionStore.clone(str(packed), tmp_path / "other", bare=True) as store:
        assert store.exists("s-0")
    # Each session once to learn its id, and once to look into it; the folders as well.
    assert 2 * SESSIONS < len(entries) < 4 * SESSIONS
