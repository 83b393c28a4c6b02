"""Checks: what saves and deletes do, what they expect, and how stale ones are merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gitstore.errors import SessionExistsError, SessionNotFoundError, StaleRevisionError
from gitstore.git.objects import object_id
from gitstore.session.files import dump_session
from gitstore.testing.promises import equal, raises, require, say, session, turns
from gitstore.types import Expect, Outcome, Revision

if TYPE_CHECKING:
    from gitstore.contract import SessionStore
    from gitstore.testing.promises import Check

_OTHER: Final = Revision("1" * 40)


async def the_first_save_creates(store: SessionStore) -> None:
    """The first save says so, and the asset then knows its revision."""
    asset = session("s-1", "hello")
    saved = await store.save(asset)
    equal((saved.session_id, saved.outcome), ("s-1", Outcome.CREATED), "what was done")
    require(saved.commit and len(saved.commit) == len(_OTHER), "a commit was made")
    require(saved.revision == asset.revision is not None, "the asset knows its revision")
    equal((saved.merged, saved.conflicts, saved.adopted), (False, (), None), "nothing else")
    equal((await store.load("s-1")).revision, saved.revision, "revision of the loaded asset")


async def a_change_updates(store: SessionStore) -> None:
    """A save of something new is an update, with a commit and a revision of its own."""
    asset = session("s-1", "hello")
    first = await store.save(asset, message="First words", actor="alice")
    say(asset, "more", turn="t1")
    second = await store.save(asset)
    equal((second.outcome, second.merged), (Outcome.UPDATED, False), "what was done")
    require(second.commit != first.commit, "another commit")
    require(second.revision == asset.revision != first.revision, "another revision")


async def an_unchanged_save_changes_nothing(store: SessionStore) -> None:
    """Saving what is stored makes no commit."""
    asset = session("s-1", "hello")
    first = await store.save(asset)
    for same in (asset, await store.load("s-1"), session("s-1", "hello")):
        saved = await store.save(same)
        equal((saved.outcome, saved.commit), (Outcome.UNCHANGED, None), "what was done")
        require(saved.revision == same.revision == first.revision, "the same revision")


async def revisions_are_blob_ids(store: SessionStore) -> None:
    """A revision is git's id of the session's bytes: equal content has equal revisions."""
    asset = session("s-1", "hello")
    first = await store.save(asset)
    equal(first.revision, object_id("blob", dump_session(asset)), "the revision")
    say(asset, "more", turn="t1")
    await store.save(asset)
    asset.history.turns.pop()
    equal((await store.save(asset)).revision, first.revision, "the revision of the old content")


async def a_delete_removes(store: SessionStore) -> None:
    """A deleted session is gone, and only that one."""
    await store.save(session("s-1"))
    await store.save(session("s-2"))
    deleted = await store.delete("s-1", message="Not needed", actor="alice")
    equal((deleted.outcome, deleted.revision), (Outcome.DELETED, None), "what was done")
    require(deleted.commit, "a commit was made")
    await raises(SessionNotFoundError, store.load("s-1"))
    equal([row.id for row in await store.list()], ["s-2"], "what is left")


async def a_missing_session_cannot_be_deleted(store: SessionStore) -> None:
    """Deleting what is not there, or not there any more, is an error."""
    await store.save(session())
    await store.delete("s-1")
    for name in ("s-1", "never"):
        error = await raises(SessionNotFoundError, store.delete(name))
        equal(error.session_id, name, "session of the error")


async def a_deleted_session_can_be_saved_again(store: SessionStore) -> None:
    """An asset outlives the deletion of what it was saved as."""
    asset = session("s-1", "hello")
    first = await store.save(asset)
    await store.delete("s-1")
    again = await store.save(asset)
    equal((again.outcome, again.revision), (Outcome.CREATED, first.revision), "what was done")


async def exists_tells(store: SessionStore) -> None:
    """`exists` is true from the save to the delete."""
    equal(await store.exists("s-1"), False, "before the save")  # noqa: FBT003 -- the value
    await store.save(session())
    equal(await store.exists("s-1"), True, "after the save")  # noqa: FBT003 -- the value
    await store.delete("s-1")
    equal(await store.exists("s-1"), False, "after the delete")  # noqa: FBT003 -- the value


async def a_delete_can_expect_a_revision(store: SessionStore) -> None:
    """A delete of another revision than the expected one does nothing."""
    asset = session("s-1", "hello")
    old = await store.save(asset)
    say(asset, "more", turn="t1")
    new = await store.save(asset)
    require(old.revision and new.revision, "saves have revisions")
    error = await raises(StaleRevisionError, store.delete("s-1", expected=old.revision or _OTHER))
    equal((error.expected, error.actual), (old.revision, new.revision), "fields of the error")
    equal(turns(await store.load("s-1")), ["t0", "t1"], "the stored session")
    await store.delete("s-1", expected=new.revision or _OTHER)
    require(not await store.exists("s-1"), "deleted at the expected revision")


async def a_save_can_expect_nothing(store: SessionStore) -> None:
    """With `Expect.ABSENT` a save never replaces a session."""
    await store.save(session("s-1", "first"), expected=Expect.ABSENT)
    call = store.save(session("s-1", "second"), expected=Expect.ABSENT)
    error = await raises(SessionExistsError, call)
    equal((error.session_id, error.existing), ("s-1", "s-1"), "fields of the error")
    equal(await store.load("s-1"), session("s-1", "first"), "the stored session")


async def a_save_can_expect_a_revision(store: SessionStore) -> None:
    """A save over another revision than the expected one does nothing."""
    mine = session("s-1", "hello")
    old = (await store.save(mine)).revision or _OTHER
    theirs = await store.load("s-1")
    say(theirs, "theirs", turn="t1")
    new = (await store.save(theirs, expected=old)).revision
    say(mine, "mine", turn="t2")
    error = await raises(StaleRevisionError, store.save(mine, expected=old))
    equal(error.session_id, "s-1", "session of the error")
    equal((error.expected, error.actual), (old, new), "fields of the error")
    equal(turns(await store.load("s-1")), ["t0", "t1"], "the stored session")
    equal((turns(mine), mine.revision), (["t0", "t2"], old), "the asset that was not saved")


async def a_revision_of_nothing_is_stale(store: SessionStore) -> None:
    """Expecting a revision of a session that is not there says so."""
    error = await raises(StaleRevisionError, store.save(session(), expected=_OTHER))
    equal((error.expected, error.actual), (_OTHER, None), "fields of the error")
    require(not await store.exists("s-1"), "nothing was saved")


async def a_stale_save_keeps_both_sides(store: SessionStore) -> None:
    """Of two holders of one session, the second to save loses nothing, and sees the first's turns."""
    await store.save(session("s-1", "hello"))
    mine, theirs = await store.load("s-1"), await store.load("s-1")
    held = mine.history
    say(theirs, "theirs", turn="theirs", minute=1)
    await store.save(theirs)
    say(mine, "mine", turn="mine", minute=2)
    saved = await store.save(mine)
    equal((saved.merged, saved.conflicts), (True, ()), "merged without a conflict")
    equal(turns(await store.load("s-1")), ["t0", "theirs", "mine"], "the stored turns")
    equal(turns(mine), ["t0", "theirs", "mine"], "turns of the asset")
    require(mine.history is held, "the asset is refreshed in place")
    require(saved.revision == mine.revision, "the asset knows its revision")
    say(mine, "more", turn="more", minute=3)
    equal((await store.save(mine)).merged, False, "the next save merges again")  # noqa: FBT003 -- the value


async def a_stale_save_tells_conflicts(store: SessionStore) -> None:
    """On a field that both changed the saved value wins, and both are told."""
    await store.save(session("s-1", "hello"))
    mine, theirs = await store.load("s-1"), await store.load("s-1")
    theirs.project_context.name = "theirs"
    await store.save(theirs)
    mine.project_context.name = "mine"
    saved = await store.save(mine)
    equal([each.where for each in saved.conflicts], ["project_context.name"], "conflicts")
    found = saved.conflicts[0]
    equal((found.base, found.ours, found.theirs), ("A session", "mine", "theirs"), "three values")
    equal((await store.load("s-1")).project_context.name, "mine", "the stored value")


async def a_stale_save_without_changes_takes_theirs(store: SessionStore) -> None:
    """Saving a stale asset that was not changed takes nothing back."""
    await store.save(session("s-1", "hello"))
    mine, theirs = await store.load("s-1"), await store.load("s-1")
    say(theirs, "theirs", turn="theirs")
    stored = await store.save(theirs)
    saved = await store.save(mine)
    equal((saved.outcome, saved.commit), (Outcome.UNCHANGED, None), "what was done")
    equal((turns(mine), mine.revision), (["t0", "theirs"], stored.revision), "the asset")


async def a_session_never_loaded_overwrites(store: SessionStore) -> None:
    """An asset that was made, not loaded, replaces what is stored."""
    await store.save(session("s-1", "old", "older"))
    saved = await store.save(session("s-1", "new"))
    equal((saved.outcome, saved.merged), (Outcome.UPDATED, False), "what was done")
    equal(await store.load("s-1"), session("s-1", "new"), "the stored session")


async def ids_that_differ_by_case_clash(store: SessionStore) -> None:
    """Two ids that some file systems take for one cannot both be stored."""
    await store.save(session("Straße"))
    error = await raises(SessionExistsError, store.save(session("STRASSE")))
    equal((error.session_id, error.existing), ("STRASSE", "Straße"), "fields of the error")
    equal([row.id for row in await store.list()], ["Straße"], "what is stored")
    await store.delete("Straße")
    await store.save(session("STRASSE"))


CHECKS: Final[tuple[Check, ...]] = (
    the_first_save_creates,
    a_change_updates,
    an_unchanged_save_changes_nothing,
    revisions_are_blob_ids,
    a_delete_removes,
    a_missing_session_cannot_be_deleted,
    a_deleted_session_can_be_saved_again,
    exists_tells,
    a_delete_can_expect_a_revision,
    a_save_can_expect_nothing,
    a_save_can_expect_a_revision,
    a_revision_of_nothing_is_stale,
    a_stale_save_keeps_both_sides,
    a_stale_save_tells_conflicts,
    a_stale_save_without_changes_takes_theirs,
    a_session_never_loaded_overwrites,
    ids_that_differ_by_case_clash,
)
