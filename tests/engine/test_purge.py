"""purge() and prune_history(): nothing is left of what went, and nothing else is touched."""

from __future__ import annotations

import os
import signal
import zlib
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from gitstore.blocking import BlockingSessionStore, system_runtime
from gitstore.engine.purge import prune_history, purge
from gitstore.errors import (
    BeforeHistoryError,
    CorruptRepositoryError,
    NaiveTimeError,
    RepositoryError,
    SessionNotFoundError,
)
from gitstore.git.repository import Repository
from gitstore.session.ids import parse_session_id, path_of
from gitstore.session.model import SessionAsset
from gitstore.session.parts import ConversationTurn
from gitstore.types import Author, SessionId
from tests.engine.faults import At, Report, Tap, When, changes, count_calls, in_child, kill_me
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitstore.engine.purge import Purged
    from gitstore.types import Runtime

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN = Author(name="Ann", email="ann@example.org")
#: In every version of the session that goes, and nowhere else.
SECRET = "correct-horse-battery"
GONE = "gone"


def session(session_id: str, *texts: str) -> SessionAsset:
    asset = SessionAsset.new("/p", id=session_id, now=NOW)
    for text in texts:
        asset.add_turn(ConversationTurn.user(text, id=f"t-{text}", now=NOW), now=NOW)
    return asset


class Clock:
    """Ten seconds for each commit, so that histories have the same ids every time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        self.seconds += 10
        return self.seconds


def ticking(seconds: float = 1_700_000_000) -> Runtime:
    return replace(system_runtime(), clock=Clock(seconds))


def make(folder: Path, *, bare: bool = False) -> Path:
    """A store with the session that goes in its middle, and others before, beside and after it."""
    with BlockingSessionStore.open(
        folder, create=True, bare=bare, durability="process", author=ANN, runtime=ticking()
    ) as store:
        store.save(session("a", "one"))
        store.save(session(GONE, f"{SECRET} 1"), message=f"About {SECRET}")
        store.save(session("a", "one", "two"), actor="agent-7")
        store.save(session(GONE, f"{SECRET} 1", f"{SECRET} 2"))
        store.save(session("b", "three"), message="Say why\n\nAt length.")
        store.save(session("a", "four"))
        store.list()  # fills the cache
    return folder


def opened(folder: Path, runtime: Runtime) -> Repository:
    return Repository.open(
        str(folder),
        branch=None,
        durability="full",
        lock_timeout_seconds=0.5,
        trust_owner=False,
        runtime=runtime,
    )


def purged(folder: Path, session_id: str = GONE, *, force: bool = False) -> Purged:
    runtime = ticking(1_800_000_000)
    name = parse_session_id(session_id)
    with closing(opened(folder, runtime)) as repository:
        return purge(
            repository,
            session_id=name,
            confirm=session_id,
            author=ANN,
            runtime=runtime,
            force=force,
            actor="dpo",
        )


def pruned(folder: Path, before: datetime, *, force: bool = False) -> Purged:
    runtime = ticking(1_800_000_000)
    with closing(opened(folder, runtime)) as repository:
        return prune_history(
            repository,
            before=before,
            confirm="main",
            author=ANN,
            runtime=runtime,
            force=force,
        )


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Return all that is stored: every file as it is and inflated, and every object of every pack."""
    for above, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(above, name)
            with open(path, "rb") as file:
                data = file.read()
            yield path, data
            if "objects" in path:
                try:
                    yield path, zlib.decompress(data)
                except zlib.error:
                    continue
    yield (
        "objects",
        run_git(folder, "cat-file", "--batch", "--batch-all-objects", "--unordered").encode(
            errors="surrogateescape"
        ),
    )
    yield "log", run_git(folder, "log", "--all", "--reflog", "-p").encode(errors="surrogateescape")


def holders(folder: Path, text: str = SECRET) -> list[str]:
    return [path for path, data in everything(folder) if text.encode() in data]


def story(folder: Path, *paths: str) -> str:
    """Return all that git tells of some files' history but the ids of commits."""
    form = "--format=%an %ae %at %cn %ce %ct %B"
    return run_git(folder, "log", form, "--raw", "--no-abbrev", "--", *paths)


def at(session_id: str) -> str:
    return path_of(SessionId(session_id))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "s")


@pytest.mark.parametrize("kind", ["loose", "packed", "mixed", "bare", "shared", "joined"])
def test_no_byte_is_left_and_all_else_is_as_it_was(tmp_path: Path, kind: str) -> None:
    folder = make(tmp_path / "s", bare=kind == "bare")
    if kind in ("packed", "mixed"):
        run_git(folder, "gc", "-q", "--aggressive", "--prune=now")
        run_git(folder, "commit-graph", "write", "--reachable")
        run_git(folder, "multi-pack-index", "write")
    if kind == "mixed":
        with BlockingSessionStore.open(folder, runtime=ticking(1_750_000_000)) as store:
            store.save(session(GONE, f"{SECRET} 3"))
            store.save(session("c", "five"))
    if kind in ("shared", "joined"):
        for when in (1, 2, 3, 4):
            os.utime(folder / at(GONE), (when, when))
            run_git(folder, "update-index", "-q", "--refresh")
            run_git(folder, "update-index", "--split-index")
        assert len([path for path in holders(folder, GONE) if "sharedindex" in path]) >= 4
        run_git(folder, "config", "core.splitIndex", str(kind == "shared"))
    assert holders(folder)
    others = {name: story(folder, at(name)) for name in ("a", "b", "c")}
    tree = run_git(folder, "ls-tree", "-r", "main")
    done = purged(folder)
    assert holders(folder) == []
    assert holders(folder, GONE) == []
    assert {name: story(folder, at(name)) for name in others} == others
    assert run_git(folder, "ls-tree", "-r", "main") == "".join(
        line for line in tree.splitlines(keepends=True) if not line.endswith(at(GONE) + "\n")
    )
    assert_git_is_content(folder)
    assert done.dropped == (3 if kind == "mixed" else 2)
    assert done.removed > 0
    assert done.new == run_git(folder, "rev-parse", "main").strip()
    assert "--force-with-lease" in done.advice
    assert (done.kept_by, done.branch) == ((), "main")
    with BlockingSessionStore.open(folder, runtime=ticking(1_900_000_000)) as store:
        assert not store.exists(GONE)
        assert {row.id for row in store.list()} == {"a", "b", "c"} - (
            {"c"} if kind != "mixed" else set()
        )
        store.save(session(GONE, "anew"))
        assert [turn.content for turn in store.load(GONE).history.turns] == ["anew"]
    assert_git_is_content(folder)


def test_the_record_says_what_was_done_and_not_to_what(folder: Path) -> None:
    changed = len(run_git(folder, "rev-list", "main").split()) - 2
    done = purged(folder)
    said = run_git(folder, "log", "-1", "--format=%(trailers:only,unfold)%an", "main")
    assert said.split("\n") == [
        "Operation: purge",
        "Actor: dpo",
        f"Session-Sha256: {sha256(GONE.encode()).hexdigest()}",
        f"Commits-Changed: {changed}",
        "Purged-At: 2027-01-15T08:00:10+00:00",
        "Ann",
        "",
    ]
    assert done.changed == changed


def test_it_must_be_confirmed(folder: Path) -> None:
    before = sorted(everything(folder))
    runtime = ticking()
    repository = opened(folder, runtime)
    gone = SessionId(GONE)
    for confirm in ("", "yes", "main", "gon"):
        with pytest.raises(RepositoryError, match="confirm='gone'"):
            purge(repository, session_id=gone, confirm=confirm, author=ANN, runtime=runtime)
        with pytest.raises(RepositoryError, match="confirm='main'"):
            prune_history(
                repository, before=NOW, confirm="gone", author=ANN, runtime=runtime
            )  # fmt: skip
    repository.close()
    with pytest.raises(SessionNotFoundError):
        purged(folder, "never")
    assert [each for each in sorted(everything(folder)) if "gitstore" not in each[0]] == [
        each for each in before if "gitstore" not in each[0]
    ]


@pytest.mark.parametrize("name", ["refs/heads/x", "refs/tags/x", "refs/remotes/o/x", "refs/tags/annotated", "refs/notes/x"])  # fmt: skip
def test_what_others_hold_is_refused_unless_forced(folder: Path, name: str) -> None:
    if name == "refs/tags/annotated":
        run_git(folder, "tag", "-am", "t", "annotated", "main~1")
    else:
        run_git(folder, "update-ref", name, "main~1")
    before = run_git(folder, "rev-parse", "main")
    with pytest.raises(RepositoryError, match=name):
        purged(folder)
    assert run_git(folder, "rev-parse", "main") == before
    done = purged(folder, force=True)
    assert done.kept_by == (name,)
    assert name in done.advice
    assert SECRET in run_git(folder, "show", f"{name}:{at(GONE)}")
    assert run_git(folder, "log", "--format=%H", "main", "--", at(GONE)) == ""
    assert_git_is_content(folder)
    run_git(folder, "update-ref", "-d", name)
    purged(folder)
    assert holders(folder) == []
    assert_git_is_content(folder)


def test_a_ref_from_before_the_session_is_no_reason_to_refuse(folder: Path) -> None:
    run_git(folder, "tag", "early", "main~5")
    kept = run_git(folder, "rev-parse", "early")
    purged(folder)
    assert run_git(folder, "rev-parse", "early", "main~4") == kept * 2
    assert_git_is_content(folder)


def test_a_stash_that_holds_it_is_refused(folder: Path) -> None:
    (folder / at(GONE)).write_text((folder / at(GONE)).read_text() + "# by hand\n")
    run_git(folder, "stash", "-q")
    with pytest.raises(RepositoryError, match="stash"):
        purged(folder)
    purged(folder, force=True)
    assert "# by hand" in run_git(folder, "stash", "show", "-p")
    assert_git_is_content(folder)


@pytest.mark.parametrize(
    ("name", "advice"),
    [("MERGE_HEAD", "unfinished"), ("rebase-merge", "unfinished"), ("shallow", "unshallow"),
     ("objects/info/alternates", "borrows"), ("gitstore/damaged", "damaged bytes")],
)  # fmt: skip
def test_states_in_which_it_would_be_unsafe_are_refused(
    folder: Path, name: str, advice: str
) -> None:
    (folder / ".git" / name).write_text(run_git(folder, "rev-parse", "main"))
    before = run_git(folder, "log", "-1", "main")
    with pytest.raises(RepositoryError, match=advice):
        purged(folder)
    (folder / ".git" / name).unlink()
    assert run_git(folder, "log", "-1", "main") == before


def test_a_pack_that_is_kept_is_refused(folder: Path) -> None:
    run_git(folder, "gc", "-q")
    (pack,) = (folder / ".git/objects/pack").glob("*.pack")
    pack.with_suffix(".keep").touch()
    before = run_git(folder, "rev-parse", "main")
    with pytest.raises(RepositoryError, match=r"\.keep"):
        purged(folder)
    assert (pack.exists(), run_git(folder, "rev-parse", "main")) == (True, before)
    assert_git_is_content(folder)
    pack.with_suffix(".keep").unlink()
    purged(folder)
    assert holders(folder) == []


def test_merges_are_kept_and_so_are_the_sides(folder: Path) -> None:
    run_git(folder, "checkout", "-qb", "side")
    with BlockingSessionStore.open(folder, runtime=ticking(1_710_000_000)) as side:
        side.save(session("side", "x"))
        side.save(session(GONE, f"{SECRET} side"))
    run_git(folder, "checkout", "-q", "main")
    with BlockingSessionStore.open(folder, runtime=ticking(1_720_000_000)) as store:
        store.save(session("b", "more"))
    run_git(folder, "merge", "-q", "-m", "Join", "side")
    run_git(folder, "branch", "-D", "side")
    before = story(folder, at("a"), at("b"), at("side"))
    purged(folder)
    assert holders(folder) == []
    assert story(folder, at("a"), at("b"), at("side")) == before
    assert run_git(folder, "log", "--merges", "--format=%s") == "Join\n"
    assert run_git(folder, "log", "--format=%s", "main^^2").startswith("Create session side\n")
    assert_git_is_content(folder)


def test_a_merge_of_a_side_that_did_nothing_else_keeps_its_message(folder: Path) -> None:
    run_git(folder, "checkout", "-qb", "side")
    with BlockingSessionStore.open(folder, runtime=ticking(1_710_000_000)) as side:
        side.save(session(GONE, f"{SECRET} side"))
    run_git(folder, "checkout", "-q", "main")
    run_git(folder, "merge", "-q", "--no-ff", "-m", "Join", "side")
    run_git(folder, "branch", "-D", "side")
    purged(folder)
    assert holders(folder) == []
    assert run_git(folder, "log", "--format=%s").split("\n")[1] == "Join"
    assert_git_is_content(folder)


def test_a_session_that_was_all_there_was(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    run_git(tmp_path, "init", "-q", "-b", "main", "s")
    with BlockingSessionStore.open(folder, runtime=ticking()) as store:
        store.save(session(GONE, SECRET))
    purged(folder)
    assert holders(folder) == []
    assert run_git(folder, "rev-list", "--count", "main").strip() == "1"
    assert_git_is_content(folder)


def test_edits_and_strays_go_too(folder: Path) -> None:
    """What was staged once, and what an amended commit left in the reflog."""
    file = folder / at(GONE)
    for text in ("staged", "committed"):
        file.write_text(file.read_text() + f"# {SECRET} {text}\n")
        run_git(folder, "add", "-A")
    run_git(folder, "commit", "-qm", "edit")
    run_git(folder, "reset", "-q", "--hard", "HEAD~1")
    file.write_text(file.read_text() + f"# {SECRET} in the index\n")
    run_git(folder, "add", "-A")
    file.write_text(file.read_text() + f"# {SECRET} on disk\n")
    purged(folder)
    assert holders(folder) == []
    assert not file.exists()
    assert_git_is_content(folder)


def test_a_deleted_session_is_purged_and_an_open_store_goes_on(folder: Path) -> None:
    with BlockingSessionStore.open(folder, runtime=ticking(1_710_000_000)) as store:
        kept = store.load("a")
        gone = store.load(GONE)
        store.delete(GONE)
        purged(folder)
        assert holders(folder) == []
        kept.add_turn(ConversationTurn.user("on", id="t-on", now=NOW), now=NOW)
        assert store.save(kept).conflicts == ()
        store.save(session(GONE, "other"))
        # Loaded before: what it was loaded from is gone, so both sides count as new.
        gone.add_turn(ConversationTurn.user("mine", id="t-mine", now=NOW), now=NOW)
        saved = store.save(gone)
        assert saved.merged
        assert {"other", "mine"} <= {turn.content for turn in store.load(GONE).history.turns}
    assert_git_is_content(folder)


def test_a_linked_worktree_on_another_branch_is_left_alone(folder: Path, tmp_path: Path) -> None:
    run_git(folder, "worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"), "main~5")
    purged(folder)
    assert holders(folder) == []
    assert_git_is_content(folder)
    assert_git_is_content(tmp_path / "linked")


def test_a_worktree_whose_head_holds_it_is_refused(folder: Path, tmp_path: Path) -> None:
    run_git(folder, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"), "main~1")
    with pytest.raises(RepositoryError, match="linked:HEAD"):
        purged(folder)


def test_signatures_go_since_they_would_be_false(folder: Path) -> None:
    data = run_git(folder, "cat-file", "commit", "main")
    head, _, message = data.partition("\n\n")
    signed = (
        f"{head}\nencoding UTF-8\ngpgsig -----BEGIN X-----\n \n abc\n -----END X-----\n\n{message}"
    )
    name = run_git(folder, "hash-object", "-t", "commit", "-w", "--stdin", given=signed.encode())
    run_git(folder, "update-ref", "refs/heads/main", name.strip())
    purged(folder)
    remade = run_git(folder, "cat-file", "commit", "main~1")
    assert "gpgsig" not in remade
    assert "abc" not in remade
    assert remade.partition("encoding")[2] == f" UTF-8\n\n{message}"
    assert_git_is_content(folder)


def killed_after_rename_to(folder: Path, name: str) -> None:
    """Purge, and die when a file has got its new content."""

    def die(report: Report) -> None:
        renamed = lambda call: call.name == "rename" and call.target.endswith(name)  # noqa: E731
        Tap(str(folder), At(0, "after", kill_me, accepts=renamed)).install()
        purged(folder)
        report("done")

    assert in_child(die) == ([], signal.SIGKILL)


def test_an_older_stash_that_holds_it_is_refused(folder: Path) -> None:
    (folder / at("a")).write_text((folder / at("a")).read_text() + "# by hand\n")
    run_git(folder, "stash", "-q")
    run_git(folder, "checkout", "-q", "main~5")
    (folder / at("a")).write_text((folder / at("a")).read_text() + "# early\n")
    run_git(folder, "stash", "-q")
    run_git(folder, "checkout", "-q", "main")
    with pytest.raises(RepositoryError, match="stash"):
        purged(folder)


def test_what_another_index_holds_stays_and_is_told(folder: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    run_git(folder, "worktree", "add", "-q", "-b", "other", str(linked), "main~5")
    (linked / at(GONE)).parent.mkdir(exist_ok=True)
    (linked / at(GONE)).write_text((folder / at(GONE)).read_text())
    run_git(linked, "add", "-A")
    done = purged(folder)
    assert (done.left, done.kept_by) == (1, ())
    assert "index" in done.advice
    assert_git_is_content(folder)
    assert SECRET in run_git(linked, "diff", "--cached")
    run_git(linked, "reset", "-q", "--hard")
    purged(folder)
    assert holders(folder) == []


def test_what_somebody_names_again_before_it_is_gone_stays(folder: Path) -> None:
    tip = run_git(folder, "rev-parse", "main").strip()
    killed_after_rename_to(folder, "refs/heads/main")
    run_git(folder, "branch", "keep", tip)
    with pytest.raises(SessionNotFoundError):
        purged(folder, "never")
    assert SECRET in run_git(folder, "show", f"keep:{at(GONE)}")
    assert_git_is_content(folder)


def test_what_a_purge_broken_off_before_the_move_wrote_down_is_void(folder: Path) -> None:
    """The branch was reset since: only the reflog still leads to what the list names."""

    killed_after_rename_to(folder, "gitstore/removing")
    tip = run_git(folder, "rev-parse", "main").strip()
    run_git(folder, "reset", "-q", "--hard", "main~5")
    with pytest.raises(SessionNotFoundError):
        purged(folder, "never")
    assert run_git(folder, "rev-parse", "main@{1}").strip() == tip
    run_git(folder, "reset", "-q", "--hard", tip)
    assert_git_is_content(folder)
    purged(folder)
    assert holders(folder) == []


def test_the_repository_that_was_open_does_not_show_it_any_more(folder: Path) -> None:
    run_git(folder, "gc", "-q")
    runtime = ticking(1_800_000_000)
    gone = SessionId(GONE)
    with closing(opened(folder, runtime)) as repository:
        revision = repository.blob_at(repository.tip(), at(GONE))
        assert revision is not None
        assert repository.kind_of(revision) == "blob"
        purge(repository, session_id=gone, confirm=GONE, author=ANN, runtime=runtime)
        assert repository.kind_of(revision) is None


# --- prune -----------------------------------------------------------------------


def test_old_history_goes_and_what_followed_stays(folder: Path) -> None:
    run_git(folder, "gc", "-q")
    tip = run_git(folder, "ls-tree", "-r", "main")
    commits = run_git(folder, "rev-list", "main").split()
    base = commits[2]  # the session that is GONE, with two turns
    old = run_git(folder, "rev-parse", f"{commits[4]}:{at(GONE)}").strip()
    followed = run_git(folder, "log", "--format=%an %at %ct %B", f"{base}..main")
    when = datetime.fromtimestamp(int(run_git(folder, "log", "-1", "--format=%ct", base)), UTC)
    with BlockingSessionStore.open(folder) as store:
        then = store.load(GONE, at=when)
    done = pruned(folder, when + timedelta(seconds=1))
    assert (done.changed, done.dropped) == (len(commits), len(commits) - 3)
    assert run_git(folder, "ls-tree", "-r", "main") == tip
    root = run_git(folder, "rev-list", "--max-parents=0", "main").strip()
    assert run_git(folder, "log", "--format=%an %at %ct %B", f"{root}..main") == followed
    assert (
        run_git(folder, "log", "-1", "--format=%(trailers:key=Operation,valueonly)", root).strip()
        == "prune"
    )
    stored = run_git(folder, "cat-file", "--batch-check", "--batch-all-objects")
    assert old not in stored
    assert not [commit for commit in commits if commit in stored]
    assert holders(folder, f"About {SECRET}") == []
    assert_git_is_content(folder)
    with BlockingSessionStore.open(folder, runtime=ticking(1_900_000_000)) as store:
        assert store.load(GONE, at=when) == then
        with pytest.raises(BeforeHistoryError):
            store.load(GONE, at=when - timedelta(seconds=1))
        store.save(session("new"))
    again = pruned(folder, when)
    assert (again.changed, again.old, again.advice) == (0, again.new, "")
    assert_git_is_content(folder)


def test_pruning_is_refused_when_others_hold_the_past(folder: Path) -> None:
    run_git(folder, "update-ref", "refs/remotes/origin/main", "main")
    with pytest.raises(RepositoryError, match="refs/remotes/origin/main"):
        pruned(folder, NOW)
    done = pruned(folder, NOW, force=True)
    assert done.kept_by == ("refs/remotes/origin/main",)
    assert_git_is_content(folder)
    with pytest.raises(BeforeHistoryError):
        pruned(folder, datetime(2001, 1, 1, tzinfo=UTC))
    with pytest.raises(NaiveTimeError):
        pruned(folder, datetime(2026, 1, 1))  # noqa: DTZ001 -- the point


def test_what_only_a_reflog_reaches_stays_whole(folder: Path) -> None:
    """A commit of another history, with a tree that the past has too."""
    names = [
        run_git(folder, "commit-tree", "-m", "x", tree).strip()
        for tree in ("main~4^{tree}", "main^{tree}")
    ]
    for name in names:
        run_git(folder, "update-ref", "--create-reflog", "refs/heads/other", name)
    pruned(folder, NOW)
    assert_git_is_content(folder)
    assert SECRET in run_git(folder, "show", f"other@{{1}}:{at(GONE)}")


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_pack_without_index_is_looked_into(folder: Path, is_damaged: bool) -> None:
    """As one has it who died while it was removed."""
    run_git(folder, "gc", "-q", "--prune=now")
    (old,) = (folder / ".git/objects/pack").glob("*.pack")
    data = old.read_bytes()
    with BlockingSessionStore.open(folder, runtime=ticking()) as store:
        store.save(session("d", "new"))
    run_git(folder, "gc", "-q", "--prune=now")
    assert not old.exists()
    if is_damaged:
        old.write_bytes(data[:-1] + b"x")
        tip = run_git(folder, "rev-parse", "main")
        with pytest.raises(CorruptRepositoryError, match=old.name):
            purged(folder)
        assert run_git(folder, "rev-parse", "main") == tip
        return
    old.write_bytes(data)
    purged(folder)
    assert holders(folder) == []
    assert not old.exists()
    assert_git_is_content(folder)


# --- crashes ---------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.parametrize("points_max", [8, pytest.param(1000, marks=pytest.mark.deep)])
@pytest.mark.parametrize("packed", [False, True])
def test_kill_leaves_the_old_or_the_new_history(
    tmp_path: Path, packed: bool, points_max: int
) -> None:
    """Killed at some twenty points; the next purge finishes what was begun."""
    template = make(tmp_path / "template")
    if packed:
        run_git(template, "gc", "-q")
    work = tmp_path / "work"

    def lay_out() -> Path:
        os.system(f"rm -rf '{work}' && cp -a '{template}' '{work}'")
        run_git(work, "update-index", "-q", "--refresh")
        return work

    calls = count_calls(str(lay_out()), lambda: purged(work))
    old = run_git(template, "rev-parse", "main").strip()
    new = run_git(work, "rev-parse", "main").strip()
    assert old != new
    found: set[str] = set()
    points = range(0, len(calls), max(1, len(calls) // points_max))
    for number in points:
        when: When = "after" if number % 2 else "before"
        lay_out()

        def die(report: Report, number: int = number, when: When = when) -> None:
            Tap(str(work), At(number, when, kill_me, accepts=changes)).install()
            purged(work)
            report("done")

        _, killed_by = in_child(die)
        assert killed_by == signal.SIGKILL
        tip = run_git(work, "rev-parse", "main").strip()
        found.add(tip)
        said = run_git(work, "fsck", "--full", "--strict", "--no-dangling", "--no-progress")
        assert (tip in (old, new), said) == (True, ""), calls[number]
        with BlockingSessionStore.open(work, runtime=ticking()) as store:
            assert store.exists(GONE) is (tip == old), calls[number]
            assert store.load("a").history.turns[-1].content == "four"
        try:
            purged(work)
        except SessionNotFoundError:
            assert number == points[-1] or tip == new
        assert holders(work) == [], calls[number]
        assert_git_is_content(work)
    assert found == {old, new}
