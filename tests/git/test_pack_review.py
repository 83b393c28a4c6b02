"""Packs that git or damage would take away from a save, and what keeps them."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gitstore import BlockingSessionStore, ConversationTurn, SessionAsset
from gitstore.blocking import system_runtime
from gitstore.git import packwrite
from gitstore.git.files import Disk
from gitstore.git.location import locate
from gitstore.git.maintain import maintenance as maintain
from gitstore.git.objects import Objects, Staged
from gitstore.git.refs import Refs
from tests.git.test_maintain import contents, fill, git_folder, packs, run, work
from tests.git.test_packwrite import written
from tests.gitcommand import assert_git_is_content, environment, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitstore.types import CommitId


pytestmark = pytest.mark.faults


@contextmanager
def objects_of(path: Path) -> Iterator[Objects]:
    found = Objects(
        str(path), disk=Disk("full"), runtime=system_runtime(), config=locate(str(path)).config
    )
    yield found
    found.close()


def keeps(path: Path) -> list[str]:
    return [each.name for each in (git_folder(path) / "objects/pack").glob("*.keep")]


# --- kept until the branch names it -----------------------------------------------------


def test_git_cannot_drop_a_pack_before_the_branch_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`git repack -ad` that began before the branch moved ends after the last look at the pack."""
    path = tmp_path / "store"
    repacking: list[tuple[set[str], set[str]]] = []
    real = Refs.read

    def read(refs: Refs, name: str) -> CommitId | None:
        # Under the locks, the pack is written and the branch has not moved.
        if (path / f"{name}.lock").exists() and not repacking:
            before = packs(path)
            run_git(path, "repack", "-adq")
            repacking.append((before, packs(path)))
        return real(refs, name)

    with BlockingSessionStore.open(path, create=True, bare=True, auto_maintain=False) as store:
        store.save(SessionAsset.new(id="before"))
        known = packs(path)
        monkeypatch.setattr(Refs, "read", read)
        store.save(SessionAsset.new(id="s"))
        assert repacking
        (new,) = repacking[0][0] - known
        assert new in repacking[0][1], "git dropped what the branch was about to name"
        assert not keeps(path)
        assert store.load("s").id == "s"
    # Once the branch names it, git may do with it what it likes.
    run_git(path, "repack", "-adq")
    assert len(packs(path)) == 1
    assert_git_is_content(path)


def test_what_a_dead_writer_kept_is_left_to_git_and_what_a_person_keeps_stays(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store"
    fill(path, saves=3)
    staged = Staged()
    staged.add("blob", b"never named")
    with objects_of(path) as objects:
        objects.write(staged)
    assert len(keeps(path)) == 1
    kept = sorted(packs(path))[0]
    if f"{kept}.keep" in keeps(path):
        kept = sorted(packs(path))[1]
    (path / "objects/pack" / f"{kept}.keep").write_text("mine\n")
    fill(path, saves=1, first=3)
    assert keeps(path) == [f"{kept}.keep"]


def test_a_person_may_keep_a_pack_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=1)
    staged = Staged()
    staged.add("blob", b"content")
    with objects_of(path) as objects:
        objects.write(staged)
        assert staged.pack is not None
        (path / f"{staged.pack}.keep").unlink()
        (path / f"{staged.pack}.keep").write_text("mine\n")
        objects.release(staged)
    assert len(keeps(path)) == 1


@pytest.mark.faults
@pytest.mark.parametrize("seconds", [3, pytest.param(20, marks=pytest.mark.deep)])
def test_saves_beside_repacking_without_end(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "store"
    fill(path, saves=40)
    ends = threading.Event()
    repacked: list[int] = []

    def repack() -> None:
        while not ends.is_set():
            done = subprocess.run(
                ["git", "-C", str(path), "repack", "-adq"],
                env=environment(),
                capture_output=True,
                check=False,
            )
            repacked.append(done.returncode)

    thread = threading.Thread(target=repack)
    saved: dict[str, str] = {}
    with BlockingSessionStore.open(path, bare=True, auto_maintain=False) as store:
        thread.start()
        try:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                asset = SessionAsset.new(id=f"r{len(saved)}")
                asset.history.turns.append(ConversationTurn.user(f"said {len(saved)}"))
                saved[asset.id] = str(store.save(asset).revision)
        finally:
            ends.set()
            thread.join()
        assert len(repacked) >= 3
    with BlockingSessionStore.open(path) as store:
        assert {name: store.load(name).revision for name in saved} == saved
    assert not keeps(path)
    assert_git_is_content(path)


# --- damage -----------------------------------------------------------------------------


def test_a_good_copy_is_read_whichever_pack_is_looked_into_first(tmp_path: Path) -> None:
    """A bit of an entry's head: the data inflates, and is another object's."""
    path = tmp_path / "r.git"
    run_git(tmp_path, "init", "-q", "--bare", str(path))
    name = ""
    with objects_of(path) as objects:
        for number in range(3):
            staged = Staged()
            name = staged.add("blob", b"in all of them")
            staged.add("blob", b"%d" % number)
            objects.write(staged)
            objects.release(staged)
    whole = {pack: pack.read_bytes() for pack in (path / "objects/pack").glob("*.pack")}
    for spared in whole:
        for pack, data in whole.items():
            pack.chmod(0o644)
            # The first entry is that of the blob in all: it becomes a tree.
            flipped = data[:12] + bytes([data[12] ^ 0x10]) + data[13:]
            pack.write_bytes(data if pack == spared else flipped)
        with objects_of(path) as objects:
            assert objects.read(name, "blob") == b"in all of them"


@pytest.mark.parametrize("level", [1, 6])
def test_however_much_is_damaged_the_rest_is_packed(tmp_path: Path, level: int) -> None:
    """Level 6 is copied as bytes, and was not looked at before the new pack was read back."""
    path = tmp_path / "store"
    run_git(tmp_path, "init", "-q", "--bare", "-b", "main", str(path))
    run_git(path, "config", "pack.compression", str(level))
    fill(path, saves=16)
    before = sorted(packs(path))
    damaged = before[:8]
    for name in damaged:
        pack = path / "objects/pack" / f"{name}.pack"
        data = bytearray(pack.read_bytes())
        data[-25] ^= 0xFF  # the checksum of the last entry's data
        pack.chmod(0o644)
        pack.write_bytes(data)
    done = run(path)
    assert [each.rsplit("/", 1)[1] for each in done.unreadable] == [f"{n}.pack" for n in damaged]
    assert len(packs(path)) == len(damaged) + 1


# --- what git makes of several packs ----------------------------------------------------


def test_an_index_over_retired_packs_goes_before_they_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    monkeypatch.setattr(maintain, "_LARGE", 1)
    now = [1000.0]
    runtime = replace(system_runtime(), clock=lambda: now[0])
    fill(path, saves=6)
    before = contents(path)
    assert work(path, automatic=True, runtime=runtime).run().repacked > 0
    run_git(path, "multi-pack-index", "write")
    now[0] += 100
    work(path, automatic=True, runtime=runtime).run()
    assert len(packs(path)) == 1
    run_git(path, "multi-pack-index", "verify")
    assert contents(path) == before
    assert_git_is_content(path)


def test_a_pack_of_ours_that_is_kept_does_not_count_twice(tmp_path: Path) -> None:
    """The count that follows our own writes is the one that listing the folder gives."""
    path = tmp_path / "r.git"
    run_git(tmp_path, "init", "-q", "--bare", str(path))
    writer = packwrite.PackWriter(
        str(path), disk=Disk("full"), runtime=system_runtime(), config=locate(str(path)).config
    )
    for number in range(3):
        staged = Staged()
        staged.add("blob", b"%d" % number)
        writer.release(written(writer, staged).path)
        assert writer.census()[1:] == (number + 1, number + 1)
