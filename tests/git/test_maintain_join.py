"""What came last is put together as it is: byte for byte, proved, and beside what is made small."""

from __future__ import annotations

import zlib
from dataclasses import replace
from hashlib import sha1
from itertools import count, islice
from typing import TYPE_CHECKING

import pytest

from gitstore.blocking import system_runtime
from gitstore.errors import CorruptRepositoryError
from gitstore.git import packwrite, replaced
from gitstore.git.files import Disk
from gitstore.git.maintain import choice
from gitstore.git.maintain import maintenance as maintain
from gitstore.git.maintain import pack as packing
from gitstore.git.maintain.pack import PackStream
from gitstore.git.maintain.packindex import PackIndex
from gitstore.git.maintain.sources import BLOB, PackSource
from gitstore.git.staged import object_id
from tests.git.test_maintain import (
    contents,
    deltas,
    explode,
    fill,
    git_folder,
    loose,
    packs,
    work,
)
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_HEADER_BYTES = 12
_CHECKSUM_BYTES = 20
#: Where the ids of an index begin: behind its header and its fan.
_IDS_START = 8 + 4 * 256


def body(path: Path, pack: str) -> bytes:
    data = (git_folder(path) / "objects/pack" / (pack + ".pack")).read_bytes()
    return data[_HEADER_BYTES:-_CHECKSUM_BYTES]


def live(path: Path) -> set[str]:
    """Return the packs that nothing has replaced."""
    return packs(path) - set(replaced.read(str(git_folder(path))))


def damage(file: Path, at: int) -> bytes:
    data = bytearray(file.read_bytes())
    data[at] ^= 0x55
    file.chmod(0o644)
    file.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize("by_id", [False, True])
def test_packs_are_put_together_as_they_are(tmp_path: Path, by_id: bool) -> None:
    """With deltas that say how far before them their base is, and with some that name it."""
    path = tmp_path / "store"
    fill(path, saves=10)
    run_git(path, "config", "repack.useDeltaBaseOffset", str(not by_id).lower())
    run_git(path, "repack", "-adfq")
    fill(path, saves=14, first=10)
    before, old = contents(path), packs(path)
    had = sum(deltas(path, each) for each in old)
    assert had > 0
    bodies = [body(path, each) for each in old]
    assert work(path, automatic=True).put_together()
    (new,) = live(path)
    assert all(each in body(path, new) for each in bodies)
    assert len(body(path, new)) == sum(map(len, bodies))
    assert deltas(path, new) == had
    for each in old:
        for suffix in (".idx", ".pack"):
            (path / "objects/pack" / (each + suffix)).unlink(missing_ok=True)
    assert contents(path) == before
    assert_git_is_content(path)


def test_loose_objects_are_put_together_when_there_are_many(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=9)
    # Two that are in one of the folders that stand for all.
    texts = (text for text in map(str, count()) if object_id("blob", text.encode())[:2] == "17")
    few = {
        run_git(path, "hash-object", "-w", "--stdin", given=text.encode()).strip()
        for text in islice(texts, 2)
    }
    assert work(path, automatic=True).put_together()
    assert loose(path) == few
    assert len(live(path)) == 1
    names = [f"object {number}" for number in range(700)]
    for name in names:
        (tmp_path / name).write_text(name)
    run_git(tmp_path, "--git-dir", str(path), "hash-object", "-w", *names)
    before = contents(path)
    assert work(path, automatic=True).put_together()
    assert not loose(path)
    assert contents(path) == before
    assert_git_is_content(path)


@pytest.mark.parametrize(("suffix", "at"), [(".pack", 40), (".pack", 5), (".pack", -1), (".idx", 1100)])  # fmt: skip
def test_a_pack_that_is_not_as_it_was_written_stays(tmp_path: Path, suffix: str, at: int) -> None:
    path = tmp_path / "store"
    fill(path, saves=9)
    old = packs(path)
    broken = sorted(old)[3]
    bodies = [body(path, each) for each in old - {broken}]
    file = path / "objects/pack" / (broken + suffix)
    data = damage(file, at)
    work(path, automatic=True).put_together()
    (new,) = live(path) - {broken}
    assert file.read_bytes() == data
    assert broken in live(path)
    assert all(each in body(path, new) for each in bodies)


def test_a_pack_whose_index_is_of_another_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=9)
    old = sorted(packs(path))[3]
    file = path / "objects/pack" / (old + ".idx")
    data = damage(file, -_CHECKSUM_BYTES - 1)[:-_CHECKSUM_BYTES]
    file.write_bytes(data + sha1(data).digest())
    work(path, automatic=True).put_together()
    assert old in live(path)
    assert len(live(path)) == 2


def test_of_two_copies_the_good_one_stays(tmp_path: Path) -> None:
    """The bad one has good checksums, and so has the index that names it."""
    path = tmp_path / "store"
    fill(path, saves=9)
    name = bytes.fromhex(run_git(path, "rev-parse", "main~3:.gitattributes").strip())
    temporary = tmp_path / "made"
    stream = PackStream(str(temporary), 1, disk=Disk("process"))
    stream.add(name, BLOB, 3, zlib.compress(b"bad"))
    checksum = stream.finish()
    bad = path / "objects/pack" / f"pack-{checksum}"
    for suffix in (".pack", ".idx"):
        temporary.with_suffix(suffix).rename(bad.with_suffix(suffix))
    work(path, automatic=True).put_together()
    assert bad.name in live(path)
    (new,) = live(path) - {bad.name}
    assert PackSource(str(path / "objects/pack" / new)).read(name) != b"bad"


def assert_spoiled_replaces_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path, Path], object]
) -> None:
    """Fail unless all stays as it is when the new pack and its index are spoiled once they are written."""
    fill(path)
    before, kept = contents(path), packs(path)
    finish = PackStream.finish

    def spoiled(stream: PackStream) -> str:
        checksum = finish(stream)
        (new,) = (path / "gitstore/maintenance").glob("*.pack")
        new.chmod(0o644)
        new.with_suffix(".idx").chmod(0o644)
        spoil(new, new.with_suffix(".idx"))
        return checksum

    monkeypatch.setattr(PackStream, "finish", spoiled)
    with pytest.raises(CorruptRepositoryError, match="was kept"):
        work(path, automatic=True).put_together()
    assert (contents(path), packs(path)) == (before, kept)


def test_what_cannot_be_read_back_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_spoiled_replaces_nothing(
        tmp_path / "store", monkeypatch, lambda pack, _: damage(pack, 200)
    )


@pytest.mark.parametrize("suffix", [".pack", ".idx"])
def test_a_new_pack_that_only_says_it_is_whole_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """Its checksums are those of what is there, not of what was written."""

    def forge(pack: Path, index: Path) -> None:
        # Within an entry, or within an id.
        damage(pack.with_suffix(suffix), 200 if suffix == ".pack" else 1040)
        end = sha1(pack.read_bytes()[:-_CHECKSUM_BYTES]).digest()
        pack.write_bytes(pack.read_bytes()[:-_CHECKSUM_BYTES] + end)
        data = index.read_bytes()[: -2 * _CHECKSUM_BYTES] + end
        index.write_bytes(data + sha1(data).digest())

    assert_spoiled_replaces_nothing(tmp_path / "store", monkeypatch, forge)


def test_a_new_index_that_names_one_object_twice_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And another one not at all: as many as were written, and none that was not."""

    def forge(_: Path, index: Path) -> None:
        data = index.read_bytes()[:-_CHECKSUM_BYTES]
        first, second = _IDS_START, _IDS_START + _CHECKSUM_BYTES
        data = data[:second] + data[first:second] + data[second + _CHECKSUM_BYTES :]
        index.write_bytes(data + sha1(data).digest())

    assert_spoiled_replaces_nothing(tmp_path / "store", monkeypatch, forge)


@pytest.mark.parametrize("size", [8, 1000, 1040, 1100])
def test_an_index_that_ends_too_early_is_damaged(tmp_path: Path, size: int) -> None:
    """With a checksum that is right: it says of itself that it is whole."""
    path = tmp_path / "store"
    fill(path, saves=9)
    old = sorted(packs(path))[3]
    file = path / "objects/pack" / (old + ".idx")
    data = file.read_bytes()[:size]
    file.chmod(0o644)
    file.write_bytes(data + sha1(data).digest())
    with pytest.raises(ValueError, match="too early"):
        PackIndex(str(file.with_suffix("")))
    work(path, automatic=True).put_together()
    assert old in live(path)
    assert len(live(path)) == 2


def test_a_loose_object_that_was_packed_wrongly_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    fill(path)
    explode(path)
    monkeypatch.setattr(choice, "LOOSE_MAX", 0)
    monkeypatch.setattr(
        "gitstore.git.maintain.join.deflate", lambda data, level: zlib.compress(data[:-1], level)
    )
    before, kept = contents(path), loose(path)
    with pytest.raises(CorruptRepositoryError, match="was kept"):
        work(path, automatic=True).put_together()
    assert (contents(path), loose(path), packs(path)) == (before, kept, set())


def test_what_comes_while_a_store_is_made_small_is_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    monkeypatch.setattr(packwrite, "SMALL_PACKS_MAX", 1000)
    monkeypatch.setattr(packwrite, "PACKS_MAX", 1000)
    monkeypatch.setattr(choice, "_JOINED_OBJECTS_MAX", 150)
    fill(path, saves=60)
    assert not work(path, automatic=True).put_together()
    # It rests and looks after each object.
    monkeypatch.setattr(maintain, "_WORK_SECONDS", -1.0)
    monkeypatch.setattr(maintain, "_RELIEF_SECONDS", 0.0)
    before, saves = live(path), 60

    def save(_: float) -> None:
        nonlocal saves
        assert before <= live(path)
        if saves < 120 and len(live(path)) < len(before) + 12:
            fill(path, saves=3, first=saves)
            saves += 3

    work(path, automatic=True, runtime=replace(system_runtime(), sleep=save)).run()
    assert saves == 120
    assert run_git(path, "rev-list", "--count", "main").strip() == "121"
    assert_git_is_content(path)


def test_loose_objects_that_are_made_small_are_not_put_together_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    fill(path, saves=20)
    explode(path)
    old = loose(path)
    monkeypatch.setattr(choice, "LOOSE_MAX", 64)
    monkeypatch.setattr(choice, "_SAMPLE", frozenset(range(256)))
    monkeypatch.setattr(choice, "_EACH", 1)
    monkeypatch.setattr(choice, "_JOINED_OBJECTS_MAX", len(old))
    monkeypatch.setattr(maintain, "_WORK_SECONDS", -1.0)
    monkeypatch.setattr(maintain, "_RELIEF_SECONDS", 0.0)
    names = [f"object {number}" for number in range(300)]
    for name in names:
        (tmp_path / name).write_text(name)

    came: list[set[str]] = []

    def write(_: float) -> None:
        if not packs(path):
            run_git(tmp_path, "--git-dir", str(path), "hash-object", "-w", *names)
        elif not came:
            (first,) = packs(path)
            entries = PackSource(str(path / "objects/pack" / first)).entries
            came.append({name.hex() for name in entries})

    work(path, automatic=True, runtime=replace(system_runtime(), sleep=write)).run()
    assert came[0]
    assert not came[0] & old
    assert not old & loose(path)


def large(path: Path, monkeypatch: pytest.MonkeyPatch, *, number: int = 4) -> list[str]:
    """Make packs that count as large, and some small ones; return the large ones, smallest first."""
    monkeypatch.setattr(choice, "_SETTLED_OBJECTS", 20)
    monkeypatch.setattr(choice, "_JOINED_OBJECTS_MAX", 10)
    # Whose inputs stay for longer.
    monkeypatch.setattr(maintain, "_LARGE", 10)
    # Indexes are made in many parts.
    monkeypatch.setattr(packing, "_PART", 7)
    made: list[str] = []
    for each in range(number):
        fill(path, saves=6 + each, first=20 * each)
        before = {*made}
        run_git(path, "repack", "-dfq", *(f"--keep-pack={name}.pack" for name in made), "-a")
        made += packs(path) - before
    fill(path, saves=3, first=20 * number)
    return made


def test_large_packs_are_put_together_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    old = large(path, monkeypatch)
    before, bodies = contents(path), [body(path, each) for each in old]
    work(path, automatic=True).run()
    (new,) = (each for each in live(path) if bodies[0] in body(path, each))
    assert body(path, new) == b"".join(bodies)
    assert len(live(path)) == 2
    # Who reads them has time to.
    assert packs(path) >= {*old}
    for each in old:
        for suffix in (".idx", ".pack"):
            (path / "objects/pack" / (each + suffix)).unlink()
    assert contents(path) == before
    assert_git_is_content(path)


def test_of_large_packs_few_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    old = large(path, monkeypatch, number=3)
    maintenance = work(path, automatic=True)
    # They are no reason to begin.
    assert maintenance.pressure()[0] == len(packs(path)) - len(old)
    maintenance.run()
    assert {*old} < live(path)


@pytest.mark.parametrize("what", ["objects", "bytes"])
def test_so_many_large_packs_are_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = tmp_path / "store"
    old = large(path, monkeypatch, number=5)
    folder = path / "objects/pack"
    sizes = {
        "objects": [len(PackSource(str(folder / each)).entries) for each in old],
        "bytes": [(folder / f"{each}.pack").stat().st_size for each in old],
    }[what]
    monkeypatch.setattr(choice, f"_GATHERED_{what.upper()}_MAX", sum(sizes) - 1)
    work(path, automatic=True).run()
    assert live(path) & {*old} == {old[-1]}


def test_a_large_pack_that_repeats_another_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    old = large(path, monkeypatch)
    names = [*PackSource(str(path / "objects/pack" / old[1])).entries][1:]
    listed = "".join(f"{name.hex()}\n" for name in names).encode()
    again = "pack-" + run_git(path, "pack-objects", "-q", "objects/pack/pack", given=listed).strip()
    bodies = [body(path, each) for each in (old[0], again, *old[2:])]
    before = contents(path)
    work(path, automatic=True).run()
    assert live(path) & {*old, again} == {old[1]}
    (new,) = (each for each in live(path) if bodies[0] in body(path, each))
    assert body(path, new) == b"".join(bodies)
    assert contents(path) == before
    assert_git_is_content(path)


def test_a_large_pack_that_is_damaged_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    old = large(path, monkeypatch)
    bodies = [body(path, each) for each in old]
    file = path / "objects/pack" / f"{old[1]}.pack"
    data = damage(file, 100)
    work(path, automatic=True).run()
    assert live(path) & {*old} == {old[1]}
    assert file.read_bytes() == data
    (new,) = (each for each in live(path) if bodies[0] in body(path, each))
    assert body(path, new) == b"".join([bodies[0], *bodies[2:]])
