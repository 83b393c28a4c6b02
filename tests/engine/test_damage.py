"""Damage of every kind to every kind of file: reported by `verify`, or harmless. Nothing else."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gitstore import (
    BlockingSessionStore,
    ConversationTurn,
    SessionAsset,
    SessionNotFoundError,
    StorageError,
)
from gitstore.blocking import system_runtime
from gitstore.engine.findings import VerifyReport
from gitstore.engine.verify import verify
from gitstore.git.repository import Repository
from tests.gitcommand import loosen, run_git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.faults

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUNTIME = replace(system_runtime(), clock=NOW.timestamp)
IDS = ("a", "b", "c", "d")
_MEMORY = Path("/dev/shm")
#: Where the value that is read may change: the files of people, and what says where the branch is.
MOVABLE = frozenset({"working", "refs", "packed-refs", "HEAD"})
#: Where git vouches for nearly every bit.
OBJECTS = ("objects", "pack", "idx")


def open_store(path: Path) -> BlockingSessionStore:
    return BlockingSessionStore.open(
        path, durability="process", lock_timeout_seconds=0.2, runtime=RUNTIME
    )


@contextmanager
def open_repository(path: Path) -> Iterator[Repository]:
    repository = Repository.open(
        str(path),
        branch=None,
        durability="process",
        lock_timeout_seconds=0.2,
        trust_owner=False,
        runtime=RUNTIME,
    )
    with closing(repository):
        yield repository


def check(path: Path, *, deep: bool = True) -> VerifyReport:
    """Check a repository as a command would: one that cannot be opened is a report too."""
    try:
        with open_repository(path) as repository:
            return verify(repository, deep=deep)
    except StorageError as error:
        return VerifyReport.impossible(error)


@dataclass
class Template:
    """A repository, and what every load of it must return; keys are a session and a commit."""

    path: Path
    loads: dict[tuple[str, str | None], Any] = field(default_factory=dict)

    def files(self) -> dict[str, list[str]]:
        """Return the files that can be damaged, by what they are."""
        found: dict[str, list[str]] = {}
        for file in sorted(self.path.rglob("*")):
            name = file.relative_to(self.path).as_posix()
            if file.is_file() and not name.startswith((".git/hooks", ".git/description")):
                found.setdefault(_class_of(name), []).append(name)
        return found

    @contextmanager
    def copy(self) -> Iterator[Path]:
        """Lend a copy, in memory where there is such a thing."""
        above = _MEMORY if _MEMORY.is_dir() else None
        with tempfile.TemporaryDirectory(dir=above, prefix="gitstore-damage-") as folder:
            yield Path(shutil.copytree(self.path, Path(folder, "s"), symlinks=True))


def _class_of(name: str) -> str:
    if not name.startswith(".git/"):
        return "working"
    inner = name.removeprefix(".git/")
    if inner.startswith("objects/pack/"):
        return inner.rpartition(".")[2]
    if inner.startswith("objects/info/"):
        return "info"
    return inner.partition("/")[0]


def make_template(path: Path) -> Template:
    """Make a store of 17 commits: some packed, some loose, with a tag, a rev file and a cache."""
    template = Template(path)
    with BlockingSessionStore.open(
        path, create=True, durability="process", runtime=RUNTIME, auto_maintain=False
    ) as store:
        for step in range(8):
            _save(store, IDS[step % 3], step)
        store.delete("c")
        run_git(path, "tag", "-a", "-m", "first", "v1")
        run_git(path, "-c", "pack.writeReverseIndex=true", "repack", "-qad")
        packed = [file.name for file in (path / ".git/objects/pack").glob("*.pack")]
        run_git(path, "pack-refs", "--all")
        run_git(path, "branch", "side", "HEAD~2")
        for step in range(8, 15):
            _save(store, IDS[step % 4], step)
        loosen(path, keep=packed)
        store.list()
    assert check(path).exit_code == 0
    with open_store(path) as store:
        for commit in [None, *run_git(path, "rev-list", "main").split()]:
            for name in IDS:
                try:
                    found = store.load(name, at=commit).to_document()
                except SessionNotFoundError:
                    found = None
                template.loads[name, commit] = found
    return template


def _save(store: BlockingSessionStore, name: str, step: int) -> None:
    try:
        asset = store.load(name)
    except SessionNotFoundError:
        asset = SessionAsset.new("/p", name=name, id=name, now=NOW)
    text = f"step {step}\n" + "several lines of a longer text\n" * 4
    asset.add_turn(ConversationTurn.user(text, id=f"t{step}", now=NOW), now=NOW)
    store.save(asset)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return make_template(tmp_path_factory.mktemp("damage") / "s")


def flip(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ chance.randrange(1, 256)]) + data[at + 1 :]


def truncate(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def zero(data: bytes, chance: random.Random) -> bytes:
    start = chance.choice([0, chance.randrange(len(data))])
    end = chance.choice([len(data), chance.randrange(start, len(data)) + 1])
    return data[:start] + bytes(end - start) + data[end:]


def delete(_data: bytes, _chance: random.Random) -> None:
    return None


DAMAGES: tuple[Callable[[bytes, random.Random], bytes | None], ...] = (
    flip, flip, flip, truncate, zero, delete,
)  # fmt: skip


def inflict(path: Path, name: str, chance: random.Random) -> str | None:
    """Damage one file; return what was done, or None if that changed nothing."""
    file = path / name
    old = file.read_bytes()
    damage = chance.choice(DAMAGES)
    new = None if damage is delete else damage(old, chance) if old else b"\0"
    if new == old:
        return None
    file.chmod(0o644)
    if new is None:
        file.unlink()
    else:
        file.write_bytes(new)
    return damage.__name__


def examine(path: Path, template: Template, kind: str) -> str:
    """Fail unless the damage is reported or harmless; return which."""
    report = check(path)
    is_reported = report.exit_code != 0 or bool(report.notes)
    wrong = [key for key, found in _loads(path, template) if found != template.loads[key]]
    if wrong:
        assert is_reported, f"{wrong[0]} is wrong and nobody says so"
        assert kind in MOVABLE, f"{wrong[0]} is wrong, and it is only reported: {report.problems}"
    if not is_reported and kind in OBJECTS:
        # The last bits of a compressed stream can be anything: then git, too, has no complaint.
        said = run_git(path, "fsck", "--full", "--strict", "--no-dangling", "--no-progress")
        assert said == "", "git finds what we do not"
    return "reported" if is_reported else "harmless"


def _loads(path: Path, template: Template) -> Iterator[tuple[tuple[str, str | None], Any]]:
    """Load everything; what raises a documented error is left out."""
    try:
        store = open_store(path)
    except StorageError:
        return
    with store:
        for key in template.loads:
            try:
                yield key, store.load(key[0], at=key[1]).to_document()
            except SessionNotFoundError:
                yield key, None
            except StorageError:
                continue
        try:
            store.list()
        except StorageError:
            return


def run_damages(template: Template, seeds: range) -> Counter[tuple[str, str]]:
    """Damage a fresh copy for each seed; return how often each class of file ended how."""
    files = template.files()
    kinds = sorted(files)
    ends: Counter[tuple[str, str]] = Counter()
    for seed in seeds:
        chance = random.Random(seed)
        kind = kinds[seed % len(kinds)]
        name = chance.choice(files[kind])
        with template.copy() as path:
            what = inflict(path, name, chance)
            if what is None:
                continue
            try:
                end = examine(path, template, kind)
            except BaseException as error:
                error.add_note(f"seed {seed}: {what} of {name}")
                raise
        ends[kind, end] += 1
    return ends


def test_a_clean_store_has_no_problem_and_no_note(template: Template) -> None:
    with template.copy() as path:
        for deep in (False, True):
            report = check(path, deep=deep)
            assert (report.exit_code, report.problems, report.notes) == (0, (), ())
            assert report.checked.commits == 17
        assert run_git(path, "status", "--porcelain") == ""


def test_damage_is_reported_or_harmless(template: Template) -> None:
    ends = run_damages(template, range(150))
    reported = sum(count for (_, end), count in ends.items() if end == "reported")
    assert sum(ends.values()) > 140
    # The rest hit what decides nothing: a log's text, padding, a setting.
    assert reported > 100
    for kind in OBJECTS:
        assert ends[kind, "harmless"] == 0, kind


@pytest.mark.deep
@pytest.mark.timeout(3600)
def test_five_thousand_damages(template: Template) -> None:
    ends = run_damages(template, range(10_000, 15_000))
    for (kind, end), count in sorted(ends.items()):
        print(f"{kind:12} {end:9} {count}")
    for kind in OBJECTS:
        assert ends[kind, "reported"] > 100 * ends[kind, "harmless"], kind
