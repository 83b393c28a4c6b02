"""fetch, pull, push and sync between real repositories; git's own commands are the referee."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest

from gitstore import (
    BlockingSessionStore,
    CorruptRepositoryError,
    DirtyWorkingTreeError,
    ForeignConflictError,
    HistoryRewrittenError,
    MergeConflictError,
    PushRejectedError,
    RemoteBranchGoneError,
    RemoteNotFoundError,
    RemoteUnavailableError,
    SessionNotFoundError,
    SyncMode,
    SyncState,
    UnfinishedMergeError,
    UnrelatedHistoriesError,
    UntrustedContentError,
)
from gitstore.git.signing import SigningSettings
from gitstore.session.ids import parse_session_id, path_of
from gitstore.system import system_runtime
from gitstore.types import SyncReport, Use
from tests.engine.sync_scenes import NETWORK, make_remote, open_replica, session, texts
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gitstore.types import Conflict, Decision, Progress


class Pair(NamedTuple):
    """Two replicas that are in step with a remote, and share two sessions."""

    ours: BlockingSessionStore
    theirs: BlockingSessionStore
    folder: Path

    @property
    def here(self) -> Path:
        return self.folder / "ours"

    @property
    def there(self) -> Path:
        return self.folder / "theirs"

    @property
    def remote(self) -> Path:
        return self.folder / "remote.git"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    make_remote(folder)
    with (
        open_replica(folder / "ours", True) as ours,
        open_replica(folder / "theirs", True) as there,
    ):
        ours.save(session("both", "shared"))
        ours.save(session("other", "shared"))
        ours.sync()
        there.sync()
    return folder


@pytest.fixture
def pair(template: Path, tmp_path: Path, stack: ExitStack) -> Pair:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    ours, theirs = (
        stack.enter_context(open_replica(tmp_path / name)) for name in ("ours", "theirs")
    )
    return Pair(ours, theirs, tmp_path)


def tip(path: Path, name: str = "main") -> str:
    return run_git(path, "rev-parse", name).strip()


def add_turn(store: BlockingSessionStore, session_id: str, text: str) -> None:
    asset = store.load(session_id)
    added = session(session_id, text)
    asset.add_turn(added.history.turns[0], now=added.updated_at)
    store.save(asset)


def rename(store: BlockingSessionStore, session_id: str, name: str) -> None:
    asset = store.load(session_id)
    asset.project_context.name = name
    store.save(asset)


def merges(path: Path) -> int:
    return len(run_git(path, "log", "--merges", "--format=%H", "main").split())


# --- every state and every verb


def ahead(pair: Pair) -> None:
    add_turn(pair.ours, "both", "ours")


def behind(pair: Pair) -> None:
    add_turn(pair.theirs, "other", "theirs")
    pair.theirs.push()


def diverged(pair: Pair) -> None:
    ahead(pair)
    behind(pair)


def conflicting(pair: Pair) -> None:
    rename(pair.ours, "both", "ours")
    rename(pair.theirs, "both", "theirs")
    pair.theirs.push()


def nothing(pair: Pair) -> None:
    assert tip(pair.here) == tip(pair.there)


#: What is raised, or which sessions came in, were merged and were sent; then (ahead, behind).
Row = tuple[type[Exception] | tuple[list[str], list[str], list[str]], tuple[int, int]]
NONE: list[str] = []
TABLE: dict[tuple[Callable[[Pair], None], str], Row] = {
    (nothing, "fetch"): ((NONE, NONE, NONE), (0, 0)),
    (nothing, "pull"): ((NONE, NONE, NONE), (0, 0)),
    (nothing, "push"): ((NONE, NONE, NONE), (0, 0)),
    (nothing, "sync"): ((NONE, NONE, NONE), (0, 0)),
    (ahead, "fetch"): ((NONE, NONE, NONE), (1, 0)),
    (ahead, "pull"): ((NONE, NONE, NONE), (1, 0)),
    (ahead, "push"): ((NONE, NONE, ["both"]), (0, 0)),
    (ahead, "sync"): ((NONE, NONE, ["both"]), (0, 0)),
    (behind, "fetch"): ((NONE, NONE, NONE), (0, 1)),
    (behind, "pull"): ((["other"], NONE, NONE), (0, 0)),
    (behind, "push"): (PushRejectedError, (0, 0)),
    (behind, "sync"): ((["other"], NONE, NONE), (0, 0)),
    (diverged, "fetch"): ((NONE, NONE, NONE), (1, 1)),
    (diverged, "pull"): ((["other"], NONE, NONE), (2, 0)),
    (diverged, "push"): (PushRejectedError, (1, 0)),
    (diverged, "sync"): ((["other"], NONE, ["both"]), (0, 0)),
    (conflicting, "fetch"): ((NONE, NONE, NONE), (1, 1)),
    (conflicting, "pull"): (MergeConflictError, (1, 1)),
    (conflicting, "push"): (PushRejectedError, (1, 0)),
    (conflicting, "sync"): (MergeConflictError, (1, 1)),
}


@pytest.mark.parametrize(
    ("state", "verb"), TABLE, ids=[f"{state.__name__}-{verb}" for state, verb in TABLE]
)
def test_every_state_and_every_verb(pair: Pair, state: Callable[[Pair], None], verb: str) -> None:
    state(pair)
    expected, counts = TABLE[state, verb]
    before = (tip(pair.here), tip(pair.remote))
    if isinstance(expected, tuple):
        report = getattr(pair.ours, verb)()
        if verb != "fetch":
            assert isinstance(report, SyncReport)
            assert ([*report.updated], [*report.merged], [*report.sent]) == expected
            assert report.local == tip(pair.here)
    else:
        with pytest.raises(expected):
            getattr(pair.ours, verb)()
        assert (tip(pair.here), tip(pair.remote)) == before
    status = pair.ours.sync_status()
    assert (status.ahead, status.behind) == counts
    said = run_git(pair.here, "rev-list", "--left-right", "--count", "main...origin/main")
    assert tuple(map(int, said.split())) == counts
    if verb == "sync" and isinstance(expected, tuple):
        assert tip(pair.here) == tip(pair.remote) == tip(pair.here, "origin/main")
        assert status.is_fully_synced
        assert_git_is_content(pair.remote)
    if tip(pair.here) != before[0]:
        assert_git_is_content(pair.here)


# --- the first time, and what is not there any more


def test_the_first_push_fills_an_empty_remote_and_the_first_pull_an_empty_store(
    tmp_path: Path, stack: ExitStack
) -> None:
    remote = make_remote(tmp_path)
    ours = stack.enter_context(open_replica(tmp_path / "ours", True))
    assert ours.pull().remote is None
    assert ours.sync_status().behind == 0
    ours.save(session("a", "one"))
    assert ours.push().sent == ("a",)
    assert tip(remote) == tip(tmp_path / "ours")
    theirs = stack.enter_context(open_replica(tmp_path / "theirs", True))
    assert theirs.pull().new == ("a",)
    assert tip(tmp_path / "theirs") == tip(remote), "its own first commit stands in the way"
    assert texts(theirs, "a") == ["one"]
    assert_git_is_content(tmp_path / "theirs")


def test_a_repository_without_a_commit_takes_what_is_there(pair: Pair, stack: ExitStack) -> None:
    folder = pair.folder / "fresh"
    run_git(pair.folder, "init", "-q", "-b", "main", str(folder))
    run_git(folder, "remote", "add", "origin", str(pair.remote))
    store = stack.enter_context(BlockingSessionStore.open(folder))
    assert store.push().local is None
    assert store.sync().new == ("both", "other")
    assert tip(folder) == tip(pair.remote)
    assert_git_is_content(folder)


def test_a_bare_store_merges_too(pair: Pair, stack: ExitStack) -> None:
    bare = stack.enter_context(open_replica(pair.folder / "bare", True, bare=True))
    bare.sync()
    diverged(pair)
    add_turn(bare, "both", "bare")
    bare.sync()
    pair.ours.sync()
    assert texts(pair.ours, "both") == ["shared", "bare", "ours"]
    assert_git_is_content(pair.folder / "bare")


def test_histories_without_a_common_commit_are_joined_only_when_asked(
    pair: Pair, stack: ExitStack
) -> None:
    store = stack.enter_context(open_replica(pair.folder / "third", True))
    store.save(session("both", "third"))
    before = tip(pair.folder / "third")
    with pytest.raises(UnrelatedHistoriesError, match="join=True"):
        store.sync()
    assert tip(pair.folder / "third") == before
    report = store.sync(join=True)
    assert (report.new, report.merged) == (("other",), ("both",))
    assert texts(store, "both") == ["shared", "third"]
    pair.ours.sync()
    assert tip(pair.here) == tip(pair.folder / "third")
    assert_git_is_content(pair.folder / "third")


def test_a_remote_that_holds_only_a_first_commit_is_joined(
    tmp_path: Path, stack: ExitStack
) -> None:
    make_remote(tmp_path)
    first = stack.enter_context(open_replica(tmp_path / "first", True))
    first.push()
    second = stack.enter_context(open_replica(tmp_path / "second", True))
    second.save(session("a", "one"))
    assert second.sync().sent == ("a",)
    first.sync()
    assert texts(first, "a") == ["one"]


def test_a_branch_that_was_deleted_there_is_told_and_made_again_when_asked(pair: Pair) -> None:
    run_git(pair.remote, "update-ref", "-d", "refs/heads/main")
    ahead(pair)
    for verb in (pair.ours.fetch, pair.ours.pull, pair.ours.sync, pair.ours.push):
        with pytest.raises(RemoteBranchGoneError):
            verb()
    assert pair.ours.push(recreate=True).local == tip(pair.remote) == tip(pair.here)


def test_a_rewritten_history_is_never_followed_silently(pair: Pair) -> None:
    ahead(pair)
    known, before = tip(pair.here, "origin/main"), tip(pair.here)
    run_git(pair.there, "commit", "-q", "--amend", "-m", "rewritten")
    run_git(pair.remote, "config", "receive.denyNonFastForwards", "false")
    run_git(pair.there, "push", "-q", "-f", "origin", "main")
    for verb in (pair.ours.fetch, pair.ours.pull, pair.ours.sync):
        with pytest.raises(HistoryRewrittenError) as raised:
            verb()
        assert (raised.value.old, raised.value.new) == (known, tip(pair.remote))
    with pytest.raises(PushRejectedError):
        pair.ours.push()
    assert (tip(pair.here), tip(pair.here, "origin/main")) == (before, known)
    status = pair.ours.fetch(accept_rewrite=True)
    assert status.remote == tip(pair.remote)
    assert "forced" in run_git(pair.here, "reflog", "-1", "origin/main")


def test_a_remote_that_lost_commits_is_not_given_them_again_unseen(pair: Pair) -> None:
    ahead(pair)
    run_git(pair.remote, "update-ref", "refs/heads/main", "main~1")
    with pytest.raises(HistoryRewrittenError):
        pair.ours.push()


@pytest.mark.parametrize("fetched_by_git", [False, True])
def test_what_could_do_harm_is_refused_whoever_fetched_it(pair: Pair, fetched_by_git: bool) -> None:
    link = pair.there / path_of(parse_session_id("both"))
    link.unlink()
    link.symlink_to("/etc/passwd")
    run_git(pair.there, "commit", "-qam", "evil")
    run_git(pair.there, "push", "-q", "origin", "main")
    if fetched_by_git:
        run_git(pair.here, "fetch", "-q", "origin")
    before = (tip(pair.here), tip(pair.here, "origin/main"))
    for verb in (pair.ours.pull, pair.ours.sync):
        with pytest.raises(UntrustedContentError) as raised:
            verb()
        assert raised.value.commit == tip(pair.remote)
    assert (tip(pair.here), tip(pair.here, "origin/main")) == before
    assert texts(pair.ours, "both") == ["shared"]
    assert_git_is_content(pair.here)


def test_sides_that_cannot_be_compared_can_still_be_read_and_written(pair: Pair) -> None:
    blob = run_git(pair.there, "hash-object", "-w", "--stdin", given=b"x").strip()
    tree = run_git(pair.there, "ls-tree", "main").encode() + f"100644 blob {blob}\t".encode()
    made = run_git(pair.there, "mktree", given=tree + b"caf\xe9\n").strip()
    commit = run_git(pair.there, "commit-tree", "-p", "main", "-m", "latin-1", made).strip()
    run_git(pair.there, "push", "-q", "origin", f"{commit}:refs/heads/main")
    run_git(pair.here, "fetch", "-q", "origin")
    status = pair.ours.sync_status()
    assert (status.mode, status.remote) == (SyncMode.ERROR, commit)
    assert "not UTF-8" in (status.problem or "")
    assert len(pair.ours.list()) == 2
    add_turn(pair.ours, "both", "ours")
    before = tip(pair.here)
    with pytest.raises((UntrustedContentError, CorruptRepositoryError), match="UTF-8"):
        pair.ours.sync()
    assert tip(pair.here) == before


def test_a_file_that_is_no_session_comes_in_and_is_listed_with_its_problem(pair: Pair) -> None:
    """It can do no harm: who wrote it by hand elsewhere will mend it, and nobody else is held up."""
    file = edit_by_hand(pair.there, "both", lambda _: b"[unfinished\n")
    run_git(pair.there, "commit", "-qm", "half an edit", str(file))
    run_git(pair.there, "push", "-q", "origin", "main")
    assert pair.ours.sync().updated == ("both",)
    assert {row.id for row in pair.ours.list() if row.problem} == {"both"}
    edit_by_hand(pair.there, "both", lambda _: b"a: " + b"[" * 200 + b"]" * 200 + b"\n")
    run_git(pair.there, "commit", "-qm", "a bomb", str(file))
    run_git(pair.there, "push", "-q", "origin", "main")
    with pytest.raises(UntrustedContentError, match="nested deeper"):
        pair.ours.sync()


def test_what_is_no_remote_is_told(pair: Pair) -> None:
    with pytest.raises(RemoteNotFoundError):
        pair.ours.fetch("nowhere")
    pair.ours.add_remote("gone", str(pair.folder / "gone.git"))
    with pytest.raises(RemoteNotFoundError):
        pair.ours.sync("gone")
    pair.ours.add_remote("dead", "git://127.0.0.1:1/x")
    with pytest.raises(RemoteUnavailableError):
        pair.ours.fetch("dead")


def test_the_last_contact_is_remembered_also_after_opening_again(pair: Pair) -> None:
    assert pair.ours.sync_status().mode is SyncMode.ONLINE
    good = pair.ours.sync_status().last_sync
    pair.remote.rename(pair.folder / "away.git")
    with pytest.raises(RemoteNotFoundError) as raised:
        pair.ours.sync()
    with open_replica(pair.here) as again:
        for store in (pair.ours, again):
            status = store.sync_status()
            assert (status.mode, status.problem) == (SyncMode.ERROR, str(raised.value))
            assert status.last_sync == good
            assert [row.sync_state for row in store.list()] == [SyncState.SYNCED] * 2
        (pair.folder / "away.git").rename(pair.remote)
        again.fetch()
    assert pair.ours.sync_status().mode is SyncMode.ONLINE
    assert pair.ours.sync_status().problem is None


def test_while_it_runs_the_mode_says_so(pair: Pair) -> None:
    modes: list[SyncMode] = []
    behind(pair)
    pair.ours.pull(progress=lambda _: modes.append(pair.ours.sync_status().mode))
    assert set(modes) == {SyncMode.SYNCING}
    assert pair.ours.sync_status().mode is SyncMode.ONLINE


def test_who_asked_the_remote_later_knows_more(pair: Pair) -> None:
    """Another process of the same repository fetches while our pack is on its way: no rewrite."""
    behind(pair)
    first = tip(pair.remote)
    done: list[str] = []

    def meanwhile(progress: Progress) -> None:
        if progress.phase == "checking" and not done:
            add_turn(pair.theirs, "both", "later")
            pair.theirs.push()
            with open_replica(pair.here) as another:
                another.fetch()
            done.append(tip(pair.here, "origin/main"))

    report = pair.ours.pull(progress=meanwhile)
    assert done == [tip(pair.remote)] != [first]
    assert report.remote == tip(pair.here) == tip(pair.remote) == tip(pair.here, "origin/main")


# --- pushing


def test_a_hook_that_declines_is_told_and_nothing_moves(pair: Pair) -> None:
    hook = pair.remote / "hooks" / "pre-receive"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n")
    hook.chmod(0o755)
    ahead(pair)
    tracked = tip(pair.here, "origin/main")
    for verb in (pair.ours.push, pair.ours.sync):
        with pytest.raises(PushRejectedError, match="not today"):
            verb()
    assert tip(pair.here, "origin/main") == tracked == tip(pair.remote)
    hook.unlink()
    assert pair.ours.push().sent == ("both",)


def test_a_push_that_arrived_and_was_never_noted_is_noted_later(pair: Pair) -> None:
    old = tip(pair.here)
    ahead(pair)
    pair.ours.push()
    run_git(pair.here, "update-ref", "refs/remotes/origin/main", old)
    assert pair.ours.push().sent == ()
    assert tip(pair.here, "origin/main") == tip(pair.here)
    run_git(pair.here, "update-ref", "refs/remotes/origin/main", old)
    add_turn(pair.ours, "other", "more")
    assert pair.ours.push().sent == ("other",)


@pytest.mark.parametrize(("state", "phase"), [(ahead, "sending"), (diverged, "writing")])
def test_who_is_overtaken_tries_again(
    pair: Pair, state: Callable[[Pair], None], phase: str
) -> None:
    """Before the push, and even between the remote's answer and our objects."""
    state(pair)
    left = ["later", "early"]

    def overtake(progress: Progress) -> None:
        if left and progress.phase == phase and progress.done == 0:
            add_turn(pair.theirs, "other", left.pop())
            pair.theirs.sync()

    report = pair.ours.sync(progress=overtake)
    assert (report.rounds, left) == (3, [])
    assert (report.updated, report.merged, report.sent) == (("other",), (), ("both",))
    assert tip(pair.here) == tip(pair.remote) == tip(pair.here, "origin/main")
    assert texts(pair.ours, "other")[-2:] == ["early", "later"]
    assert_git_is_content(pair.remote)


def test_who_is_overtaken_every_time_gives_up(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    # As many rounds as it has would take the test too long.
    monkeypatch.setattr("gitstore.engine.sync.exchange.ROUNDS_MAX", 8)
    waits: list[float] = []
    runtime = replace(system_runtime(), sleep=waits.append)
    ahead(pair)

    def overtake(progress: Progress) -> None:
        if progress.phase == "sending" and progress.done == 0:
            add_turn(pair.theirs, "other", f"theirs-{len(waits)}")
            pair.theirs.sync()

    with open_replica(pair.here, runtime=runtime) as ours:
        with pytest.raises(PushRejectedError, match="8 times") as raised:
            ours.sync(progress=overtake)
        assert raised.value.retryable
        assert len(waits) == 8
        assert sum(waits) < 20
        assert len(texts(ours, "other")) == 8, "what came in is merged all the same"
        ours.sync()
    assert tip(pair.here) == tip(pair.remote)


def test_a_remote_that_is_busy_is_asked_again_by_sync_and_told_by_push(pair: Pair) -> None:
    """Another push holds the branch there, and has not moved it yet."""
    lock = pair.remote / "refs/heads/main.lock"
    runtime = replace(system_runtime(), sleep=lambda _: lock.unlink(missing_ok=True))
    ahead(pair)
    lock.touch()
    with open_replica(pair.here, runtime=runtime) as ours:
        with pytest.raises(PushRejectedError, match="failed to update ref"):
            ours.push()
        assert lock.exists()
        report = ours.sync()
    assert (report.rounds, report.sent) == (2, ("both",))
    assert tip(pair.here) == tip(pair.remote)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_a_merge_is_signed_where_the_store_signs(pair: Pair) -> None:
    key = pair.folder / "key"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)]
    subprocess.run(command, check=True)
    diverged(pair)
    settings = SigningSettings(format="ssh", key=str(key))
    with BlockingSessionStore.open(pair.here, network=NETWORK, sign=True, signing=settings) as ours:
        ours.sync()
    (merge,) = run_git(pair.here, "log", "--merges", "--format=%H").split()
    allowed = pair.folder / "allowed"
    allowed.write_text(f"* {key.with_suffix('.pub').read_text()}")
    run_git(pair.here, "-c", f"gpg.ssh.allowedSignersFile={allowed}", "verify-commit", merge)
    assert_git_is_content(pair.remote)


def test_the_remotes_merge_base_is_all_that_a_second_push_needs(pair: Pair) -> None:
    """Sync again and again from both sides: nothing is merged twice, nothing is left to say."""
    for number in range(3):
        add_turn(pair.ours, "both", f"ours-{number}")
        add_turn(pair.theirs, "both", f"theirs-{number}")
        pair.ours.sync()
        pair.theirs.sync()
        pair.ours.sync()
    assert tip(pair.here) == tip(pair.there)
    before = merges(pair.here)
    assert before == 3
    for store in (pair.ours, pair.theirs, pair.ours):
        assert not store.sync().sent
    assert merges(pair.here) == before
    assert texts(pair.ours, "both") == texts(pair.theirs, "both")
    assert len(texts(pair.ours, "both")) == 7


# --- conflicts


def test_nothing_moves_and_all_conflicts_are_listed(pair: Pair) -> None:
    conflicting(pair)
    rename(pair.ours, "other", "mine")
    rename(pair.theirs, "other", "yours")
    pair.theirs.push()
    (pair.here / "notes.txt").write_text("mine\n")
    before = (tip(pair.here), run_git(pair.here, "status", "--porcelain"))
    with pytest.raises(MergeConflictError) as raised:
        pair.ours.sync()
    assert [(each.session_id, each.where) for each in raised.value.conflicts] == [
        ("both", "project_context.name"), ("other", "project_context.name"),
    ]  # fmt: skip
    assert (tip(pair.here), run_git(pair.here, "status", "--porcelain")) == before
    assert pair.ours.conflicts() == [*raised.value.conflicts]
    assert pair.ours.sync_status().conflicts == ("both", "other")
    assert pair.ours.sync_status().mode is SyncMode.ONLINE
    assert {row.sync_state for row in pair.ours.list()} == {SyncState.CONFLICT}


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        ("ours", "ours"),
        ("theirs", "theirs"),
        ("newest", "theirs"),
        (lambda conflict: "theirs", "theirs"),
        (lambda conflict: "base", None),
        (lambda conflict: Use(value=f"{conflict.ours} and {conflict.theirs}"), "ours and theirs"),
    ],
)
def test_a_policy_decides(
    pair: Pair, policy: Decision | Callable[[Conflict], Decision], name: str | None
) -> None:
    add_turn(pair.ours, "both", "ours")
    rename(pair.ours, "both", "ours")
    asset = pair.theirs.load("both")
    asset.project_context.name = "theirs"
    asset.touch(now=asset.updated_at.replace(year=2027))
    pair.theirs.save(asset)
    pair.theirs.push()
    report = pair.ours.pull(on_conflict=policy)  # type: ignore[arg-type]  # a union of both kinds
    assert [(each.where, each.ours, each.theirs) for each in report.decided] == [
        ("project_context.name", "ours", "theirs")
    ]
    assert report.conflicting == ("both",)
    assert pair.ours.load("both").project_context.name == name
    assert texts(pair.ours, "both") == ["shared", "ours"]
    assert "decided: both project_context.name: " in run_git(pair.here, "log", "-1", "--format=%B")
    assert pair.ours.conflicts() == []


def test_whoever_is_asked_may_use_the_store(pair: Pair) -> None:
    """A person may look at the session before deciding, and others may save meanwhile."""
    conflicting(pair)
    (pair.here / path_of(parse_session_id("other"))).write_bytes(
        (pair.here / path_of(parse_session_id("other"))).read_bytes() + b"# by hand\n"
    )

    def ask(conflict: Conflict) -> Decision:
        assert pair.ours.load(conflict.session_id).project_context.name == "ours"
        pair.ours.save(session("meanwhile", "x"))
        return "theirs"

    pair.ours.pull(on_conflict=ask)
    assert pair.ours.load("both").project_context.name == "theirs"
    assert texts(pair.ours, "meanwhile") == ["x"]


def test_whoever_is_asked_may_change_what_they_are_asked_about(pair: Pair) -> None:
    """Then it is another conflict: asked again, and not under a lock that their next save waits for."""
    conflicting(pair)
    asked: list[str] = []

    def ask(conflict: Conflict) -> Decision:
        asked.append(conflict.ours)
        if len(asked) < 3:
            rename(pair.ours, conflict.session_id, f"changed {len(asked)} times")
        return "ours"

    report = pair.ours.pull(on_conflict=ask)
    assert asked == ["ours", "changed 1 times", "changed 2 times"]
    assert [conflict.ours for conflict in report.decided] == ["changed 2 times"]
    assert pair.ours.load("both").project_context.name == "changed 2 times"


def test_an_edit_wins_over_a_deletion_on_either_side(pair: Pair) -> None:
    add_turn(pair.ours, "both", "ours")
    pair.theirs.delete("both")
    add_turn(pair.theirs, "other", "theirs")
    pair.ours.delete("other")
    pair.theirs.push()
    assert pair.ours.sync().revived == ("both", "other")
    assert texts(pair.ours, "both") == ["shared", "ours"]
    assert texts(pair.ours, "other") == ["shared", "theirs"]
    pair.theirs.sync()
    assert texts(pair.theirs, "both") == ["shared", "ours"]


def test_what_both_deleted_and_what_one_deleted_untouched_is_gone(pair: Pair) -> None:
    pair.ours.delete("both")
    pair.theirs.delete("both")
    pair.theirs.delete("other")
    pair.theirs.push()
    assert pair.ours.sync().deleted == ("other",)
    for name in ("both", "other"):
        with pytest.raises(SessionNotFoundError):
            pair.ours.load(name)
    assert_git_is_content(pair.here)


def test_a_deletion_stays_when_histories_were_merged_crosswise(
    pair: Pair, stack: ExitStack
) -> None:
    """Two merge bases, each with half of what both sides share: with one alone, it would come back.

    Both sides hold the turn `ours`, which one base lacks. Theirs then takes it back.
    """
    add_turn(pair.ours, "both", "ours")
    add_turn(pair.theirs, "other", "theirs")
    for mine, yours in ((pair.here, pair.there), (pair.there, pair.here)):
        run_git(mine, "fetch", "-q", str(yours), "main:refs/heads/side")
    for path in (pair.here, pair.there):
        run_git(path, "merge", "-q", "--no-edit", "side")
    bases = run_git(pair.here, "fetch", "-q", str(pair.there), "main:refs/heads/crossed")
    bases = run_git(pair.here, "merge-base", "--all", "main", "crossed")
    assert len(bases.split()) == 2
    asset = pair.theirs.load("both")
    asset.history.turns = [turn for turn in asset.history.turns if turn.content != "ours"]
    pair.theirs.save(asset)
    pair.theirs.push()
    add_turn(pair.ours, "both", "more")
    pair.ours.sync()
    assert texts(pair.ours, "both") == ["shared", "more"]
    assert texts(pair.ours, "other") == ["shared", "theirs"]


# --- files


def edit_by_hand(path: Path, session_id: str, change: Callable[[bytes], bytes]) -> Path:
    file = path / path_of(parse_session_id(session_id))
    file.write_bytes(change(file.read_bytes()))
    return file


def test_hand_edits_are_kept_and_merged(pair: Pair) -> None:
    behind(pair)
    edit_by_hand(
        pair.here,
        "other",
        lambda data: data.replace(b"content: shared", b"content: shared, by hand"),
    )
    edit_by_hand(pair.here, "both", lambda data: b"# a comment\n" + data)
    report = pair.ours.sync()
    assert (report.merged, report.sent) == (("other",), ("both", "other"))
    assert texts(pair.ours, "other") == ["shared, by hand", "theirs"]
    file = pair.here / path_of(parse_session_id("both"))
    assert file.read_bytes().startswith(b"# a comment\n")
    assert_git_is_content(pair.here)


def test_comments_of_either_side_survive_a_merge(pair: Pair) -> None:
    edit_by_hand(pair.there, "both", lambda data: b"# theirs\n" + data)
    edit_by_hand(pair.here, "other", lambda data: b"# ours\n" + data)
    add_turn(pair.theirs, "other", "theirs")
    pair.theirs.sync()
    add_turn(pair.ours, "both", "ours")
    assert pair.ours.sync().merged == ("both", "other")
    for name, comment, turn in (("both", b"# theirs\n", "ours"), ("other", b"# ours\n", "theirs")):
        assert (pair.here / path_of(parse_session_id(name))).read_bytes().startswith(comment)
        assert texts(pair.ours, name) == ["shared", turn]


def test_a_side_that_is_no_session_is_one_conflict(pair: Pair) -> None:
    add_turn(pair.theirs, "both", "theirs")
    pair.theirs.push()
    file = edit_by_hand(pair.here, "both", lambda _: b"{ not a session\n")
    with pytest.raises(MergeConflictError) as raised:
        pair.ours.pull()
    (conflict,) = raised.value.conflicts
    assert (conflict.where, conflict.ours) == ("", "{ not a session\n")
    assert file.read_bytes() == b"{ not a session\n"
    pair.ours.resolve("both", "theirs")
    pair.ours.sync()
    assert texts(pair.ours, "both") == ["shared", "theirs"]
    assert "{ not a session" in run_git(pair.here, "log", "-p", "--full-history")
    assert_git_is_content(pair.here)


def commit_file(path: Path, name: str, text: str) -> None:
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_text(text)
    run_git(path, "add", name)
    run_git(path, "commit", "-qm", name)


def test_other_files_are_merged_path_by_path(pair: Pair) -> None:
    commit_file(pair.there, "README.md", "theirs\n")
    pair.theirs.push()
    commit_file(pair.here, "docs/notes.md", "ours\n")
    pair.ours.sync()
    assert (pair.here / "README.md").read_text() == "theirs\n"
    assert (pair.here / "docs/notes.md").read_text() == "ours\n"
    assert_git_is_content(pair.here)


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_other_files_that_both_changed_are_for_a_person(pair: Pair, side: str) -> None:
    commit_file(pair.there, "README.md", "theirs\n")
    pair.theirs.push()
    commit_file(pair.here, "README.md", "ours\n")
    before = tip(pair.here)
    with pytest.raises(ForeignConflictError, match=r"README\.md"):
        pair.ours.sync()
    assert tip(pair.here) == before
    pair.ours.sync(on_conflict="ours" if side == "ours" else "theirs")
    assert (pair.here / "README.md").read_text() == f"{side}\n"
    assert_git_is_content(pair.here)


def test_a_file_where_the_other_side_has_a_folder_is_for_a_person(pair: Pair) -> None:
    commit_file(pair.there, "docs/notes.md", "theirs\n")
    pair.theirs.push()
    commit_file(pair.here, "docs", "ours\n")
    before = tip(pair.here)
    with pytest.raises(ForeignConflictError, match="docs"):
        pair.ours.sync(on_conflict="theirs")
    assert tip(pair.here) == before


def test_what_is_staged_and_not_staged_survives(pair: Pair) -> None:
    commit_file(pair.here, "own.txt", "1\n")
    diverged(pair)
    (pair.here / "own.txt").write_text("staged\n")
    run_git(pair.here, "add", "own.txt")
    (pair.here / "own.txt").write_text("not staged\n")
    (pair.here / "untracked.txt").write_text("mine\n")
    before = run_git(pair.here, "status", "--porcelain")
    pair.ours.sync()
    assert run_git(pair.here, "status", "--porcelain") == before
    assert run_git(pair.here, "show", ":own.txt") == "staged\n"
    assert merges(pair.here) == 1


def test_a_changed_file_in_the_way_is_named(pair: Pair) -> None:
    commit_file(pair.there, "README.md", "theirs\n")
    pair.theirs.push()
    (pair.here / "README.md").write_text("not committed\n")
    before = tip(pair.here)
    with pytest.raises(DirtyWorkingTreeError, match=r"README\.md"):
        pair.ours.sync()
    assert tip(pair.here) == before
    assert (pair.here / "README.md").read_text() == "not committed\n"


def test_in_the_middle_of_a_merge_nothing_is_pulled(pair: Pair) -> None:
    commit_file(pair.here, "x", "main\n")
    run_git(pair.here, "checkout", "-q", "-b", "side", "main~1")
    commit_file(pair.here, "x", "side\n")
    run_git(pair.here, "checkout", "-q", "main")
    run_git(pair.here, "merge", "side", check=False)
    behind(pair)
    before = (tip(pair.here), run_git(pair.here, "status", "--porcelain"))
    for verb in (pair.ours.pull, pair.ours.sync):
        with pytest.raises(UnfinishedMergeError):
            verb()
    assert (tip(pair.here), run_git(pair.here, "status", "--porcelain")) == before
    run_git(pair.here, "merge", "--abort")
    pair.ours.sync()
    assert texts(pair.ours, "other") == ["shared", "theirs"]


def test_another_branch_in_the_working_tree_is_left_alone(pair: Pair) -> None:
    diverged(pair)
    run_git(pair.here, "checkout", "-q", "-b", "side")
    commit_file(pair.here, "x", "side\n")
    pair.ours.sync()
    assert tip(pair.here) == tip(pair.remote)
    assert run_git(pair.here, "status", "--porcelain") == ""
    run_git(pair.here, "checkout", "-q", "main")
    assert texts(pair.ours, "other") == ["shared", "theirs"]
    assert_git_is_content(pair.here)


def test_a_clone_that_only_git_drives_takes_part(pair: Pair) -> None:
    run_git(pair.folder, "clone", "-q", "remote.git", "plain")
    plain = pair.folder / "plain"
    edit_by_hand(
        plain, "both", lambda data: data.replace(b"content: shared", b"content: shared, by git")
    )
    run_git(plain, "commit", "-qam", "by hand")
    run_git(plain, "push", "-q")
    add_turn(pair.ours, "both", "ours")
    assert pair.ours.sync().merged == ("both",)
    assert texts(pair.ours, "both") == ["shared, by git", "ours"]
    run_git(plain, "pull", "-q")
    assert tip(plain) == tip(pair.here)
    (merge,) = run_git(plain, "log", "--merges", "--format=%H").split()
    assert run_git(plain, "log", "-1", "--format=%P", merge).split() == [
        tip(pair.here, "main^1"), tip(plain, "main^2"),
    ]  # fmt: skip
    assert "merged: both" in run_git(plain, "log", "-1", "--format=%B")
    assert_git_is_content(plain)
    assert_git_is_content(pair.remote)
