"""resolve(): what was decided stands in the next pull, also after opening again, and for nothing else."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from gitstore import (
    MergeConflictError,
    NoConflictError,
    SerializationError,
    SyncState,
)
from gitstore.types import MISSING, Use
from tests.engine.sync_scenes import make_remote, open_replica, session
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitstore import BlockingSessionStore
    from gitstore.types import Decision

NAME, NOTE = "project_context.name", "metadata.note"


def change(store: BlockingSessionStore, word: str) -> None:
    asset = store.load("a")
    asset.project_context.name = word
    asset.metadata["note"] = word
    store.save(asset)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conflict")
    make_remote(folder)
    with open_replica(folder / "ours", True) as ours, open_replica(folder / "theirs", True) as b:
        ours.save(session("a", "one"))
        ours.sync()
        b.sync()
        change(b, "theirs")
        b.push()
        change(ours, "ours")
        ours.fetch()
    return folder


@pytest.fixture
def ours(template: Path, tmp_path: Path) -> Iterator[BlockingSessionStore]:
    """A replica that differs from the remote in two fields of a session."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    with open_replica(tmp_path / "ours") as ours:
        yield ours


def found(store: BlockingSessionStore) -> tuple[str | None, object]:
    asset = store.load("a")
    return asset.project_context.name, asset.metadata.get("note", MISSING)


def test_each_field_can_be_decided_on_its_own(ours: BlockingSessionStore, tmp_path: Path) -> None:
    assert {each.where for each in ours.conflicts()} == {NAME, NOTE}
    ours.resolve("a", "theirs", where=NAME)
    assert [each.where for each in ours.conflicts()] == [NOTE]
    assert ours.sync_status().conflicts == ("a",)
    with pytest.raises(MergeConflictError) as raised:
        ours.sync()
    assert [each.where for each in raised.value.conflicts] == [NOTE]
    ours.resolve("a", Use(value=["both"]), where=NOTE)
    assert ours.conflicts() == []
    assert ours.sync_status().conflicts == ()
    assert [row.sync_state for row in ours.list()] == [SyncState.LOCAL_AHEAD]
    with open_replica(tmp_path / "ours") as again:
        report = again.sync()
        assert {each.where for each in report.decided} == {NAME, NOTE}
        assert report.conflicting == ("a",)
    assert found(ours) == ("theirs", ["both"])
    assert_git_is_content(tmp_path / "ours")
    kept = json.loads((tmp_path / "ours/.git/gitstore/decisions.json").read_bytes())
    assert kept["decisions"] == {}, "what is settled is forgotten"


@pytest.mark.parametrize(
    ("decision", "wanted"),
    [
        ("ours", ("ours", "ours")),
        ("theirs", ("theirs", "theirs")),
        ("base", (None, MISSING)),
        ("newest", ("ours", "ours")),
        (Use(value="new"), ("new", "new")),
        (Use(value=MISSING), (None, MISSING)),
    ],
)
def test_a_session_can_be_decided_as_one(
    ours: BlockingSessionStore, decision: Decision, wanted: tuple[object, object]
) -> None:
    ours.resolve("a", decision)
    ours.pull()
    assert found(ours) == wanted


def test_a_recorded_decision_comes_before_the_policy(ours: BlockingSessionStore) -> None:
    ours.resolve("a", "theirs", where=NAME)
    ours.pull(on_conflict="ours")
    assert found(ours) == ("theirs", "ours")


def test_a_decision_is_of_these_values_only(ours: BlockingSessionStore) -> None:
    """What changed since is another conflict, and what did not is still decided."""
    ours.resolve("a", "theirs")
    asset = ours.load("a")
    asset.project_context.name = "changed since"
    ours.save(asset)
    (conflict,) = ours.conflicts()
    assert (conflict.where, conflict.ours) == (NAME, "changed since")
    with pytest.raises(MergeConflictError):
        ours.pull()
    ours.resolve("a", "ours")
    ours.pull()
    assert found(ours) == ("changed since", "ours"), "the session was decided again as one"


def test_a_decision_can_be_replaced(ours: BlockingSessionStore) -> None:
    ours.resolve("a", "theirs")
    ours.resolve("a", "ours", where=NAME)
    ours.pull()
    assert found(ours) == ("ours", "theirs")


def test_what_is_no_conflict_cannot_be_decided(ours: BlockingSessionStore) -> None:
    for session_id, where in (("b", None), ("a", "metadata.other"), ("a", "")):
        with pytest.raises(NoConflictError, match=r"conflicts\(\)") as raised:
            ours.resolve(session_id, "ours", where=where)
        assert (raised.value.session_id, raised.value.where) == (session_id, where)
    ours.pull(on_conflict="ours")
    with pytest.raises(NoConflictError):
        ours.resolve("a", "ours")


@pytest.mark.parametrize("decision", ["mine", None, Use(value={1, 2}), Use(value=float("nan"))])
def test_what_is_no_decision_is_refused(ours: BlockingSessionStore, decision: Decision) -> None:
    with pytest.raises(SerializationError) as raised:
        ours.resolve("a", decision, where=NAME)
    assert (raised.value.session_id, raised.value.where) == ("a", NAME)
    with pytest.raises(SerializationError):
        ours.pull(on_conflict=lambda _: decision)


def test_a_value_that_fits_into_no_session_is_refused_at_once(ours: BlockingSessionStore) -> None:
    with pytest.raises(SerializationError):
        ours.resolve("a", Use(value=["no", "name"]), where=NAME)
    assert len(ours.conflicts()) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 9}', b"\xff\xfe"])
def test_a_damaged_file_of_decisions_leaves_the_conflicts_open(
    ours: BlockingSessionStore, tmp_path: Path, damage: bytes
) -> None:
    ours.resolve("a", "theirs")
    folder = tmp_path / "ours/.git/gitstore"
    (folder / "decisions.json").write_bytes(damage)
    (folder / "contacts.json").write_bytes(damage)
    assert len(ours.conflicts()) == 2
    assert ours.sync_status().problem is None
    ours.resolve("a", "theirs")
    ours.pull()
    assert found(ours) == ("theirs", "theirs")
    assert run_git(tmp_path / "ours", "status", "--porcelain") == ""
