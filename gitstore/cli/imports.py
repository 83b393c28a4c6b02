"""Commands that bring sessions of other tools in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gitstore import (
    Expect,
    SessionAsset,
    SessionExistsError,
    StorageError,
    named_redactions,
    redact_document,
)
from gitstore.cli.failures import exit_code, explain
from gitstore.cli.output import count, one_line, write, write_json
from gitstore.cli.settings import AsJson, Settings
from gitstore.cli.shapes import masked_shape
from gitstore.importers.orcs import read_orcs

if TYPE_CHECKING:
    from gitstore import BlockingSessionStore, Saved
    from gitstore.cli.shapes import Shape
    from gitstore.importers.orcs import OrcsFile

import_app = typer.Typer(rich_markup_mode=None, help="Bring in sessions of other tools.")


@import_app.command("orcs")
def import_orcs(
    context: typer.Context,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Files, or folders of *.json.")
    ],
    *,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also where another content is stored.")
    ] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop at the first file that fails.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import sessions that ORCS wrote as JSON, one commit each.

    A file that fails does not stop the others; the exit code is that of the first failure.
    """
    shapes: list[Shape] = []
    code = 0
    settings = Settings.of(context)
    with settings.open() as store:
        for file in read_orcs(*paths):
            shape, failed = _import(
                store, file, overwrite=overwrite, is_redacting=settings.is_redacting
            )
            shapes.append(shape)
            code = code or failed
            if not as_json:
                write(_line(shape))
            if code and stop:
                break
    if as_json:
        write_json(shapes)
    elif not shapes:
        write("no *.json files there\n")
    if code:
        raise typer.Exit(code)


def _import(
    store: BlockingSessionStore, file: OrcsFile, *, overwrite: bool, is_redacting: bool
) -> tuple[Shape, int]:
    """Store one file's session; return what happened, and the exit code for it."""
    shape: Shape = dict.fromkeys(("path", "session_id", "outcome", "revision", "commit", "error"))
    shape["path"] = str(file.path)
    shape["masked"] = []
    if file.asset is None:
        assert file.error is not None
        shape["error"] = explain(file.error)
        return shape, exit_code(file.error)
    shape["session_id"] = file.asset.id
    try:
        saved = _store(store, file.asset, overwrite=overwrite, is_redacting=is_redacting)
    except StorageError as error:
        shape["error"] = f"{file.path}: {_problem(error, file.asset)}"
        return shape, exit_code(error)
    done = {"outcome": saved.outcome.value, "revision": saved.revision, "commit": saved.commit}
    return {**shape, **done, "masked": masked_shape(saved.masked)}, 0


def _store(
    store: BlockingSessionStore, asset: SessionAsset, *, overwrite: bool, is_redacting: bool
) -> Saved:
    if overwrite:
        return store.save(asset)
    try:
        return store.save(asset, expected=Expect.ABSENT)
    except SessionExistsError:
        if not store.exists(asset.id):
            raise
        stored = store.load(asset.id)
        if stored != _as_stored(asset, is_redacting=is_redacting) or stored.revision is None:
            raise
        # The same content, perhaps with a person's comments: saying so changes nothing.
        return store.save(asset, expected=stored.revision)


def _as_stored(asset: SessionAsset, *, is_redacting: bool) -> SessionAsset:
    if not is_redacting:
        return asset
    redacted = redact_document(asset.to_document(), named_redactions)
    return SessionAsset.from_document(redacted.document)


def _problem(error: StorageError, asset: SessionAsset) -> str:
    if isinstance(error, SessionExistsError) and error.existing == asset.id:
        return f"{asset.id} is stored with other content; --overwrite replaces it"
    return explain(error)


def _line(shape: Shape) -> str:
    """Return one line about one file."""
    if shape["error"] is not None:
        return f"failed {one_line(shape['error'])}\n"
    commit = "" if shape["commit"] is None else f" in commit {shape['commit'][:10]}"
    secrets = sum(each["count"] for each in shape["masked"])
    masked = f", with {count(secrets, 'secret')} masked" if secrets else ""
    return f"{shape['outcome']} {one_line(shape['session_id'])}{commit}{masked}\n"
