"""Read from a repository what goes into a report."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from gitstore.engine.compare import diff, diff_store
from gitstore.engine.report.page import ReportedSession, html_report
from gitstore.errors import SessionNotFoundError, StorageError
from gitstore.session import codec
from gitstore.session.ids import path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from gitstore.git.repository import Repository
    from gitstore.session.diff import SessionDiff
    from gitstore.session.meta import SessionMeta
    from gitstore.types import Change, SessionId

#: Sessions of one commit whose diffs are shown: an import may change thousands.
_SESSIONS_MAX: Final = 10


def report(
    repository: Repository,
    session_id: SessionId | None,
    changes: Iterable[Change],
    *,
    made_at: datetime,
    rows: Iterable[SessionMeta] = (),
    diffs_max: int = 200,
) -> str:
    """Return the report of one session with its turns, or of the store, as one HTML page.

    `changes` are what `history` returns for the same session, as many as the page shall list. Of
    the first `diffs_max` of them the diffs are shown. `rows` are the sessions to list in a report
    of the store. What cannot be read is told in its place.
    """
    listed = list(changes)
    tip = repository.tip()
    found = {
        change.commit: tuple(_diffs_of(repository, change, session_id))
        for change in listed[:diffs_max]
    }
    facts = {"Branch": repository.branch, "Tip": tip[:10] if tip else "no commit yet"}
    if len(listed) > diffs_max:
        facts["Diffs"] = f"of the newest {diffs_max:,} changes"
    sessions = [ReportedSession(meta=row) for row in rows]
    if session_id is not None:
        sessions = list(_current(repository, session_id))
        facts["Session"] = "" if sessions else "deleted"
    return html_report(
        listed,
        title="Session store" if session_id is None else f"Session {session_id}",
        made_at=made_at,
        facts={name: value for name, value in facts.items() if value},
        sessions=sessions,
        diffs=found,
    )


def _diffs_of(
    repository: Repository, change: Change, session_id: SessionId | None
) -> Iterator[SessionDiff | str]:
    parents = repository.facts(change.commit).parents
    before = parents[0] if parents else None
    changed = [session_id] if session_id else list(_changed(repository, change))
    for each in islice(changed, _SESSIONS_MAX):
        try:
            yield diff(repository, each, before, change.commit)
        except SessionNotFoundError:
            yield f"Session {each} is not in this commit."
        except StorageError as error:
            yield f"Session {each} cannot be shown: {error}"
    if len(changed) > _SESSIONS_MAX:
        yield f"{len(changed) - _SESSIONS_MAX:,} more sessions changed."


def _changed(repository: Repository, change: Change) -> Iterator[SessionId]:
    found = diff_store(repository, None, change.commit)
    yield from (*found.created, *found.updated, *found.deleted)


def _current(repository: Repository, session_id: SessionId) -> Iterator[ReportedSession]:
    revision = repository.blob_at(repository.tip(), path_of(session_id))
    if revision is None:
        return
    data = repository.read_blob(revision)
    meta = codec.read_meta(data, session_id=session_id, revision=revision)
    try:
        document = codec.decode(data, session_id=session_id)
    except StorageError:
        yield ReportedSession(meta=meta)
        return
    yield ReportedSession(meta=meta, document=document)
