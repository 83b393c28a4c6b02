"""What the fault tests do to a store, and how they judge what is left of it."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gitstore import BlockingSessionStore, ConversationTurn, SessionAsset
from gitstore.blocking import system_runtime
from gitstore.errors import SessionNotFoundError
from gitstore.git.objects import object_id
from gitstore.session import codec
from gitstore.session.ids import parse_session_id, path_of
from gitstore.types import Revision
from tests.gitcommand import assert_git_is_content, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitstore.types import Durability

ID = "s1"
OTHER = "s2"
PATH = path_of(parse_session_id(ID))
_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
#: Commits with fixed times have fixed ids, and so every run makes the same calls.
_RUNTIME = replace(system_runtime(), clock=_NOW.timestamp)
_MEMORY = Path("/dev/shm")
#: Who finds a lock that nobody holds any more must not wait for it.
LOCK_SECONDS = 0.5
NAMES = ("first", "update", "edited", "delete", "create")


@contextmanager
def arena() -> Iterator[Path]:
    """Lend a folder, in memory where there is such a thing: thousands of points sync many files."""
    above = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=above, prefix="gitstore-faults-") as folder:
        yield Path(folder)


@dataclass(frozen=True)
class Scene:
    """One operation on one kind of repository, with every state that may be met on the way."""

    name: str
    bare: bool
    #: The repository as it is before; None where the operation makes it.
    template: Path | None
    #: The session's bytes before and after the operation; None where there is no session.
    old: bytes | None
    new: bytes | None
    #: A hand edit that waits in the working file.
    edit: bytes | None = None

    def lay_out(self, folder: Path) -> Path:
        """Make a fresh repository for one point; return its path."""
        path = folder / "repo"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if self.template is not None:
            shutil.copytree(self.template, path)
        return path

    def open(self, path: Path, *, durability: Durability = "full") -> BlockingSessionStore:
        """Open the store, as the operation does."""
        return BlockingSessionStore.open(
            path,
            create=self.name == "create",
            bare=self.bare,
            durability=durability,
            lock_timeout_seconds=LOCK_SECONDS,
            runtime=_RUNTIME,
        )

    def act(self, path: Path) -> None:
        """Do the operation in a new store."""
        with self.open(path) as store:
            self.act_in(store)

    def act_in(self, store: BlockingSessionStore) -> None:
        """Do the operation."""
        if self.name == "delete":
            store.delete(ID)
        elif self.name != "create":
            store.save(self.asset())

    def act_again(self, path: Path) -> None:
        """Do the operation where it may have been done already."""
        try:
            self.act(path)
        except SessionNotFoundError:
            assert self.name == "delete"

    def asset(self) -> SessionAsset:
        """Return what the operation saves: loaded before, and changed."""
        asset = first_asset()
        if self.name in ("update", "edited"):
            assert self.old is not None
            asset.mark_stored(_revision(self.old))
            asset.add_turn(ConversationTurn.assistant("two", id="t2", now=_NOW), now=_NOW)
        return asset

    @property
    def allowed(self) -> tuple[bytes | None, ...]:
        """What may be stored after the operation was broken off."""
        return (self.old, self.new) if self.edit is None else (self.old, self.edit, self.new)


def first_asset(session_id: str = ID) -> SessionAsset:
    """Return a session of one turn; the same every time."""
    asset = SessionAsset.new("/p", name="first", id=session_id, now=_NOW)
    asset.add_turn(ConversationTurn.user("one", id="t1", now=_NOW), now=_NOW)
    return asset


def make_scene(name: str, folder: Path, *, bare: bool = False) -> Scene:
    """Make the repository in which the operation will be done, and do it once to know its result."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "create":
        return Scene(name, bare, None, None, None)
    template = folder / "template"
    old = edit = None
    with BlockingSessionStore.open(template, create=True, bare=bare, runtime=_RUNTIME) as store:
        store.save(first_asset(OTHER))
        if name != "first":
            store.save(first_asset())
            old = stored(template)
    if name == "edited":
        assert old is not None
        edit = b"# by hand\n" + old.replace(b"one", b"one, by hand")
        (template / PATH).write_bytes(edit)
    trial = Scene(name, bare, template, old, None, edit)
    path = trial.lay_out(folder / "trial")
    trial.act(path)
    new = stored(path)
    assert (new is None) is (name == "delete")
    assert new != old
    return Scene(name, bare, template, old, new, edit)


def stored(path: Path, session_path: str = PATH) -> bytes | None:
    """Return what the branch holds for a session, as git reads it."""
    text = run_git(path, "cat-file", "blob", f"main:{session_path}", check=False)
    return text.encode(errors="surrogateescape") if text else None


def working(path: Path) -> bytes | None:
    """Return what the working file of the session holds."""
    file = path / PATH
    return file.read_bytes() if file.exists() else None


def leftovers(path: Path, *, objects: bool = True) -> list[str]:
    """Return the locks and temporary files that lie around; those of objects only if asked."""
    found = [
        each.relative_to(path.parent).as_posix()
        for each in path.parent.rglob("*")
        # The empty folder of somebody who died after making the repository hurts nobody.
        if each.is_file() or any(each.iterdir())
    ]
    own = [
        name
        for name in found
        if name.endswith(".lock")
        or "/gitstore/own-" in name
        or "/gitstore/tmp-" in name
        or ".gitstore-init-" in name
    ]
    return own + [name for name in found if objects and "tmp_obj_" in name]


def history_holds(path: Path, data: bytes) -> bool:
    """Whether some commit of the branch holds these bytes as the session."""
    name = object_id("blob", data)
    commits = run_git(path, "log", "--format=%H", "main", "--", PATH).split()
    return any(
        run_git(path, "rev-parse", f"{c}:{PATH}", check=False).strip() == name for c in commits
    )


def commit_by_hand(path: Path, name: str = "notes.txt", *, check: bool = True) -> bool:
    """Commit a file of the user's with plain git; return whether git did it."""
    (path / name).write_text("mine\n")
    run_git(path, "add", name, check=check)
    run_git(path, "-c", "core.filesRefLockTimeout=0", "commit", "-q", "-m", name, check=check)
    return bool(run_git(path, "cat-file", "-t", f"main:{name}", check=False))


def examine_crash(scene: Scene, path: Path, *, acknowledged: bool, thorough: bool) -> None:
    """Fail unless a store that broke off in the operation is whole, and works on at once."""
    there = (path / ("HEAD" if scene.bare else ".git/HEAD")).exists()
    assert there or (scene.name == "create" and not acknowledged)
    if there:
        assert stored(path) in ((scene.new,) if acknowledged else scene.allowed)
        if not scene.bare:
            assert working(path) in (*scene.allowed, scene.edit)
        _read(scene, path)
    scene.act_again(path)
    assert stored(path) == scene.new
    with scene.open(path) as store:
        another = first_asset("s3")
        saved = store.save(another)
        assert store.load("s3") == another
    assert saved.commit == run_git(path, "rev-parse", "main").strip()
    assert leftovers(path, objects=False) == []
    if scene.edit is not None:
        assert history_holds(path, scene.edit), "the hand edit was lost"
    if not scene.bare:
        assert run_git(path, "status", "--porcelain") == ""
    if thorough:
        assert scene.bare or commit_by_hand(path)
        assert_git_is_content(path)


def _read(scene: Scene, path: Path) -> None:
    """Read the session between the crash and the next save: it is one that was once saved."""
    with scene.open(path) as store:
        try:
            found: SessionAsset | None = store.load(ID)
        except SessionNotFoundError:
            found = None
    assert found in [None if data is None else _decoded(data) for data in scene.allowed]


def _decoded(data: bytes) -> SessionAsset:
    return SessionAsset.from_document(codec.decode(data, session_id=parse_session_id(ID)))


def _revision(data: bytes) -> Revision:
    return Revision(object_id("blob", data))
