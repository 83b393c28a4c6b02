"""Objects: written so that git agrees, read so that damage is told."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING

import pytest

from gitstore.blocking import system_runtime
from gitstore.errors import CorruptRepositoryError
from gitstore.git.files import Disk
from gitstore.git.location import locate
from gitstore.git.objects import Objects, Staged, object_id, parse_commit
from gitstore.git.packwrite import SMALL_PACKS_MAX
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run_git(tmp_path, "init", "-q", "--bare", "r.git")
    return tmp_path / "r.git"


@pytest.fixture
def objects(folder: Path) -> Iterator[Objects]:
    location = locate(str(folder))
    made = Objects(
        location.common, disk=Disk("full"), runtime=system_runtime(), config=location.config
    )
    yield made
    made.close()


@pytest.fixture
def crowded(objects: Objects) -> Objects:
    """The objects of a repository that has as many small packs as are good for it."""
    for number in range(SMALL_PACKS_MAX):
        staged = Staged()
        staged.add("blob", b"%d" % number)
        objects.write(staged)
        objects.release(staged)
    return objects


def loose(folder: Path, name: str) -> Path:
    return folder / "objects" / name[:2] / name[2:]


def test_git_reads_what_we_write(folder: Path, objects: Objects) -> None:
    staged = Staged()
    data = b"some text\n" * 1000
    name = staged.add("blob", data)
    objects.write(staged)
    objects.release(staged)
    assert run_git(folder, "cat-file", "blob", name).encode() == data
    assert name == run_git(folder, "hash-object", "--stdin", given=data).strip()
    (pack,) = (folder / "objects/pack").glob("*.pack")
    assert oct(pack.stat().st_mode & 0o777) == "0o444"
    assert sorted(os.listdir(pack.parent)) == [f"{pack.stem}.idx", pack.name]


def test_loose_objects_are_written_where_packs_abound(folder: Path, crowded: Objects) -> None:
    staged = Staged()
    data = b"some text\n" * 1000
    name = staged.add("blob", data)
    crowded.write(staged)
    assert run_git(folder, "cat-file", "blob", name).encode() == data
    assert oct(loose(folder, name).stat().st_mode & 0o777) == "0o444"
    assert not [n for n in os.listdir(loose(folder, name).parent) if n.startswith("tmp_")]
    packs = len(list((folder / "objects/pack").glob("*.pack")))
    assert packs == SMALL_PACKS_MAX
    assert crowded.pressure()[0] == packs


def test_packed_objects_and_tags_are_read(folder: Path, objects: Objects) -> None:
    blob = run_git(folder, "hash-object", "-w", "--stdin", given=b"packed").strip()
    tree = run_git(folder, "mktree", given=f"100644 blob {blob}\tf\n".encode()).strip()
    commit = run_git(folder, "commit-tree", tree, "-m", "said").strip()
    run_git(folder, "update-ref", "refs/heads/main", commit)
    run_git(folder, "tag", "-a", "-m", "t", "v1", commit)
    run_git(folder, "gc", "-q")
    assert not loose(folder, blob).exists()
    assert objects.read(blob, "blob") == b"packed"
    assert parse_commit(objects.read(commit, "commit"))["tree"] == [tree]
    assert objects.kind_of(run_git(folder, "rev-parse", "v1").strip()) == "tag"
    assert objects.matching(commit[:7], 5) == [commit]
    objects.close()
    assert objects.read(blob, "blob") == b"packed"  # opens its packs again


def test_what_is_packed_while_we_look_is_found(folder: Path, objects: Objects) -> None:
    """A store of dulwich's that was opened before the pack was made must see it."""
    blobs = [
        run_git(folder, "hash-object", "-w", "--stdin", given=b"%d" % n).strip() for n in range(3)
    ]
    assert objects.kind_of("0" * 40) is None
    run_git(folder, "pack-objects", "-q", "objects/pack/pack", given="\n".join(blobs).encode())
    run_git(folder, "prune-packed", "-q")
    assert [objects.read(blob, "blob") for blob in blobs] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("suffix", [".pack", ".idx"])
def test_a_pack_that_gc_took_is_put_back(folder: Path, objects: Objects, suffix: str) -> None:
    staged = Staged()
    name = staged.add("blob", b"content")
    objects.write(staged)
    (pack,) = (folder / "objects/pack").glob("*.pack")
    before = pack.stat().st_ino
    objects.put_back(staged)
    assert pack.stat().st_ino == before, "it was there, and was written again"
    pack.with_suffix(suffix).unlink()
    objects.put_back(staged)
    assert run_git(folder, "cat-file", "blob", name) == "content"


def test_loose_objects_that_gc_took_are_put_back(folder: Path, crowded: Objects) -> None:
    staged = Staged()
    kept, lost = staged.add("blob", b"kept"), staged.add("blob", b"lost")
    crowded.write(staged)
    loose(folder, lost).unlink()
    before = loose(folder, kept).stat().st_ino
    crowded.put_back(staged)
    assert crowded.read(lost, "blob") == b"lost"
    assert loose(folder, kept).stat().st_ino == before


def test_an_object_that_is_there_is_kept_from_prune(folder: Path, crowded: Objects) -> None:
    staged = Staged()
    name = staged.add("blob", b"old")
    crowded.write(staged)
    os.utime(loose(folder, name), (0, 0))
    crowded.write(staged)
    run_git(folder, "prune", "--expire=1.hour.ago")
    assert crowded.read(name, "blob") == b"old"


@pytest.mark.parametrize("packs", ["objects", "crowded"])
def test_an_object_that_a_power_cut_emptied_is_written_again(
    folder: Path, packs: str, request: pytest.FixtureRequest
) -> None:
    objects: Objects = request.getfixturevalue(packs)
    staged = Staged()
    name = staged.add("blob", b"content")
    path = loose(folder, name)
    path.parent.mkdir()
    path.write_bytes(b"")
    objects.write(staged)
    assert objects.read(name, "blob") == b"content"
    assert run_git(folder, "cat-file", "blob", name) == "content"


def test_damage_of_what_is_written_again_is_mended(folder: Path, objects: Objects) -> None:
    """The same objects make the same pack, which takes the place of the damaged one."""
    staged = Staged()
    name = staged.add("blob", b"content" * 50)
    objects.write(staged)
    (pack,) = (folder / "objects/pack").glob("*.pack")
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:20])
    objects.write(staged)
    assert run_git(folder, "cat-file", "blob", name) == "content" * 50


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("count", [1, 64])
def test_a_damaged_loose_object_that_is_written_again_is_mended(
    folder: Path, objects: Objects, count: int, *, is_first: bool
) -> None:
    if not is_first:
        write_one(objects, b"another")
    staged = Staged()
    names = [staged.add("blob", b"%d" % number) for number in range(count)]
    loose = folder / "objects" / names[-1][:2] / names[-1][2:]
    loose.parent.mkdir()
    loose.write_bytes(b"damaged")
    objects.write(staged)
    data = b"%d" % (count - 1)
    assert zlib.decompress(loose.read_bytes()) == b"blob %d\0%s" % (len(data), data)


def test_what_this_store_wrote_needs_no_look_into_the_folder(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert objects.kind_of("1" * 40) is None
    write_one(objects, b"another")
    listed: list[str] = []
    real = os.listdir

    def listdir(path: str) -> list[str]:
        listed.append(path)
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    for number in range(3):
        name = write_one(objects, b"%d" % number)
        assert objects.read(name, "blob") == b"%d" % number
    assert listed == []


def write_one(objects: Objects, data: bytes) -> str:
    staged = Staged()
    name = staged.add("blob", data)
    objects.write(staged)
    return name


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda data: b"", "ends too early"),
        (lambda data: data[:-3], "ends too early"),
        (lambda data: b"junk" + data, "cannot be inflated"),
        (lambda data: zlib.compress(b"blob 5\0other"), "is not what its name says"),
    ],
)
def test_damage_is_told(folder: Path, objects: Objects, damage: object, problem: str) -> None:
    name = run_git(folder, "hash-object", "-w", "--stdin", given=b"content" * 50).strip()
    path = loose(folder, name)
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(damage(data))  # type: ignore[operator]
    with pytest.raises(CorruptRepositoryError, match=problem) as caught:
        objects.read(name, "blob")
    assert caught.value.object_id == name


def test_a_damaged_pack_is_told(folder: Path, objects: Objects) -> None:
    name = run_git(folder, "hash-object", "-w", "--stdin", given=b"content" * 50).strip()
    run_git(folder, "pack-objects", "-q", "objects/pack/pack", given=name.encode())
    run_git(folder, "prune-packed", "-q")
    (pack,) = (folder / "objects/pack").glob("*.pack")
    pack.chmod(0o644)
    data = bytearray(pack.read_bytes())
    data[20] ^= 0xFF
    pack.write_bytes(bytes(data))
    with pytest.raises(CorruptRepositoryError):
        objects.read(name, "blob")


def test_a_missing_or_wrong_object_is_told(folder: Path, objects: Objects) -> None:
    with pytest.raises(CorruptRepositoryError, match="is missing"):
        objects.read("1" * 40, "blob")
    name = run_git(folder, "hash-object", "-w", "--stdin", given=b"x").strip()
    with pytest.raises(CorruptRepositoryError, match="is a blob, not a tree"):
        objects.read(name, "tree")


def test_a_huge_object_is_refused_before_it_fills_the_memory(
    folder: Path, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects._loose, "_bytes_max", 1000)
    whole = b"blob 1000000\0" + bytes(1_000_000)
    name = object_id("blob", bytes(1_000_000))
    path = loose(folder, name)
    path.parent.mkdir()
    path.write_bytes(zlib.compress(whole))
    with pytest.raises(CorruptRepositoryError, match="larger than 1000 bytes"):
        objects.read(name, "blob")
