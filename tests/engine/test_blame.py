"""blame(): who last set each turn and field, with git blame and a plain reading as referees."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from gitstore import (
    Author,
    BlockingSessionStore,
    ConversationTurn,
    SerializationError,
    SessionAsset,
    SessionNotFoundError,
    dump_session,
    read_session,
)
from gitstore.engine.blame import blame
from gitstore.engine.versions import Versions
from gitstore.session.diff import diff_documents
from gitstore.session.ids import parse_session_id, path_of
from gitstore.types import CommitId, Revision, SessionId
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from pathlib import Path

    from gitstore.git.repository import Repository

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = parse_session_id("a")
PATH = path_of(ID)


def turn(name: str, text: str = "") -> ConversationTurn:
    return ConversationTurn.user(text or f"said in {name}\n  - id: {name}\n", id=name, now=NOW)


def blamed(repository: Repository, at: str | None = None) -> dict[str, str]:
    found = blame(repository, ID, at=None if at is None else CommitId(at))
    return {each.where: each.commit for each in (*found.fields, *found.turns)}


def commit_bytes(folder: Path, data: bytes, message: str) -> str:
    """Commit a file with git, as people do."""
    path = folder / PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    run_git(folder, "add", "-A")
    run_git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return run_git(folder, "rev-parse", "HEAD").strip()


@cache
def parents_of(folder: Path, commit: str) -> list[str]:
    return run_git(folder, "rev-parse", f"{commit}^@").split()


@cache
def parts_at(folder: Path, commit: str) -> dict[str, Any]:
    """Return what a commit holds, read in the plainest way."""
    data = run_git(folder, "cat-file", "blob", f"{commit}:{PATH}", check=False)
    if not data:
        return {}
    document = read_session(data.encode()).to_document()
    turns = document.pop("history", {}).get("turns", [])
    return document | {f"history.turns[{each['id']}]": each for each in turns}


def plainly_blamed(folder: Path, tip: str) -> dict[str, str]:
    """Hand each part down alone, from commit to the first parent that has it."""
    found: dict[str, str] = {}
    for where, value in parts_at(folder, tip).items():
        commit = tip
        while True:
            has = [
                p
                for p in parents_of(folder, commit)
                if parts_at(folder, p).get(where, "none") == value
            ]
            if not has:
                break
            commit = has[0]
        found[where] = commit
    return found


def edited(chance: random.Random, asset: SessionAsset, step: str) -> SessionAsset:
    """Change a session somewhere."""
    turns = asset.history.turns
    kind = chance.randrange(6)
    if kind == 0 and turns:
        chance.choice(turns).content = f"edited in {step}" + "\n" * chance.randrange(4)
    elif kind == 1 and turns:
        turns.remove(chance.choice(turns))
    elif kind == 2:
        asset.project_context.name = step
    elif kind == 3:
        turns.insert(chance.randint(0, len(turns)), turn(f"t-{step}"))
    elif kind == 4 and len(turns) > 1:
        turns.append(turns.pop(0))
    else:
        asset.add_turn(turn(f"t-{step}"), now=NOW)
    return asset


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.faults) for seed in range(1, 3))]
)
def test_every_part_is_blamed_on_the_commit_that_set_it(tmp_path: Path, seed: int) -> None:
    """Random edits, deletions and re-creations, on two branches that are merged."""
    chance = random.Random(seed)
    folder = tmp_path / "s"
    with BlockingSessionStore.open(folder, create=True, durability="process") as store:
        asset, tip = SessionAsset.new(id=ID, now=NOW), ""
        for step in range(10):
            if step == 6 and seed:
                store.delete(ID)
            store.save(edited(chance, asset, str(step)))
            if step == 3:
                run_git(folder, "branch", "side")
            if step in (5, 8):
                run_git(folder, "checkout", "-q", "side")
                with BlockingSessionStore.open(folder, durability="process") as side:
                    other = side.load(ID)
                    side.save(edited(chance, other, f"s{step}"))
                run_git(folder, "checkout", "-q", "main")
                merge = ("merge", "-q", "--no-edit", "-X", "ours", "side")
                if run_git(folder, *merge, check=False) or (folder / ".git/MERGE_HEAD").exists():
                    run_git(folder, "merge", "--abort", check=False)
                asset = store.load(ID)
            # Asked again and again, since what was found before is used.
            tip = run_git(folder, "rev-parse", "main").strip()
            if step == 6:
                assert blamed(store._repository) == plainly_blamed(folder, tip)
        assert blamed(store._repository) == plainly_blamed(folder, tip)
    with BlockingSessionStore.open(folder) as fresh:
        assert blamed(fresh._repository) == plainly_blamed(folder, tip)


def test_a_growing_session_is_blamed_as_git_blames_its_lines(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with BlockingSessionStore.open(folder, create=True, durability="process") as store:
        asset = SessionAsset.new(id=ID, now=NOW)
        for step in range(12):
            asset.add_turn(turn(f"t{step}", f"text number {step}\n"), now=NOW)
            store.save(asset)
        said = run_git(folder, "blame", "-l", "-s", "main", "--", PATH)
        lines = re.findall(r"^\^?([0-9a-f]{39,40}) .*\)   - id: (\S+)$", said, re.MULTILINE)
        found = blame(store._repository, ID)
        assert len(lines) == 12
        assert [(each.commit, each.where) for each in found.turns] == [
            (commit, f"history.turns[{name}]") for commit, name in lines
        ]


def test_it_tells_author_time_and_revision_now_and_then(tmp_path: Path) -> None:
    ann = Author(name="Ann", email="ann@example.org")
    with BlockingSessionStore.open(tmp_path / "s", create=True, author=ann) as store:
        asset = SessionAsset.new(id=ID, now=NOW)
        asset.add_turn(turn("one"), now=NOW)
        first = store.save(asset)
        asset.add_turn(turn("two"), now=NOW)
        second = store.save(asset)
        found = blame(store._repository, ID)
        assert (found.session_id, found.revision) == (ID, second.revision)
        assert [each.commit for each in found.turns] == [first.commit, second.commit]
        assert {each.author for each in found.turns} == {ann}
        assert found.turns[1].time == store.history(ID)[0].time
        before = blame(store._repository, ID, at=first.commit)
        assert (before.revision, len(before.turns)) == (first.revision, 1)
        store.delete(ID)
        for at in (None, store.history()[0].commit):
            with pytest.raises(SessionNotFoundError):
                blame(store._repository, ID, at=at)
        with pytest.raises(SessionNotFoundError):
            blame(store._repository, SessionId("never"))


def test_what_was_unreadable_in_between_starts_anew(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with BlockingSessionStore.open(folder, create=True) as store:
        asset = SessionAsset.new(id=ID, now=NOW)
        asset.add_turn(turn("one"), now=NOW)
        good = dump_session(asset)
        store.save(asset)
        broken = commit_bytes(folder, b"no: [session", "break it")
        mended = commit_bytes(folder, good, "mend it")
        assert {*blamed(store._repository).values()} == {mended}
        with pytest.raises(SerializationError):
            blame(store._repository, ID, at=CommitId(broken))


def test_a_hand_written_file_is_read_in_full(tmp_path: Path) -> None:
    """Its lines look like turns and are none: cutting it there would tell nonsense."""
    folder = tmp_path / "s"
    text = (
        "id: a\nversion: 1\ncreated_at: '2026-01-01T00:00:00.000Z'\n"
        "updated_at: '2026-01-01T00:00:00.000Z'\nhistory:\n  turns:\n"
        "  - id: t0\n    timestamp: '2026-01-01T00:00:00.000Z'\n    role: user\n    content: \"x\n\n"
        '  - id: t1 {} \n\n  - id: t2\n\n   end"\n'
        "  - id: t3\n    timestamp: '2026-01-01T00:00:00.000Z'\n    role: user\n    content: x\n"
    )
    with BlockingSessionStore.open(folder, create=True) as store:
        one = commit_bytes(folder, text.format("old").encode(), "one")
        two = commit_bytes(folder, text.format("new").encode(), "two")
        found = blamed(store._repository)
        assert found["history.turns[t0]"] == two
        assert found["history.turns[t3]"] == one
        assert "history.turns[t1]" not in found


def test_turns_with_one_id_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    asset = SessionAsset.new(id=ID, now=NOW)
    asset.add_turn(turn("one", "first"), now=NOW)
    asset.add_turn(turn("two", "second"), now=NOW)
    asset.add_turn(turn("three", "third"), now=NOW)
    text = (
        dump_session(asset).decode().replace("id: two", "id: one").replace("id: three", "id: one")
    )
    with BlockingSessionStore.open(folder, create=True) as store:
        one = commit_bytes(folder, text.encode(), "one")
        two = commit_bytes(folder, text.replace("third", "changed").encode(), "two")
        found = blamed(store._repository)
        names = [f"history.turns[one]{number}" for number in ("", "#2", "#3")]
        assert [found[name] for name in names] == [one, one, two]


@pytest.mark.parametrize("seed", range(4))
def test_a_pair_read_in_part_differs_as_the_whole_does(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with BlockingSessionStore.open(tmp_path / "s", create=True, bare=True) as store:
        repository = store._repository
        asset = SessionAsset.new(id=ID, now=NOW)
        revisions: list[Revision] = []
        for step in range(25):
            saved = store.save(edited(chance, asset, str(step)))
            assert saved.revision is not None
            revisions.append(saved.revision)
        versions = Versions(repository, ID)
        shorter = 0
        for _ in range(60):
            old, new = chance.choice(revisions), chance.choice(revisions)
            one, two = versions.document(old), versions.document(new)
            cut, cut_too = versions.pair(old, new)
            assert (
                diff_documents(cut, cut_too, session_id=ID).summary
                == diff_documents(one, two, session_id=ID).summary
            )
            shorter += len(str(cut)) < len(str(one))
        assert shorter > 0
