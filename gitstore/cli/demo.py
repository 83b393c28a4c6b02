"""The command `demo`: everything the store does, on real data in a folder of its own."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gitstore import Author, BlockingSessionStore, ConversationTurn, Network
from gitstore.cli.demo_remote import DEMO_AUTHOR, log_lines, remote_lines
from gitstore.cli.output import one_line, write, write_json
from gitstore.cli.settings import AsJson, Settings
from gitstore.importers.orcs import read_orcs

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Of the sessions in the data, the one with 1,000 turns and the one to delete.
_LONG: Final = "5a1e6f0c-3b7d-4c52-9f18-2d0c7a94be31"
_DELETED: Final = "27fa0a57-e208-4767-b0c9-37e3f382681f"
_COMMENT: Final = "# reviewed by hand: the client's real name stays out of here"


@dataclass(frozen=True, slots=True)
class Report:
    """What the demo did, step by step: told at once, or kept for one JSON value."""

    is_silent: bool
    steps: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def step(self, title: str, lines: Iterable[str]) -> None:
        """Tell a step, and then what came of it."""
        done: list[str] = []
        number = len(self.steps) + 1
        if not self.is_silent:
            write(f"\n{number}. {title}\n")
        for line in map(one_line, lines):
            done.append(line)
            if not self.is_silent:
                write(f"   {line}\n")
        self.steps.append({"step": number, "title": title, "lines": done})


def demo(
    context: typer.Context,
    folder: Annotated[
        str | None, typer.Argument(metavar="DIR", help="An empty or new folder to work in.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what gitstore does, in a new folder.

    Works on sessions that come with gitstore; needs no network.
    """
    author = Settings.of(context).author or DEMO_AUTHOR
    root = _new_folder(folder)
    report = Report(is_silent=as_json)
    if not as_json:
        write(f"gitstore demo, in {one_line(str(root))}\n")
    network = Network(environment=os.environ)
    with BlockingSessionStore.open(
        root / "store", create=True, author=author, network=network
    ) as store:
        _tour(store, report, root=root, author=author)
        if as_json:
            write_json({"path": store.path, "steps": report.steps})


def demo_data() -> Path:
    """Return the folder of the demo's sessions: inside the package, or a checkout's fixtures."""
    package = Path(__file__).resolve().parent
    installed = package / "demo_data"
    return installed if installed.is_dir() else package.parents[1] / "fixtures" / "demo"


def _new_folder(folder: str | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="gitstore-demo-"))
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        is_used = next(path.iterdir(), None) is not None
    except (OSError, ValueError) as error:
        message = f"{folder!a} cannot be used: {error}"
        raise typer.BadParameter(message, param_hint="DIR") from error
    if is_used:
        message = f"{folder!a} is not empty; give a new folder"
        raise typer.BadParameter(message, param_hint="DIR")
    return path.resolve()


def _tour(store: BlockingSessionStore, report: Report, *, root: Path, author: Author) -> None:
    report.step("A store is a git repository", [f"{store.path}, on branch {store.branch}"])
    report.step("Import sessions that ORCS wrote as JSON, one commit each", _import(store))
    report.step("Add turns to the long session and save it", _add_turns(store))
    report.step("Edit a session's file by hand: the edit becomes a commit of its own", _edit(store))
    report.step("Delete a session, and bring it back from history", _delete(store))
    report.step("List what is stored", _list(store))
    report.step("The same history, as git tells it: git log --oneline", log_lines(store.path))
    title = "Sync with a remote that another machine syncs with, too"
    report.step(title, remote_lines(store, root=root, author=author))
    report.step("Where to look next", _next(store))


def _import(store: BlockingSessionStore) -> Iterable[str]:
    for file in read_orcs(demo_data()):
        if file.asset is None:
            assert file.error is not None
            raise file.error
        start = time.perf_counter()
        saved = store.save(file.asset, actor="demo importer")
        took = (time.perf_counter() - start) * 1000
        turns = len(file.asset.history.turns)
        yield f"{file.path.name}: {turns} turns, {saved.outcome} {saved.session_id} in {took:.0f} ms"


def _add_turns(store: BlockingSessionStore) -> Iterable[str]:
    asset = store.load(_LONG)
    asset.add_turn(ConversationTurn.user("What is left to do before the release?"))
    asset.add_turn(ConversationTurn.assistant("Two tasks: the export and the quota."))
    start = time.perf_counter()
    saved = store.save(asset)
    took = (time.perf_counter() - start) * 1000
    yield f"{len(asset.history.turns)} turns now; commit {str(saved.commit)[:10]} in {took:.0f} ms"
    again = store.save(asset)
    yield f"saving the same again: {again.outcome}, no commit"


def _edit(store: BlockingSessionStore) -> Iterable[str]:
    file = next(Path(store.path, "sessions").rglob(f"{_LONG}.yaml"))
    before = file.read_text("utf-8")
    after = before.replace("  name: ledger\n", f"  {_COMMENT}\n  name: ledger (client A)\n", 1)
    file.write_text(after, "utf-8", newline="\n")
    yield f"{file.relative_to(store.path)}: a comment and another name, with a text editor"
    asset = store.load(_LONG)
    newest = store.history(_LONG, limit=1)[0]
    yield f"load sees the name {asset.project_context.name!r}; {newest.commit[:10]} {newest.subject}"
    asset.add_turn(ConversationTurn.user("Thanks!"))
    saved = store.save(asset)
    kept = _COMMENT in file.read_text("utf-8")
    yield f"saved again as {str(saved.commit)[:10]}; the comment is {'still there' if kept else 'LOST'}"


def _delete(store: BlockingSessionStore) -> Iterable[str]:
    before = store.sync_status().local
    saved = store.delete(_DELETED)
    assert before is not None
    yield f"deleted {_DELETED}, in commit {str(saved.commit)[:10]}; exists: {store.exists(_DELETED)}"
    yield f"load(id, at={before[:10]!r}) finds it, save stores it again"
    restored = store.save(store.load(_DELETED, at=before[:10]))
    yield f"{restored.outcome} with revision {str(restored.revision)[:10]}; exists: {store.exists(_DELETED)}"


def _list(store: BlockingSessionStore) -> Iterable[str]:
    for row in store.list():
        yield f"{row.id}  {row.name or '-'}  {row.turn_count} turns  {row.sync_state}"


def _next(store: BlockingSessionStore) -> Iterable[str]:
    tool = Settings(store=store.path)
    yield tool.command("list")
    yield tool.command("show", _DELETED)
    yield tool.command("log", _LONG)
    yield tool.command("status")
    yield f"git -C {store.path} log -p -2"
    yield "README.md tells the rest; the folder is yours to delete"
