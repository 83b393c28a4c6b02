"""history() and load(at=), with git log as the referee."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

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
from gitstore.engine import pathwalk
from gitstore.engine.audit import history
from gitstore.engine.historycache import Walk, cache_of
from gitstore.engine.moments import resolve, resolve_for
from gitstore.git.graph import as_of
from gitstore.git.trail import Trail
from gitstore.session.ids import path_of
from gitstore.types import CommitId, Runtime, SessionId
from tests.gitcommand import run_git

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


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.faults) for seed in range(1, 6))]
)
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
        assert (row.subject, row.operation, row.author.name) == ("Correct a word", "update", "Ann")


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
        tree = run_git(folder, "rev-parse", "main^{tree}").strip()
        with pytest.raises(UnknownCommitError):
            store.load("a", at=tree)


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


def author_named(name: str, mail: str) -> Author:
    return Author(name=name, email=mail)


def test_filters_choose_as_those_of_git_log(tmp_path: Path) -> None:
    clock = Clock(1_700_000_000)
    folder = tmp_path / "s"
    people = [author_named("Ann Ö", "ann@example.org"), author_named("Bob", "b@ANNEX.example")]
    for step in range(12):
        clock.seconds += 3600 * 30
        with BlockingSessionStore.open(
            folder, create=True, author=people[step % 2], runtime=clock.runtime()
        ) as store:
            if step == 7:
                store.delete("a")
            else:
                store.save(session("ab"[step % 3 == 2], str(step)))
    with BlockingSessionStore.open(folder) as store:
        repository = store._repository
        path = path_of(SessionId("a"))

        def found(**filters: Any) -> list[str]:
            return [change.commit for change in history(repository, SessionId("a"), **filters)]

        since = datetime.fromtimestamp(1_700_000_000 + 3600 * 90, UTC)
        until = datetime.fromtimestamp(1_700_000_000 + 3600 * 270, UTC)
        after, before = f"--since={since.isoformat()}", f"--until={until.isoformat()}"
        assert len(found()) == 8
        assert found(since=since) == logged(folder, after, "--", path) != found()
        assert found(until=until) == logged(folder, before, "--", path) != found()
        both = found(since=since, until=until)
        assert both == logged(folder, after, before, "--", path) != []
        assert found(author="bob") == logged(folder, "--author=Bob", "--", path) != found()
        assert found(author="ann@") == logged(folder, "--author=ann@", "--", path)
        assert len(found(author="aNNe")) == len(found(author="bob"))
        assert found(author="ö") == found(author="ann@")
        assert found(author="> 17") == []
        deleted = found(operation="delete")
        assert deleted == logged(folder, "--grep=^Operation: delete", "--", path) != []
        assert len(found(operation="create")) == 2
        assert found(author="bob", since=since, limit=2) == found(author="bob", since=since)[:2]
        assert found(limit=3, reverse=True) == logged(folder, "-3", "--reverse", "--", path)
        assert found(limit=0) == []
        for name in ("since", "until"):
            with pytest.raises(NaiveTimeError):
                found(**{name: datetime(2026, 1, 1)})  # noqa: DTZ001 -- the point


def test_a_change_says_what_changed_and_in_which_sessions(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with BlockingSessionStore.open(folder, create=True) as store:
        repository = store._repository
        store.save(session("a", "one"))
        asset = session("a", "one", "two", "three")
        asset.project_context.name = "named"
        store.save(asset)
        store.save(session("b"))
        # One commit of a person: both sessions, one of them gone.
        other = folder / path_of(SessionId("b"))
        other.unlink()
        path = folder / path_of(SessionId("a"))
        path.write_text(path.read_text().replace("content: two", "content: 2nd"))
        run_git(folder, "commit", "-qam", "By hand")
        rows = history(repository, SessionId("a"))
        assert [row.operation for row in rows] == ["update", "update", "create"]
        assert [row.summary for row in rows][::2] == ["1 turn edited", "created with 1 turn"]
        assert rows[1].summary.startswith("+2 turns, name")
        assert [row.sessions for row in rows] == [("a",)] * 3
        newest, *older = history(repository, None, limit=2)
        assert newest.sessions == ("a", "b")
        assert newest.summary == "a: 1 turn edited; b: deleted"
        assert newest.operation == "update"
        assert newest.parents == (older[0].commit,)
        assert history(repository, SessionId("b"))[0].operation == "delete"
        path.write_text("no: [session")
        run_git(folder, "commit", "-qam", "Break it")
        assert history(repository, SessionId("a"))[0].summary == "changed, not readable"
        path.chmod(0o755)
        run_git(folder, "commit", "-qam", "Only the mode")
        assert [row.commit for row in history(repository, SessionId("a"))] == logged(
            folder, "--", path_of(SessionId("a"))
        )


def test_a_merge_tells_what_is_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with BlockingSessionStore.open(folder, create=True) as store:
        store.save(session("a", "one"))
        store.save(session("b", "one"))
        run_git(folder, "checkout", "-qb", "side")
        with BlockingSessionStore.open(folder) as side:
            side.save(session("a", "one", "theirs"))
        run_git(folder, "checkout", "-q", "main")
        store.save(session("b", "one", "ours"))
        run_git(folder, "merge", "-q", "--no-edit", "side")
        merge = history(store._repository, None, limit=1)[0]
        assert (merge.operation, merge.sessions, merge.summary) == ("merge", (), "merged")
        assert len(merge.parents) == 2
        # What is in neither parent is the merge's.
        path = folder / path_of(SessionId("a"))
        path.write_text(path.read_text().replace("theirs", "both"))
        run_git(folder, "commit", "-qa", "--amend", "--no-edit")
        merge = history(store._repository, None, limit=1)[0]
        assert merge.sessions == ("a",)
        assert history(store._repository, SessionId("a"))[0].commit == merge.commit


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.faults) for seed in range(1, 3))]
)
def test_what_was_walked_before_shortens_the_walk_and_changes_nothing(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pathwalk, "_WORTH_STORING", 0)
    chance = random.Random(seed)
    folder = tmp_path / "s"
    clock = Clock(1_700_000_000)
    store = BlockingSessionStore.open(folder, create=True, runtime=clock.runtime())
    for step in range(30):
        clock.seconds += chance.choice([-50, 10, 10])
        date = f"{int(clock.seconds)} +0000"
        name = chance.choice(["a", "b"])
        if store.exists(name) and chance.random() < 0.2:
            store.delete(name)
        else:
            store.save(session(name, str(step)))
        if step in (10, 20):
            run_git(folder, "branch", "-f", "side", "main~3")
            run_git(folder, "checkout", "-q", "side")
            with BlockingSessionStore.open(folder, runtime=clock.runtime()) as side:
                side.save(session("c", str(step)))
            run_git(folder, "checkout", "-q", "main")
            run_git(
                folder, "merge", "-q", "--no-edit", "side",
                GIT_COMMITTER_DATE=date, GIT_AUTHOR_DATE=date,
            )  # fmt: skip
        if chance.random() < 0.3:
            store.close()
            store = BlockingSessionStore.open(folder, runtime=clock.runtime())
        for asked in ("a", "c"):
            limit = chance.choice([None, 1, 2, 5])
            expected = logged(folder, "--", path_of(SessionId(asked)))[:limit]
            assert [
                change.commit
                for change in history(store._repository, SessionId(asked), limit=limit)
            ] == expected
    store.close()


def test_a_cache_that_lies_is_found_out_and_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pathwalk, "_WORTH_STORING", 0)
    folder = tmp_path / "s"
    path = path_of(SessionId("a"))
    with BlockingSessionStore.open(folder, create=True) as store:
        for step in range(6):
            store.save(session("a", str(step)))
            store.save(session("b", str(step)))
        expected = [change.commit for change in history(store._repository, SessionId("a"))]
        file = Path(store._repository.folder, "history.sqlite")
    assert file.exists()
    with BlockingSessionStore.open(folder) as store:
        truth = cache_of(store._repository).stored(path)
        assert truth is not None
    rows = truth.rows
    other = bytes.fromhex(logged(folder, "--", path_of(SessionId("b")))[1])
    for lie in (rows[1:], rows[:-1], (rows[0], *rows[2:]), (*rows[:2], other, *rows[2:]), ()):
        with BlockingSessionStore.open(folder) as store:
            walk = Walk(tip=truth.tip, rows=lie, rest=truth.rest)
            cache_of(store._repository).keep(path, walk, store=True)
        with BlockingSessionStore.open(folder) as store:
            found = history(store._repository, SessionId("a"))
            assert [change.commit for change in found] == expected
    for damage in (b"", b"junk", file.read_bytes()[:3000]):
        file.write_bytes(damage)
        with BlockingSessionStore.open(folder) as store:
            found = history(store._repository, SessionId("a"))
            assert [change.commit for change in found] == expected


def test_a_known_history_is_not_walked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pathwalk, "_WORTH_STORING", 0)
    folder = tmp_path / "s"
    with BlockingSessionStore.open(folder, create=True, durability="process") as store:
        for step in range(40):
            store.save(session("ab"[step > 2], str(step)))
        history(store._repository, SessionId("a"))
        store.save(session("b", "more"))
        looked: list[bytes] = []
        look = Trail.look

        def noted(trail: Trail, commit: bytes) -> Any:
            looked.append(commit)
            return look(trail, commit)

        monkeypatch.setattr(Trail, "look", noted)
        assert len(history(store._repository, SessionId("a"))) == 3
        assert len({*looked}) < 10
        looked.clear()
    with BlockingSessionStore.open(folder) as store:
        assert len(history(store._repository, SessionId("a"))) == 3
        assert len({*looked}) < 10


def test_a_session_is_found_by_revision_and_by_counting_back(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path / "s", create=True) as store:
        one = store.save(session("a", "one"))
        two = store.save(session("a", "two"))
        again = store.save(session("a", "one"))
        store.save(session("b"))
        gone = store.delete("a")

        def at(text: Any) -> str | None:
            return resolve_for(store._repository, SessionId("a"), text)

        assert [at(f"@{{{n}}}") for n in range(4)] == [
            *(gone.commit, again.commit, two.commit, one.commit)
        ]
        assert (at(one.revision), at((two.revision or "")[:12])) == (again.commit, two.commit)
        assert at(two.commit) == two.commit
        assert at(None) == at("main") == gone.commit
        for text in ("@{4}", "@{-1}", "@{}", "@{1", "@{99999999999}", "abcdef0123", "x"):
            with pytest.raises(UnknownCommitError):
                at(text)
        other = store.save(session("b", "x")).revision
        with pytest.raises(UnknownCommitError):
            at(other)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.faults) for seed in range(1, 3))]
)
def test_a_time_means_the_last_commit_not_after_it(tmp_path: Path, seed: int) -> None:
    """However clocks go, and after the branch was rewritten: as the plain walk says."""
    chance = random.Random(seed)
    folder = tmp_path / "r"
    run_git(tmp_path, "init", "-q", "--bare", "-b", "main", str(folder))
    with BlockingSessionStore.open(folder) as store:
        repository = store._repository
        tip = ""
        for turn in range(6):
            start = f"from {tip}\n" if turn % 6 else ""
            if turn in (2, 4):
                back = run_git(folder, "rev-list", "--first-parent", tip).split()
                start = f"from {chance.choice(back)}\n"
            stream = "reset refs/heads/main\n" + (start or "")
            for number in range(300):
                time = 1000 + 3000 * turn + number * 10
                time += chance.randrange(-4000, 4000) if chance.random() < 0.01 else 0
                stream += f"commit refs/heads/main\ncommitter A <a@b> {time} +0000\ndata 0\n"
                stream += start if not number else ""
                stream += "\n"
            run_git(folder, "fast-import", "--quiet", "--force", given=stream.encode())
            tip = run_git(folder, "rev-parse", "main").strip()
            for _ in range(30):
                seconds = chance.randrange(100, 3000 * turn + 5000)
                expected = as_of(CommitId(tip), seconds, repository.facts)
                moment = datetime.fromtimestamp(seconds + 0.5, UTC)
                if expected is None:
                    with pytest.raises(BeforeHistoryError):
                        resolve(repository, moment)
                else:
                    assert resolve(repository, moment) == expected


def test_the_store_is_listed_as_it_was(tmp_path: Path) -> None:
    with BlockingSessionStore.open(tmp_path / "s", create=True) as store:
        store.save(session("a", "one"))
        then = store.save(session("b", "one", "two")).commit
        store.save(session("a", "one", "two", "three"))
        store.delete("b")
        store.list()
        assert then is not None
        rows = store._catalog.list_at(then)
        assert {name: row.turn_count for name, row in rows.items()} == {"a": 1, "b": 2}
        assert store._catalog.list_at(None) == {}
        assert [row.id for row in store.list()] == ["a"]
