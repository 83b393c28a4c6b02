"""Checks: the rows of a listing, and the sync status of a store without a remote."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gitstore.testing.promises import NOON, equal, require, say, session
from gitstore.types import SyncMode, SyncState

if TYPE_CHECKING:
    from gitstore.contract import SessionStore
    from gitstore.testing.promises import Check


async def an_empty_store_lists_nothing(store: SessionStore) -> None:
    """A new store has no sessions."""
    equal(await store.list(), [], "rows")
    require(not await store.exists("s-1"), "nothing exists")


async def rows_tell_what_is_stored(store: SessionStore) -> None:
    """A row holds what the session says, and its revision."""
    asset = session("s-1", "one", "two", minute=5)
    asset.project_context.root_path = "/home/me/project"
    saved = await store.save(asset)
    (row,) = await store.list()
    equal((row.id, row.name, row.project_path), ("s-1", "A session", "/home/me/project"), "names")
    equal((row.created_at, row.updated_at), (asset.created_at, asset.updated_at), "times")
    equal((row.turn_count, row.revision, row.problem), (2, saved.revision, None), "the rest")
    equal(row.sync_state, SyncState.LOCAL_ONLY, "sync state")


async def rows_follow_changes(store: SessionStore) -> None:
    """A listing shows what is stored at that moment."""
    asset = session("s-1", "one")
    await store.save(asset)
    await store.list()
    say(asset, "two", turn="t1", minute=1)
    saved = await store.save(asset)
    (row,) = await store.list()
    equal((row.turn_count, row.revision), (2, saved.revision), "after a save")
    await store.delete("s-1")
    equal(await store.list(), [], "after a delete")


async def the_latest_comes_first(store: SessionStore) -> None:
    """Rows are in the order of `updated_at`, latest first, and of ids where that is equal."""
    for name, minute in (("b", 1), ("d", 0), ("a", 1), ("c", 2)):
        await store.save(session(name, minute=minute))
    equal([row.id for row in await store.list()], ["c", "a", "b", "d"], "ids")


async def a_limit_cuts_the_end(store: SessionStore) -> None:
    """`limit` keeps the latest rows."""
    for minute in range(4):
        await store.save(session(f"s-{minute}", minute=minute))
    for limit in (0, 1, 3, 4, 9):
        wanted = ["s-3", "s-2", "s-1", "s-0"][:limit]
        equal([row.id for row in await store.list(limit=limit)], wanted, f"limit={limit}")


async def where_chooses_before_the_limit(store: SessionStore) -> None:
    """`where` is asked for each row; `limit` counts the rows that it chose."""
    for minute in range(6):
        await store.save(session(f"s-{minute}", *["x"] * (minute % 2), minute=minute))
    rows = await store.list(where=lambda row: row.turn_count == 1, limit=2)
    equal([row.id for row in rows], ["s-5", "s-3"], "ids")
    before = NOON + timedelta(minutes=2)
    rows = await store.list(where=lambda row: row.updated_at < before)
    equal([row.id for row in rows], ["s-1", "s-0"], "ids of early rows")


async def without_a_remote_the_store_is_offline(store: SessionStore) -> None:
    """A store without a remote says so, whatever it holds."""
    await store.save(session())
    status = await store.sync_status()
    equal((status.mode, status.last_sync, status.remote), (SyncMode.OFFLINE, None, None), "mode")
    equal((status.ahead, status.behind), (0, 0), "commits")
    equal((status.pending_uploads, status.pending_downloads), (0, 0), "sessions")
    equal((status.conflicts, status.is_fully_synced), ((), False), "the rest")


CHECKS: Final[tuple[Check, ...]] = (
    an_empty_store_lists_nothing,
    rows_tell_what_is_stored,
    rows_follow_changes,
    the_latest_comes_first,
    a_limit_cuts_the_end,
    where_chooses_before_the_limit,
    without_a_remote_the_store_is_offline,
)
