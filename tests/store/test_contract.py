"""The contract of `SessionStore`, kept by every store, on both loops."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from anyio.to_thread import run_sync

from gitstore import BlockingSessionStore, GitSessionStore, SessionStore
from gitstore.testing import (
    ContractCheck,
    MemorySessionStore,
    check_session_store,
    session_store_contract,
)
from tests.conftest import Git

if TYPE_CHECKING:
    import builtins
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from gitstore import SessionAsset, SessionMeta
    from gitstore.types import Saved, SyncStatus

CHECKS = session_store_contract()


class Threaded(SessionStore):
    """The blocking store as an async one: each call in a thread of its own."""

    def __init__(self, store: BlockingSessionStore) -> None:
        self._store = store

    async def save(self, asset: SessionAsset, **options: Any) -> Saved:
        return await run_sync(partial(self._store.save, asset, **options))

    async def load(self, session_id: str, **options: Any) -> SessionAsset:
        return await run_sync(partial(self._store.load, session_id, **options))

    async def list(self, **options: Any) -> builtins.list[SessionMeta]:
        return await run_sync(partial(self._store.list, **options))

    async def delete(self, session_id: str, **options: Any) -> Saved:
        return await run_sync(partial(self._store.delete, session_id, **options))

    async def exists(self, session_id: str) -> bool:
        return await run_sync(self._store.exists, session_id)

    async def sync_status(self) -> SyncStatus:
        return await run_sync(self._store.sync_status)


@pytest.mark.anyio
@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_memory(check: ContractCheck) -> None:
    await check(MemorySessionStore())


@pytest.fixture(scope="module")
def empty_stores(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """New stores, by whether they are bare: copied, because making one waits for the disk."""
    folder = tmp_path_factory.mktemp("empty")
    for bare in (False, True):
        BlockingSessionStore.open(folder / str(bare), create=True, bare=bare).close()
    return {bare: folder / str(bare) for bare in (False, True)}


@pytest.mark.anyio
@pytest.mark.parametrize("bare", [False, True], ids=["worktree", "bare"])
@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_git(
    check: ContractCheck, empty_stores: dict[bool, Path], tmp_path: Path, bare: bool
) -> None:
    path = tmp_path / "store"
    shutil.copytree(empty_stores[bare], path)
    async with await GitSessionStore.open(path, durability="process") as store:
        await check(store)
    await run_sync(Git(path).assert_sound)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_blocking(
    check: ContractCheck, empty_stores: dict[bool, Path], tmp_path: Path
) -> None:
    path = tmp_path / "store"
    shutil.copytree(empty_stores[False], path)
    store = await run_sync(partial(BlockingSessionStore.open, path, durability="process"))
    await check(Threaded(store))
    await run_sync(store.close)


@pytest.mark.anyio
async def test_the_whole_contract_at_once() -> None:
    made: list[SessionStore] = []

    @asynccontextmanager
    async def make() -> AsyncGenerator[SessionStore]:
        made.append(MemorySessionStore())
        yield made[-1]

    await check_session_store(make)
    assert len(made) == len(CHECKS)


class Forgetful(MemorySessionStore):
    """Says that it deleted, and did not."""

    async def delete(self, session_id: str, **options: Any) -> Saved:
        saved = await super().delete(session_id, **options)
        self._history.pop()
        return saved


class Careless(MemorySessionStore):
    """Lets the last writer win."""

    async def save(self, asset: SessionAsset, **options: Any) -> Saved:
        asset.mark_stored(None)
        return await super().save(asset, **options)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        (Forgetful, {"a_delete_removes", "exists_tells", "rows_follow_changes"}),
        (Careless, {"a_stale_save_keeps_both_sides", "turns_of_many_writers_are_all_kept"}),
    ],
)
async def test_a_broken_store_is_told_what_it_broke(
    kind: type[MemorySessionStore], broken: set[str]
) -> None:
    @asynccontextmanager
    async def make() -> AsyncGenerator[SessionStore]:
        yield kind()

    with pytest.raises(ExceptionGroup) as caught:
        await check_session_store(make)
    notes = [note for error in caught.value.exceptions for note in error.__notes__]
    assert len(notes) == len(caught.value.exceptions) < len(CHECKS)
    assert broken <= {note.partition(":")[0] for note in notes}
    for name in broken:
        assert name in str(caught.value)


def test_checks_have_names_and_promises() -> None:
    names = [check.name for check in CHECKS]
    assert len({*names}) == len(names) >= 40
    assert all(check.promise for check in CHECKS)
