"""The form of objects: what `git fsck --strict` refuses is refused here."""

from __future__ import annotations

import random
import re
import subprocess
from typing import TYPE_CHECKING

from gitstore.git.transfer.hygiene import (
    is_attributes,
    name_problem,
    new_name_problem,
    object_problem,
)
from tests.git.hostile import WHO, Sent, commit, tree
from tests.gitcommand import environment, run_git

if TYPE_CHECKING:
    from pathlib import Path

_PIECES = (
    *(b".git", b".GIT", b"git~1", b"GiT~1", b".", b"..", b" ", b":", b"\\", b"~1", b"x", b"\xff"),
    *(each.encode() for each in "\u200c\u200d\u206f\ufeff\u0130\u017f\ufffe\u00e9"),
    *(b"\xf4\x90\x80\x80", b"\xed\xa0\x80", b"modules", b"g", b"it", b"\n", b"-"),
)
_HEADERS = (
    *(b"tree TREE\n", b"parent TREE\n", b"author " + WHO + b"\n", b"committer " + WHO + b"\n"),
    *(b"author A <a@b> 0 +0000\n", b"author <a@b> 1 +0000\n", b"author A<a@b> 1 +0000\n"),
    *(b"author A a@b> 1 +0000\n", b"author A <a<b> 1 +0000\n", b"committer A <a@b> 1 0000\n"),
    *(b"author  <> 1 -9999\n", b"committer A <a@b>1 +0000\n", b"author A <a@b> 1 +0000 \n"),
    *(b"committer A <a@b> 00 +0000\n", b"committer A <a@b> 9223372036854775808 +0000\n"),
    *(b"encoding x\n", b"gpgsig x\n y\n", b" more\n", b"\0", b"\n", b"message", b"tree x\n"),
)


def complaints(folder: Path, sent: Sent) -> set[str]:
    """Return the objects that git finds something wrong with in their form."""
    folder.mkdir()
    run_git(folder, "init", "-q", "--bare", ".")
    run_git(folder, "unpack-objects", "-q", given=sent.pack())
    done = subprocess.run(
        ["git", "-C", str(folder), "fsck", "--strict", "--no-dangling"],
        capture_output=True,
        check=False,
        env=environment(),
        timeout=60,
    )
    return set(re.findall(r"error in (?:tree|commit) ([0-9a-f]{40})", done.stderr.decode()))


def test_names_that_git_refuses_are_refused(tmp_path: Path) -> None:
    chance = random.Random(1)
    sent, names = Sent(), dict[str, bytes]()
    blob = sent.blob()
    for _ in range(1500):
        pieces = chance.choices(_PIECES, k=chance.choice((1, 1, 2, 3)))
        name = b"".join([chance.choice((b"", *_PIECES[:4])), *pieces])
        names[sent.tree(("100644", name, blob)).hex()] = name
    bad = complaints(tmp_path / "git", sent) & names.keys()
    # A file of submodules is empty here: git has nothing against that, and new ones are refused.
    missed = [names[each] for each in bad if name_problem(names[each]) is None]
    assert missed == []
    assert len(bad) > 100
    harmless = [name for each, name in names.items() if each not in bad]
    refused = [name for name in harmless if name_problem(name) is not None]
    # Stricter than git: what it takes for .git on NTFS only, HFS+ may not tell from .git either.
    assert len(refused) < len(harmless) // 5, refused[:40]


def test_commits_that_git_refuses_are_refused(tmp_path: Path) -> None:
    chance = random.Random(2)
    sent, made = Sent(), dict[str, bytes]()
    root = sent.tree()
    right = commit(root, [root])
    for _ in range(1500):
        if chance.random() < 0.5:
            lines = [*_HEADERS[:4], b"\n", b"message"]
            lines[chance.randrange(4)] = chance.choice(_HEADERS)
            lines.insert(chance.randrange(6), chance.choice((b"", *_HEADERS)))
            data = b"".join(lines).replace(b"TREE", root.hex().encode())
        else:
            body = bytearray(right)
            body[chance.randrange(len(body))] = chance.choice(b"\0\n <>0aZ+-")
            data = bytes(body)
        made[sent.add("commit", data).hex()] = data
    bad = complaints(tmp_path / "git", sent) & made.keys()
    assert [made[each] for each in bad if object_problem("commit", made[each]) is None] == []
    assert len(bad) > 150
    assert any(each not in bad and object_problem("commit", made[each]) is None for each in made)


def test_folders_that_git_refuses_are_refused(tmp_path: Path) -> None:
    chance = random.Random(3)
    sent, made = Sent(), dict[str, bytes]()
    blob, empty = sent.blob(), sent.tree()
    names = (b"a", b"a.b", b"a-b", b"a0", b"ab", b"b")
    for _ in range(800):
        rows: list[tuple[str, bytes, bytes]] = []
        for name in sorted(chance.choices(names, k=chance.randrange(1, 5))):
            mode = chance.choice(("100644", "40000", "100755", "120000", "0100644", "100664"))
            rows.append((mode, name, empty if mode == "40000" else blob))
        data = tree(*rows)
        made[sent.add("tree", data).hex()] = data
    bad = complaints(tmp_path / "git", sent) & made.keys()
    assert [made[each] for each in bad if object_problem("tree", made[each]) is None] == []
    assert len(bad) > 100
    harmless = [data for each, data in made.items() if each not in bad]
    assert all(object_problem("tree", data) is None for data in harmless)


def test_other_spellings_are_known() -> None:
    for name in (b".gitmodules", b".GITMODULES ", b"gitmod~4", b"gi7eba~12", b".gitmodules::x"):
        assert new_name_problem(name) is not None
    assert new_name_problem(b"gitmodules") is None
    assert is_attributes(".git\u200cattributes".encode())
    assert not is_attributes(b"gitattributes")
