"""What a hostile remote may send: refused, with commit and place, and nothing is kept of it."""

from __future__ import annotations

import random
import resource
import time
import zlib
from typing import TYPE_CHECKING

import pytest

from gitstore.errors import UntrustedContentError
from gitstore.git.objects import OBJECT_BYTES_MAX
from gitstore.git.transfer import hygiene, packscan
from gitstore.session.ids import path_of
from gitstore.types import SessionId
from tests.git.hostile import (
    BYTES_MAX,
    SHARED,
    SHARED_BYTES,
    WHO,
    Receiver,
    Sent,
    header,
    name_of,
    ofs_delta,
    opened,
    pack_of,
    ref_delta,
    sealed,
    tree,
    varint,
    whole,
)
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    return Receiver(tmp_path / "local")


@pytest.fixture(scope="module")
def stone(tmp_path_factory: pytest.TempPathFactory) -> Receiver:
    """A receiver for tests in which nothing may land, so that they can share it."""
    return Receiver(tmp_path_factory.mktemp("stone") / "local")


def refused(receiver: Receiver, pack: bytes, tip: bytes) -> UntrustedContentError:
    with pytest.raises(UntrustedContentError) as caught:
        receiver.receive(pack, tip)
    receiver.assert_untouched()
    assert caught.value.remote == "origin"
    assert str(caught.value).isprintable()
    return caught.value


PATH = path_of(SessionId("x")).encode()
SHARD = PATH.split(b"/")[1]

PLACES: list[tuple[bytes, str, str]] = [
    (b"sessions/..", "100644", "which is no name"),
    (b".git/config", "100644", "take for .git"),
    (b"a/.GIT/hooks/x", "100755", "take for .git"),
    (b"git~1/config", "100644", "take for .git"),
    (b"GIT~1 . ./config", "100644", "take for .git"),
    (b".git ./config", "100644", "take for .git"),
    (b".git::$INDEX_ALLOCATION/config", "100644", "take for .git"),
    (b"a\\.git\\config", "100644", "take for .git"),
    (".g\u200cit/config".encode(), "100644", "take for .git"),
    ("\ufeff.gi\u206at/config".encode(), "100644", "take for .git"),
    (b".", "100644", "which is no name"),
    (b"x/..", "40000", "which is no name"),
    (b"a\\b", "100644", "backslash"),
    (b".. ", "100644", "above it"),
    (b".gitmodules", "100644", "submodules"),
    (b"GITMOD~2", "100644", "submodules"),
    (b".gitattributes", "120000", "does not read"),
    (b"sub", "160000", "submodule"),
    (b"odd", "100664", "mode"),
    (b"zero", "0100644", "mode"),
    (b"suid", "104755", "mode"),
    (b"Sessions/aa/x", "100644", "take for sessions"),
    (b"sessions", "100644", "no folder"),
    (b"sessions", "120000", "no folder"),
    (b"sessions/README", "100644", "two hex digits"),
    (b"sessions/" + SHARD, "120000", "two hex digits"),
    (b"sessions/XY/x.yaml", "100644", "two hex digits"),
    (PATH, "120000", "no plain file"),
    (PATH, "100755", "no plain file"),
    (PATH, "160000", "no plain file"),
    (PATH + b"/y", "100644", "no plain file"),
    (b"sessions/" + SHARD + b"/y.yaml", "100644", "is no session's"),
    (b"sessions/" + SHARD + b"/x.YAML", "100644", "is no session's"),
    (b"sessions/" + SHARD + b"/\xff.yaml", "100644", "not UTF-8"),
]


@pytest.mark.parametrize(("path", "mode", "problem"), PLACES)
def test_a_file_in_a_bad_place_is_refused(
    stone: Receiver, path: bytes, mode: str, problem: str
) -> None:
    sent = Sent()
    target = sent.tree() if mode == "40000" else sent.blob()
    tip = sent.commit(sent.file(path, target, mode=mode), stone.tip)
    error = refused(stone, sent.pack(), tip)
    assert problem in error.problem
    assert error.commit == tip.hex()
    # Where the form of a folder is wrong, it is named (by id at the top), with the entry.
    place = hygiene.shown(path)
    assert f"{place}/".startswith(f"{error.where}/") or "has an" in problem_of_form(error)


def problem_of_form(error: UntrustedContentError) -> str:
    return error.problem.replace("has the entry", "has an entry")


@pytest.mark.parametrize("mode", ["100600", "100666", "40755", "0100644", "100664"])
def test_a_folder_that_nothing_names_is_of_git_s_form_too(receiver: Receiver, mode: str) -> None:
    sent = Sent()
    tip = sent.commit(sent.file(PATH, sent.blob()), receiver.tip)
    odd = sent.tree((mode, b"odd", sent.blob()))
    if mode == "100664":  # git wrote it once: what stands beside it must not have to go
        receiver.receive(sent.pack(), tip)
        assert receiver.repository.kind_of(odd.hex()) == "tree"
    else:
        error = refused(receiver, sent.pack(), tip)
        assert (error.where, error.problem) == (odd.hex(), f"has an entry of mode {mode}")


def test_the_error_names_commit_path_and_problem(receiver: Receiver) -> None:
    sent = Sent()
    tip = sent.commit(sent.file(PATH, sent.blob(), mode="120000"), receiver.tip)
    error = refused(receiver, sent.pack(), tip)
    assert (error.commit, error.where) == (tip.hex(), PATH.decode())
    assert str(error) == (
        f"origin: refused: {PATH.decode()} in commit {tip.hex()} is no plain file: its mode is "
        "120000; nothing was moved"
    )


def test_an_id_that_is_a_path_is_refused(receiver: Receiver) -> None:
    sent = Sent()
    folder = sent.tree(("100644", b"../x.yaml", sent.blob()))
    root = sent.tree(("40000", b"sessions", sent.tree(("40000", SHARD, folder))))
    tip = sent.commit(root, receiver.tip)
    error = refused(receiver, sent.pack(), tip)
    assert "a path and not a name" in error.problem
    assert error.where == f"sessions/{SHARD.decode()}"


def bad_trees() -> dict[str, Callable[[Sent], bytes]]:
    def make(*entries: tuple[str, bytes]) -> Callable[[Sent], bytes]:
        def build(sent: Sent) -> bytes:
            blob = sent.blob()
            empty = sent.tree()
            return sent.tree(*((m, n, empty if m == "40000" else blob) for m, n in entries))

        return build

    return {
        "two entries of one name": make(("100644", b"a"), ("100644", b"a")),
        "two entries of one name ": make(("100644", b"a"), ("100644", b"a.b"), ("40000", b"a")),
        "out of order": make(("100644", b"b"), ("100644", b"a")),
        "out of order ": make(("40000", b"a"), ("100644", b"a.b")),
        "malformed folder": lambda sent: sent.add("tree", b"100644 a\0short"),
        "malformed folder ": lambda sent: sent.add("tree", b"100644 \0" + b"x" * 20),
        "malformed folder  ": lambda sent: sent.add("tree", b"hello"),
        "without an object": lambda sent: sent.tree(("100644", b"a", b"\0" * 20)),
        "longer than": make(("100644", b"n" * 5000)),
    }


@pytest.mark.parametrize("problem", bad_trees())
def test_a_malformed_folder_is_refused(stone: Receiver, problem: str) -> None:
    sent = Sent()
    tip = sent.commit(bad_trees()[problem](sent), stone.tip)
    error = refused(stone, sent.pack(), tip)
    assert problem.strip() in error.problem
    assert error.commit == tip.hex()


BAD_COMMITS = {
    "no tree": b"author %s\ncommitter %s\n\nx" % (WHO, WHO),
    "bad tree": b"tree 123\nauthor %s\ncommitter %s\n\nx" % (WHO, WHO),
    "no author": b"tree TREE\ncommitter %s\n\nx" % WHO,
    "two authors": b"tree TREE\nauthor %s\nauthor %s\ncommitter %s\n\nx" % (WHO, WHO, WHO),
    "no committer": b"tree TREE\nauthor %s\n\nx" % WHO,
    "a late parent": b"tree TREE\nauthor %s\ncommitter %s\nparent TREE\n\nx" % (WHO, WHO),
    "a bad parent": b"tree TREE\nparent x\nauthor %s\ncommitter %s\n\nx" % (WHO, WHO),
    "no mail": b"tree TREE\nauthor A 1 +0000\ncommitter %s\n\nx" % WHO,
    "a negative date": b"tree TREE\nauthor A <a@b> -1 +0000\ncommitter %s\n\nx" % WHO,
    "a padded date": b"tree TREE\nauthor A <a@b> 01 +0000\ncommitter %s\n\nx" % WHO,
    "a huge date": b"tree TREE\nauthor %s\ncommitter A <a@b> 99999999999999999999 +0000\n\n" % WHO,
    "the year 10000": b"tree TREE\nauthor %s\ncommitter A <a@b> 253402300800 +0000\n\n" % WHO,
    "a bad zone": b"tree TREE\nauthor A <a@b> 1 UTC\ncommitter %s\n\nx" % WHO,
    "NUL in a header": b"tree TREE\nauthor A\0 <a@b> 1 +0000\ncommitter %s\n\nx" % WHO,
    "NUL in the message": b"tree TREE\nauthor %s\ncommitter %s\n\nx\0y" % (WHO, WHO),
    "no end of headers": b"tree TREE\nauthor %s\ncommitter %s\nencoding" % (WHO, WHO),
    "too large": b"tree TREE\nauthor %s\ncommitter %s\n\n" % (WHO, WHO) + b"x" * (1 << 20),
}


@pytest.mark.parametrize("case", BAD_COMMITS)
def test_a_malformed_commit_is_refused(stone: Receiver, case: str) -> None:
    sent = Sent()
    root = sent.tree()
    tip = sent.add("commit", BAD_COMMITS[case].replace(b"TREE", root.hex().encode()))
    error = refused(stone, sent.pack(), tip)
    assert "commit" in error.problem or "dated" in error.problem


def test_what_is_named_must_be_there(receiver: Receiver) -> None:
    gone = name_of("blob", b"gone")
    for path in (PATH, b"README"):
        sent = Sent()
        tip = sent.commit(sent.file(path, gone), receiver.tip)
        error = refused(receiver, sent.pack(), tip)
        assert (error.where, error.problem) == (path.decode(), "is missing: neither sent nor here")
    sent = Sent()
    tip = sent.commit(sent.tree(("40000", b"d", gone)), receiver.tip)
    assert refused(receiver, sent.pack(), tip).where == "d"
    sent = Sent()
    tip = sent.commit(gone, receiver.tip)
    assert refused(receiver, sent.pack(), tip).where == gone.hex()
    sent = Sent()
    tip = sent.commit(sent.tree(), gone)
    assert refused(receiver, sent.pack(), tip).where == gone.hex()
    assert refused(receiver, pack_of([]), gone).where == gone.hex()


def test_a_parent_beyond_the_end_of_a_shallow_history_is_missing(tmp_path: Path) -> None:
    """Our own commits lack it too, on purpose; new ones may not."""
    source = Receiver(tmp_path / "source")
    tip = run_git(source.folder, "commit-tree", "main^{tree}", "-p", "main", "-m", "x").strip()
    run_git(source.folder, "update-ref", "refs/heads/main", tip)
    url = f"file://{source.folder}"
    shallow = Receiver(tmp_path / "local")
    run_git(tmp_path, "clone", "-q", "--bare", "--depth=1", url, str(tmp_path / "shallow"))
    shallow.folder, shallow.tip = tmp_path / "shallow", bytes.fromhex(tip)
    shallow.repository, shallow.before = opened(shallow.folder), []
    shallow.before = shallow.files()
    sent = Sent()
    root = sent.tree(("100644", b"README", sent.blob()))
    new = sent.commit(root, source.tip, shallow.tip)
    error = refused(shallow, sent.pack(), new)
    assert (error.where, error.problem) == (source.tip.hex(), "is missing: neither sent nor here")


def test_what_is_named_must_be_of_its_kind(receiver: Receiver) -> None:
    sent = Sent()
    blob, folder = sent.blob(), sent.tree()
    for root in (
        sent.tree(("40000", b"d", blob)),
        sent.tree(("100644", b"f", folder)),
        sent.file(PATH, folder),
    ):
        tip = sent.commit(root, receiver.tip)
        assert ", not a " in refused(receiver, sent.pack(), tip).problem
    tips = [sent.commit(blob), sent.commit(folder, folder), folder]
    for tip in tips:
        assert ", not a " in refused(receiver, sent.pack(), tip).problem


def test_what_is_here_but_incomplete_is_no_excuse(receiver: Receiver) -> None:
    """Objects that no ref reaches may lie about without what they name: git's gc makes such."""
    sent = Sent()
    gone = name_of("blob", b"gone")
    root = tree(("100644", b"f", gone))
    held = run_git(
        receiver.folder, "hash-object", "-t", "tree", "-w", "--stdin", "--literally", given=root
    )
    receiver.before = receiver.files()
    tip = sent.commit(bytes.fromhex(held.strip()), receiver.tip)
    assert refused(receiver, sent.pack(), tip).where == "f"
    # A commit that lies about is no parent either.
    lying = run_git(receiver.folder, "commit-tree", held.strip(), "-m", "x").strip()
    receiver.before = receiver.files()
    other = Sent()
    tip = other.commit(other.tree(), bytes.fromhex(lying))
    error = refused(receiver, other.pack(), tip)
    assert (error.commit, error.where) == (lying, "f")


def test_folders_that_vouch_for_each_other_are_no_proof(receiver: Receiver) -> None:
    """Two folders take turns, both with a file that is missing; the dates want them read backwards."""
    gone = name_of("blob", b"gone")
    sent = Sent()
    roots = [
        sent.tree(("40000", b"d", sent.tree(("100644", b"f", gone), ("100644", b"g", blob))))
        for blob in (sent.blob(b"1"), sent.blob(b"2"))
    ]
    tip = receiver.tip
    for number in range(6):
        tip = sent.commit(roots[number % 2], tip, who=b"A <a@b> %d +0000" % (1_000_000 - number))
    error = refused(receiver, sent.pack(), tip)
    assert (error.where, error.problem) == ("d/f", "is missing: neither sent nor here")


def test_sessions_are_limited_in_size_and_content(receiver: Receiver) -> None:
    for data, problem in ((b"x" * (BYTES_MAX + 1), "is larger than"), (b"evil", "is evil")):
        sent = Sent()
        tip = sent.commit(sent.file(PATH, sent.blob(data)), receiver.tip)
        error = refused(receiver, sent.pack(), tip)
        assert (error.where, problem in error.problem) == (PATH.decode(), True)
    # Also one that is here already, in a place where nobody looked.
    run_git(receiver.folder, "hash-object", "-w", "--stdin", given=b"evil")
    receiver.before = receiver.files()
    sent = Sent()
    tip = sent.commit(sent.file(PATH, name_of("blob", b"evil")), receiver.tip)
    assert refused(receiver, sent.pack(), tip).problem == "is evil"


def test_attributes_that_git_would_refuse_are_refused(receiver: Receiver) -> None:
    for name in (b".gitattributes", b"d/.GITATTRIBUTES", b"gitatt~1"):
        sent = Sent()
        tip = sent.commit(sent.file(name, sent.blob(b"*" * 3000)), receiver.tip)
        assert "has a line of" in refused(receiver, sent.pack(), tip).problem


def test_bad_form_is_refused_where_nothing_names_it(receiver: Receiver) -> None:
    sent = Sent()
    tip = sent.commit(sent.tree(), receiver.tip)
    stray = sent.add("tree", b"100644 a\0short")
    error = refused(receiver, sent.pack(), tip)
    assert (error.commit, error.where) == (None, stray.hex())
    sent = Sent()
    tip = sent.commit(sent.tree(), receiver.tip)
    stray = sent.add("tag", b"object x\n")
    assert refused(receiver, sent.pack(), tip).where == stray.hex()


# --- packs ----------------------------------------------------------------------


def good(receiver: Receiver) -> tuple[Sent, bytes]:
    sent = Sent()
    root = sent.file(PATH, sent.blob(b"id: x\n" * 30))
    return sent, sent.commit(root, receiver.tip)


def test_packs_that_lie_are_refused(receiver: Receiver) -> None:
    sent, tip = good(receiver)
    entries = [whole(kind, data) for kind, data in sent.objects.values()]
    pack = pack_of(entries)
    data = SHARED_BYTES
    lies = {
        "checksum": pack[:-1] + bytes([pack[-1] ^ 1]),
        "ends too early": pack[:20],
        "is empty": b"",
        "no pack of version": sealed(pack[:7] + b"\4" + pack[8:-20]),
        "holds more than": pack_of(entries, count=2),
        "is too small": pack_of(entries, count=1 << 31),
        "twice": pack_of([*entries, entries[0]]),
        "unknown kind": pack_of([*entries, header(5, 1) + zlib.compress(b"x")]),
        "smaller than it says": pack_of([*entries, header(3, 5) + zlib.compress(b"abc")]),
        "larger than it says": pack_of([*entries, header(3, 2) + zlib.compress(b"abc")]),
        "of more than": pack_of([*entries, header(3, OBJECT_BYTES_MAX + 1) + zlib.compress(b"")]),
        "ends too early ": pack_of([*entries, header(3, 900) + zlib.compress(b"a" * 900)[:-9]]),
        "against nothing": pack_of([*entries, ofs_delta(5, b"")]),
        "against nothing ": pack_of([ofs_delta(1 << 60, b""), *entries]),
        "against one another ": pack_of([*entries, ofs_delta(0, b"")]),
        "a delta is against it": pack_of([*entries, ref_delta(b"\1" * 20, b"")]),
        "malformed delta": pack_of([*entries, ref_delta(name_of("blob", data), b"\1\1x")]),
    }
    for problem, lie in lies.items():
        error = refused(receiver, lie, tip)
        assert problem.strip() in str(error), (problem, error)


@pytest.mark.parametrize("kind", ["huge", "endless"])
def test_deltas_are_limited(receiver: Receiver, kind: str) -> None:
    sent, tip = good(receiver)
    entries = [whole(k, data) for k, data in sent.objects.values()]
    base = b"x" * 65535
    entries.append(whole("blob", base))
    if kind == "huge":
        # A gigabyte made of a few kilobytes.
        times = (1 << 30) // 65535
        copies = b"\xb0\xff\xff" * times
        delta = varint(len(base)) + varint(times * len(base)) + copies
        entries.append(ref_delta(name_of("blob", base), delta))
    else:
        data = base[:40]
        entries[-1] = whole("blob", data)
        for number in range(packscan._CHAIN_MAX + 1):
            added = b"\4%04x" % number
            delta = varint(len(data)) + varint(40 + 4) + b"\x90\x28" + added
            entries.append(ofs_delta(len(entries[-1]), delta))
            data = data[:40] + added[1:]
    error = refused(receiver, pack_of(entries), tip)
    assert ("of 1073725440 bytes" if kind == "huge" else "more than 4095 deltas") in error.problem


def test_a_bomb_is_refused_within_little_memory(receiver: Receiver) -> None:
    """A gigabyte of zeros in a megabyte, and 240 megabytes in objects that are each allowed."""
    sent, tip = good(receiver)
    entries = [whole(kind, data) for kind, data in sent.objects.values()]
    packer = zlib.compressobj()
    start = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    # Behind a full flush, nothing refers to what was before.
    megabyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb = start + megabyte * (1 << 10)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for size in (1 << 30, 1000, OBJECT_BYTES_MAX):
        error = refused(receiver, pack_of([*entries, header(3, size) + bomb]), tip)
        assert "of more than" in error.problem or "larger than it says" in error.problem
    size = 30 << 20
    parts = [zlib.compress(bytes(size - each), 1) for each in range(8)]
    allowed = [header(3, size - each) + part for each, part in enumerate(parts)]
    receiver.receive(pack_of([*entries, *allowed]), tip)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    assert grown < 64 << 10, f"{grown >> 10} MB"


def test_folders_are_limited_in_depth_and_size(receiver: Receiver) -> None:
    began = time.process_time()
    sent = Sent()
    root = sent.blob()
    entry = "100644", b"f", root
    for _ in range(2000):
        entry = "40000", b"d", sent.tree(entry)
    tip = sent.commit(sent.tree(entry), receiver.tip)
    assert "folders deep" in refused(receiver, sent.pack(), tip).problem
    # One level holds the next twice: as a tree of paths it has 2**90 files.
    sent = Sent()
    folder = sent.tree(("100644", b"f", sent.blob()))
    for _ in range(90):
        folder = sent.tree(("40000", b"a", folder), ("40000", b"b", folder))
    tip = sent.commit(folder, receiver.tip)
    receiver.receive(sent.pack(), tip)
    receiver.before = receiver.files()
    assert time.process_time() - began < 10


@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.deep)])
def test_a_folder_of_too_many_entries_is_refused(receiver: Receiver, count: int) -> None:
    began = time.process_time()
    sent = Sent()
    blob = sent.blob()
    root = sent.tree(*(("100644", b"%032d" % n, blob) for n in range(count)))
    tip = sent.commit(root, receiver.tip)
    assert f"is a tree of {count * 60} bytes" in refused(receiver, sent.pack(), tip).problem
    assert time.process_time() - began < 10


def test_a_folder_of_many_entries_is_taken(receiver: Receiver) -> None:
    sent = Sent()
    blob = sent.blob()
    root = sent.tree(*(("100644", b"%07d" % n, blob) for n in range(60_000)))
    tip = sent.commit(root, receiver.tip)
    receiver.receive(sent.pack(), tip)
    assert receiver.repository.kind_of(root.hex()) == "tree"


def mutated(pack: bytes, chance: random.Random) -> bytes:
    """Return a pack that was changed somewhere; mostly one whose checksum is right again."""
    body = bytearray(pack[:-20])
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(body))
        match chance.randrange(4):
            case 0:
                body[at] ^= 1 << chance.randrange(8)
            case 1:
                body[at] = chance.randrange(256)
            case 2:
                del body[at : at + chance.randrange(1, 40)]
            case _:
                body[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 9)))
    if chance.randrange(10):
        return sealed(bytes(body))
    return bytes(body) + pack[-20:]


def mutated_object(sent: Sent, tip: bytes, chance: random.Random) -> tuple[bytes, bytes]:
    """Return a pack in which objects differ that are otherwise well packed, and its tip."""
    name = chance.choice(list(sent.objects))
    changed = Sent()
    new_tip = tip
    for each, (kind, data) in sent.objects.items():
        body = bytearray(data)
        if each == name and body:
            at = chance.randrange(len(body))
            body[at : at + chance.randrange(3)] = bytes([chance.randrange(256)])
        made = changed.add(kind, bytes(body))
        new_tip = made if each == tip else new_tip
    return changed.pack(), new_tip


def modes_in(receiver: Receiver) -> set[bytes]:
    """Return the modes in all trees of a repository."""
    listed = run_git(receiver.folder, "cat-file", "--batch-check", "--batch-all-objects")
    found = [line.split() for line in listed.splitlines()]
    return {
        entry.mode
        for name, kind, _ in found
        if kind == "tree"
        for entry in receiver.repository.entries(name)
    }


def mutations(tmp_path: Path, seed: int, count: int) -> None:
    """Each is refused, or lands what git has no complaint about; there is no third way."""
    chance = random.Random(seed)
    receiver = Receiver(tmp_path / f"local{seed}")
    sent, tip = good(receiver)
    base = name_of("blob", SHARED_BYTES)
    delta = varint(len(SHARED_BYTES)) + varint(len(SHARED_BYTES) + 1)
    delta += b"\x90" + bytes([len(SHARED_BYTES)]) + b"\1!"
    entries = [whole(kind, data) for kind, data in sent.objects.values()]
    pack = pack_of([*entries, ref_delta(base, delta)])
    landed = refusals = 0
    for number in range(count):
        changed, new_tip = mutated(pack, chance), tip
        if number % 3 == 0:
            changed, new_tip = mutated_object(sent, tip, chance)
        try:
            receiver.receive(changed, new_tip)
        except UntrustedContentError:
            refusals += 1
        else:
            landed += 1
            run_git(receiver.folder, "update-ref", f"refs/landed/{landed}", new_tip.hex())
    # Of one mode that git wrote long ago it warns, and takes it: it may stand beside what is new.
    run_git(receiver.folder, "config", "fsck.badFilemode", "ignore")
    assert modes_in(receiver) <= {b"100644", b"100755", b"120000", b"40000", b"100664"}
    assert_git_is_content(receiver.folder)
    assert landed + refusals == count
    assert min(landed, refusals) > count // 50


def test_mutated_packs_are_refused_or_sound(tmp_path: Path) -> None:
    mutations(tmp_path, 1, 200)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(2, 22))
def test_many_mutated_packs_are_refused_or_sound(tmp_path: Path, seed: int) -> None:
    mutations(tmp_path, seed, 1000)


def test_a_shared_session_may_stay_as_it_is(receiver: Receiver) -> None:
    """The counterpart of all this: nothing is wrong with these."""
    sent, tip = good(receiver)
    receiver.receive(sent.pack(), tip)
    run_git(receiver.folder, "update-ref", "refs/heads/main", tip.hex())
    assert_git_is_content(receiver.folder)
    assert SHARED not in run_git(receiver.folder, "ls-tree", "-r", "--name-only", "main")
