"""Sync where something else moves too: own history, other working trees, other names, other pushes."""

from __future__ import annotations

import shutil
import threading
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import pytest

from gitstore import (
    BlockingSessionStore,
    CorruptRepositoryError,
    HistoryRewrittenError,
    InvalidRemoteError,
    RemoteNotFoundError,
    RepositoryError,
    UntrustedContentError,
)
from gitstore.session.ids import parse_session_id, path_of
from tests.engine.sync_scenes import make_remote, open_replica, session, texts
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gitstore.types import Progress


pytestmark = pytest.mark.faults


class Pair(NamedTuple):
    """Two replicas that are in step with a remote, and share two sessions."""

    ours: BlockingSessionStore
    theirs: BlockingSessionStore
    here: Path
    there: Path
    remote: Path


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("review")
    make_remote(folder)
    with (
        open_replica(folder / "ours", True) as ours,
        open_replica(folder / "theirs", True) as theirs,
    ):
        ours.save(session("both", "shared"))
        ours.save(session("other", "shared"))
        ours.sync()
        theirs.sync()
    return folder


@pytest.fixture
def pair(template: Path, tmp_path: Path, stack: ExitStack) -> Pair:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    here, there = tmp_path / "ours", tmp_path / "theirs"
    ours, theirs = (stack.enter_context(open_replica(each)) for each in (here, there))
    return Pair(ours, theirs, here, there, tmp_path / "remote.git")


def tip(path: Path, name: str = "main") -> str:
    return run_git(path, "rev-parse", name).strip()


def add_turn(store: BlockingSessionStore, session_id: str, text: str) -> None:
    asset = store.load(session_id)
    added = session(session_id, text)
    asset.add_turn(added.history.turns[0], now=added.updated_at)
    store.save(asset)


# --- our own history was rewritten


def test_what_was_purged_does_not_come_back_from_the_remote(pair: Pair) -> None:
    pair.ours.purge("both", confirm="both", force=True)
    purged = tip(pair.here)
    with pytest.raises(HistoryRewrittenError, match="rewritten here") as raised:
        pair.ours.sync()
    assert raised.value.here
    assert raised.value.new == tip(pair.remote)
    with open_replica(pair.here) as again, pytest.raises(HistoryRewrittenError):
        again.pull()
    assert tip(pair.here) == purged


@pytest.mark.faults
def test_what_was_purged_does_not_come_back_from_who_did_not_heed_the_advice(pair: Pair) -> None:
    pair.ours.purge("both", confirm="both", force=True)
    run_git(pair.remote, "config", "receive.denyNonFastForwards", "false")
    run_git(pair.here, "push", "-q", "--force-with-lease", "origin", "main")
    add_turn(pair.ours, "other", "later")
    assert pair.ours.sync().sent == ("other",)
    # To us it is a fast-forward, and brings the session back all the same.
    run_git(pair.there, "pull", "-q", "--no-rebase", "--no-edit", "origin", "main")
    run_git(pair.there, "push", "-q", "origin", "main")
    with pytest.raises(HistoryRewrittenError, match="rewritten here"):
        pair.ours.sync()
    assert [row.id for row in pair.ours.list()] == ["other"]


def test_what_was_purged_comes_back_when_asked_for(pair: Pair) -> None:
    pair.ours.purge("both", confirm="both", force=True)
    assert pair.ours.pull(join=True).new == ("both",)
    assert pair.ours.sync().local == tip(pair.remote)
    pair.theirs.sync()
    add_turn(pair.theirs, "other", "theirs")
    pair.theirs.sync()
    assert pair.ours.sync().updated == ("other",)


def test_a_purge_of_what_was_never_pushed_is_no_matter_of_the_remote(pair: Pair) -> None:
    pair.ours.save(session("mine", "secret"))
    run_git(pair.here, "branch", "kept")
    pair.ours.purge("mine", confirm="mine", force=True)
    add_turn(pair.theirs, "other", "theirs")
    pair.theirs.sync()
    assert pair.ours.sync().updated == ("other",)
    assert pair.theirs.sync().local == tip(pair.remote)


def test_a_history_that_was_pruned_here_is_not_merged_again(pair: Pair) -> None:
    add_turn(pair.ours, "both", "later")
    pair.ours.sync()
    now = datetime.now(UTC)
    pair.ours.prune_history(before=now, confirm="main", force=True)
    with pytest.raises(HistoryRewrittenError, match="rewritten here"):
        pair.ours.sync()
    assert texts(pair.ours, "both") == ["shared", "later"]


# --- another working tree


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_branch_is_not_moved_below_another_working_tree(
    pair: Pair, tmp_path: Path, is_gone: bool
) -> None:
    """The old files there would be taken for edits, and take back what was saved."""
    linked = tmp_path / "linked"
    run_git(pair.here, "switch", "-q", "-c", "side")
    run_git(pair.here, "worktree", "add", "-q", str(linked), "main")
    add_turn(pair.theirs, "both", "theirs")
    pair.theirs.sync()
    before = tip(pair.here)
    if is_gone:
        linked.rename(tmp_path / "away")
        add_turn(pair.ours, "other", "ours")
        assert pair.ours.sync().updated == ("both",)
        return
    with pytest.raises(RepositoryError, match=r"main is checked out in .*linked"):
        add_turn(pair.ours, "other", "ours")
    with pytest.raises(RepositoryError, match=r"main is checked out in .*linked"):
        pair.ours.sync()
    assert tip(pair.here) == before
    with open_replica(linked) as store:
        add_turn(store, "other", "ours")
        assert store.sync().updated == ("both",)
        assert texts(store, "other") == ["shared", "ours"]
    assert run_git(linked, "status", "--porcelain") == ""


def test_a_bare_store_does_not_move_what_a_working_tree_of_it_shows(
    pair: Pair, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.git"
    run_git(tmp_path, "clone", "-q", "--bare", str(pair.remote), str(bare))
    with open_replica(bare) as store:
        add_turn(store, "other", "one")
        run_git(bare, "worktree", "add", "-q", str(tmp_path / "linked"), "main")
        with pytest.raises(RepositoryError, match="checked out"):
            add_turn(store, "other", "two")
        run_git(bare, "worktree", "remove", str(tmp_path / "linked"))
        add_turn(store, "other", "three")
        assert texts(store, "other") == ["shared", "one", "three"]


# --- what others would refuse


def a_note(file: Path) -> None:
    file.parent.with_name("notes.md").write_text("by hand\n")


def executable(file: Path) -> None:
    file.chmod(0o755)


def a_bomb(file: Path) -> None:
    file.write_text("a: " + "[" * 200 + "]" * 200 + "\n")


@pytest.mark.parametrize("spoil", [a_note, executable, a_bomb])
def test_what_nobody_could_fetch_is_not_pushed(pair: Pair, spoil: Callable[[Path], None]) -> None:
    """In the remote's history it would keep everybody from syncing for good."""
    spoil(pair.here / path_of(parse_session_id("both")))
    run_git(pair.here, "add", "-A")
    run_git(pair.here, "commit", "-qm", "by hand")
    before = tip(pair.remote)
    for push in (pair.ours.push, pair.ours.sync):
        with pytest.raises(UntrustedContentError, match="change that commit") as raised:
            push()
        assert raised.value.commit == tip(pair.here)
    assert tip(pair.remote) == before
    run_git(pair.here, "reset", "-q", "--hard", "origin/main")
    add_turn(pair.ours, "both", "ours")
    pair.ours.sync()
    assert pair.theirs.sync().updated == ("both",)


def test_what_lies_outside_sessions_is_pushed_as_git_would(pair: Pair) -> None:
    (pair.here / "link").symlink_to("/somewhere")
    run_git(pair.here, "add", "link")
    run_git(pair.here, "update-index", "--add", "--cacheinfo", f"160000,{tip(pair.here)},sub")
    run_git(pair.here, "commit", "-qm", "by hand")
    pair.ours.push()
    assert tip(pair.remote) == tip(pair.here)


# --- names and depth


def test_a_remote_with_other_branches_only_is_told(tmp_path: Path, stack: ExitStack) -> None:
    """Otherwise two machines would push side by side and never meet."""
    remote = make_remote(tmp_path)
    run_git(tmp_path, "init", "-q", "-b", "master", "theirs")
    theirs, ours = (stack.enter_context(open_replica(tmp_path / x, True)) for x in ("theirs", "o"))
    theirs.save(session("theirs", "one"))
    theirs.sync()
    for verb in (ours.fetch, ours.pull, ours.sync):
        with pytest.raises(RemoteNotFoundError, match=r"no branch main, but master"):
            verb()
    assert run_git(remote, "for-each-ref", "--format=%(refname)") == "refs/heads/master\n"
    ours.push()
    ours.sync()
    run_git(tmp_path / "o", "config", "branch.main.merge", "refs/heads/master")
    assert ours.sync().new == ("theirs",)


@pytest.mark.parametrize("merge", ["refs/tags/x", "no branch..at all"])
def test_what_is_no_branch_is_not_followed(pair: Pair, merge: str) -> None:
    run_git(pair.here, "config", "branch.main.merge", merge)
    before = run_git(pair.remote, "for-each-ref")
    add_turn(pair.ours, "both", "ours")
    with pytest.raises(InvalidRemoteError, match="which is no branch"):
        pair.ours.sync()
    assert run_git(pair.remote, "for-each-ref") == before
    assert pair.ours.sync_status().problem is not None


def test_a_shallow_clone_says_what_to_do(pair: Pair, tmp_path: Path, stack: ExitStack) -> None:
    for text in ("one", "two"):
        add_turn(pair.theirs, "both", text)
    pair.theirs.sync()
    folder = tmp_path / "shallow"
    run_git(tmp_path, "clone", "-q", "--depth=1", f"file://{pair.remote}", str(folder))
    store = stack.enter_context(open_replica(folder))
    add_turn(store, "both", "mine")
    add_turn(pair.theirs, "other", "theirs")
    pair.theirs.sync()
    with pytest.raises(CorruptRepositoryError, match="git fetch --unshallow"):
        store.pull()
    run_git(folder, "fetch", "-q", "--unshallow")
    assert store.sync().updated == ("other",)


# --- two pushes of one store


def test_a_push_that_is_overtaken_twice_in_one_round_tries_again(pair: Pair) -> None:
    """First by our own commit, pushed from elsewhere, and then by somebody else's."""
    add_turn(pair.ours, "both", "one")
    first = tip(pair.here)
    add_turn(pair.ours, "both", "two")
    todo = ["theirs", "ours"]

    def overtake(progress: Progress) -> None:
        if progress.phase != "sending" or progress.done or not todo:
            return
        if todo.pop() == "ours":
            run_git(pair.here, "push", "-q", str(pair.remote), f"{first}:main")
        else:
            add_turn(pair.theirs, "other", "theirs")
            pair.theirs.sync()

    report = pair.ours.sync(progress=overtake)
    assert (todo, report.rounds, report.updated) == ([], 2, ("other",))
    assert tip(pair.here) == tip(pair.remote)


@pytest.mark.faults
def test_git_takes_nothing_away_between_landing_and_the_ref(pair: Pair) -> None:
    stop = threading.Event()
    failures: list[str] = []

    def sweep() -> None:
        while not stop.is_set():
            for words in (("repack", "-adq"), ("gc", "-q", "--prune=now")):
                run_git(pair.here, *words, check=False)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for number in range(40):
            add_turn(pair.theirs, "other", f"theirs-{number}")
            pair.theirs.sync()
            pair.ours.pull()
            failures += run_git(pair.here, "rev-list", "--quiet", "--all", check=False).split()
    finally:
        stop.set()
        sweeper.join()
    assert failures == []
    assert not list((pair.here / ".git/objects/pack").glob("*.keep"))
    assert_git_is_content(pair.here)
