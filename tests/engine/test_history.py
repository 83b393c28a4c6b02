"""history() and load(at=), with git log as the referee."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gitstore import (
    AmbiguousCommitError,
    Author,
    BeforeHistoryError,
    BlockingSessionStore,
    ConversationTurn,
    NaiveTimeError,
    SessionAsset,
    SessionNotFoundError,
    UnknownCommitError,
)
from gitstore.blocking import system_runtime
from gitstore.session.ids import path_of
from gitstore.types import Runtime, SessionId
from tests.gitcommand import run_git

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def session(session_id: str, *texts: str) -> SessionAsset:
    asset = SessionAsset.new(id=session_id, now=NOW)
    for text in texts:
        asset.add_turn(ConversationTurn.user(text, id=f"t-{text}", now=NOW), now=NOW)
    return asset


class Clock:
    """A clock that is set by hand."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def runtime(self) -> Runtime:
        real = system_runtime()
        return Runtime(
            clock=lambda: self.seconds,
            monotonic=real.monotonic,
            sleep=real.sleep,
            token=real.token,
            chance=real.chance,
        )


def logged(folder: Path, *arguments: str) -> list[str]:
    return run_git(folder, "log", "--format=%H", *arguments).split()


@pytest.mark.parametrize("seed", range(6))
def test_history_shows_the_commits_that_git_log_shows(tmp_path: Path, seed: int) -> None:
    """Saves, deletes and re-creations on two branches that git merges, some with our version."""
    chance = random.Random(seed)
    folder = tmp_path / "s"
    ids = ["a", "b", "c"]
    clock = Clock(1_700_000_000)
    with BlockingSessionStore.open(
        folder, create=True, durability="process", runtime=clock.runtime()
    ) as store:
        for step in range(24):
            clock.seconds += 10
            date = f"{int(clock.seconds)} +0000"
            branch = chance.choice(["main", "side"])
            if step == 4:
                run_git(folder, "branch", "side")
            if step < 5 or branch == "main":
                name = chance.choice(ids)
                if store.exists(name) and chance.random() < 0.3:
                    store.delete(name)
                else:
                    store.save(session(name, f"main {step}"))
            elif chance.random() < 0.4:
                run_git(
                    folder, "merge", "-q", "--no-edit", "-X", chance.choice(["ours", "theirs"]), "side",
                    check=False, GIT_COMMITTER_DATE=date, GIT_AUTHOR_DATE=date,
                )  # fmt: skip
                if (folder / ".git/MERGE_HEAD").exists():
                    run_git(folder, "merge", "--abort")
            else:
                run_git(folder, "checkout", "-q", "side")
                with BlockingSessionStore.open(
                    folder, durability="process", runtime=clock.runtime()
                ) as side:
                    side.save(session(chance.choice(ids), f"side {step}"))
                run_git(folder, "checkout", "-q", "main")
        for name in ids:
            expected = logged(folder, "--", path_of(SessionId(name)))
            assert [change.commit for change in store.history(name)] == expected
        assert [change.commit for change in store.history()] == logged(folder, "--", "sessions")


def test_a_change_says_what_was_done_and_by_whom(tmp_path: Path) -> None:
    ann = Author(name="Ann", email="ann@example.org")
    clock = Clock(1_700_000_000)
    with BlockingSessionStore.open(
        tmp_path / "s", create=True, author=ann, runtime=clock.runtime()
    ) as store:
        created = store.save(session("a"), actor="agent-7")
        clock.seconds += 60
        updated = store.save(session("a", "x"), message="Say why\n\nAt length.")
        deleted = store.delete("a")
        rows = store.history("a")
        assert [(row.commit, row.operation, row.actor, row.subject) for row in rows] == [
            (deleted.commit, "delete", None, "Delete session a"),
            (updated.commit, "update", None, "Say why"),
            (created.commit, "create", "agent-7", "Create session a"),
        ]
        assert [row.revision for row in rows] == [None, updated.revision, created.revision]
        assert {row.author for row in rows} == {ann}
        assert rows[2].time == datetime.fromtimestamp(1_700_000_000, UTC)
        assert [row.commit for row in store.history(limit=1)] == [deleted.commit]
        assert store.history("never") == []
    said = run_git(
        tmp_path / "s", "log", "-3", "--format=%an <%ae> %(trailers:key=Operation,valueonly)"
    )
    assert said.split("\n")[0::2][:3] == [
        "Ann <ann@example.org> delete",
        *["Ann <ann@example.org> update"],
        "Ann <ann@example.org> create",
    ]


def test_commits_of_people_are_told_too(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path / "s", create=True) as store:
        store.save(session("a", "text"))
        path = tmp_path / "s" / path_of(SessionId("a"))
        path.write_text(path.read_text().replace("text", "by hand"))
        run_git(tmp_path / "s", "commit", "-qam", "Correct a word")
        (row, _) = store.history("a")
        assert (row.subject, row.operation, row.author.name) == ("Correct a word", None, "Ann")


def test_the_past_is_read_by_commit_tag_branch_and_time(tmp_path: Path) -> None:
    clock = Clock(1_700_000_000)
    folder = tmp_path / "s"
    with BlockingSessionStore.open(folder, create=True, runtime=clock.runtime()) as store:
        clock.seconds += 100
        first = store.save(session("a", "one"))
        run_git(folder, "tag", "-a", "-m", "t", "v1")
        run_git(folder, "branch", "old")
        clock.seconds += 100
        store.save(session("a", "one", "two"))
        clock.seconds += 100
        store.delete("a")
        assert first.commit is not None
        when = datetime.fromtimestamp(1_700_000_100, UTC)
        for at in (
            first.commit,
            first.commit[:10],
            "v1",
            "old",
            "refs/heads/old",
            when,
            when + timedelta(seconds=99),
        ):
            loaded = store.load("a", at=at)
            assert [turn.content for turn in loaded.history.turns] == ["one"]
            assert loaded.revision == first.revision
        assert len(store.load("a", at=when + timedelta(seconds=100)).history.turns) == 2
        with pytest.raises(SessionNotFoundError) as caught:
            store.load("a", at="main")
        assert caught.value.at == "main"
        with pytest.raises(SessionNotFoundError):
            store.load("a")
        restored = store.load("a", at=first.commit)
        assert store.save(restored).revision == first.revision


def test_a_moment_that_is_none_has_its_own_error(tmp_path: Path) -> None:
    clock = Clock(1_700_000_000)
    folder = tmp_path / "s"
    with BlockingSessionStore.open(folder, create=True, runtime=clock.runtime()) as store:
        store.save(session("a"))
        for at in ("nowhere", "f" * 40, "ffff", "", "../x", "a..b", "HEAD~1", "x" * 5000, "a\0b"):
            with pytest.raises(UnknownCommitError) as unknown:
                store.load("a", at=at)
            assert unknown.value.at == at
        with pytest.raises(NaiveTimeError):
            store.load("a", at=datetime(2026, 1, 1))  # noqa: DTZ001 -- the point
        with pytest.raises(BeforeHistoryError) as before:
            store.load("a", at=datetime(2001, 1, 1, tzinfo=UTC))
        assert before.value.first == datetime.fromtimestamp(1_700_000_000, UTC)
        blob = run_git(folder, "rev-parse", f"main:{path_of(SessionId('a'))}").strip()
        with pytest.raises(UnknownCommitError):
            store.load("a", at=blob)


def test_an_abbreviation_of_several_commits_is_ambiguous(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with BlockingSessionStore.open(folder, create=True, durability="process") as store:
        store.save(session("a"))
        commands = "".join(
            f"commit refs/heads/many\ncommitter A <a@b> {n} +0000\ndata 0\n\n" for n in range(1500)
        )
        run_git(folder, "fast-import", "--quiet", given=commands.encode())
        commits = run_git(folder, "rev-list", "--all").split()
        prefix = next(c[:4] for c in commits if sum(o.startswith(c[:4]) for o in commits) > 1)
        with pytest.raises(AmbiguousCommitError) as caught:
            store.load("a", at=prefix)
        assert len(caught.value.candidates) > 1
        assert all(each.startswith(prefix) for each in caught.value.candidates)


def test_commit_times_never_go_back(tmp_path: Path) -> None:
    clock = Clock(1_700_000_000)
    folder = tmp_path / "s"
    with BlockingSessionStore.open(folder, create=True, runtime=clock.runtime()) as store:
        store.save(session("a", "one"))
        clock.seconds -= 5000
        store.save(session("a", "two"))
        clock.seconds = -1e9
        store.save(session("a", "three"))
        times = [int(line) for line in run_git(folder, "log", "--format=%ct").split()]
        assert times == [1_700_000_000] * 4


def test_a_clock_before_1970_is_1970(tmp_path: Path) -> None:
    with BlockingSessionStore.open(
        tmp_path / "s", create=True, runtime=Clock(-5000.0).runtime()
    ) as store:
        store.save(session("a"))
    assert run_git(tmp_path / "s", "fsck", "--strict") == ""
    assert run_git(tmp_path / "s", "log", "-1", "--format=%ct") == "0\n"
