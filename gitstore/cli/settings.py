"""What holds for every command: which store, on whose behalf, and which session is meant."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, cast

import typer

from gitstore import (
    Author,
    BlockingSessionStore,
    InvalidSessionIdError,
    Network,
    Programs,
    SessionNotFoundError,
    named_redactions,
)
from gitstore.cli.failures import AmbiguousPrefixError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitstore import OnProgress

HERE: Final = "."
#: As long as the library waits by default: longer than any save takes.
WAIT_SECONDS: Final = 10.0
_AUTHOR: Final = re.compile(r"\s*([^<>\r\n]*[^<>\s])\s*<([^<>\s]*)>\s*")

AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON value, in the shape that README states.")
]
SessionIdOrPrefix: TypeAlias = Annotated[
    str, typer.Argument(metavar="ID", help="The session's id, or enough of its beginning.")
]
Message: TypeAlias = Annotated[str | None, typer.Option(help="The commit message.")]
Actor: TypeAlias = Annotated[str | None, typer.Option(help="On whose behalf.")]
AtMoment: TypeAlias = Annotated[
    str | None,
    typer.Option("--at", metavar="COMMIT|TIME", help="As it was then; '2 days ago', 2026-01-31Z."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options in front of the command."""

    store: str = HERE
    author: Author | None = None
    wait_seconds: float = WAIT_SECONDS
    #: Whether secrets are masked before a session is stored.
    is_redacting: bool = False
    is_signing: bool = False
    has_pager: bool = True

    @classmethod
    def of(cls, context: typer.Context) -> Settings:
        """Return the settings that the application's callback left in the context."""
        return cast("Settings", context.obj)

    def open(self, *, create: bool = False) -> BlockingSessionStore:
        """Open the store; it must exist, unless it may be created."""
        return BlockingSessionStore.open(
            self.store,
            create=create,
            author=self.author,
            lock_timeout_seconds=self.wait_seconds,
            redact=named_redactions if self.is_redacting else None,
            sign=self.is_signing,
            programs=Programs(environment=os.environ),
            network=Network(environment=os.environ),
        )

    def clone(
        self, url: str, *, bare: bool, branch: str | None, progress: OnProgress | None
    ) -> BlockingSessionStore:
        """Make the store from a remote."""
        return BlockingSessionStore.clone(
            url,
            self.store,
            bare=bare,
            branch=branch,
            author=self.author,
            network=Network(environment=os.environ),
            progress=progress,
        )

    def command(self, *words: str) -> str:
        """Return a command line for this store, to be pasted into a shell."""
        where = () if self.store == HERE else ("--store", self.store)
        return shlex.join(("gitstore", *where, *words))


def parse_author(text: str | None) -> Author | None:
    """Return the author written as ``Name <mail>``.

    Raises:
        typer.BadParameter: it is written otherwise.
    """
    if text is None:
        return None
    match = _AUTHOR.fullmatch(text)
    if match is None:
        message = f"{text!a} is no author; write it as 'Name <mail>'"
        raise typer.BadParameter(message, param_hint="--author")
    return Author(name=match[1], email=match[2])


def find_session(store: BlockingSessionStore, given: str) -> str:
    """Return the one stored session whose id is, or begins with, what was given.

    Returned as it is when there is none: the question put to the store then fails, and says why.
    """
    try:
        if store.exists(given):
            return given
    except InvalidSessionIdError:
        # A beginning of an id need not be one itself ("notes." is of "notes.2026").
        pass
    return _only(given, (row.id for row in store.list())) or given


def find_past_session(store: BlockingSessionStore, given: str) -> str:
    """Return the one session, stored now or ever, whose id is or begins with what was given.

    Costs a walk through all of history when nothing that is stored now fits.
    """
    try:
        if store.exists(given) or store.history(given, limit=1):
            return given
    except InvalidSessionIdError:
        pass
    now = _only(given, (row.id for row in store.list()))
    return now or _only(given, (row.session_id for row in store.deleted())) or given


def find_deleted_session(store: BlockingSessionStore, given: str) -> str:
    """Return the one deleted session whose id is or begins with what was given.

    Returned as it is when there is none, or when a session of this very id is stored.
    """
    try:
        if store.exists(given):
            return given
    except InvalidSessionIdError:
        pass
    gone = [row.session_id for row in store.deleted()]
    return given if given in gone else _only(given, gone) or given


def _only(prefix: str, ids: Iterable[str]) -> str | None:
    found = sorted({name for name in ids if prefix and name.startswith(prefix)})
    if len(found) > 1:
        raise AmbiguousPrefixError(prefix, found)
    return found[0] if found else None


def require_session(store: BlockingSessionStore, given: str) -> str:
    """Return the session, stored now or ever, that is meant.

    Raises:
        SessionNotFoundError: there is none, and never was.
    """
    name = find_past_session(store, given)
    if not store.history(name, limit=1):
        raise SessionNotFoundError(session_id=name)
    return name
