"""Promise 4: no write is lost between tasks, threads and stores; and the life of a store."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from anyio import create_task_group
from anyio.to_thread import run_sync

from gitstore import (
    BlockingSessionStore,
    Expect,
    GitSessionStore,
    Outcome,
    OutOfSpaceError,
    RepositoryLockedError,
    SerializationError,
    SessionAsset,
    SessionExistsError,
    SessionNotFoundError,
    StaleRevisionError,
    StoreClosedError,
)
from gitstore.blocking import system_runtime
from gitstore.engine.transactions import ATTEMPTS_POLITE
from gitstore.testing.promises import NOON, say, session, turns
from gitstore.types import Revision
from tests.conftest import Git
from tests.gitcommand import assert_git_is_content, run_git
from tests.store.gated import gated_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gitstore import StorageError
    from gitstore.git.draft import Draft

_TASKS = 64


def count(path: Path) -> int:
    return int(Git(path)("rev-list", "--count", "main"))


@pytest.mark.anyio
@pytest.mark.parametrize("bare", [False, True], ids=["worktree", "bare"])
async def test_two_stores_and_many_tasks_lose_nothing(tmp_path: Path, bare: bool) -> None:
    """Half of the tasks save sessions of their own, half add a turn to the same one."""
    one = await GitSessionStore.open(tmp_path / "r", create=True, bare=bare, durability="process")
    two = await GitSessionStore.open(tmp_path / "r", durability="process")
    await one.save(session("shared", "hello"))
    commits: list[str | None] = []

    async def work(number: int) -> None:
        store = (one, two)[number % 2]
        if number < _TASKS // 2:
            commits.append((await store.save(session(f"s-{number}", f"{number}"))).commit)
            return
        asset = await store.load("shared")
        say(asset, f"{number}", turn=f"from-{number}", minute=number)
        commits.append((await store.save(asset)).commit)

    async with one, two:
        async with create_task_group() as group:
            for number in range(_TASKS):
                group.start_soon(work, number)
        assert len({*commits} - {None}) == _TASKS, "a commit for each save"
        found = turns(await two.load("shared"))
        assert {*found} == {"t0", *(f"from-{n}" for n in range(_TASKS // 2, _TASKS))}
        assert len(found) == len({*found})
        assert len(await one.list()) == 1 + _TASKS // 2
        assert await one.list() == await two.list()
        for number in range(_TASKS // 2):
            assert await two.load(f"s-{number}") == session(f"s-{number}", f"{number}")
    git = Git(tmp_path / "r")
    await run_sync(git.assert_sound)
    assert await run_sync(count, tmp_path / "r") == 2 + _TASKS
    log = await run_sync(git, "rev-list", "main")
    assert {*commits} <= {*log.split()}


def test_threads_share_a_store(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path, create=True, durability="process") as store:
        store.save(session("shared", "hello"))

        def work(number: int) -> None:
            for turn in range(4):
                with store.edit("shared") as asset:
                    say(asset, "x", turn=f"{number}-{turn}", minute=turn)
                store.save(session(f"s-{number}-{turn}"))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        wanted = {"t0", *(f"{number}-{turn}" for number in range(8) for turn in range(4))}
        assert {*turns(store.load("shared"))} == wanted
        assert len(store.list()) == 1 + 32
    Git(tmp_path).assert_sound()
    assert count(tmp_path) == 2 + 64


def queue_behind_one(
    path: Path,
    calls: list[Callable[[BlockingSessionStore], Any]],
    *,
    failure: StorageError | None = None,
) -> tuple[BlockingSessionStore, list[Any], int]:
    """Hold one save until all calls wait behind it; return what each gave, and the publications."""
    store, repository = gated_store(path)
    store.save(session("present", "hello"))
    before = repository.published
    repository.shut()

    def outcome(call: Callable[[BlockingSessionStore], Any]) -> Any:
        try:
            return call(store)
        except Exception as error:  # noqa: BLE001 -- it is what the test looks at
            return error

    with ThreadPoolExecutor(len(calls) + 1) as pool:
        first = pool.submit(store.save, session("first"))
        repository.wait_reached()
        repository.failure = failure
        waiting: list[Future[Any]] = []
        pause = threading.Event()
        for call in calls:
            waiting.append(pool.submit(outcome, call))
            while store._writer.waiting < sum(not each.done() for each in waiting):
                pause.wait(0.001)
        repository.gate.set()
        first.result()
        results = [each.result() for each in waiting]
        return store, results, repository.published - before


def test_a_group_makes_one_commit_per_save_and_moves_the_branch_once(tmp_path: Path) -> None:
    calls = [partial(BlockingSessionStore.save, asset=session(f"s-{n}", "hi")) for n in range(10)]
    _, results, published = queue_behind_one(tmp_path, [*calls])
    commits = [saved.commit for saved in results]
    assert len({*commits}) == 10
    assert published == 2
    git = Git(tmp_path)
    assert git("rev-list", "-10", "main").split() == commits[::-1], "one chain, in their order"
    for commit in commits:
        changed = git("diff-tree", "--no-commit-id", "--name-only", "-r", commit).split()
        assert len(changed) == 1
    git.assert_sound()


def test_a_save_that_fails_in_a_group_fails_alone(tmp_path: Path) -> None:
    not_there = Revision("1" * 40)
    bad = session("bad")
    bad.metadata["x"] = float("nan")
    save = BlockingSessionStore.save
    calls: list[Callable[[BlockingSessionStore], Any]] = [
        partial(save, asset=session("s-1", "hi")),
        partial(save, asset=session("present", "x"), expected=not_there),
        partial(save, asset=session("present", "x"), expected=Expect.ABSENT),
        lambda store: store.delete("missing"),
        partial(save, asset=session("PRESENT")),
        partial(save, asset=bad),
        partial(save, asset=session("s-2", "hi")),
        lambda store: store.delete("present"),
    ]
    store, results, _ = queue_behind_one(tmp_path, calls)
    kinds = [getattr(each, "outcome", type(each)) for each in results]
    assert kinds == [
        Outcome.CREATED,
        StaleRevisionError,
        SessionExistsError,
        SessionNotFoundError,
        SessionExistsError,
        SerializationError,
        Outcome.CREATED,
        Outcome.DELETED,
    ]
    assert sorted(row.id for row in store.list()) == ["first", "s-1", "s-2"]
    Git(tmp_path).assert_sound()
    assert count(tmp_path) == 1 + 2 + 3


def test_saves_of_one_session_in_a_group_see_each_other(tmp_path: Path) -> None:
    absent = partial(BlockingSessionStore.save, expected=Expect.ABSENT)
    calls = [partial(absent, asset=session("same", f"{number}")) for number in range(6)]
    store, results, _ = queue_behind_one(tmp_path, [*calls])
    assert results[0].outcome is Outcome.CREATED
    assert {type(each) for each in results[1:]} == {SessionExistsError}
    assert store.load("same").revision == results[0].revision


def test_a_group_that_cannot_be_published_is_refused_for_that_alone(tmp_path: Path) -> None:
    """The second save must not be told of a session that the first would have made."""
    absent = partial(BlockingSessionStore.save, expected=Expect.ABSENT)
    calls = [partial(absent, asset=session("same", f"{number}")) for number in range(3)]
    full = OutOfSpaceError("the disk is full", path=str(tmp_path))
    store, results, _ = queue_behind_one(tmp_path, [*calls], failure=full)
    assert results == [full] * 3
    assert not store.exists("same")


def test_a_lock_that_is_held_is_told_and_can_be_retried(tmp_path: Path) -> None:
    asset = session("s-1", "hello")
    with BlockingSessionStore.open(
        tmp_path, create=True, durability="process", lock_timeout_seconds=0.05
    ) as store:
        lock = tmp_path / ".git/refs/heads/main.lock"
        lock.touch()
        with pytest.raises(RepositoryLockedError) as caught:
            store.save(asset)
        assert caught.value.lock == str(lock)
        assert caught.value.retryable
        assert asset.revision is None
        assert not (tmp_path / "sessions").exists() or not [*tmp_path.glob("sessions/*/*")]
        lock.unlink()
        assert store.save(asset).outcome is Outcome.CREATED
    Git(tmp_path).assert_sound()


# --- the life of a store --------------------------------------------------------


CALLS: dict[str, Callable[[Any], Any]] = {
    "save": lambda store: store.save(session("s-1")),
    "load": lambda store: store.load("s-1"),
    "list": lambda store: store.list(),
    "delete": lambda store: store.delete("s-1"),
    "exists": lambda store: store.exists("s-1"),
    "sync_status": lambda store: store.sync_status(),
    "history": lambda store: store.history("s-1"),
    "diff": lambda store: store.diff("s-1"),
    "diff_store": lambda store: store.diff_store("main"),
    "blame": lambda store: store.blame("s-1"),
    "deleted": lambda store: store.deleted(),
    "restore": lambda store: store.restore("s-1", at="main"),
    "undo": lambda store: store.undo("main"),
    "copy": lambda store: store.copy("s-1", "s-2"),
    "verify": lambda store: store.verify(),
    "repair": lambda store: store.repair(),
    "report": lambda store: store.report("s-1"),
    "export_log": lambda store: store.export_log("s-1"),
    "maintain": lambda store: store.maintain(),
    "stats": lambda store: store.stats(),
    "purge": lambda store: store.purge("s-1", confirm="s-1"),
    "prune_history": lambda store: store.prune_history(before=NOON, confirm="main"),
    "remotes": lambda store: store.remotes(),
    "doctor": lambda store: store.doctor(),
    "conflicts": lambda store: store.conflicts(),
    "add_remote": lambda store: store.add_remote("origin", "/nonexistent/remote.git"),
    "fetch": lambda store: store.fetch(),
    "pull": lambda store: store.pull(),
    "push": lambda store: store.push(),
    "sync": lambda store: store.sync(),
    "resolve": lambda store: store.resolve("s-1", "ours"),
    "remove_remote": lambda store: store.remove_remote("origin"),
}
#: What leaves nothing for the calls after it, or fails in a store without remote.
ENDING = ("delete", "undo", "purge", "prune_history", "fetch", "pull", "push", "sync", "resolve")
#: What is no call: made otherwise, entered, or iterated (`tests/store/test_sync.py`).
OTHERS = {"open", "clone", "close", "path", "branch", "edit", "auto_sync", "watch"}


@pytest.fixture(scope="module")
async def closed(
    anyio_backend: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[GitSessionStore, Path]:
    """A store that was closed twice, and its folder."""
    path = tmp_path_factory.mktemp("closed")
    async with await GitSessionStore.open(path, create=True, durability="process") as store:
        await store.save(session("s-1"))
    await store.close()
    return store, path


@pytest.mark.anyio
@pytest.mark.parametrize("name", CALLS)
async def test_a_closed_store_says_so(closed: tuple[GitSessionStore, Path], name: str) -> None:
    store, path = closed
    with pytest.raises(StoreClosedError) as caught:
        await CALLS[name](store)
    assert caught.value.path == str(path)
    with pytest.raises(StoreClosedError):
        await run_sync(CALLS[name], store._blocking)
    with pytest.raises(StoreClosedError):
        async with store.edit("s-1"):
            pytest.fail("edited a closed store")


def test_a_blocking_store_is_closed_by_its_block(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path, create=True, durability="process") as store:
        store.save(session("s-1"))
    store.close()
    with pytest.raises(StoreClosedError):
        store.exists("s-1")
    with BlockingSessionStore.open(tmp_path) as again:
        assert again.exists("s-1")


def test_a_store_that_is_closed_while_it_saves_finishes(tmp_path: Path) -> None:
    store, repository = gated_store(tmp_path)
    repository.shut()
    with ThreadPoolExecutor(1) as pool:
        saving = pool.submit(store.save, session("s-1", "hello"))
        repository.wait_reached()
        store.close()
        repository.gate.set()
        assert saving.result().outcome is Outcome.CREATED
    Git(tmp_path).assert_sound()


def test_the_calls_above_are_all_there_are() -> None:
    public = {name for name in dir(BlockingSessionStore) if not name.startswith("_")}
    assert public - OTHERS == {*CALLS}


def test_an_interrupted_save_is_not_made_later(tmp_path: Path) -> None:
    """Ctrl-C while waiting for the lock: the caller is gone, and so must be the save."""
    real = system_runtime()

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    runtime = dataclasses.replace(real, sleep=interrupted)
    with (
        BlockingSessionStore.open(tmp_path / "s", create=True) as other,
        BlockingSessionStore.open(tmp_path / "s", runtime=runtime) as store,
    ):
        asset = SessionAsset.new(id="interrupted")
        with other._repository.writing(), pytest.raises(KeyboardInterrupt):
            store.save(asset)
        assert asset.revision is None
        store.save(SessionAsset.new(id="next"))
        assert [row.id for row in store.list()] == ["next"]


@pytest.mark.parametrize("bare", [False, True])
def test_a_rival_that_never_rests_does_not_starve_a_save(
    tmp_path: Path, bare: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A git command moves the branch each time that a save is about to: at last it is kept out."""
    path = tmp_path / "s"
    with BlockingSessionStore.open(path, create=True, bare=bare) as store:
        publish = store._repository.publish

        def raced(draft: Draft, **more: Any) -> bool:
            tree = run_git(path, "rev-parse", "main^{tree}").strip()
            tip = run_git(path, "rev-parse", "main").strip()
            rival = run_git(path, "commit-tree", tree, "-p", tip, "-m", "rival").strip()
            run_git(path, "update-ref", "refs/heads/main", rival, tip, check=False)
            return publish(draft, **more)

        monkeypatch.setattr(store._repository, "publish", raced)
        saved = store.save(SessionAsset.new(id="s1"))
        assert run_git(path, "rev-parse", "main").strip() == saved.commit
        assert run_git(path, "log", "--format=%s").split("\n").count("rival") == ATTEMPTS_POLITE
    assert_git_is_content(path)
