"""Quiet folders: left out only while nothing can have happened in them, and never at anybody's cost."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitstore.blocking import system_runtime
from gitstore.git import inotify
from gitstore.git.checkout import WorkingTree
from gitstore.git.files import Disk
from gitstore.git.inotify import ENDED, OVERFLOW, Inotify
from gitstore.git.lock import Workshop
from gitstore.git.quiet import FULL_LOOK_SECONDS, QuietFolders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gitstore.git.quiet import Look

NAMES = ["a", "b", "c"]
_ROOT = str(__file__).rsplit("/tests/", 1)[0]


def queues() -> int:
    """Return how many queues of events this process has open."""
    links = [f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).endswith("inotify") for link in links if os.path.lexists(link))


def watches() -> int:
    """Return how many folders this process watches."""
    infos = [Path("/proc/self/fdinfo", each) for each in os.listdir("/proc/self/fdinfo")]
    return sum(info.read_text().count("inotify wd:") for info in infos if info.exists())


@pytest.fixture(autouse=True)
def somewhere_it_works(tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("inotify is Linux's")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with closing(Inotify()) as queue:
            queue.watch(descriptor)
    except OSError as error:
        pytest.skip(f"nothing can be watched in {tmp_path}: {error}")
    finally:
        os.close(descriptor)


class Scene:
    """Three folders with a file each, and a clock that stands still."""

    def __init__(self, root: Path) -> None:
        self.top = root / "top"
        for name in NAMES:
            (self.top / name).mkdir(parents=True)
            (self.top / name / "file").write_text("x")
        self.seconds = 1000.0
        self.runtime = replace(system_runtime(), monotonic=lambda: self.seconds)
        workshop = Workshop(
            str(root), disk=Disk("process"), runtime=self.runtime, timeout_seconds=1
        )
        self.tree = WorkingTree(str(root), disk=Disk("process"), workshop=workshop)
        self.quiet = QuietFolders(runtime=self.runtime)

    def begin(self, key: str = "k") -> Look:
        return self.quiet.look(lambda _: key)

    def visited(self, key: str = "k", *, keep: bool = True) -> list[str]:
        """Look once, and return the names of the folders that were not left out."""
        found: list[str] = []
        look = self.begin(key)
        for opened in look.visit(self.tree, "top"):
            opened.states()
            if keep:
                look.keep(opened)
            found.append(opened.name)
        return sorted(found)

    def settle(self) -> None:
        assert self.visited() == NAMES
        assert queues() == self.before, "a command that looks once watches nothing"
        assert self.visited() == NAMES
        assert self.visited() == []

    before = 0


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    scene.before = queues()
    yield scene
    scene.quiet.close()


# --- the queue ------------------------------------------------------------------


def test_events_are_there_when_the_call_returns_and_are_told_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    folders = [os.open(tmp_path / name, os.O_RDONLY) for name in "ab"]
    with closing(Inotify()) as queue:
        first, second = map(queue.watch, folders)
        assert queue.watch(folders[0]) == first
        assert queue.read() == {}
        (tmp_path / "a/file").write_text("x")
        assert {*queue.read()} == {first}
        assert queue.read() == {}
        (tmp_path / "a/file").read_text()
        os.listdir(tmp_path / "a")
        assert queue.read() == {}, "what readers do"
        (tmp_path / "a/file").rename(tmp_path / "b/file")
        assert {*queue.read()} == {first, second}
        queue.forget(first)
        queue.forget(first)
        queue.read()
        (tmp_path / "a/file").write_text("x")
        assert queue.read() == {}
        (tmp_path / "b/file").unlink()
        (tmp_path / "b").rmdir()
        os.close(folders[1])
        assert queue.read()[second] & ENDED
    os.close(folders[0])


def test_more_events_than_the_queue_holds(tmp_path: Path) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 1 << 17:
        pytest.skip(f"the queue holds {most} events")
    for name in NAMES:
        (tmp_path / name).touch()
    folder = os.open(tmp_path, os.O_RDONLY)
    with closing(Inotify()) as queue:
        watch = queue.watch(folder)
        for number in range(most + 1):
            os.utime(tmp_path / NAMES[number % 2])  # equal ones in a row would be one event
        assert {*queue.read()} == {watch, OVERFLOW}
        assert queue.read() == {}
        os.utime(tmp_path / "a")
        assert {*queue.read()} == {watch}
    os.close(folder)


def test_a_file_system_that_others_may_write_to_is_not_watched() -> None:
    folder = os.open("/proc/self", os.O_RDONLY)
    with closing(Inotify()) as queue, pytest.raises(OSError, match="not supported"):
        queue.watch(folder)
    os.close(folder)


def test_a_process_takes_no_more_than_its_share() -> None:
    before, taken = queues(), list[Inotify]()
    gc.collect()
    for _ in range(inotify._DESCRIPTORS_MAX - len(inotify._open)):
        taken.append(Inotify())
    with pytest.raises(OSError, match="open files"):
        Inotify()
    assert queues() == before + len(taken)
    taken.pop().close()
    taken.append(Inotify())
    for each in taken:
        each.close()
        each.close()
    assert queues() == before


# --- folders --------------------------------------------------------------------


def test_folders_are_quiet_until_something_happens_there(scene: Scene) -> None:
    scene.settle()
    file = scene.top / "b/file"
    changes: list[Callable[[], object]] = [
        lambda: file.write_text("y"),
        lambda: file.chmod(0o640),
        lambda: file.rename(scene.top / "b/other"),
        lambda: (scene.top / "b/other").rename(scene.top.parent / "other"),
        lambda: (scene.top.parent / "other").rename(file),
        file.unlink,
        file.touch,
    ]
    for change in changes:
        change()
        assert scene.visited() == ["b"]
        assert scene.visited() == []
    assert scene.visited("another key") == NAMES
    assert scene.visited("another key") == []


def test_a_folder_that_does_not_equal_its_key_is_never_quiet(scene: Scene) -> None:
    for _ in range(4):
        assert scene.visited(keep=False) == NAMES


def test_what_is_no_folder_is_no_trouble(scene: Scene) -> None:
    (scene.top / "note").touch()
    (scene.top / "link").symlink_to("a")
    scene.settle()
    (scene.top / "note").write_text("x")
    assert scene.visited() == NAMES
    assert scene.visited() == []


def rename_a_folder(top: Path) -> None:
    (top / "b").rename(top / "d")


def put_another_in_its_place(top: Path) -> None:
    shutil.copytree(top / "b", top.parent / "copy")
    (top / "b").rename(top.parent / "away")
    (top.parent / "copy").rename(top / "b")


def replace_all(top: Path) -> None:
    shutil.copytree(top, top.parent / "copy")
    top.rename(top.parent / "away")
    (top.parent / "copy").rename(top)


def make_all_again(top: Path) -> None:
    shutil.copytree(top, top.parent / "copy")
    shutil.rmtree(top)
    shutil.copytree(top.parent / "copy", top)


def replace_what_it_is_in(top: Path) -> None:
    shutil.copytree(top.parent, top.parent.with_name("copy"))
    top.parent.rename(top.parent.with_name("away"))
    top.parent.with_name("copy").rename(top.parent)


@pytest.mark.parametrize(
    "change",
    [
        rename_a_folder,
        put_another_in_its_place,
        replace_all,
        make_all_again,
        replace_what_it_is_in,
    ],
)
def test_when_folders_change_places_all_are_looked_at_and_watched_again(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    (tmp_path / "root").mkdir()
    scene = Scene(tmp_path / "root")
    scene.before, before = queues(), watches()
    scene.settle()
    change(scene.top)
    names = sorted(os.listdir(scene.top))
    assert scene.visited() == names
    assert scene.visited() == []
    for name in names:
        (scene.top / name / "file").write_text("y")
        assert scene.visited() == [name]
    for away in tmp_path.rglob("away"):
        for file in away.rglob("file"):
            file.write_text("z")
    assert scene.visited() == []
    assert watches() == before + 1 + len(names), "what was moved away is not watched any more"
    scene.quiet.close()


def test_a_file_with_another_name_elsewhere_keeps_its_folder_from_being_quiet(scene: Scene) -> None:
    os.link(scene.top / "b/file", scene.top.parent / "link")
    for _ in range(3):
        scene.visited()
    assert scene.visited() == ["b"]
    (scene.top.parent / "link").unlink()
    assert scene.visited() == ["b"]
    assert scene.visited() == []


def test_all_are_looked_at_again_after_a_while(scene: Scene) -> None:
    scene.settle()
    scene.seconds += FULL_LOOK_SECONDS - 0.1
    assert scene.visited() == []
    scene.seconds += 0.1
    assert scene.visited() == NAMES
    assert scene.visited() == []


def test_what_happens_during_the_first_look_that_watches_is_not_lost(scene: Scene) -> None:
    scene.visited()
    look = scene.begin()
    for opened in look.visit(scene.tree, "top"):
        opened.states()
        if opened.name == "b":
            (scene.top / "b/file").write_text("y")
        look.keep(opened)
    assert scene.visited() == ["b"]
    assert scene.visited() == []


def test_an_event_that_another_thread_took_out_is_not_lost(scene: Scene) -> None:
    scene.settle()
    (scene.top / "b/file").write_text("y")
    slow = scene.begin()
    visit = slow.visit(scene.tree, "top")
    opened = next(visit)
    opened.states()
    (scene.top / "b/file").write_text("z")
    assert scene.visited(keep=False) == ["b"], "the other thread, which reads the event"
    slow.keep(opened)
    del visit
    assert scene.visited() == ["b"]
    assert scene.visited() == []


def test_a_look_that_began_before_folders_changed_places_keeps_nothing(scene: Scene) -> None:
    scene.settle()
    (scene.top / "b/file").write_text("y")
    slow = scene.begin()
    visit = slow.visit(scene.tree, "top")
    opened = next(visit)
    put_another_in_its_place(scene.top)
    assert scene.visited(keep=False) == NAMES
    slow.keep(opened)
    del visit
    assert scene.visited() == NAMES


def test_a_look_in_the_middle_of_another_sees_every_folder(scene: Scene) -> None:
    scene.visited()
    first = scene.begin()
    visit = first.visit(scene.tree, "top")
    opened = next(visit)
    first.keep(opened)
    assert scene.visited() == sorted({*NAMES} - {opened.name})
    del visit
    assert scene.visited() == []


# --- whose it is ----------------------------------------------------------------


def in_child(act: Callable[[], bool]) -> bool:
    """Whether something is so in a forked child, which has 60 seconds for it."""
    child = os.fork()
    if not child:
        signal.alarm(60)
        try:
            os._exit(0 if act() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


def test_a_forked_child_takes_no_events_from_its_parent(scene: Scene) -> None:
    scene.settle()
    (scene.top / "b/file").write_text("y")

    def looks() -> bool:
        inherited = queues()
        seen = [scene.visited() for _ in range(4)]
        (scene.top / "c/file").write_text("y")
        seen.append(scene.visited())
        return inherited == 0 and seen == [NAMES, NAMES, [], [], ["c"]]

    assert in_child(looks)
    assert scene.visited() == ["b", "c"]
    assert scene.visited() == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_is_forked_while_another_thread_looks_does_not_wait_for_it(
    scene: Scene,
) -> None:
    scene.settle()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with scene.quiet._mutex:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    try:
        assert in_child(lambda: scene.visited() == NAMES)
    finally:
        done.set()
        thread.join()


def test_who_closes_or_forgets_it_leaves_no_descriptor(tmp_path: Path) -> None:
    before = queues()
    for how in ("close", "forget"):
        scene = Scene(tmp_path / how)
        scene.before = before
        scene.settle()
        assert queues() == before + 1
        if how == "close":
            scene.quiet.close()
            scene.quiet.close()
            assert queues() == before
            assert scene.visited() == NAMES, "as if there were no inotify"
        del scene
        gc.collect()
        assert queues() == before


def test_a_look_that_is_overtaken_by_close_ends_well(scene: Scene) -> None:
    scene.settle()
    scene.visited("another key", keep=False)
    look = scene.begin("another key")
    found: list[str] = []
    for opened in look.visit(scene.tree, "top"):
        scene.quiet.close()
        look.keep(opened)
        found.append(opened.name)
    assert sorted(found) == NAMES
    assert queues() == scene.before


_LIMITED = """
import sys
from pathlib import Path
from tests.git.test_quiet import NAMES, Scene, queues
name, most, root = sys.argv[1], sys.argv[2], Path(sys.argv[3])
Path("/proc/sys/user", name).write_text(most)
scene = Scene(root)
for _ in range(3):
    assert scene.visited() == NAMES
    assert queues() == 0
Path("/proc/sys/user", name).write_text("1000")
for _ in range(2):
    assert scene.visited() == NAMES, "it is not tried again each time"
other = Scene(root / "other")
assert [other.visited() for _ in range(3)] == [NAMES, NAMES, []]
"""
_MOUNTED = """
import sys
from pathlib import Path
from tests.git.test_quiet import NAMES, Scene, queues
scene = Scene(Path(sys.argv[1]))
assert [scene.visited() for _ in range(3)] == [NAMES] * 3
assert queues() == 0
"""
_UNMOUNTED = """
import subprocess, sys
from pathlib import Path
from tests.git.test_quiet import NAMES, Scene
scene = Scene(Path(sys.argv[1]))
subprocess.run(["mount", "-t", "tmpfs", "none", str(scene.top / "b")], check=True)
scene.settle()
subprocess.run(["umount", str(scene.top / "b")], check=True)
assert scene.visited() == NAMES
assert scene.visited() == []
"""
_TWICE = """
import subprocess, sys
from pathlib import Path
from tests.git.test_quiet import NAMES, Scene
scene = Scene(Path(sys.argv[1]))
subprocess.run(["mount", "--bind", str(scene.top / "a"), str(scene.top / "b")], check=True)
assert [len(scene.visited()) for _ in range(4)] == [3, 3, 1, 1]
for name in "ab":
    (scene.top / name / "file").write_text(name)
    assert scene.visited() == ["a", "b"]
    assert len(scene.visited()) == 1
"""
_OVERLAY = (
    'cd "$1"; shift; mkdir lo up wo me; mount -t overlay o -o lowerdir=lo,upperdir=up,workdir=wo me'
)


def run_apart(*command: str) -> None:
    """Run a program in name spaces of its own, where it may set limits and mount."""
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*apart, "true"], check=False).returncode:
        pytest.skip("no name spaces of one's own here")
    subprocess.run([*apart, *command], check=True, env={**os.environ, "PYTHONPATH": _ROOT})


@pytest.mark.parametrize(
    ("limit", "most"), [("max_inotify_instances", "0"), ("max_inotify_watches", "2")]
)
def test_where_the_system_has_no_more_all_is_as_without(
    tmp_path: Path, limit: str, most: str
) -> None:
    run_apart(sys.executable, "-c", _LIMITED, limit, most, str(tmp_path))


def test_layers_of_file_systems_are_not_watched(tmp_path: Path) -> None:
    script = f'{_OVERLAY} || exit 77; exec "$@" "$PWD/me"'
    try:
        run_apart("sh", "-c", script, "-", str(tmp_path), sys.executable, "-c", _MOUNTED)
    except subprocess.CalledProcessError as error:
        if error.returncode != 77:
            raise
        pytest.skip("no overlay can be mounted")


@pytest.mark.parametrize("script", [_UNMOUNTED, _TWICE], ids=["unmounted", "mounted twice"])
def test_folders_that_are_mounted(tmp_path: Path, script: str) -> None:
    run_apart(sys.executable, "-c", script, str(tmp_path))
