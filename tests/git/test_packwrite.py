"""Packs of our own making: what git, dulwich and we read in them is what was put in."""

from __future__ import annotations

import os
import random
from itertools import takewhile
from typing import TYPE_CHECKING

import pytest
from dulwich.object_format import DEFAULT_OBJECT_FORMAT
from dulwich.objects import ObjectID
from dulwich.pack import Pack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitstore.blocking import system_runtime
from gitstore.errors import CorruptRepositoryError
from gitstore.git import packwrite, replaced
from gitstore.git.barrier import Barrier
from gitstore.git.files import Disk
from gitstore.git.location import locate
from gitstore.git.objects import Objects, Staged
from gitstore.git.packwrite import PackWriter
from gitstore.git.staged import Like
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from pathlib import Path

_ID_BYTES = 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run_git(tmp_path, "init", "-q", "--bare", "r.git")
    return tmp_path / "r.git"


def writer(folder: Path) -> PackWriter:
    return PackWriter(
        str(folder), disk=Disk("full"), runtime=system_runtime(), config=locate(str(folder)).config
    )


def written(writer: PackWriter, staged: Staged) -> packwrite.Written:
    """Write a pack as a publication does."""
    with Barrier(Disk("full")) as barrier:
        pack = writer.stage(staged.objects(), barrier)
        barrier.sync()
        writer.place(pack, barrier)
        barrier.sync()
    return pack


def common(one: bytes, other: bytes) -> int:
    """Return how many bytes they both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def tree_of(ids: dict[int, bytes]) -> bytes:
    return b"".join(b"100644 file-%05d\0" % number + ids[number] for number in sorted(ids))


def read_back(folder: Path, staged: Staged) -> None:
    """Fail unless every reader finds every object, and git finds nothing wrong."""
    found = Objects(
        str(folder), disk=Disk("full"), runtime=system_runtime(), config=locate(str(folder)).config
    )
    (path,) = (folder / "objects/pack").glob("*.pack")
    run_git(folder, "verify-pack", str(path))
    run_git(folder, "index-pack", "--strict", "-o", str(folder / "again.idx"), str(path))
    assert (folder / "again.idx").read_bytes() == path.with_suffix(".idx").read_bytes()
    with Pack(str(path.with_suffix("")), object_format=DEFAULT_OBJECT_FORMAT) as pack:
        for each in staged.objects():
            assert found.read(each.name, each.kind) == each.data
            assert pack.get_raw(ObjectID(each.name.encode()))[1] == each.data
    found.close()


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.binary(max_size=400) | st.binary().map(lambda d: d * 700), max_size=12))
def test_blobs_of_any_size_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, data: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("pack") / "r.git"
    run_git(folder.parent, "init", "-q", "--bare", "r.git")
    staged = Staged()
    for each in (b"at least one", *data):
        staged.add("blob", each)
    written(writer(folder), staged)
    read_back(folder, staged)


def test_trees_that_follow_each_other_are_deltas_that_git_reads(folder: Path) -> None:
    """As in a group of saves: also where an entry comes or goes, at either end."""
    chance = random.Random(1)
    blobs = Staged()
    ids = {n: bytes.fromhex(blobs.add("blob", b"%d" % n)) for n in range(400)}
    held = {n: ids[n] for n in range(100, 300)}
    before = tree_of(held)
    like = blobs.add("tree", before)
    whole = len(before)
    for number in range(120):
        place = chance.choice([99 - number % 50, 301 + number % 50, chance.randrange(100, 300)])
        if chance.random() < 0.2 and len(held) > 1:
            held.pop(chance.choice(sorted(held)))
        else:
            held[place] = ids[chance.randrange(400)]
        tree = tree_of(held)
        head = common(before, tree)
        tail = common(before[head:][::-1], tree[head:][::-1])
        like = blobs.add("tree", tree, like=Like(like, head, tail))
        before = tree
    written(writer(folder), blobs)
    read_back(folder, blobs)
    (path,) = (folder / "objects/pack").glob("*.pack")
    shown = run_git(folder, "verify-pack", "-v", str(path)).splitlines()
    depths = [int(line.split()[5]) for line in shown if len(line.split()) == 7]
    assert max(depths) == 50
    assert path.stat().st_size < 20 * whole


@pytest.mark.parametrize(
    ("count", "level", "is_packed"),
    [(40, None, False), (1724, None, False), (1725, None, True), (40, "9", True)],
    ids=["as it is", "just as it is", "too large for that", "as configured"],
)
def test_a_tree_is_stored_as_it_is_unless_room_is_asked_for(
    folder: Path, count: int, level: str | None, is_packed: bool
) -> None:
    if level is not None:
        run_git(folder, "config", "core.compression", level)
    staged = Staged()
    chance = random.Random(1)
    tree = tree_of({n: chance.randbytes(20) for n in range(count)})
    name = staged.add("tree", tree)
    written(writer(folder), staged)
    (path,) = (folder / "objects/pack").glob("*.pack")
    assert (path.stat().st_size < len(tree)) == is_packed
    assert run_git(folder, "cat-file", "-s", name).strip() == str(len(tree))
    run_git(folder, "verify-pack", str(path))


@pytest.mark.parametrize(("level", "is_packed"), [(None, False), ("9", True)])
def test_a_commit_is_stored_as_it_is_unless_room_is_asked_for(
    folder: Path, level: str | None, is_packed: bool
) -> None:
    if level is not None:
        run_git(folder, "config", "core.compression", level)
    who = b"A <a@example.org> 0 +0000"
    data = b"tree %s\nauthor %s\ncommitter %s\n\n%s" % (b"1" * 40, who, who, b"again and " * 40)
    staged = Staged()
    staged.add("commit", data)
    written(writer(folder), staged)
    (path,) = (folder / "objects/pack").glob("*.pack")
    assert (path.stat().st_size < len(data)) == is_packed
    run_git(folder, "verify-pack", str(path))


def test_an_object_like_one_that_is_not_in_the_pack_is_whole(folder: Path) -> None:
    staged = Staged()
    blob = bytes.fromhex(staged.add("blob", b""))
    whole = tree_of(dict.fromkeys(range(99), blob))
    staged.add("tree", whole, like=Like("1" * 40, len(whole) - 20, 0))
    written(writer(folder), staged)
    read_back(folder, staged)


@pytest.mark.parametrize(
    ("setting", "is_packed"),
    [("pack.compression", False), ("core.compression", False), ("core.looseCompression", True)],
)
def test_compression_is_as_git_is_configured(folder: Path, setting: str, is_packed: bool) -> None:
    run_git(folder, "config", setting, "0")
    staged = Staged()
    staged.add("blob", bytes(100_000))
    written(writer(folder), staged)
    (path,) = (folder / "objects/pack").glob("*.pack")
    assert (path.stat().st_size < 10_000) is is_packed


def test_a_level_that_is_none_is_told(folder: Path) -> None:
    run_git(folder, "config", "core.compression", "best")
    staged = Staged()
    staged.add("blob", b"x")
    with pytest.raises(CorruptRepositoryError, match=r"core\.compression is 'best'"):
        written(writer(folder), staged)


def test_packs_are_counted_as_they_come_and_go(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packwrite, "SMALL_PACKS_MAX", 3)
    packs = writer(folder)
    staged = Staged()
    for number in range(3):
        assert not packs.is_crowded()
        staged = Staged()
        staged.add("blob", b"%d" % number)
        packs.release(written(packs, staged).path)
    assert packs.is_crowded()
    # Somebody keeps one as it is.
    paths = sorted((folder / "objects/pack").glob("*.pack"))
    paths[0].with_suffix(".keep").touch()
    assert not packs.is_crowded()
    paths[0].with_suffix(".keep").unlink()
    assert packs.is_crowded()
    # Some are about to go, but readers still look into them.
    (folder / "gitstore/maintenance").mkdir(parents=True, exist_ok=True)
    replaced.write(str(folder), {paths[0].stem: 0, "pack-gone": 0})
    assert not packs.is_crowded()
    assert packs.census()[1:] == (2, 3)
    with monkeypatch.context() as patch:
        patch.setattr(packwrite, "PACKS_MAX", 3)
        assert packs.is_crowded()
    replaced.write(str(folder), {})
    packs = writer(folder)
    assert packs.is_crowded()
    # git makes one of all.
    for each in staged.objects():
        run_git(folder, "update-ref", "refs/tags/t", each.name)
    run_git(folder, "repack", "-adq")
    assert not packs.is_crowded()
    assert packs.census().total == 1


def test_a_large_pack_is_not_counted_as_a_small_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packwrite, "SMALL_PACK_BYTES", 1000)
    packs = writer(folder)
    for number, size in enumerate((10, 5000)):
        staged = Staged()
        staged.add("blob", random.Random(number).randbytes(size))
        packs.release(written(packs, staged).path)
    assert packs.census()[1:] == (1, 2) == writer(folder).census()[1:]


def test_a_pack_that_goes_while_they_are_counted_hides_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        staged = Staged()
        staged.add("blob", b"%d" % number)
        packs = writer(folder)
        packs.release(written(packs, staged).path)
    stat, gone = os.stat, list[str]()

    def late(path: str) -> os.stat_result:
        if path.endswith(".pack") and not gone:
            gone.append(path)
            os.unlink(path)
        return stat(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", late)
        total = writer(folder).census().total
    assert total == 2


def test_only_packs_that_are_new_are_looked_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside maintenance the folder changes all the time, and every second save counts."""
    packs, other = writer(folder), writer(folder)

    def write(by: PackWriter, text: bytes) -> str:
        staged = Staged()
        staged.add("blob", text)
        path = written(by, staged).path
        by.release(path)
        return path + ".pack"

    write(other, b"known")
    packs.census()
    write(packs, b"our own")
    theirs = write(other, b"theirs")
    stat, looked_at = os.stat, list[str]()

    def watched(path: str) -> os.stat_result:
        looked_at.append(path)
        return stat(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", watched)
        assert packs.census().total == 3
    assert [path for path in looked_at if path.endswith(".pack")] == [theirs]


def test_packs_that_come_while_one_is_written_are_counted(folder: Path) -> None:
    packs, other = writer(folder), writer(folder)
    staged, others = Staged(), Staged()
    staged.add("blob", b"ours")
    others.add("blob", b"theirs")
    with Barrier(Disk("full")) as barrier:
        waiting = packs.stage(staged.objects(), barrier)
        other.release(written(other, others).path)
        # However coarse the clock of the file system is.
        os.utime(folder / "objects/pack", (2e9, 2e9))
        packs.place(waiting, barrier)
    packs.release(waiting.path)
    assert packs.census().total == 2
