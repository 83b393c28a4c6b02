"""What is fetched: landed whole, durably, and as git would have it, or not at all."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from gitstore.errors import CorruptRepositoryError, OutOfSpaceError, UntrustedContentError
from gitstore.git.remote.cancellation import Cancellation, Cancelled
from gitstore.session.ids import path_of
from gitstore.types import CommitId, Progress, SessionId
from tests.engine.faults import At, Fail, Report, Tap, changes, count_calls, in_child, kill_me
from tests.engine.powercut import Disk, Model, Recorder, Step, lay_out
from tests.git.hostile import REMOTE, RULES, SHARED, Receiver, Sent, name_of, opened, pack_of
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from pathlib import Path

_MODELS: tuple[Model, ...] = ("all", "synced", "names")


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    return Receiver(tmp_path / "local")


class Other:
    """A clone of the receiver's repository in which others work, with git."""

    def __init__(self, receiver: Receiver, folder: Path) -> None:
        self.folder = folder
        self.receiver = receiver
        run_git(receiver.folder, "clone", "-q", "--bare", ".", str(folder))

    def save(self, *saves: tuple[str, str], seconds: int = 1_700_000_000) -> bytes:
        """Commit each text at its path, on top of the last; return the tip."""
        stream = b""
        for number, (path, text) in enumerate(saves):
            data = text.encode()
            stream += b"commit refs/heads/main\ncommitter A <a@b> %d +0000\n" % (seconds + number)
            stream += b"data 1\nx\n" + (b"from refs/heads/main^0\n" if not number else b"")
            stream += b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)
        run_git(self.folder, "fast-import", "--quiet", given=stream)
        return self.tip()

    def tip(self) -> bytes:
        return bytes.fromhex(run_git(self.folder, "rev-parse", "main").strip())

    def pack(self, *without: bytes, thin: bool = True) -> bytes:
        """Return what git sends of the branch to somebody who has these commits."""
        wanted = "main\n" + "".join(f"^{each.hex()}\n" for each in without)
        path = self.folder / "sent"
        name = run_git(
            *(self.folder, "pack-objects", "-q", "--revs", "--delta-base-offset", "--depth=40"),
            *(["--thin", "--stdout"] if thin else [str(path)]),
            given=wanted.encode(),
            check=not thin,
        )
        if not thin:
            return (self.folder / f"sent-{name.strip()}.pack").read_bytes()
        return name.encode(errors="surrogateescape")


def edits(count: int, seed: int = 1) -> list[tuple[str, str]]:
    """Return saves of some long texts, each a small change of the one before."""
    chance = random.Random(seed)
    texts = {f"s{n}": [f"{n} {line} {chance.random()}\n" for line in range(60)] for n in range(4)}
    found: list[tuple[str, str]] = []
    for number in range(count):
        name = chance.choice(list(texts))
        texts[name][chance.randrange(60)] = f"edit {number}\n"
        found.append((path_of(SessionId(name)), "".join(texts[name])))
    return found


def files_of(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / "objects" / "pack"))


def test_a_thin_pack_is_completed_and_landed(receiver: Receiver, tmp_path: Path) -> None:
    """Git then holds the same objects as after a fetch of its own."""
    other = Other(receiver, tmp_path / "other")
    long = "".join(f"line {n} {n * 7919}\n" for n in range(300))
    other.save((SHARED, long))
    first = other.tip()
    receiver.receive(other.pack(receiver.tip), first)
    run_git(receiver.folder, "update-ref", "refs/heads/main", first.hex())
    tip = other.save((SHARED, long + "more\n"), (SHARED, long + "much more\n"))
    pack = other.pack(first)
    assert len(pack) < len(long), "git made no delta against what we have"
    receiver.receive(pack, tip)
    run_git(receiver.folder, "update-ref", "refs/heads/main", tip.hex())
    run_git(receiver.folder, "prune-packed")
    assert_git_is_content(receiver.folder)
    for name in files_of(receiver.folder):
        if name.endswith(".idx"):
            run_git(receiver.folder, "verify-pack", str(receiver.folder / "objects/pack" / name))
    assert run_git(receiver.folder, "show", f"main:{SHARED}") == long + "much more\n"
    assert receiver.repository.read_blob(
        receiver.repository.blob_at(CommitId(tip.hex()), SHARED) or pytest.fail("it is not there")
    ).decode() == (long + "much more\n")
    assert os.listdir(receiver.folder / "gitstore") == []


@pytest.mark.parametrize("thin", [True, False])
def test_long_chains_of_deltas_are_taken_apart(
    receiver: Receiver, tmp_path: Path, *, thin: bool
) -> None:
    other = Other(receiver, tmp_path / "other")
    tip = other.save(*edits(120))
    pack = other.pack(receiver.tip, thin=thin)
    receiver.receive(pack, tip)
    run_git(receiver.folder, "update-ref", "refs/heads/main", tip.hex())
    assert_git_is_content(receiver.folder)
    ours = run_git(receiver.folder, "rev-list", "--objects", "main")
    assert ours == run_git(other.folder, "rev-list", "--objects", "main")


def test_a_pack_of_nothing_lands_nothing(receiver: Receiver) -> None:
    receiver.receive(pack_of([]), receiver.tip)
    receiver.assert_untouched()


def test_the_same_again_changes_nothing(receiver: Receiver, tmp_path: Path) -> None:
    other = Other(receiver, tmp_path / "other")
    tip = other.save(*edits(5))
    receiver.receive(other.pack(receiver.tip), tip)
    found = files_of(receiver.folder)
    receiver.receive(other.pack(receiver.tip), tip)
    assert files_of(receiver.folder) == found


def test_what_was_odd_before_does_not_stand_in_the_way(tmp_path: Path) -> None:
    """A repository of a person's: a submodule, a link among the sessions, an executable."""
    receiver = Receiver(tmp_path / "local")
    odd = receiver.tip.hex()
    shard = SHARED.rpartition("/")[0]
    stream = (
        "commit refs/heads/main\ncommitter A <a@b> 1600000001 +0000\ndata 0\n"
        f"from {odd}\nM 160000 {odd} sub\nM 100644 inline .gitmodules\ndata 0\n\n"
        f"M 120000 inline {shard}/link\ndata 1\nx\nM 100755 inline sessions/run\ndata 1\nx\n"
    )
    run_git(receiver.folder, "fast-import", "--quiet", given=stream.encode())
    other = Other(receiver, tmp_path / "other")
    base = other.tip()
    receiver.tip = base
    tip = other.save((SHARED, "id: shared\nname: new\n"), ("README", "hello\n"))
    receiver.receive(other.pack(base), tip)
    # One that is as odd, and new, is refused; and so is the old one in another place.
    for path in ("sub2", "d/sub"):
        stream = (
            "commit refs/heads/bad\ncommitter A <a@b> 1600000001 +0000\ndata 0\n"
            f"from {tip.hex()}\nM 160000 {odd} {path}\n"
        )
        run_git(other.folder, "fast-import", "--quiet", "--force", given=stream.encode())
        bad = run_git(other.folder, "rev-parse", "bad").strip()
        run_git(other.folder, "update-ref", "refs/heads/main", bad)
        with pytest.raises(UntrustedContentError, match="is a submodule"):
            receiver.receive(other.pack(base), bytes.fromhex(bad))


def test_folders_come_back_and_sides_cross(receiver: Receiver, tmp_path: Path) -> None:
    """Trees that parents do not have and older commits do: found here, or in the pack, whole."""
    other = Other(receiver, tmp_path / "other")
    before = other.save(*edits(6))
    receiver.receive(other.pack(receiver.tip), before)
    run_git(receiver.folder, "update-ref", "refs/heads/main", before.hex())
    tree = run_git(other.folder, "rev-parse", f"{receiver.tip.hex()}^{{tree}}").strip()
    parent, commits = before.hex(), []
    for name in (tree, f"{before.hex()}^{{tree}}", tree):
        root = run_git(other.folder, "rev-parse", name).strip()
        arguments = ("commit-tree", root, "-p", parent, "-m", "x")
        parent = run_git(other.folder, *arguments).strip()
        commits.append(parent)
    merge = ("commit-tree", tree, "-p", parent, "-p", commits[0], "-p", before.hex(), "-m", "m")
    tip = run_git(other.folder, *merge).strip()
    run_git(other.folder, "update-ref", "refs/heads/main", tip)
    receiver.receive(other.pack(before), bytes.fromhex(tip))
    run_git(receiver.folder, "update-ref", "refs/heads/main", tip)
    assert_git_is_content(receiver.folder)


def test_cancelling_leaves_nothing(receiver: Receiver, tmp_path: Path) -> None:
    other = Other(receiver, tmp_path / "other")
    tip = other.save(*edits(100))
    pack = tmp_path / "pack"
    pack.write_bytes(other.pack(receiver.tip))
    told: list[Progress] = []

    def receive(stop_at: int) -> None:
        cancel = Cancellation()
        told.clear()

        def tell(progress: Progress) -> None:
            told.append(progress)
            if len(told) == stop_at:
                cancel.cancel()

        receiver.repository.receive(
            str(pack), CommitId(tip.hex()), remote=REMOTE, rules=RULES, cancel=cancel, progress=tell
        )

    receive(-1)
    count = len(told)
    assert count > 2
    receiver = Receiver(tmp_path / "again")
    for stop_at in (1, 2, count):
        with pytest.raises(Cancelled):
            receive(stop_at)
        receiver.assert_untouched()
        assert len(told) == stop_at
    receive(-1)
    assert {each.phase for each in told} == {"checking"}
    assert {each.unit for each in told} == {"objects"}
    assert told[-1].total == 500
    assert [each.done for each in told if each.total] == sorted(
        each.done for each in told if each.total
    )


def test_what_git_fetched_by_itself_can_be_vetted(receiver: Receiver) -> None:
    sent = Sent()
    tip = sent.commit(sent.file(SHARED.encode(), sent.blob(), mode="120000"), receiver.tip)
    run_git(receiver.folder, "unpack-objects", "-q", given=sent.pack())
    run_git(receiver.folder, "update-ref", "refs/remotes/origin/main", tip.hex())
    ours = CommitId(receiver.tip.hex())
    with pytest.raises(UntrustedContentError, match="no plain file"):
        receiver.repository.vet(CommitId(tip.hex()), ours=ours, remote=REMOTE, rules=RULES)
    receiver.repository.vet(ours, ours=ours, remote=REMOTE, rules=RULES)
    # Nothing is asked of what the refs reach, when it is sent again.
    receiver.receive(sent.pack(), tip)


def test_damage_of_ours_is_not_blamed_on_the_remote(receiver: Receiver, tmp_path: Path) -> None:
    other = Other(receiver, tmp_path / "other")
    tip = other.save((SHARED, "new\n"))
    run_git(receiver.folder, "unpack-objects", "-q", given=other.pack(receiver.tip, thin=False))
    blob = name_of("blob", b"new\n").hex()
    path = receiver.folder / "objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.write_bytes(b"")
    sent = Sent()
    new = sent.commit(bytes.fromhex(run_git(other.folder, "rev-parse", "main^{tree}").strip()), tip)
    with pytest.raises(CorruptRepositoryError, match=blob):
        receiver.receive(sent.pack(), new)


# --- faults -----------------------------------------------------------------------


def receive_file(folder: Path, pack: Path, tip: bytes) -> None:
    repository = opened(folder)
    repository.receive(str(pack), CommitId(tip.hex()), remote=REMOTE, rules=RULES)


@pytest.mark.parametrize("step", [2, pytest.param(1, marks=pytest.mark.deep)])
def test_death_leaves_nothing_that_the_next_one_does_not_clear(
    receiver: Receiver, tmp_path: Path, step: int
) -> None:
    other = Other(receiver, tmp_path / "other")
    tip = other.save(*edits(3))
    pack = tmp_path / "pack"
    pack.write_bytes(other.pack(receiver.tip))
    folder = receiver.folder

    def body() -> None:
        receive_file(folder, pack, tip)

    template = tmp_path / "template"
    shutil.copytree(folder, template)
    calls = count_calls(str(folder), body)
    assert len(calls) > 10
    for number in range(0, len(calls), step):
        shutil.rmtree(folder)
        shutil.copytree(template, folder)

        def die(_: Report, number: int = number) -> None:
            Tap(str(folder), At(number, "before", kill_me, accepts=changes)).install()
            body()

        _, killed_by = in_child(die)
        assert killed_by
        found = files_of(folder)
        assert all(name.replace(".idx", ".pack") in found for name in found)
        repository = opened(folder)
        with repository.writing():
            left = os.listdir(folder / "gitstore")
            assert [name for name in left if name != "lock"] == []
        body()
        if number % 6 == 0:
            run_git(folder, "update-ref", "refs/heads/main", tip.hex())
            assert_git_is_content(folder)


def test_power_loss_leaves_a_pack_or_none(receiver: Receiver, tmp_path: Path) -> None:
    """After the call nothing of the pack can be lost; and before, no index is there on its own."""
    other = Other(receiver, tmp_path / "other")
    tip = other.save(*edits(3))
    pack = tmp_path / "pack"
    pack.write_bytes(other.pack(receiver.tip))

    def record(report: Report) -> None:
        recorder = Recorder(str(receiver.folder))
        Tap(str(receiver.folder), recorder).install()
        receive_file(receiver.folder, pack, tip)
        report(recorder.steps)

    shutil.copytree(receiver.folder, tmp_path / "template")
    steps: list[Step] = in_child(record)[0][0]
    disk, met = Disk(tmp_path / "template"), set[int]()
    for number in range(len(steps) + 1):
        for tree in [*map(disk.after_cut, _MODELS), *disk.after_cut_with_one_rename()]:
            key = hash(tuple(sorted((k, v) for k, v in tree.items() if k.startswith("objects"))))
            done = number == len(steps)
            if done or key not in met:
                met.add(key)
                path = tmp_path / f"cut{number}-{len(met)}"
                lay_out(tree, path)
                if done:
                    run_git(path, "update-ref", "refs/heads/main", tip.hex())
                assert_git_is_content(path)
                shutil.rmtree(path)
        if number < len(steps):
            disk.apply(steps[number])
    assert len(met) > 2


@pytest.mark.parametrize("name", ["write", "fsync", "rename"])
def test_a_full_disk_is_said_and_leaves_nothing(
    receiver: Receiver, tmp_path: Path, name: str
) -> None:
    other = Other(receiver, tmp_path / "other")
    tip = other.save(*edits(3))
    pack = tmp_path / "pack"
    pack.write_bytes(other.pack(receiver.tip))

    def full(report: Report) -> None:
        fail = Fail(0, errno.ENOSPC, sticky=True, accepts=lambda call: call.name == name)
        Tap(str(receiver.folder), fail).install()
        try:
            receive_file(receiver.folder, pack, tip)
        except OutOfSpaceError:
            report(fail.hit)

    assert in_child(full)[0] != []
    receiver.assert_untouched()


# --- scratch ----------------------------------------------------------------------


def test_scratch_files_live_as_long_as_their_owner(receiver: Receiver) -> None:
    """Others take the writer lock meanwhile, and tidy up: not here."""
    rival = opened(receiver.folder)
    with receiver.repository.scratch() as path:
        with open(path, "wb") as file:
            file.write(b"half")
        with rival.writing():
            assert os.path.exists(path)
    assert not os.path.exists(os.path.dirname(path))

    def die(_: Report) -> None:
        with opened(receiver.folder).scratch() as path:
            with open(path, "wb") as file:
                file.write(b"half")
            kill_me()

    assert in_child(die)[1]
    left = os.listdir(receiver.folder / "gitstore")
    assert [name for name in left if name.startswith("in-")] != []
    with rival.writing():
        assert os.listdir(receiver.folder / "gitstore") == ["lock"]


# --- speed ------------------------------------------------------------------------


def cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target
