"""Packed objects read quickly: as git reads them, or not at all."""

from __future__ import annotations

import random
from array import array
from typing import TYPE_CHECKING

import pytest

from gitstore.git import packread
from gitstore.git.packread import QuickPacks
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from pathlib import Path

_KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}


def packed(folder: Path) -> list[str]:
    """Make a repository of one pack with chains of deltas; return what `git cat-file` lists."""
    chance = random.Random(1)
    run_git(folder, "init", "-q", "--bare", ".")
    lines = [f"line {n} {chance.random()}\n" for n in range(200)]
    stream = ""
    for number in range(60):
        lines[chance.randrange(200)] = f"changed {number}\n"
        text = "".join(lines)
        stream += f"commit refs/heads/main\ncommitter A <a@b> {number} +0000\ndata 0\n"
        stream += f"M 100644 inline f\ndata {len(text)}\n{text}\n"
    run_git(folder, "fast-import", "--quiet", given=stream.encode())
    run_git(folder, "-c", "pack.depth=40", "repack", "-adfq")
    listed = run_git(folder, "cat-file", "--batch-check", "--batch-all-objects")
    return listed.splitlines()


@pytest.mark.parametrize("window", [packread._WINDOW, 0, -2])
def test_every_object_is_as_git_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    """Wherever among the ids the search for one begins."""
    monkeypatch.setattr(packread, "_WINDOW", window)
    listed = packed(tmp_path)
    packs = QuickPacks(str(tmp_path / "objects"), bytes_max=1 << 20)
    random.Random(2).shuffle(listed)
    names = "".join(f"{line.split()[0]}\n" for line in listed)
    told = run_git(tmp_path, "cat-file", "--batch", given=names.encode()).encode(
        errors="surrogateescape"
    )
    for line in listed:
        name, kind, size = line.split()
        found = packs.read(bytes.fromhex(name))
        assert found is not None
        assert (_KINDS[found[0]], len(found[1])) == (kind, int(size))
        answer = f"{line}\n".encode() + found[1] + b"\n"
        assert told.startswith(answer), "git reads something else"
        told = told[len(answer) :]
    assert packs.read(b"\1" * 20) is None


def test_the_order_is_that_of_the_packs_and_what_is_elsewhere_comes_last(tmp_path: Path) -> None:
    listed = [line.split()[0] for line in packed(tmp_path)]
    added: list[str] = []
    for number in range(5):
        text = f"in a pack of its own: {number}".encode()
        added.append(run_git(tmp_path, "hash-object", "-w", "--stdin", given=text).strip())
        run_git(tmp_path, "pack-objects", "-q", "objects/pack/pack", given=added[-1].encode())
    loose = run_git(tmp_path, "hash-object", "-w", "--stdin", given=b"in none").strip()
    places: dict[str, tuple[str, int]] = {}
    for index in (tmp_path / "objects/pack").glob("*.idx"):
        for line in run_git(tmp_path, "verify-pack", "-v", str(index)).splitlines():
            words = line.split()
            if len(words) > 4 and len(words[0]) == 40:
                places[words[0]] = (index.name, int(words[4]))
    names = [*listed, *added, loose, "1" * 40]
    random.Random(3).shuffle(names)
    packs = QuickPacks(str(tmp_path / "objects"), bytes_max=1 << 20)
    order = [name.hex() for name in packs.by_place(map(bytes.fromhex, names))]
    assert sorted(order) == sorted(names)
    assert set(order[-2:]) == {loose, "1" * 40}
    assert order[:-2] == sorted(places, key=lambda name: places[name])
    # Where it is must not have to be known: what is far into a huge pack is read by others.
    for pack in packs._opened():
        pack._offsets = array("I", [1 << 31 for _ in pack._offsets])
    assert len(packs.by_place(map(bytes.fromhex, names))) == len(names)


def test_an_object_too_large_is_left_to_others(tmp_path: Path) -> None:
    blob = next(line.split()[0] for line in packed(tmp_path) if " blob " in line)
    packs = QuickPacks(str(tmp_path / "objects"), bytes_max=1000)
    assert packs.read(bytes.fromhex(blob)) is None


def test_a_pack_that_is_gone_is_let_go(tmp_path: Path) -> None:
    name = bytes.fromhex(packed(tmp_path)[0].split()[0])
    packs = QuickPacks(str(tmp_path / "objects"), bytes_max=1 << 20)
    assert packs.read(name) is not None
    for file in (tmp_path / "objects/pack").iterdir():
        file.unlink()
    packs.refresh()
    assert packs.read(name) is None


def test_damage_is_no_answer_or_the_right_one(tmp_path: Path) -> None:
    listed = packed(tmp_path)
    whole = QuickPacks(str(tmp_path / "objects"), bytes_max=1 << 20)
    right = {name: whole.read(bytes.fromhex(name)) for name in (line.split()[0] for line in listed)}
    chance = random.Random(3)
    silent = 0
    for path in (tmp_path / "objects/pack").iterdir():
        path.chmod(0o644)
        data = path.read_bytes()
        if path.suffix not in (".pack", ".idx"):
            continue
        for _ in range(15):
            place = chance.randrange(len(data))
            path.write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
            packs = QuickPacks(str(tmp_path / "objects"), bytes_max=1 << 20)
            answers = {name: packs.read(bytes.fromhex(name)) for name in right}
            silent += sum(found not in (None, right[name]) for name, found in answers.items())
        path.write_bytes(data)
    # Not hashed: a damaged place may lead to another object. Nothing else goes by unseen.
    assert silent <= 60
