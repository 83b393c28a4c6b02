"""A store against a dict: whatever is done, in whatever order, both hold the same sessions."""

from __future__ import annotations

import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gitstore import (
    BlockingSessionStore,
    Expect,
    Outcome,
    SessionAsset,
    SessionExistsError,
    SessionNotFoundError,
    StaleRevisionError,
    dump_session,
)
from gitstore.session.ids import parse_session_id, path_of
from gitstore.testing.promises import say, session, turns
from tests.conftest import Git

if TYPE_CHECKING:
    from hypothesis.stateful import MultipleResults

    from gitstore.types import CommitId, Saved

NAMES = st.sampled_from(["a", "b", "c d", "é"])
TEXTS = st.sampled_from(["x", "two\nlines\n", " lead", "# no comment", "é😀", ""])


class StoreMachine(RuleBasedStateMachine):
    """Drives one store, and a second one on the same repository in places."""

    bare = False
    #: Assets that somebody loaded or saved and still holds.
    held: Bundle[SessionAsset] = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="gitstore-model-"))
        self.git = Git(self.folder)
        self.model: dict[str, SessionAsset] = {}
        #: What every acknowledged commit left behind.
        self.past: list[tuple[CommitId, dict[str, SessionAsset]]] = []
        #: The commits that touched each session, oldest first.
        self.log: dict[str, list[str]] = {}
        self.turn = 0
        self.foreign = 0

    @initialize()
    def create(self) -> None:
        self.store = BlockingSessionStore.open(
            self.folder, create=True, bare=self.bare, durability="process"
        )

    def teardown(self) -> None:
        try:
            if hasattr(self, "store"):
                self.check_past()
                self.store.close()
                self.git.assert_sound()
        finally:
            shutil.rmtree(self.folder)

    def check_past(self) -> None:
        for commit, sessions in self.past:
            for name in self.log:
                if name in sessions:
                    assert self.store.load(name, at=commit) == sessions[name]
                else:
                    with pytest.raises(SessionNotFoundError):
                        self.store.load(name, at=commit)

    def wrote(self, name: str, saved: Saved) -> None:
        for commit in (saved.adopted, saved.commit):
            if commit is not None:
                self.log.setdefault(name, []).append(commit)
        if saved.commit is not None:
            state = {key: asset.model_copy(deep=True) for key, asset in self.model.items()}
            self.past.append((saved.commit, state))

    # --- writes -----------------------------------------------------------------

    @rule(target=held, name=NAMES, text=TEXTS)
    def save_new(self, name: str, text: str) -> SessionAsset:
        """An asset that was never loaded overwrites."""
        asset = session(name, text, minute=self.turn)
        known = self.model.get(name)
        saved = self.store.save(asset)
        assert not saved.merged
        assert saved.outcome is (
            Outcome.CREATED
            if known is None
            else Outcome.UNCHANGED
            if known == asset
            else Outcome.UPDATED
        )
        self.model[name] = asset.model_copy(deep=True)
        self.wrote(name, saved)
        return asset

    @rule(asset=held, text=TEXTS)
    def save_held(self, asset: SessionAsset, text: str) -> None:
        """Turns are added by whoever holds an asset, stale or not: none is lost."""
        self.turn += 1
        turn = f"turn-{self.turn}"
        say(asset, text, turn=turn, minute=self.turn)
        before = self.model.get(asset.id)
        mine = {*turns(asset)}
        stale = before is not None and asset.revision != self.store.load(asset.id).revision
        saved = self.store.save(asset)
        assert saved.merged == stale
        assert turn in turns(asset)
        if before is None or not stale:
            assert {*turns(asset)} == mine
        assert asset.revision == saved.revision == self.store.load(asset.id).revision
        self.model[asset.id] = asset.model_copy(deep=True)
        self.wrote(asset.id, saved)

    @rule(asset=held)
    def save_expecting(self, asset: SessionAsset) -> None:
        expected = asset.revision
        assert expected is not None
        copy = asset.model_copy(deep=True)
        self.turn += 1
        say(copy, "expecting", turn=f"turn-{self.turn}", minute=self.turn)
        known = self.model.get(asset.id)
        actual = None if known is None else self.store.load(asset.id).revision
        if expected != actual:
            with pytest.raises(StaleRevisionError) as caught:
                self.store.save(copy, expected=expected)
            assert caught.value.actual == actual
            return
        saved = self.store.save(copy, expected=expected)
        self.model[asset.id] = copy
        self.wrote(asset.id, saved)

    @rule(name=NAMES)
    def save_absent(self, name: str) -> None:
        asset = session(name, "only if absent", minute=self.turn)
        if name in self.model:
            with pytest.raises(SessionExistsError):
                self.store.save(asset, expected=Expect.ABSENT)
            return
        saved = self.store.save(asset, expected=Expect.ABSENT)
        assert saved.outcome is Outcome.CREATED
        self.model[name] = asset.model_copy(deep=True)
        self.wrote(name, saved)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if name not in self.model:
            with pytest.raises(SessionNotFoundError):
                self.store.delete(name)
            return
        saved = self.store.delete(name)
        del self.model[name]
        self.wrote(name, saved)

    # --- reads -------------------------------------------------------------------

    @rule(target=held, name=NAMES)
    def load(self, name: str) -> SessionAsset | MultipleResults[SessionAsset]:
        if name not in self.model:
            with pytest.raises(SessionNotFoundError):
                self.store.load(name)
            return multiple()
        asset = self.store.load(name)
        assert asset == self.model[name]
        return asset

    @rule(asset=consumes(held))
    def forget(self, asset: SessionAsset) -> None:
        assert asset.id

    @rule(limit=st.none() | st.integers(0, 3))
    def list(self, limit: int | None) -> None:
        wanted = sorted(self.model.values(), key=lambda asset: asset.id)
        wanted.sort(key=lambda asset: asset.updated_at, reverse=True)
        rows = self.store.list(limit=limit)
        assert [(row.id, row.turn_count, row.updated_at, row.problem) for row in rows] == [
            (asset.id, len(asset.history.turns), asset.updated_at, None) for asset in wanted[:limit]
        ]

    @rule(name=NAMES)
    def history(self, name: str) -> None:
        changes = self.store.history(name)
        assert [change.commit for change in changes] == self.log.get(name, [])[::-1]
        if changes:
            assert (changes[0].revision is None) == (name not in self.model)

    @rule()
    def latest(self) -> None:
        """As of tomorrow, everything is as it is now."""
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        for name, asset in self.model.items():
            assert self.store.load(name, at=tomorrow) == asset

    # --- other people ---------------------------------------------------------------

    @precondition(lambda self: not self.bare and self.model)
    @rule(data=st.data(), text=TEXTS)
    def hand_edit(self, data: st.DataObject, text: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        asset = self.model[name].model_copy(deep=True)
        self.turn += 1
        say(asset, text, turn=f"hand-{self.turn}", minute=self.turn)
        file = self.folder / path_of(parse_session_id(name))
        file.write_bytes(b"# by hand\n" + dump_session(asset))
        self.model[name] = self.store.load(name)
        assert self.model[name] == asset
        self.log[name].append(self.git("rev-parse", "main").strip())

    @precondition(lambda self: not self.bare)
    @rule()
    def commit_of_another_file(self) -> None:
        self.foreign += 1
        (self.folder / "notes.txt").write_text(f"{self.foreign}\n")
        self.git("add", "notes.txt")
        self.git("commit", "-q", "-m", "notes")

    @rule()
    def pack(self) -> None:
        began = time.monotonic()
        while (done := self.git.run("gc", "-q", "--prune=now", check=False)).returncode:
            # What the store does by itself, in a thread, is a gc to git.
            assert b"gc is already running" in done.stderr
            assert time.monotonic() - began < 60
            time.sleep(0.05)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = BlockingSessionStore.open(self.folder, durability="process")

    @rule(name=NAMES)
    def another_store(self, name: str) -> None:
        with BlockingSessionStore.open(self.folder, durability="process") as other:
            asset = session(name, "from another store", minute=self.turn)
            saved = other.save(asset)
        self.model[name] = asset
        self.wrote(name, saved)

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "store"):
            for name in ("a", "b", "c d", "é"):
                assert self.store.exists(name) == (name in self.model)


class BareStoreMachine(StoreMachine):
    """The same without a working tree."""

    bare = True


@pytest.mark.parametrize(
    "machine", [StoreMachine, pytest.param(BareStoreMachine, marks=pytest.mark.faults)]
)
def test_the_store_is_a_dict_with_a_memory(machine: type[StoreMachine]) -> None:
    run_state_machine_as_test(
        machine, settings=settings(settings.default, max_examples=12, stateful_step_count=25)
    )


@pytest.mark.deep
@pytest.mark.parametrize("machine", [StoreMachine, BareStoreMachine])
def test_the_store_is_a_dict_for_a_long_time(machine: type[StoreMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(settings.get_profile("deep"), max_examples=200, stateful_step_count=60),
    )
