"""Five copies of one store and the remote between them: what they do, and what must be true after.

Three replicas are stores (one of them bare), one is driven by the git command alone, one by a person
who edits the files. Every turn has a name of its own, so that it can be looked for at the end.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import gitstore
from gitstore import (
    BlockingSessionStore,
    Conflict,
    ConversationTurn,
    MergeConflictError,
    Runtime,
    SessionAsset,
    SessionNotFoundError,
    StorageError,
    SyncError,
    dump_session,
    read_session,
)
from gitstore.blocking import system_runtime
from gitstore.session.ids import path_of
from gitstore.types import SessionId
from tests.engine.faults import At, Report, Tap, changes, in_child, kill_me
from tests.gitcommand import assert_git_is_content, environment, run_git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START = datetime(2026, 1, 1, tzinfo=UTC)
IDS = tuple(SessionId(f"s{number}") for number in range(6))
#: Hours by which the clocks of the replicas are wrong.
_SKEW_HOURS = (0, -30, 5, 700, -2)
_CALLS_MAX = 150
_ROUNDS_MAX = 10
_CHECKOUT = Path(gitstore.__file__).parents[1]

_Way: TypeAlias = Literal["newest", "ours", "theirs", "call", "resolve", "raise"]
Kind: TypeAlias = Literal["store", "bare", "git", "hand"]
_KINDS: tuple[Kind, ...] = ("store", "store", "bare", "git", "hand")


@dataclass
class World:
    """The remote, the replicas, and what was acknowledged."""

    folder: Path
    chance: random.Random
    steps: int = 0
    #: Turns whose save was acknowledged, by session.
    acknowledged: dict[SessionId, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: Turns that somebody saw when they deleted the session.
    deleted: dict[SessionId, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: Names that were given to sessions, and the conflicts in which one of them lost.
    conflicts: list[Conflict] = field(default_factory=list[Conflict])
    happened: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def remote(self) -> Path:
        """The bare repository in the middle."""
        return self.folder / "remote.git"

    def now(self) -> datetime:
        """The true time: a minute a step."""
        return START + timedelta(minutes=self.steps)

    def turn_name(self) -> str:
        """Return a name that no turn has yet."""
        return f"turn-{self.steps}-{self.chance.getrandbits(32):08x}"

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Take the remote away for a while."""
        away = self.remote.with_suffix(".away")
        self.remote.rename(away)
        try:
            yield
        finally:
            away.rename(self.remote)


class Replica:
    """A copy in which a `gitstore` store works."""

    def __init__(self, world: World, number: int, kind: Kind) -> None:
        self.world = world
        self.path = world.folder / f"r{number}"
        self.kind = kind
        self._skew = timedelta(hours=_SKEW_HOURS[number])

    def runtime(self) -> Runtime:
        """Return a runtime whose clock is wrong by this replica's skew, and that does not wait."""
        world, skew = self.world, self._skew
        return replace(
            system_runtime(),
            clock=lambda: (world.now() + skew).timestamp(),  # noqa: PLW0108 -- the world moves on
            chance=random.Random(0).random,
        )

    def open(self) -> BlockingSessionStore:
        """Open the store of this replica."""
        return BlockingSessionStore.open(self.path, runtime=self.runtime(), durability="process")

    def save(self, session_id: SessionId) -> None:
        """Add a turn to a session, or make it."""
        name = self.world.turn_name()
        with self.open() as store:
            self._add_turn(store, session_id, name)
        self.world.acknowledged[session_id].add(name)

    def rename(self, session_id: SessionId) -> None:
        """Give a session another name: what two replicas cannot both do without a conflict."""
        with self.open() as store:
            try:
                asset = store.load(session_id)
            except SessionNotFoundError:
                return
            asset.project_context.name = self.world.turn_name()
            asset.touch(self.world.now())
            store.save(asset)

    def delete(self, session_id: SessionId) -> None:
        """Delete a session, after looking at it."""
        with self.open() as store:
            try:
                seen = {turn.id for turn in store.load(session_id).history.turns}
                store.delete(session_id)
            except SessionNotFoundError:
                return
        self.world.deleted[session_id] |= seen

    def sync(self, *, last: bool = False) -> None:
        """Exchange with the remote; decide conflicts in one of the ways there are."""
        ways: tuple[_Way, ...] = ("newest", "ours", "theirs", "call", "resolve", "raise")
        way = self.world.chance.choice(ways)
        with self.open() as store:
            try:
                if way == "newest" or way == "ours" or way == "theirs":  # noqa: PLR1714 -- narrows the type
                    report = store.sync(on_conflict=way)
                    self.world.conflicts += report.decided
                elif way == "call":
                    report = store.sync(on_conflict=lambda _: "theirs")
                    self.world.conflicts += report.decided
                else:
                    store.sync()
            except MergeConflictError as error:
                self.world.happened["conflict"] += 1
                if way == "raise" and not last:
                    _check_named(error, store)
                    return
                for conflict in store.conflicts():
                    store.resolve(conflict.session_id, "theirs", where=conflict.where)
                report = store.sync()
                self.world.conflicts += report.decided

    def sync_cut(self) -> None:
        """Try to sync while the remote is away: an error of sync, and nothing else."""
        with self.world.cut():
            try:
                with self.open() as store:
                    store.sync(on_conflict="newest")
            except SyncError:
                self.world.happened["cut"] += 1
            else:
                raise AssertionError("synced with a remote that is not there")

    def crash(self, session_id: SessionId) -> None:
        """Save or sync in a child that dies at some call."""
        number = self.world.chance.randrange(_CALLS_MAX)
        name = self.world.turn_name()
        syncs = self.world.chance.random() < 0.6

        def die(report: Report) -> None:
            store = self.open()
            Tap(str(self.path), At(number, "before", kill_me, accepts=changes)).install()
            if syncs:
                store.sync(on_conflict="newest")
            else:
                self._add_turn(store, session_id, name)
            report("acknowledged")

        reports, killed_by = in_child(die)
        self.world.happened["crash"] += bool(killed_by)
        if "acknowledged" in reports and not syncs:
            self.world.acknowledged[session_id].add(name)

    def _add_turn(self, store: BlockingSessionStore, session_id: SessionId, name: str) -> None:
        when = self.world.now() + self._skew
        try:
            asset = store.load(session_id)
        except SessionNotFoundError:
            asset = SessionAsset.new(id=session_id, now=when)
        asset.add_turn(ConversationTurn.user(f"says {name}", now=when, id=name), now=when)
        store.save(asset)


def _check_named(error: MergeConflictError, store: BlockingSessionStore) -> None:
    """Check that sync_status names the sessions that a sync gave up on."""
    named = {conflict.session_id for conflict in error.conflicts}
    assert named <= {*store.sync_status().conflicts}


class HandEdited(Replica):
    """A copy in which a person edits files with an editor, and syncs with gitstore."""

    def save(self, session_id: SessionId) -> None:
        """Write the file of a session, as an editor does; acknowledged by the next sync only."""
        file = self.path / path_of(session_id)
        when = self.world.now()
        name = self.world.turn_name()
        asset = (
            read_session(file.read_bytes())
            if file.exists()
            else SessionAsset.new(id=session_id, now=when)
        )
        asset.add_turn(ConversationTurn.user(f"writes {name}", now=when, id=name), now=when)
        file.parent.mkdir(parents=True, exist_ok=True)
        text = dump_session(asset)
        if self.world.chance.random() < 0.5:
            text = b"# by hand %s\n%s" % (name.encode(), text)
        file.write_bytes(text)
        with self.open() as store:
            assert name in {turn.id for turn in store.load(session_id).history.turns}
        self.world.acknowledged[session_id].add(name)


class ByGit(Replica):
    """A copy that only the git command touches, with the merge driver configured."""

    def save(self, session_id: SessionId) -> None:
        """Edit the file, and commit it."""
        file = self.path / path_of(session_id)
        name = self.world.turn_name()
        when = self.world.now()
        asset = (
            read_session(file.read_bytes())
            if file.exists()
            else SessionAsset.new(id=session_id, now=when)
        )
        asset.add_turn(ConversationTurn.user(f"commits {name}", now=when, id=name), now=when)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(dump_session(asset))
        self._commit("edit")
        self.world.acknowledged[session_id].add(name)

    def rename(self, session_id: SessionId) -> None:
        """Give the session another name, and commit it."""
        file = self.path / path_of(session_id)
        if file.exists():
            asset = read_session(file.read_bytes())
            asset.project_context.name = self.world.turn_name()
            file.write_bytes(dump_session(asset))
            self._commit("rename")

    def delete(self, session_id: SessionId) -> None:
        """Remove the file, and commit it."""
        file = self.path / path_of(session_id)
        if file.exists():
            seen = {turn.id for turn in read_session(file.read_bytes()).history.turns}
            run_git(self.path, "rm", "-q", path_of(session_id))
            self._commit("delete")
            self.world.deleted[session_id] |= seen

    def sync(self, *, last: bool = False) -> None:
        """Pull and push as people do, until the push is taken."""
        for _ in range(_ROUNDS_MAX):
            self._pull()
            if self._git("push", "-q", "origin", "main").returncode == 0:
                return
            assert not last or self.world.steps, "the remote refuses"
        raise AssertionError("git could not push")

    def sync_cut(self) -> None:
        """Try to pull while the remote is away."""
        with self.world.cut():
            assert self._git("pull", "-q", "--no-rebase", "--no-edit").returncode != 0

    def crash(self, session_id: SessionId) -> None:
        """Git dies as well as anything; its leftovers are a person's to clean up: not done here."""
        self.save(session_id)

    def _pull(self) -> None:
        done = self._git("pull", "-q", "--no-rebase", "--no-edit", "origin", "main")
        if done.returncode == 0:
            return
        unmerged = run_git(self.path, "diff", "--name-only", "--diff-filter=U").split()
        assert unmerged, done.stderr.decode()
        self.world.happened["git conflict"] += 1
        for path in unmerged:
            stages = {
                line.split()[2] for line in run_git(self.path, "ls-files", "-u", path).splitlines()
            }
            if stages >= {"2", "3"}:
                self._take_names_of_theirs(path)
            run_git(self.path, "add", path)  # of a delete and an edit, git left the edit there
        run_git(self.path, "commit", "-q", "--no-edit", GIT_COMMITTER_DATE=self._date())

    def _take_names_of_theirs(self, path: str) -> None:
        """Decide a conflict by hand: the driver marked only what both sides changed."""
        kept: list[str] = []
        side = "both"
        for line in (self.path / path).read_text().splitlines(keepends=True):
            if line.startswith("<<<<<<<"):
                side = "ours"
            elif line.startswith("=======") and side == "ours":
                side = "theirs"
            elif line.startswith(">>>>>>>"):
                side = "both"
            elif side != "ours":
                kept.append(line)
        (self.path / path).write_text("".join(kept))
        read_session((self.path / path).read_bytes())

    def _commit(self, subject: str) -> None:
        run_git(self.path, "add", "-A")
        run_git(self.path, "commit", "-q", "-m", subject, GIT_COMMITTER_DATE=self._date())

    def _date(self) -> str:
        return (self.world.now() + self._skew).isoformat()

    def _git(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["git", "-C", str(self.path), *arguments],
            capture_output=True,
            check=False,
            # git runs the merge driver, which must be this gitstore and not an installed one.
            env=environment(GIT_COMMITTER_DATE=self._date(), PYTHONPATH=str(_CHECKOUT)),
            timeout=60,
        )


_CLASSES: dict[Kind, type[Replica]] = {
    "store": Replica,
    "bare": Replica,
    "git": ByGit,
    "hand": HandEdited,
}


def make_world(folder: Path, seed: int) -> tuple[World, list[Replica]]:
    """Make a remote with one session, and five copies of it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    world = World(folder, random.Random(seed))
    run_git(folder, "init", "-q", "--bare", "-b", "main", str(world.remote))
    for name in ("receive.fsckObjects", "receive.denyNonFastForwards"):
        run_git(world.remote, "config", name, "true")
    replicas = [_CLASSES[kind](world, number, kind) for number, kind in enumerate(_KINDS)]
    first = replicas[0]
    BlockingSessionStore.open(first.path, create=True, runtime=first.runtime()).close()
    with first.open() as store:
        store.add_remote("origin", str(world.remote))
    first.save(IDS[0])
    with first.open() as store:
        store.push()
    for other in replicas[1:]:
        bare = other.kind == "bare"
        BlockingSessionStore.clone(str(world.remote), other.path, bare=bare).close()
    return world, replicas


def step(world: World, replicas: list[Replica]) -> None:
    """Let one replica do one thing."""
    world.steps += 1
    replica = world.chance.choice(replicas)
    session_id = world.chance.choice(IDS)
    actions: list[tuple[int, Callable[[], None]]] = [
        (38, partial(replica.save, session_id)),
        (10, partial(replica.rename, session_id)),
        (8, partial(replica.delete, session_id)),
        (28, replica.sync),
        (4, replica.sync_cut),
        (12, partial(replica.crash, session_id)),
    ]
    weights = [weight for weight, _ in actions]
    world.chance.choices([action for _, action in actions], weights)[0]()


def heal(world: World, replicas: list[Replica]) -> int:
    """Sync round after round until no tip moves; return how many rounds it took."""
    for number in range(_ROUNDS_MAX):
        before = tips(world, replicas)
        for replica in replicas:
            world.steps += 1
            replica.sync(last=True)
        if tips(world, replicas) == before:
            return number
    raise AssertionError("it does not come to rest")


def tips(world: World, replicas: list[Replica]) -> list[str]:
    """Return where the branch is, everywhere."""
    everywhere = [world.remote, *(replica.path for replica in replicas)]
    return [run_git(path, "rev-parse", "main").strip() for path in everywhere]


def examine(world: World, replicas: list[Replica]) -> None:
    """Raise unless nothing is lost, and all are equal."""
    assert len(set(tips(world, replicas))) == 1
    for replica in replicas:
        assert_git_is_content(replica.path)
    assert_git_is_content(world.remote)
    kept: dict[SessionId, set[str]] = {}
    with replicas[0].open() as store:
        for row in store.list():
            assert row.problem is None
            kept[row.id] = {turn.id for turn in store.load(row.id).history.turns}
    for session_id, turns in world.acknowledged.items():
        lost = turns - kept.get(session_id, set()) - world.deleted[session_id]
        named = {conflict.session_id for conflict in world.conflicts if conflict.where == ""}
        assert not lost or session_id in named, (session_id, lost)


def ended_well(world: World, replicas: list[Replica]) -> None:
    """Check that a store refuses nothing afterwards: one more save and sync everywhere."""
    for replica in replicas:
        try:
            replica.save(IDS[-1])
            replica.sync(last=True)
        except StorageError as error:
            error.add_note(f"in {replica.path}")
            raise
    heal(world, replicas)
    examine(world, replicas)
