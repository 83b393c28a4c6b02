"""A listing that leaves out quiet folders sees every change that one sees which looks at all files."""

from __future__ import annotations

import gc
import mmap
import os
import shutil
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore import BlockingSessionStore, SessionMeta, dump_session
from gitstore.blocking import system_runtime
from gitstore.git.quiet import FULL_LOOK_SECONDS
from gitstore.session.ids import path_of
from gitstore.testing.promises import say, session
from gitstore.types import SessionId
from tests.git.test_quiet import in_child, queues, somewhere_it_works
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["somewhere_it_works"]

IDS = [f"s-{number}" for number in range(6)]
_looked_at: list[str] | None = None


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _looked_at is not None and event == "os.scandir" and isinstance(arguments[0], int):
        _looked_at.append(os.readlink(f"/proc/self/fd/{arguments[0]}"))


sys.addaudithook(_note)


@contextmanager
def noting() -> Iterator[list[str]]:
    """Note every folder whose files this process looks at meanwhile."""
    global _looked_at  # noqa: PLW0603 -- a hook cannot be taken out again
    found: list[str] = []
    _looked_at = found
    try:
        yield found
    finally:
        _looked_at = None


class Scene:
    """A store that has listed often enough to watch, late enough for files to have settled.

    What is not seen by inotify is seen only when `seconds` go by.
    """

    def __init__(self, path: Path, *, count: int = len(IDS)) -> None:
        real = system_runtime()
        self.seconds = 1000.0
        self.path = path
        self.runtime = replace(
            real, clock=lambda: real.clock() + 60, monotonic=lambda: self.seconds
        )
        self.store = BlockingSessionStore.open(
            path, create=True, durability="process", auto_maintain=False, runtime=self.runtime
        )
        for name in IDS[:count]:
            self.store.save(session(name, "hello"))

    def settle(self) -> None:
        for _ in range(3):
            self.store.list()
        assert self.visited() == []

    def visited(self) -> list[str]:
        """List, and return the names of the folders that were looked at."""
        with noting() as found:
            self.store.list()
        return sorted(os.path.basename(each) for each in found)

    def file(self, name: str = "s-1") -> Path:
        return self.path / path_of(SessionId(name))

    def fresh(self) -> list[SessionMeta]:
        """Return what a store lists that remembers nothing."""
        (self.path / ".git/gitstore/cache.sqlite").unlink(missing_ok=True)
        with BlockingSessionStore.open(
            self.path, branch=self.store.branch, auto_maintain=False
        ) as other:
            return other.list()

    def names(self) -> dict[str, str | None]:
        return {row.id: (row.problem and "no session") or row.name for row in self.store.list()}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path / "r")
    with scene.store:
        scene.settle()
        yield scene


def edited(data: bytes, by: bytes = b"Z") -> bytes:
    return data.replace(b"A session", by + b" session")


def in_place(file: Path, by: bytes = b"Z") -> None:
    """Change a letter, and put the times back."""
    status = file.stat()
    with file.open("r+b") as opened:
        data = edited(opened.read(), by)
        opened.seek(0)
        opened.write(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def back_in_place(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"Z session", b"A session"))


def append(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"# mine\n")


def rename_over(file: Path) -> None:
    new = file.with_name("new.tmp")
    new.write_bytes(edited(file.read_bytes()))
    new.rename(file)


def rename_over_from_elsewhere(file: Path) -> None:
    new = file.parents[2] / "new.tmp"
    new.write_bytes(edited(file.read_bytes()))
    new.rename(file)


def link_into_place(file: Path) -> None:
    new = file.parents[2] / "new.tmp"
    new.write_bytes(edited(file.read_bytes()))
    file.unlink()
    os.link(new, file)
    new.unlink()


def truncate(file: Path) -> None:
    os.truncate(file, 10)


def map_and_write(file: Path) -> None:
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
        at = mapped.find(b"A session")
        mapped[at : at + 1] = b"Z"


def copy_range(file: Path) -> None:
    new = file.parents[2] / "new.tmp"
    new.write_bytes(edited(file.read_bytes()))
    with new.open("rb") as source, file.open("r+b") as target:
        os.copy_file_range(source.fileno(), target.fileno(), new.stat().st_size)
    new.unlink()


def delete_and_make_again(file: Path) -> None:
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(edited(data))


def replace_by_a_link(file: Path) -> None:
    other = file.parents[2] / "elsewhere"
    other.write_bytes(edited(file.read_bytes()))
    file.unlink()
    file.symlink_to(other)


def forbid(file: Path) -> None:
    file.chmod(0o640)


def delete(file: Path) -> None:
    file.unlink()


def replace_folder(file: Path) -> None:
    away, copy = file.parents[2] / "away", file.parents[2] / "copy"
    shutil.copytree(file.parent, copy)
    file.parent.rename(away)
    in_place(copy / file.name)
    copy.rename(file.parent)


def replace_sessions(file: Path) -> None:
    sessions = file.parents[1]
    shutil.copytree(sessions, sessions.with_name("copy"))
    in_place(sessions.with_name("copy") / file.parent.name / file.name)
    sessions.rename(sessions.with_name("away"))
    sessions.with_name("copy").rename(sessions)


def make_sessions_again(file: Path) -> None:
    data, sessions = file.read_bytes(), file.parents[1]
    shutil.rmtree(sessions)
    file.parent.mkdir(parents=True)
    file.write_bytes(edited(data))


def replace_everything(file: Path) -> None:
    root = file.parents[2]
    shutil.copytree(root, root.with_name("copy"))
    in_place(root.with_name("copy") / "sessions" / file.parent.name / file.name)
    root.rename(root.with_name("away"))
    root.with_name("copy").rename(root)


def overflow(file: Path) -> None:
    """Let more happen elsewhere than the queue holds, and then make the edit."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 1 << 17:
        pytest.skip(f"the queue holds {most} events")
    others = [each for each in file.parents[1].rglob("*.yaml") if each.parent != file.parent]
    for number in range(most + 1):
        os.utime(others[number % 2])
    in_place(file)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (in_place, "Z session"),
        (append, "A session"),
        (rename_over, "Z session"),
        (rename_over_from_elsewhere, "Z session"),
        (link_into_place, "Z session"),
        (truncate, "no session"),
        (map_and_write, "Z session"),
        (copy_range, "Z session"),
        (delete_and_make_again, "Z session"),
        (replace_by_a_link, "A session"),
        (forbid, "A session"),
        (delete, "A session"),
        (replace_folder, "Z session"),
        (replace_sessions, "Z session"),
        (make_sessions_again, "Z session"),
        (replace_everything, "Z session"),
        (overflow, "Z session"),
    ],
)
def test_every_change_is_seen_by_the_next_listing(
    scene: Scene, change: Callable[[Path], None], name: str
) -> None:
    change(scene.file())
    with noting() as looked_at:
        rows = scene.store.list()
    assert str(scene.file().parent) in looked_at
    assert rows == scene.fresh()
    assert scene.names() == {**dict.fromkeys(IDS, "A session"), "s-1": name}
    if change is append:
        assert (
            b"# mine" in run_git(scene.path, "show", f"main:{path_of(SessionId('s-1'))}").encode()
        )
    scene.store.list()
    still = [scene.file().parent.name] if name == "no session" else []
    assert scene.visited() == still, "and then all is quiet again"
    assert scene.names() == {row.id: (row.problem and name) or row.name for row in scene.fresh()}


@pytest.mark.parametrize("where", ["in a folder that is there", "in a new one"])
def test_a_new_file_is_seen(scene: Scene, where: str) -> None:
    shards = {scene.file(name).parent.name for name in IDS}
    known = where == "in a folder that is there"
    name = next(
        each
        for each in (f"n-{number}" for number in range(10_000))
        if (scene.file(each).parent.name in shards) == known
    )
    new = scene.file(name)
    new.parent.mkdir(exist_ok=True)
    new.write_bytes(dump_session(session(name)))
    assert sorted(scene.names()) == sorted([*IDS, name])
    assert scene.store.list() == scene.fresh()
    assert_git_is_content(scene.path)


def test_only_the_folder_of_a_change_is_looked_at(scene: Scene) -> None:
    asset = scene.store.load("s-2")
    say(asset, "more", turn="t1")
    scene.store.save(asset)
    assert scene.visited() == [scene.file("s-2").parent.name]
    in_place(scene.file("s-4"))
    assert scene.visited() == [scene.file("s-4").parent.name]
    # Once more: it was not equal to what is committed when it was looked at.
    assert scene.visited() == [scene.file("s-4").parent.name]
    assert scene.visited() == []
    assert scene.store.list() == scene.fresh()


def test_a_file_that_has_not_settled_is_looked_at_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "r")
    scene.store.close()
    real = system_runtime()
    with BlockingSessionStore.open(scene.path, runtime=real, auto_maintain=False) as scene.store:
        scene.store.save(session("s-new"))
        for _ in range(4):
            assert scene.file("s-new").parent.name in scene.visited()


def test_what_git_does_is_seen(scene: Scene) -> None:
    in_place(scene.file("s-2"))
    scene.store.list()
    in_place(scene.file("s-3"))
    for command in (
        ["stash", "-q"],
        ["stash", "pop", "-q"],
        ["commit", "-qam", "by git"],
        ["checkout", "-q", "HEAD~2"],
        ["checkout", "-q", "-b", "other"],
        ["checkout", "-q", "main"],
        ["checkout", "-q", "HEAD~2", "--", "sessions"],
        ["reset", "-q", "--hard", "HEAD~1"],
        ["rm", "-q", path_of(SessionId("s-5"))],
        ["commit", "-qam", "away"],
        ["revert", "--no-edit", "HEAD"],
    ):
        if "commit" in command:
            in_place(scene.file("s-4"), b"C")
        run_git(scene.path, *command)
        for _ in range(2):
            assert scene.store.list() == scene.fresh(), command
    assert_git_is_content(scene.path)


def test_nothing_is_missed_while_a_merge_waits(scene: Scene) -> None:
    run_git(scene.path, "checkout", "-q", "-b", "other")
    in_place(scene.file("s-2"))
    run_git(scene.path, "commit", "-qam", "theirs")
    run_git(scene.path, "checkout", "-q", "main")
    run_git(scene.path, "merge", "-q", "--no-ff", "--no-commit", "other")
    in_place(scene.file("s-3"))
    assert scene.names() == dict.fromkeys(IDS, "A session")
    run_git(scene.path, "commit", "-qm", "merged")
    wanted = {**dict.fromkeys(IDS, "A session"), "s-2": "Z session", "s-3": "Z session"}
    assert scene.names() == wanted
    assert scene.store.list() == scene.fresh()


def test_a_file_that_was_opened_before_is_watched_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "r")
    with scene.store, scene.file().open("r+b", buffering=0) as opened:
        scene.settle()
        opened.write(edited(scene.file().read_bytes()))
        assert scene.names()["s-1"] == "Z session"


def test_a_hard_link_that_was_there_before_is_no_way_around(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "r")
    os.link(scene.file(), tmp_path / "link")
    with scene.store:
        for _ in range(4):
            scene.store.list()
        in_place(tmp_path / "link")
        assert scene.names()["s-1"] == "Z session"


def test_what_makes_no_event_is_seen_after_a_while(scene: Scene, tmp_path: Path) -> None:
    os.link(scene.file("s-1"), tmp_path / "link")
    in_place(tmp_path / "link")
    (tmp_path / "link").unlink()
    with scene.file("s-2").open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
        at = mapped.find(b"A session")
        mapped[at : at + 1] = b"Z"
        assert scene.names() == dict.fromkeys(IDS, "A session")
        scene.seconds += FULL_LOOK_SECONDS
        wanted = {**dict.fromkeys(IDS, "A session"), "s-1": "Z session", "s-2": "Z session"}
        assert scene.names() == wanted
    assert scene.store.list() == scene.fresh()


@pytest.mark.parametrize("call", ["load", "save", "delete", "push"])
def test_others_do_not_rely_on_events(scene: Scene, tmp_path: Path, call: str) -> None:
    """What replaces, sends or hands out sessions looks at the files themselves."""
    os.link(scene.file(), tmp_path / "link")
    in_place(tmp_path / "link")
    assert scene.names()["s-1"] == "A session", "proof that the listing would not tell them"
    if call == "load":
        assert b"Z session" in dump_session(scene.store.load("s-1"))
    elif call == "save":
        assert scene.store.save(session("s-1", "x")).adopted
    elif call == "delete":
        assert scene.store.delete("s-1").adopted
    else:
        run_git(tmp_path, "init", "-q", "--bare", "-b", "main", "origin.git")
        run_git(scene.path, "remote", "add", "origin", str(tmp_path / "origin.git"))
        scene.store.push()
        sent = run_git(tmp_path / "origin.git", "show", f"main:{path_of(SessionId('s-1'))}")
        assert "Z session" in sent


def test_each_of_many_threads_sees_its_own_edits(scene: Scene) -> None:
    missed: list[tuple[str, bytes]] = []

    def edit(name: str) -> None:
        letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        for old, new in pairwise(letters):
            data = scene.file(name).read_bytes()
            changed = data.replace(b"%c session" % old, b"%c session" % new)
            with scene.file(name).open("r+b") as opened:
                opened.write(changed)
            if scene.names()[name] != f"{chr(new)} session":
                missed.append((name, changed))

    threads = [threading.Thread(target=edit, args=[name]) for name in IDS[:4]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert missed == []
    assert scene.store.list() == scene.fresh()


def test_a_forked_child_and_its_parent_both_see_an_edit(scene: Scene) -> None:
    in_place(scene.file())
    assert in_child(lambda: scene.names()["s-1"] == "Z session")
    in_place(scene.file("s-2"))
    assert in_child(lambda: scene.names()["s-2"] == "Z session")
    assert scene.names() == {
        **dict.fromkeys(IDS, "A session"),
        "s-1": "Z session",
        "s-2": "Z session",
    }


def test_a_store_has_one_descriptor_and_leaves_none(tmp_path: Path) -> None:
    before = queues()
    for path in (tmp_path / "closed", tmp_path / "dropped"):
        scene = Scene(path)
        assert queues() == before
        scene.settle()
        assert queues() == before + 1
        if path.name == "closed":
            scene.store.close()
            assert queues() == before
        del scene
        gc.collect()
        assert queues() == before


# --- anything, in any order -----------------------------------------------------


def _save(scene: Scene, name: str) -> None:
    scene.store.save(session(name, "saved", minute=scene.file(name).exists()))


def _save_elsewhere(scene: Scene, name: str) -> None:
    with BlockingSessionStore.open(scene.path, branch="main", auto_maintain=False) as other:
        other.save(session(name, "elsewhere"))


def _write(scene: Scene, name: str) -> None:
    scene.file(name).parent.mkdir(parents=True, exist_ok=True)
    scene.file(name).write_bytes(dump_session(session(name, "by hand")))


def _there(act: Callable[[Path], None]) -> Callable[[Scene, str], None]:
    def on(scene: Scene, name: str) -> None:
        if scene.file(name).exists():
            act(scene.file(name))

    return on


def _delete(scene: Scene, name: str) -> None:
    if scene.store.exists(name):
        scene.store.delete(name)


def _move_folder(scene: Scene, name: str) -> None:
    folder, away = scene.file(name).parent, scene.path / "away"
    if folder.exists() and not away.exists():
        folder.rename(away)
    elif away.exists() and not folder.exists():
        away.rename(folder)


def _list(scene: Scene, _: str) -> None:
    scene.store.list()


def _link_and_wait(scene: Scene, name: str) -> None:
    link = scene.path / "link"
    if scene.file(name).exists():
        os.link(scene.file(name), link)
        in_place(link, b"L")
        link.unlink()
        scene.seconds += FULL_LOOK_SECONDS


def _git(*arguments: str) -> Callable[[Scene, str], None]:
    def run(scene: Scene, _: str) -> None:
        run_git(scene.path, *arguments, check=False)

    return run


ACTS: dict[str, Callable[[Scene, str], None]] = {
    "list": _list,
    "save": _save,
    "save elsewhere": _save_elsewhere,
    "delete": _delete,
    "write": _write,
    "in place": _there(in_place),
    "back in place": _there(back_in_place),
    "append": _there(append),
    "rename over": _there(rename_over),
    "truncate": _there(truncate),
    "map": _there(lambda file: map_and_write(file) if b"A session" in file.read_bytes() else None),
    "remove": _there(delete),
    "replace folder": _there(
        lambda file: None if (file.parents[2] / "away").exists() else replace_folder(file)
    ),
    "move folder": _move_folder,
    "link": _link_and_wait,
    "commit": _git("commit", "-qam", "by git"),
    "checkout": _git("checkout", "-qf", "HEAD", "--", "sessions"),
    "back": _git("reset", "-q", "--hard", "HEAD~1"),
    "away": _git("checkout", "-qf", "--detach"),
    "home": _git("checkout", "-qf", "main"),
}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(ACTS)),
            st.sampled_from(IDS[:3]),
            st.sampled_from(["compare", "list", "go on"]),
        ),
        min_size=4,
        max_size=20,
    )
)
def test_whatever_happens_a_listing_is_that_of_a_new_store(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.mktemp("any")
    scene = Scene(path / "r", count=3)
    with scene.store:
        scene.settle()
        for act, name, then in [*acts, ("list", IDS[0], "compare")]:
            ACTS[act](scene, name)
            if then == "compare":
                assert scene.store.list() == scene.fresh()
            if then != "go on":
                for _ in range(2):
                    scene.store.list()
    shutil.rmtree(path)
