"""Commands about where a store syncs to: remote, clone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from gitstore.cli.output import count, one_line, write, write_json, write_table
from gitstore.cli.progress import progress_bar
from gitstore.cli.settings import HERE, AsJson, Settings
from gitstore.cli.shapes import remote_shape

if TYPE_CHECKING:
    from gitstore import Remote

remote_app = typer.Typer(
    rich_markup_mode=None,
    invoke_without_command=True,
    help="List the remotes; add or remove one.",
)


@remote_app.callback()
def remotes(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the remotes; add or remove one."""
    if context.invoked_subcommand is None:
        list_remotes(context, as_json=as_json)


@remote_app.command("list")
def list_remotes(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the remotes; the one that is used is marked."""
    with Settings.of(context).open() as store:
        found = store.remotes()
    if as_json:
        write_json([remote_shape(remote) for remote in found])
        return
    rows = [
        (remote.name, remote.url, remote.branch, "yes" if remote.is_default else "")
        for remote in found
    ]
    write_table(("NAME", "URL", "BRANCH", "USED"), rows, may_shrink=("URL",))
    if not found:
        write("no remote: the sessions are on this machine only\n")


@remote_app.command("add")
def add_remote(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it, such as origin.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="A path, or an ssh, http or git URL.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Add a remote, as `git remote add` does; the first one is used.

    The remote is not asked. A password does not belong into the URL: git's credential helpers keep
    it.
    """
    with Settings.of(context).open() as store:
        remote = store.add_remote(name, url)
    write_json(remote_shape(remote)) if as_json else write(f"added {_told(remote)}\n")


@remote_app.command("remove")
def remove_remote(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Remove a remote from this repository; nothing is deleted there."""
    with Settings.of(context).open() as store:
        store.remove_remote(name)
    write_json({"removed": name}) if as_json else write(f"removed {one_line(name)}\n")


def clone(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="A path, or an ssh, http or git URL.")],
    folder: Annotated[
        str | None, typer.Argument(metavar="DIR", help="A new folder, if not in --store.")
    ] = None,
    *,
    bare: Annotated[bool, typer.Option("--bare", help="Without a working tree.")] = False,
    branch: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Instead of the remote's own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a store from a remote.

    All that comes in is checked first; if anything goes wrong, nothing is left behind.
    """
    settings = Settings.of(context)
    if (folder is None) == (settings.store == HERE):
        message = "give the new folder, either here or with --store"
        raise typer.BadParameter(message)
    if folder is not None:
        settings = replace(settings, store=folder)
    with progress_bar() as progress:
        store = settings.clone(url, bare=bare, branch=branch, progress=progress)
    with store:
        sessions = len(store.list())
        if as_json:
            write_json({"path": store.path, "branch": store.branch, "sessions": sessions})
            return
        where = f"{one_line(store.path)}, on branch {one_line(store.branch)}"
        write(f"cloned {count(sessions, 'session')} into {where}\n")


def _told(remote: Remote) -> str:
    return one_line(f"{remote.name}, {remote.url}, branch {remote.branch}")
