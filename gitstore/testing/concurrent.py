"""Checks: tasks that write at the same time lose nothing, and only one wins what one can win."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio import create_task_group

from gitstore.errors import SessionError, SessionExistsError, StaleRevisionError
from gitstore.testing.promises import equal, require, say, session, turns
from gitstore.types import Expect, Outcome, Revision

if TYPE_CHECKING:
    from gitstore.contract import SessionStore
    from gitstore.session.model import SessionAsset
    from gitstore.testing.promises import Check
    from gitstore.types import Expected, Saved

_TASKS: Final = 16


async def saves_of_many_sessions_are_all_kept(store: SessionStore) -> None:
    """Each of many sessions saved at once is stored, with a commit of its own."""
    commits: set[str | None] = set()

    async def save(number: int) -> None:
        saved = await store.save(session(f"s-{number}", f"text {number}"))
        commits.add(saved.commit)

    async with create_task_group() as group:
        for number in range(_TASKS):
            group.start_soon(save, number)
    equal(len(commits - {None}), _TASKS, "commits")
    equal(len(await store.list()), _TASKS, "rows")
    for number in range(_TASKS):
        wanted = session(f"s-{number}", f"text {number}")
        equal(await store.load(f"s-{number}"), wanted, "the stored session")


async def turns_of_many_writers_are_all_kept(store: SessionStore) -> None:
    """Many holders of one session each add a turn and save: all turns are there."""
    await store.save(session("shared", "hello"))

    async def add(number: int) -> None:
        asset = await store.load("shared")
        say(asset, f"from {number}", turn=f"from-{number}", minute=number)
        await store.save(asset)

    async with create_task_group() as group:
        for number in range(_TASKS):
            group.start_soon(add, number)
    wanted = {"t0", *(f"from-{number}" for number in range(_TASKS))}
    found = turns(await store.load("shared"))
    equal(len(found), len(wanted), "number of turns")
    equal({*found}, wanted, "turns")


async def one_creator_wins(store: SessionStore) -> None:
    """Of many that expect nothing to be there, exactly one creates the session."""
    won, lost = await _race(store, [session("s-1", f"{n}") for n in range(_TASKS)], Expect.ABSENT)
    equal(len(won), 1, "winners")
    equal({type(error) for error in lost}, {SessionExistsError}, "what the others were told")
    equal((await store.load("s-1")).revision, won[0].revision, "what is stored")


async def one_updater_wins(store: SessionStore) -> None:
    """Of many that expect one revision, exactly one updates the session."""
    base = await store.save(session("s-1"))
    assets = [await store.load("s-1") for _ in range(_TASKS)]
    for number, asset in enumerate(assets):
        say(asset, f"{number}", turn=f"t{number}")
    won, lost = await _race(store, assets, base.revision or Revision(""))
    equal(len(won), 1, "winners")
    equal({type(error) for error in lost}, {StaleRevisionError}, "what the others were told")
    equal(len(turns(await store.load("s-1"))), 1, "turns that are stored")


async def saves_and_deletes_may_race(store: SessionStore) -> None:
    """After saves and deletes at once, listing and loading agree on what is left."""
    await store.save(session("s-1"))

    async def write(number: int) -> None:
        await store.save(session("s-1", f"{number}"))

    async def delete() -> None:
        try:
            deleted = await store.delete("s-1")
        except SessionError:
            return
        equal(deleted.outcome, Outcome.DELETED, "what was done")

    async with create_task_group() as group:
        for number in range(_TASKS // 2):
            group.start_soon(write, number)
            group.start_soon(delete)
    rows = await store.list()
    equal([row.id for row in rows], ["s-1"] if await store.exists("s-1") else [], "rows")
    if rows:
        require((await store.load("s-1")).revision == rows[0].revision, "row and session agree")


async def _race(
    store: SessionStore, assets: list[SessionAsset], expected: Expected
) -> tuple[list[Saved], list[SessionError]]:
    won: list[Saved] = []
    lost: list[SessionError] = []

    async def save(asset: SessionAsset) -> None:
        try:
            won.append(await store.save(asset, expected=expected))
        except SessionError as error:
            lost.append(error)

    async with create_task_group() as group:
        for asset in assets:
            group.start_soon(save, asset)
    equal(len(won) + len(lost), len(assets), "saves that were answered")
    return won, lost


CHECKS: Final[tuple[Check, ...]] = (
    saves_of_many_sessions_are_all_kept,
    turns_of_many_writers_are_all_kept,
    one_creator_wins,
    one_updater_wins,
    saves_and_deletes_may_race,
)
