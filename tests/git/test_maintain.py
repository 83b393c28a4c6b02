"""Maintenance: everything is still there, git agrees with every byte, and what is kept is kept."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from gitstore import BlockingSessionStore, ConversationTurn, SessionAsset
from gitstore.blocking import system_runtime
from gitstore.errors import CorruptRepositoryError, RepositoryLockedError
from gitstore.git.files import Disk
from gitstore.git.location import locate
from gitstore.git.maintain import choice
from gitstore.git.maintain import maintenance as maintain
from gitstore.git.maintain.lock import kept_out
from gitstore.git.maintain.maintenance import Done, Maintenance, StoppedError
from gitstore.git.maintain.pack import DEPTH_MAX, PackStream
from gitstore.git.maintain.sources import BLOB, PackSource
from gitstore.git.staged import object_id
from tests.gitcommand import assert_git_is_content, environment, run_git

if TYPE_CHECKING:
    from pathlib import Path

    from gitstore.types import Runtime

_TWO_WEEKS = 14 * 24 * 3600


def fill(path: Path, *, saves: int = 12, bare: bool = True, first: int = 0) -> None:
    """Save two growing sessions in turn; nothing is packed by itself."""
    with BlockingSessionStore.open(
        path, create=True, bare=bare, durability="process", auto_maintain=False
    ) as store:
        for number in range(first, first + saves):
            name = f"s{number % 2}"
            asset = store.load(name) if store.exists(name) else SessionAsset.new(id=name)
            asset.history.turns.append(ConversationTurn.user(f"turn {number}\n" + "word " * 90))
            store.save(asset)


def explode(path: Path) -> None:
    """Make every packed object loose."""
    folder = git_folder(path) / "objects" / "pack"
    packs = [each.rename(path.parent / each.name) for each in folder.glob("*.pack")]
    for each in folder.glob("*.idx"):
        each.unlink()
    for each in packs:
        run_git(path, "unpack-objects", "-q", given=each.read_bytes())
        each.unlink()


def git_folder(path: Path) -> Path:
    return path / ".git" if (path / ".git").is_dir() else path


def objects(path: Path) -> set[str]:
    """Return the id of every object that git can read."""
    command = ("cat-file", "--batch-check=%(objectname) %(objecttype)", "--batch-all-objects")
    return set(run_git(path, *command).split("\n")) - {""}


def contents(path: Path) -> str:
    """Return every object with its content, as git reads it."""
    return run_git(path, "cat-file", "--batch", "--batch-all-objects")


def packs(path: Path) -> set[str]:
    return {each.stem for each in (git_folder(path) / "objects" / "pack").glob("*.pack")}


def loose(path: Path) -> set[str]:
    folder = git_folder(path) / "objects"
    return {each.parent.name + each.name for each in folder.glob("??/*")}


def work(path: Path, *, automatic: bool = False, runtime: Runtime | None = None) -> Maintenance:
    return Maintenance(
        locate(str(path)),
        runtime=runtime or system_runtime(),
        lock_timeout_seconds=0,
        automatic=automatic,
    )


def run(path: Path, **options: Any) -> Done:
    """Maintain what nobody reads meanwhile."""
    return work(path, runtime=replace(system_runtime(), sleep=lambda _: None)).run(**options)


def deltas(path: Path, pack: str) -> int:
    """Return how many objects of a pack are deltas, as git tells it."""
    told = run_git(path, "verify-pack", "-v", f"{git_folder(path)}/objects/pack/{pack}.idx")
    return sum(
        int(each.split()[4]) for each in told.splitlines() if each.startswith("chain length")
    )


# --- the pack ---------------------------------------------------------------------


@pytest.mark.parametrize("form", ["packs", "loose", "git", "both"])
def test_everything_is_there_and_git_agrees_with_every_byte(tmp_path: Path, form: str) -> None:
    path = tmp_path / "store"
    fill(path, saves=30)
    if form in ("loose", "both"):
        explode(path)
    if form == "git":
        run_git(path, "gc", "-q")
        run_git(path, "tag", "-a", "-m", "one", "v1")
    if form in ("git", "both"):
        fill(path, saves=6, first=30)
    before = contents(path)
    done = run(path, full=True)
    (pack,) = packs(path)
    assert (done.repacked, done.unreadable, loose(path)) == (len(objects(path)), (), set())
    assert contents(path) == before
    assert_git_is_content(path)
    base = git_folder(path) / "objects/pack" / pack
    # git makes the same index of the pack, so ids, places and checksums are right.
    run_git(path, "index-pack", "--strict", "-o", str(tmp_path / "its.idx"), f"{base}.pack")
    assert (tmp_path / "its.idx").read_bytes() == base.with_suffix(".idx").read_bytes()
    run_git(path, "multi-pack-index", "write")
    run_git(path, "multi-pack-index", "verify")
    run_git(path, "gc", "-q", "--prune=now")
    assert_git_is_content(path)


def test_old_versions_are_small_and_one_step_away(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=60)
    run(path)
    (pack,) = packs(path)
    told = run_git(path, "verify-pack", "-v", str(path / "objects/pack" / (pack + ".idx")))
    rows = [line.split() for line in told.splitlines() if " blob " in line]
    whole = [int(row[2]) for row in rows if len(row) == 5]
    deltas = [(int(row[2]), int(row[5])) for row in rows if len(row) == 7]
    assert (len(whole), len(deltas)) == (3, 58)  # .gitattributes, and the newest of each session
    assert max(size for size, _ in deltas) < 80
    assert {depth for _, depth in deltas} == {1}
    trees = [
        int(row[5]) for row in map(str.split, told.splitlines()) if row[1:2] == ["tree"] and row[5:]
    ]
    assert max(trees, default=0) <= DEPTH_MAX


def test_deltas_are_taken_over_and_chains_stay_short(tmp_path: Path) -> None:
    path = tmp_path / "store"
    for round_ in range(12):
        fill(path, saves=4, first=4 * round_)
        before = contents(path)
        run(path, full=True)
        assert contents(path) == before
    (pack,) = packs(path)
    told = run_git(path, "verify-pack", "-v", str(path / "objects/pack" / (pack + ".idx")))
    depths = [int(row[5]) for row in map(str.split, told.splitlines()) if len(row) == 7]
    assert len(depths) > 70
    assert max(depths) <= DEPTH_MAX
    assert_git_is_content(path)


def test_what_is_new_is_packed_and_what_is_old_stays(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=40)
    run(path)
    (large,) = packs(path)
    assert run(path).repacked == 0
    fill(path, saves=10, first=40)
    done = run(path)
    assert large in packs(path)
    assert len(packs(path)) == 2
    assert done.repacked < 60
    run(path, full=True)
    assert len(packs(path)) == 1
    assert_git_is_content(path)


def test_a_pack_that_cannot_be_read_back_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    fill(path)
    before, kept = objects(path), packs(path)
    finish = PackStream.finish

    def damaged(stream: PackStream) -> str:
        checksum = finish(stream)
        (file,) = (path / "gitstore/maintenance").glob("*.pack")
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0x55
        file.chmod(0o644)
        file.write_bytes(data)
        return checksum

    monkeypatch.setattr(PackStream, "finish", damaged)
    with pytest.raises(CorruptRepositoryError, match="was kept"):
        run(path)
    assert (objects(path), packs(path)) == (before, kept)
    assert [each.name for each in (path / "gitstore/maintenance").iterdir()] == ["lock"]


# --- what must stay ---------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".keep", ".promisor", ".mtimes"])
def test_a_pack_that_is_kept_stays_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "store"
    fill(path, saves=3)
    run(path)
    (kept,) = packs(path)
    before = objects(path)
    (path / "objects/pack" / (kept + suffix)).touch()
    fill(path, saves=5, first=3)
    run(path, full=True)
    assert kept in packs(path)
    assert len(packs(path)) == 2
    assert before <= objects(path)


def test_what_nothing_names_is_not_dropped(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path)
    run_git(path, "update-ref", "refs/heads/main", "main~4")
    for each in (path / "logs").rglob("*"):
        each.unlink() if each.is_file() else None
    lost = run_git(path, "hash-object", "-w", "--stdin", given=b"of nobody").strip()
    before = objects(path)
    assert run(path).repacked == len(before)
    assert objects(path) == before
    assert f"{lost} blob" in before


def test_what_is_damaged_stays_and_the_rest_is_packed(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=4)
    explode(path)
    blob = run_git(path, "rev-parse", "main~2:sessions").strip()
    file = path / "objects" / blob[:2] / blob[2:]
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-9] + b"123456789")
    fill(path, saves=3, first=4)
    broken = sorted(packs(path))[0]
    pack = path / "objects/pack" / (broken + ".pack")
    data = bytearray(pack.read_bytes())
    data[30] ^= 0xFF
    pack.chmod(0o644)
    pack.write_bytes(data)
    done = run(path)
    assert done.unreadable == tuple(sorted([str(file), str(pack)]))
    assert loose(path) == {blob}
    assert len(packs(path)) == 2
    assert pack.read_bytes() == data


def test_an_index_over_several_packs_goes_before_they_do(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path)
    run_git(path, "multi-pack-index", "write", "--bitmap")
    (git_folder(path) / "objects/pack" / (sorted(packs(path))[0] + ".rev")).touch()
    run(path)
    left = {each.suffix for each in (path / "objects/pack").iterdir()}
    assert left == {".pack", ".idx"}
    assert_git_is_content(path)


# --- pruning ----------------------------------------------------------------------


def test_only_what_nothing_reaches_is_pruned_and_only_when_it_is_old(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=6, bare=False)
    run_git(path, "worktree", "add", "-q", "--detach", str(tmp_path / "other"), "main~3")
    made: dict[str, str] = {}

    def write(what: str) -> str:
        made[what] = run_git(path, "hash-object", "-w", "--stdin", given=what.encode()).strip()
        return made[what]

    def commit(what: str) -> str:
        tree = run_git(path, "mktree", given=f"100644 blob {write(what)}\tf\n".encode()).strip()
        return run_git(path, "commit-tree", "-m", what, tree).strip()

    # A commit that only a reflog knows, one of another tree's detached HEAD, and so on.
    run_git(path, "update-ref", "--create-reflog", "refs/heads/gone", commit("logged"))
    run_git(path, "update-ref", "refs/heads/gone", "main")
    run_git(tmp_path / "other", "checkout", "-q", "--detach", commit("detached"))
    (path / "staged.txt").write_text("staged")
    made["staged"] = run_git(path, "hash-object", "staged.txt").strip()
    run_git(path, "add", "staged.txt")
    (tmp_path / "other" / "f").write_text("staged elsewhere")
    run_git(tmp_path / "other", "add", "f")
    made["elsewhere"] = run_git(tmp_path / "other", "hash-object", "f").strip()
    (path / ".git/ORIG_HEAD").write_text(commit("original") + "\n")
    run_git(path, "tag", "stashed", commit("tagged"))
    write("old and of nobody")
    write("new and of nobody")
    young = made["new and of nobody"]
    for name in loose(path) - {young}:
        file = path / ".git/objects" / name[:2] / name[2:]
        os.utime(file, (0, file.stat().st_mtime - _TWO_WEEKS - 60))
    done = run(path, full=True)
    left = {line.split()[0] for line in objects(path)}
    assert {what for what, name in made.items() if name not in left} == {"old and of nobody"}
    assert done.pruned == 1
    # Still loose, so that it can grow old; and pruned when it is.
    assert loose(path) == {young}
    later = replace(system_runtime(), clock=lambda: system_runtime().clock() + _TWO_WEEKS + 60)
    assert work(path, runtime=later).run(full=True).pruned == 1
    run_git(path, "fsck", "--full", "--strict")


def test_nothing_is_pruned_where_more_may_be_needed_than_is_reached(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=2)
    lost = run_git(path, "hash-object", "-w", "--stdin", given=b"of nobody").strip()
    os.utime(path / "objects" / lost[:2] / lost[2:], (0, 0))
    (path / "info").mkdir(exist_ok=True)
    (path / "info/grafts").write_text("")
    assert run(path, full=True).pruned == 0
    assert f"{lost} blob" in objects(path)


# --- beside others ----------------------------------------------------------------


def test_git_gc_and_maintenance_keep_each_other_out(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path)
    codes: list[int] = []

    def collect(*_: object) -> None:
        if not codes:
            done = subprocess.run(
                ["git", "-C", str(path), "gc"], capture_output=True, check=False, env=environment()
            )
            codes.append(done.returncode)
            assert b"gc is already running" in done.stderr

    assert run(path, progress=collect).repacked > 0
    assert codes == [128]
    assert not (path / "gc.pid").exists()
    host = os.uname().nodename
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (path / "gc.pid").write_text(f"{other.pid} {host}")
        with pytest.raises(RepositoryLockedError, match="git gc"):
            run(path)
        other.communicate(b"\n")
    # It is dead, as is its note; another host's cannot be told.
    assert run(path) == Done()
    (path / "gc.pid").write_text("1 elsewhere")
    with pytest.raises(RepositoryLockedError, match="git gc"):
        run(path)
    assert (path / "gc.pid").read_text() == "1 elsewhere"
    assert not (path / "gc.pid.lock").exists()
    (path / "gc.pid").unlink()
    (path / "gc.pid.lock").touch()
    with pytest.raises(RepositoryLockedError, match="git gc"):
        run(path)
    assert (path / "gc.pid.lock").exists(), "a lock of git's"


def test_one_maintenance_at_a_time_and_none_during_a_purge(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path)
    met: list[str] = []

    def try_too(*_: object) -> None:
        with pytest.raises(RepositoryLockedError, match="own maintenance"):
            run(path)
        met.append("kept out")

    run(path, progress=try_too)
    assert met
    with (
        kept_out(locate(str(path)), runtime=system_runtime()),
        pytest.raises(RepositoryLockedError, match="own maintenance"),
    ):
        run(path)


def test_a_run_that_is_stopped_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path)
    before, kept, asked = objects(path), packs(path), iter(range(1000))
    # It asks now and then: here, time flies.
    ticks = count()
    runtime = replace(system_runtime(), monotonic=lambda: float(next(ticks)))
    with pytest.raises(StoppedError):
        work(path, runtime=runtime).run(is_stopped=lambda: next(asked) > 90)
    assert (objects(path), packs(path)) == (before, kept)
    assert not (path / "gc.pid").exists()
    assert [each.name for each in (path / "gitstore/maintenance").iterdir()] == ["lock"]


@pytest.mark.parametrize("level", [0, 1, 2, 6])
def test_what_was_compressed_in_haste_is_compressed_again(tmp_path: Path, level: int) -> None:
    """ISA-L marks what it has compressed as zlib does on its levels 2 to 5."""
    path = tmp_path / "store"
    fill(path, saves=1)
    run_git(path, "repack", "-adfq")
    data = b"".join(b"%d said something\n" % number for number in range(1000))
    name = bytes.fromhex(object_id("blob", data))
    stream = PackStream(str(tmp_path / "made"), 1, disk=Disk("process"))
    stream.add(name, BLOB, len(data), zlib.compress(data, level))
    checksum = stream.finish()
    for suffix in (".pack", ".idx"):
        made = (tmp_path / "made").with_suffix(suffix)
        made.rename(path / "objects/pack" / f"pack-{checksum}{suffix}")
    run(path, full=True)
    (pack,) = packs(path)
    packed = PackSource(str(path / "objects/pack" / pack)).packed(name)
    assert packed == zlib.compress(data, 6)


# --- grace ------------------------------------------------------------------------


@pytest.mark.parametrize(("large", "seconds"), [(1, 10.0), (8192, 1.0)])
def test_what_an_automatic_run_replaced_stays_for_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int, seconds: float
) -> None:
    path = tmp_path / "store"
    monkeypatch.setattr(maintain, "_LARGE", large)
    now = [1000.00077]
    runtime = replace(system_runtime(), clock=lambda: now[0])
    fill(path, saves=3)
    before, old = contents(path), packs(path)
    maintenance = work(path, automatic=True, runtime=runtime)
    assert maintenance.run().repacked > 0
    assert old < packs(path)
    # They are not packed again, and not too early removed.
    now[0] += seconds / 2
    assert maintenance.run() == Done()
    assert old < packs(path)
    (new,) = packs(path) - old
    now[0] += seconds / 2 + 0.01
    maintenance.drop_replaced()
    assert packs(path) == {new}
    assert contents(path) == before


def test_what_an_explicit_run_replaced_stays_for_readers(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, saves=9)
    old, seen = packs(path), list[tuple[float, set[str], int]]()

    def sleep(seconds: float) -> None:
        seen.append((seconds, packs(path), len(loose(path))))

    runtime = replace(system_runtime(), sleep=sleep)
    (path / "loose").write_text("loose")
    run_git(tmp_path, "--git-dir", str(path), "hash-object", "-w", str(path / "loose"))
    assert loose(path)
    work(path, runtime=runtime).run()
    ((waited, there, single),) = seen
    assert (waited, single) == (0.25, 1)
    assert old < there
    assert packs(path) == there - old
    assert not loose(path)


def test_only_so_many_replaced_packs_stay(tmp_path: Path) -> None:
    path = tmp_path / "store"
    now = [1000.0]
    runtime = replace(system_runtime(), clock=lambda: now[0])
    fill(path, saves=10)
    first = packs(path)
    maintenance = work(path, automatic=True, runtime=runtime)
    maintenance.run()
    now[0] += 0.1
    fill(path, saves=12, first=10)
    before, second = contents(path), packs(path) - first
    maintenance.run()
    # Too many, but who has just listed them finds all.
    assert first | second < packs(path)
    assert maintenance.grace_left() == pytest.approx(0.15)
    now[0] += 0.16
    maintenance.drop_replaced()
    assert not first & packs(path)
    assert second < packs(path)
    now[0] += 0.1
    maintenance.drop_replaced()
    # The new pack, and 4 of those that were replaced last, for the rest of their second.
    assert len(packs(path)) == 1 + 4
    assert maintenance.grace_left() == pytest.approx(0.74)
    now[0] += 0.75
    maintenance.drop_replaced()
    assert len(packs(path)) == 1
    assert maintenance.grace_left() is None
    assert contents(path) == before


def test_a_pack_whose_removal_was_broken_off_goes(tmp_path: Path) -> None:
    path = tmp_path / "store"
    now = [1000.0]
    fill(path, saves=3)
    before, old = contents(path), packs(path)
    runtime = replace(system_runtime(), clock=lambda: now[0])
    maintenance = work(path, automatic=True, runtime=runtime)
    maintenance.run()
    half = path / "objects/pack" / f"{min(old)}.idx"
    half.unlink()
    maintenance.drop_replaced()
    assert half.with_suffix(".pack").exists()
    now[0] += 1.01
    maintenance.drop_replaced()
    assert len(packs(path)) == 1
    assert contents(path) == before


@pytest.mark.parametrize("hastily", [False, True])
def test_loose_objects_that_were_packed_stay_for_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hastily: bool
) -> None:
    path = tmp_path / "store"
    monkeypatch.setattr(choice, "LOOSE_MAX", 0)
    fill(path)
    explode(path)
    before, there = contents(path), loose(path)
    seen = list[tuple[float, bool]]()

    def sleep(seconds: float) -> None:
        if packs(path):
            seen.append((seconds, loose(path) == there))

    maintenance = work(path, automatic=True, runtime=replace(system_runtime(), sleep=sleep))
    if hastily:
        maintenance.put_together()
    else:
        maintenance.run()
    assert seen[-1] == (0.25, True)
    assert not loose(path)
    assert contents(path) == before


def test_loose_objects_stay_if_what_they_were_packed_into_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path)
    explode(path)
    before, there = contents(path), loose(path)

    def sleep(_: float) -> None:
        for each in packs(path):
            for suffix in (".idx", ".pack"):
                (path / "objects/pack" / (each + suffix)).unlink()

    work(path, runtime=replace(system_runtime(), sleep=sleep)).run()
    assert (loose(path), contents(path)) == (there, before)


@pytest.mark.parametrize(
    "text", ["", "x", "pack-1 nan\n", "\0\xff 3\n", "NAME 1e400\n", "NAME -5\n", "NAME 9e9\n"]
)
def test_a_list_of_replaced_packs_that_is_wrong_does_no_harm(tmp_path: Path, text: str) -> None:
    path = tmp_path / "store"
    fill(path, saves=6)
    before = contents(path)
    run(path)
    (only,) = packs(path)
    fill(path, saves=1, first=6)
    before = contents(path)
    (path / "gitstore/maintenance/retired").write_text(text.replace("NAME", only))
    for _ in range(2):
        work(path, automatic=True).run()
        assert contents(path) == before
    run(path)
    assert contents(path) == before
    assert_git_is_content(path)


def test_a_retired_pack_is_needed_again_if_what_replaced_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    monkeypatch.setattr(maintain, "_LARGE", 1)
    now = [1000.0]
    runtime = replace(system_runtime(), clock=lambda: now[0])
    fill(path, saves=6)
    before, old = contents(path), packs(path)
    work(path, automatic=True, runtime=runtime).run()
    (new,) = packs(path) - old
    for suffix in (".pack", ".idx"):
        (path / "objects/pack" / (new + suffix)).unlink()
    now[0] += 100
    work(path, automatic=True, runtime=runtime).run()
    assert contents(path) == before


@pytest.mark.parametrize(
    ("objects_max", "bytes_max", "is_small"),
    [(2048, 1 << 24, False), (100, 1 << 24, True), (2048, 9000, True)],
)
def test_an_automatic_run_makes_small_what_has_piled_up(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    objects_max: int,
    bytes_max: int,
    is_small: bool,
) -> None:
    path = tmp_path / "store"
    monkeypatch.setattr(choice, "_JOINED_OBJECTS_MAX", objects_max)
    monkeypatch.setattr(choice, "_JOINED_BYTES_MAX", bytes_max)
    fill(path, saves=10)
    run(path, full=True)
    fill(path, saves=40, first=10)
    old = packs(path)
    # With loose objects, and deltas.
    names = [f"object {number}" for number in range(700)]
    for name in names:
        (tmp_path / name).write_text(name)
    run_git(tmp_path, "--git-dir", str(path), "hash-object", "-w", *names)
    before, had = contents(path), sum(deltas(path, each) for each in old)
    assert had > 0
    assert work(path, automatic=True).run().repacked == len(objects(path))
    assert not loose(path)
    assert contents(path) == before
    (new,) = packs(path) - old
    has = deltas(path, new)
    assert has > had + 40 if is_small else has == had
    assert_git_is_content(path)


# By itself, and together with what else there is.
@pytest.mark.parametrize(("objects_max", "saves"), [(50, 4), (150, 12)])
def test_an_automatic_run_leaves_what_is_too_much_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objects_max: int, saves: int
) -> None:
    path = tmp_path / "store"
    fill(path, saves=20)
    run(path)
    (large,) = packs(path)
    monkeypatch.setattr(choice, "_OBJECTS_MAX", objects_max)
    fill(path, saves=saves, first=20)
    now = [1000.0]
    maintenance = work(
        path, automatic=True, runtime=replace(system_runtime(), clock=lambda: now[0])
    )
    assert maintenance.run().repacked == 5 * saves
    now[0] += 1
    maintenance.drop_replaced()
    assert large in packs(path)
    assert len(packs(path)) == 2
