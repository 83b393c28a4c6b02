"""Sync as its users meet it: the engine's tests are `tests/engine/test_sync_*.py`."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import threading
import time
from contextlib import aclosing, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from anyio import CancelScope, Event, create_task_group, fail_after
from anyio.to_thread import run_sync

from gitstore import (
    BlockingSessionStore,
    Changed,
    ChangeKind,
    Conflict,
    ConversationTurn,
    Decision,
    GitSessionStore,
    InvalidRemoteError,
    MergeConflictError,
    Network,
    RemoteNotFoundError,
    RemoteUnavailableError,
    RepositoryError,
    SessionAsset,
    StoreClosedError,
    SyncMode,
    UntrustedContentError,
    Use,
)
from gitstore.system import system_runtime
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitstore import AutoSync

NOW = datetime(2026, 1, 1, tzinfo=UTC)
#: Programs of the machine's, and nothing of whoever runs the tests.
NETWORK = Network(environment={"PATH": os.environ["PATH"], "HOME": "/nonexistent"})
_PATIENCE_SECONDS = 20
#: Far below the timeout of a network wait, far above what a cancelled one needs.
_PROMPT_SECONDS = 5


def session(name: str, *texts: str, project: str | None = None) -> SessionAsset:
    asset = SessionAsset.new(id=name, now=NOW)
    asset.project_context.name = project
    for text in texts:
        at = NOW + timedelta(minutes=ord(text[0]))
        asset.add_turn(ConversationTurn.user(text, id=f"t-{text}", now=at), now=NOW)
    return asset


def turns(asset: SessionAsset) -> list[str]:
    return [turn.content for turn in asset.history.turns]


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A bare repository without commits."""
    run_git(tmp_path, "init", "-q", "--bare", "-b", "main", "remote.git")
    return tmp_path / "remote.git"


def opened(path: Path) -> BlockingSessionStore:
    return BlockingSessionStore.open(path, create=True, durability="process", network=NETWORK)


def cloned(remote: Path, path: Path) -> BlockingSessionStore:
    return BlockingSessionStore.clone(str(remote), path, durability="process", network=NETWORK)


@pytest.fixture
def two(
    tmp_path: Path, remote: Path
) -> Iterator[tuple[BlockingSessionStore, BlockingSessionStore]]:
    """Two stores with one session, in sync with one remote."""
    with opened(tmp_path / "here") as here:
        here.save(session("plan", "a"))
        here.add_remote("origin", str(remote))
        here.sync()
        with cloned(remote, tmp_path / "there") as there:
            yield here, there


def conflict(here: BlockingSessionStore, there: BlockingSessionStore, more: str = "") -> None:
    """Let both name the project, and the other one be faster."""
    there.save(session("plan", "a", "b", project=f"theirs{more}"))
    there.sync()
    here.save(session("plan", "a", "c", project=f"ours{more}"))


# --- both twins ---------------------------------------------------------------------


@pytest.mark.anyio
async def test_two_stores_meet_through_a_remote(tmp_path: Path, remote: Path) -> None:
    def phase(progress: object) -> None:
        threads.add(threading.get_ident())

    threads = set[int]()
    path = tmp_path / "here"
    here = await GitSessionStore.open(path, create=True, durability="process", network=NETWORK)
    async with here:
        await here.save(session("plan", "a"))
        added = await here.add_remote("origin", str(remote))
        assert await here.remotes() == [added]
        pushed = await here.push(progress=phase)
        assert (pushed.sent, pushed.local) == (("plan",), pushed.remote)
        there = await GitSessionStore.clone(
            str(remote), tmp_path / "there", durability="process", network=NETWORK, progress=phase
        )
        async with there:
            await there.save(session("plan", "a", "b"))
            await there.sync()
            await here.save(session("plan", "a", "c"))
            status = await here.fetch(progress=phase)
            assert (status.pending_uploads, status.pending_downloads) == (1, 1)
            assert (await here.pull(progress=phase)).merged == ("plan",)
            assert (await here.sync(progress=phase)).sent == ("plan",)
            assert (await there.pull()).updated == ("plan",)
            for store in (here, there):
                assert turns(await store.load("plan")) == ["a", "b", "c"]
                assert (await store.sync_status()).is_fully_synced
                assert all(each.is_ok for each in await store.doctor())
        await here.remove_remote("origin")
        assert await here.remotes() == []
    assert threads
    assert threading.get_ident() not in threads, "progress is told in the thread that works"
    await run_sync(assert_git_is_content, path)


def test_a_conflict_waits_for_its_decision(
    two: tuple[BlockingSessionStore, BlockingSessionStore],
) -> None:
    here, there = two
    conflict(here, there)
    before = run_git(here.path, "rev-parse", "main")
    with pytest.raises(MergeConflictError) as caught:
        here.sync()
    assert run_git(here.path, "rev-parse", "main") == before
    (found,) = here.conflicts()
    assert caught.value.conflicts == (found,)
    assert (found.where, found.ours, found.theirs) == ("project_context.name", "ours", "theirs")
    assert here.sync_status().conflicts == ("plan",)
    here.resolve("plan", Use(value="both"), where=found.where)
    assert here.conflicts() == []
    assert here.sync().decided == (found,)
    there.sync()
    for store in two:
        asset = store.load("plan")
        assert (asset.project_context.name, turns(asset)) == ("both", ["a", "b", "c"])


def test_a_remote_that_holds_a_password_is_not_written_down(tmp_path: Path) -> None:
    with opened(tmp_path / "s") as store:
        with pytest.raises(InvalidRemoteError) as caught:
            store.add_remote("origin", "https://ann:hunter2@example.org/s.git")
        assert "hunter2" not in str(caught.value)
        with pytest.raises(RemoteNotFoundError):
            store.sync()
    assert all(b"hunter2" not in f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())


# --- clones -------------------------------------------------------------------------


def test_a_clone_is_one_of_gits(
    tmp_path: Path, two: tuple[BlockingSessionStore, BlockingSessionStore], remote: Path
) -> None:
    here, there = two
    assert there.path == str(tmp_path / "there")
    assert_git_is_content(there.path)
    plain = tmp_path / "plain"
    run_git(tmp_path, "clone", "-q", str(remote), str(plain))
    for name in (
        "remote.origin.url",
        "remote.origin.fetch",
        "branch.main.remote",
        "branch.main.merge",
    ):
        assert run_git(there.path, "config", name) == run_git(plain, "config", name)
    here.save(session("more", "x"))
    here.push()
    run_git(there.path, "pull", "-q")
    assert turns(there.load("more")) == ["x"]
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "here",
        "plain",
        "remote.git",
        "there",
    ]


def test_a_clone_may_be_bare_empty_or_of_another_branch(tmp_path: Path, remote: Path) -> None:
    with cloned(remote, tmp_path / "empty") as store:
        assert (store.branch, store.list()) == ("main", [])
        store.save(session("plan", "a"))
        store.push()
    assert_git_is_content(tmp_path / "empty")
    run_git(remote, "branch", "other", "main")
    run_git(remote, "symbolic-ref", "HEAD", "refs/heads/other")
    (tmp_path / "of-head").mkdir()
    with cloned(remote, tmp_path / "of-head") as store:
        assert (store.branch, len(store.list())) == ("other", 1)
    options = {"durability": "process", "network": NETWORK}
    with BlockingSessionStore.clone(
        str(remote),
        tmp_path / "bare",
        bare=True,
        branch="main",
        **options,  # type: ignore[arg-type]
    ) as store:
        assert (store.branch, turns(store.load("plan"))) == ("main", ["a"])
        store.save(session("plan", "a", "b"))
        assert store.sync().sent == ("plan",)
    assert run_git(tmp_path / "bare", "rev-parse", "--is-bare-repository") == "true\n"
    assert_git_is_content(tmp_path / "bare")


def test_a_relative_path_is_where_the_caller_is(
    tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    BlockingSessionStore.clone("remote.git", "deep/er/clone", network=NETWORK).close()
    with BlockingSessionStore.open("deep/er/clone", network=NETWORK) as store:
        assert store.remotes()[0].url == str(remote)
        store.fetch()


def test_a_clone_that_fails_leaves_nothing(tmp_path: Path, remote: Path) -> None:
    with opened(tmp_path / "here") as here:
        here.save(session("plan", "a"))
        here.add_remote("origin", str(remote))
        here.push()
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RemoteNotFoundError):
        cloned(tmp_path / "nothing.git", tmp_path / "a" / "b" / "c")
    with pytest.raises(RemoteNotFoundError, match="no branch dev; it has main"):
        BlockingSessionStore.clone(str(remote), tmp_path / "a", branch="dev", network=NETWORK)
    with pytest.raises(InvalidRemoteError):
        BlockingSessionStore.clone("ext::sh -c id", tmp_path / "a", network=NETWORK)
    _plant_link(remote)
    for target in ("a", "empty"):
        with pytest.raises(UntrustedContentError):
            cloned(remote, tmp_path / target)
    assert sorted(tmp_path.iterdir()) == before
    assert not [*(tmp_path / "empty").iterdir()]
    (tmp_path / "empty" / "mine.txt").write_text("mine")
    with pytest.raises(RepositoryError, match="not empty"):
        cloned(remote, tmp_path / "empty")
    assert (tmp_path / "empty" / "mine.txt").read_text() == "mine"


def _plant_link(remote: Path) -> None:
    """Push a symbolic link where a session should be."""
    work = remote.parent / "work"
    run_git(remote.parent, "clone", "-q", str(remote), str(work))
    next((work / "sessions").rglob("*.yaml")).unlink()
    (work / "sessions" / "64" / "plan.yaml").symlink_to("/etc/passwd")
    run_git(work, "commit", "-q", "-a", "-m", "a link")
    run_git(work, "push", "-q")
    subprocess.run(["rm", "-r", str(work)], check=True)


# --- cancelling -----------------------------------------------------------------------


class Silent:
    """A server that takes every connection and says nothing."""

    def __init__(self) -> None:
        self.met = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._taken: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"git://127.0.0.1:{self._socket.getsockname()[1]}/s.git"

    def _serve(self) -> None:
        while True:
            try:
                taken, _ = self._socket.accept()
            except OSError:
                return
            self._taken.append(taken)
            taken.recv(1)
            self.met.set()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        for each in (self._socket, *self._taken):
            each.close()
        self._thread.join(_PATIENCE_SECONDS)


@pytest.fixture
def silent() -> Iterator[Silent]:
    with closing(Silent()) as server:
        yield server


@pytest.mark.anyio
async def test_a_cancelled_call_lets_go_of_the_network(tmp_path: Path, silent: Silent) -> None:
    path = tmp_path / "s"
    store = await GitSessionStore.open(path, create=True, durability="process", network=NETWORK)
    scope = CancelScope()

    async def hang(verb: str) -> None:
        with scope:
            match verb:
                case "clone":
                    await GitSessionStore.clone(silent.url, tmp_path / "c", network=NETWORK)
                case "fetch":
                    await store.fetch()
                case _:
                    await store.sync()

    async with store:
        await store.save(session("plan", "a"))
        await store.add_remote("origin", silent.url)
        before = await run_sync(run_git, path, "show-ref")
        for verb in ("fetch", "sync", "clone"):
            scope = CancelScope()
            silent.met.clear()
            async with create_task_group() as group:
                group.start_soon(hang, verb)
                assert await run_sync(silent.met.wait, _PATIENCE_SECONDS)
                start = time.monotonic()
                scope.cancel()
            assert time.monotonic() - start < _PROMPT_SECONDS
            assert scope.cancelled_caught
        assert await run_sync(run_git, path, "show-ref") == before
    assert await run_sync(os.listdir, tmp_path) == ["s"]
    await run_sync(assert_git_is_content, path)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancelled_task_lets_go_of_the_network(tmp_path: Path, silent: Silent) -> None:
    """asyncio's own way, which anyio's scopes know nothing of."""
    store = await GitSessionStore.open(tmp_path, create=True, durability="process")
    async with store:
        await store.add_remote("origin", silent.url)
        task = asyncio.ensure_future(store.pull())
        assert await run_sync(silent.met.wait, _PATIENCE_SECONDS)
        task.cancel()
        start = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - start < _PROMPT_SECONDS


# --- decisions that are asked for ---------------------------------------------------------


@pytest.mark.anyio
async def test_conflicts_are_decided_by_whom_the_caller_names(tmp_path: Path, remote: Path) -> None:
    """Awaitable answers come from the loop, others from the worker thread."""

    async def asked(found: Conflict) -> Decision:
        threads.append(threading.get_ident())
        assert (found.ours, found.theirs) == ("ours", "theirs")
        return "theirs"

    def told(found: Conflict) -> Decision:
        threads.append(threading.get_ident())
        return Use(value="third")

    threads: list[int] = []
    here, there = await run_sync(_meeting, tmp_path, remote)
    async with GitSessionStore(here) as mine, GitSessionStore(there) as other:
        for decide, more, result in ((asked, "", "theirs"), (told, "2", "third")):
            await run_sync(conflict, here, there, more)
            report = await mine.sync(on_conflict=decide)
            assert [each.where for each in report.decided] == ["project_context.name"]
            assert (await mine.load("plan")).project_context.name == result
            await other.sync()
    assert threads[0] == threading.get_ident() != threads[1]


def _meeting(tmp_path: Path, remote: Path) -> tuple[BlockingSessionStore, BlockingSessionStore]:
    here = opened(tmp_path / "here")
    here.save(session("plan", "a"))
    here.add_remote("origin", str(remote))
    here.sync()
    return here, cloned(remote, tmp_path / "there")


@pytest.mark.anyio
async def test_nobody_waits_for_an_answer_that_nobody_wants_any_more(
    tmp_path: Path, remote: Path
) -> None:
    async def never(_: Conflict) -> Decision:
        asked.set()
        try:
            await Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async def pull() -> None:
        with scope:
            await mine.pull(on_conflict=never)

    asked, ended, scope = Event(), Event(), CancelScope()
    here, there = await run_sync(_meeting, tmp_path, remote)
    async with GitSessionStore(here) as mine, GitSessionStore(there):
        await run_sync(conflict, here, there)
        before = await run_sync(run_git, here.path, "rev-parse", "main")
        with fail_after(_PATIENCE_SECONDS):
            async with create_task_group() as group:
                group.start_soon(pull)
                await asked.wait()
                scope.cancel()
        assert ended.is_set()
        assert await run_sync(run_git, here.path, "rev-parse", "main") == before
        await run_sync(assert_git_is_content, here.path)


# --- in the background ----------------------------------------------------------------------


def _wait(auto: AutoSync, rounds: int) -> None:
    with auto._changed:
        assert auto._changed.wait_for(lambda: auto.rounds >= rounds, _PATIENCE_SECONDS)


@pytest.mark.anyio
@pytest.mark.faults
async def test_a_store_keeps_itself_in_sync(tmp_path: Path, remote: Path) -> None:
    async def asked(_: Conflict) -> Decision:
        return "theirs"

    here, there = await run_sync(_meeting, tmp_path, remote)
    async with GitSessionStore(here) as mine, GitSessionStore(there) as other:
        await run_sync(conflict, here, there)
        async with mine.auto_sync(interval_seconds=3600, on_conflict=asked) as auto:
            await run_sync(_wait, auto, 1)
            assert auto.problem is None
            assert auto.last_report is not None
            assert auto.last_report.sent == ("plan",)
            await mine.save(session("later", "x"))  # noticed, and not in an hour
            await run_sync(_wait, auto, 2)
        assert not auto._thread.is_alive()
        assert set((await other.pull()).new) == {"later"}
        assert (await other.load("plan")).project_context.name == "theirs"


def test_a_problem_in_the_background_is_told(tmp_path: Path) -> None:
    with opened(tmp_path / "s") as store:
        store.add_remote("origin", str(tmp_path / "nothing.git"))
        with store.auto_sync(interval_seconds=3600) as auto:
            _wait(auto, 1)
            assert isinstance(auto.problem, RemoteNotFoundError)
        assert (store.sync_status().mode, store.sync_status().problem) == (
            SyncMode.ERROR,
            str(auto.problem),
        )


def test_leaving_the_block_does_not_wait_for_the_network(tmp_path: Path, silent: Silent) -> None:
    begun: list[tuple[AutoSync, float]] = []

    def leave(store: BlockingSessionStore) -> None:
        with store.auto_sync() as auto:
            assert silent.met.wait(_PATIENCE_SECONDS)
            begun.append((auto, time.monotonic()))
            raise ZeroDivisionError

    with opened(tmp_path / "s") as store:
        store.save(session("plan", "a"))
        store.add_remote("origin", silent.url)
        with pytest.raises(ZeroDivisionError):
            leave(store)
        ((auto, start),) = begun
        assert time.monotonic() - start < _PROMPT_SECONDS
        assert (auto.rounds, auto.problem) == (0, None)


# --- watching ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_changes_are_told_as_they_come(tmp_path: Path) -> None:
    store = await GitSessionStore.open(tmp_path, create=True, durability="process")
    async with store:
        start = (await store.sync_status()).local
        made = await store.save(session("plan", "a"))
        async with aclosing(store.watch(poll_seconds=0.001, since=start)) as changes:
            with fail_after(_PATIENCE_SECONDS):
                first = await anext(changes)
                assert made.commit is not None
                expected = Changed(
                    session_id=made.session_id, kind=ChangeKind.CREATED, commit=made.commit
                )
                assert first == expected
                await store.delete("plan")
                second = await anext(changes)
                assert (second.session_id, second.kind) == ("plan", ChangeKind.DELETED)


def test_a_blocking_watch_ends_with_its_store(tmp_path: Path) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            with opened(tmp_path) as other:
                other.save(session("plan", "a"))
        else:
            store.close()

    runtime = replace(system_runtime(), sleep=sleep)
    store = BlockingSessionStore.open(tmp_path, create=True, runtime=runtime)
    changes = store.watch(poll_seconds=7)
    assert next(changes).kind is ChangeKind.CREATED
    with pytest.raises(StoreClosedError):
        next(changes)
    assert pauses == [7, 7]


# --- opening --------------------------------------------------------------------------------------


def test_plain_git_is_told_how_to_merge_unless_it_knows(tmp_path: Path) -> None:
    for name, driver in (("ours", None), ("theirs", "my-driver %A")):
        path = tmp_path / name
        run_git(tmp_path, "init", "-q", "-b", "main", name)
        if driver is not None:
            run_git(path, "config", "merge.gitstore.driver", driver)
        opened(path).close()
        told = run_git(path, "config", "merge.gitstore.driver").strip()
        assert told == driver if driver is not None else "merge-driver %O %A %B %P" in told
        named = run_git(path, "config", "merge.gitstore.name", check=False)
        assert bool(named) is (driver is None)
        config = (path / ".git" / "config").read_bytes()
        opened(path).close()
        assert (path / ".git" / "config").read_bytes() == config


def test_a_locked_configuration_does_not_keep_a_store_closed(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "-q", "-b", "main", ".")
    (tmp_path / ".git" / "config.lock").touch()
    start = time.monotonic()
    opened(tmp_path).close()
    assert time.monotonic() - start < _PROMPT_SECONDS
    assert run_git(tmp_path, "config", "merge.gitstore.driver", check=False) == ""


def test_credentials_are_asked_for(tmp_path: Path) -> None:
    def ask(url: str) -> None:
        return None

    with BlockingSessionStore.open(
        tmp_path, create=True, network=NETWORK, credentials=ask
    ) as store:
        assert store._exchange._network == replace(NETWORK, ask=ask)


def test_an_unreachable_remote_is_retryable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"git://127.0.0.1:{taken.getsockname()[1]}/s.git"
    with opened(tmp_path) as store:
        store.add_remote("origin", url)
        with pytest.raises(RemoteUnavailableError) as caught:
            store.sync()
    assert caught.value.retryable
