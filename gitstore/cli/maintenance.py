"""Commands about room on the disk: maintain, stats."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gitstore import MaintenanceReport, RepositoryError
from gitstore.cli.output import count, one_line, table, write, write_json
from gitstore.cli.settings import AsJson, Settings
from gitstore.cli.shapes import maintenance_shape, stats_shape

if TYPE_CHECKING:
    from gitstore import BlockingSessionStore, Stats

#: No program that the repository names is run by git on our behalf.
_HARMLESS: Final = ("-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false")
_UNIT: Final = 1024
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")
_SAID_MAX: Final = 300


def maintain(
    context: typer.Context,
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Make one pack of all, and prune what nobody names.")
    ] = False,
    with_git: Annotated[
        bool, typer.Option("--git", help="Let `git gc` do it, without hooks.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the store small: pack what is new, old versions as differences.

    A store does so by itself after some saves. Nothing that is stored changes; readers and writers
    may go on meanwhile.
    """
    if full and with_git:
        raise typer.BadParameter("`git gc` always does all; leave out --full")
    with Settings.of(context).open() as store:
        report = _collected(store) if with_git else store.maintain(full=full)
    write_json(maintenance_shape(report)) if as_json else write(_told(report))


def stats(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Tell how large the store is, and what makes it so."""
    with Settings.of(context).open() as store:
        found = store.stats()
    write_json(stats_shape(found)) if as_json else write(_described(found))


def _collected(store: BlockingSessionStore) -> MaintenanceReport:
    """Run `git gc`, and tell what it changed."""
    git = shutil.which("git")
    if git is None:
        message = "there is no git command; `gitstore maintain` needs none"
        raise RepositoryError(message, path=store.path)
    before = store.stats()
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    done = subprocess.run(  # noqa: S603 -- no shell; the user asked for this program
        [git, *_HARMLESS, "-C", store.path, "gc", "--quiet"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[:_SAID_MAX]
        message = f"`git gc` ended with {done.returncode}: {said}; `git fsck` may say more"
        raise RepositoryError(message, path=store.path)
    after = store.stats()
    return MaintenanceReport(
        packs_before=before.packs,
        packs_after=after.packs,
        loose_before=before.loose,
        loose_after=after.loose,
        bytes_before=before.pack_bytes + before.loose_bytes,
        bytes_after=after.pack_bytes + after.loose_bytes,
    )


def _told(report: MaintenanceReport) -> str:
    lines = [
        (
            f"packs {report.packs_before} -> {report.packs_after}, "
            f"loose objects {report.loose_before} -> {report.loose_after}, "
            f"{_size(report.bytes_before)} -> {_size(report.bytes_after)}"
        )
    ]
    if report.pruned:
        lines.append(f"pruned {count(report.pruned, 'object')} that nothing named for two weeks")
    lines += [f"cannot be read, left as it is: {path}" for path in report.unreadable]
    return "".join(f"{one_line(line)}\n" for line in lines)


def _described(found: Stats) -> str:
    growth = found.growth
    rows = [
        ("sessions", str(found.sessions), _size(found.session_bytes)),
        ("commits", str(found.commits), ""),
        (f"last {growth.days} days", count(growth.commits, "commit"), _size(growth.bytes)),
        ("packs", str(found.packs), _size(found.pack_bytes)),
        ("loose objects", str(found.loose), _size(found.loose_bytes)),
        ("left by crashes", str(found.garbage), _size(found.garbage_bytes)),
        ("caches", "", _size(found.cache_bytes)),
    ]
    text = table(("WHAT", "COUNT", "SIZE"), rows)
    if found.largest:
        largest = [(each.session_id, _size(each.bytes)) for each in found.largest]
        text += "\n" + table(
            ("LARGEST SESSIONS", "SIZE"), largest, may_shrink=("LARGEST SESSIONS",)
        )
    if found.last_problem is not None:
        text += f"\nmaintenance failed: {one_line(found.last_problem)}\n"
    return text


def _size(number: int) -> str:
    """Return bytes as people read them."""
    size, unit = float(number), "B"
    for larger in _UNITS:
        if abs(size) < _UNIT:
            break
        size, unit = size / _UNIT, larger
    return f"{number} B" if unit == "B" else f"{size:.1f} {unit}"
