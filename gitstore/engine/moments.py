"""What a commit-ish or a time means in a store."""

from __future__ import annotations

import math
import re
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from gitstore.engine.firstline import first_line_of
from gitstore.engine.pathwalk import revision_of, walk
from gitstore.errors import (
    AmbiguousCommitError,
    BeforeHistoryError,
    NaiveTimeError,
    UnknownCommitError,
)
from gitstore.session.ids import path_of
from gitstore.types import CommitId

if TYPE_CHECKING:
    from gitstore.git.repository import Repository
    from gitstore.types import At, SessionId

_HEX = re.compile(r"[0-9a-fA-F]{4,40}")
_FULL = 40
#: ASCII digits, and no more of them than any history has commits.
_COUNTED = re.compile(r"@\{([0-9]{1,9})\}")
_CANDIDATES_SHOWN = 5
#: How git looks a short ref name up (gitrevisions(7)).
_REF_RULES = ("refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}", "refs/remotes/{}/HEAD")
_REF_NAME = re.compile(r"(?!.*(?:\.\.|//|@\{|\.lock(?:/|$)))[^\s~^:?*\[\\\x00-\x1f\x7f]{1,200}")
_TAG_DEPTH_MAX = 5


def resolve(repository: Repository, at: At | None) -> CommitId | None:
    """Return the commit that `at` means; the tip of the branch for None.

    A time means the last commit on the branch's first-parent line that is not later.

    Raises:
        UnknownCommitError: no commit, branch or tag of that name.
        AmbiguousCommitError: an abbreviation fits several commits.
        BeforeHistoryError: the time is before the first commit.
        NaiveTimeError: the time has no time zone.
    """
    if at is None:
        return repository.tip()
    if isinstance(at, datetime):
        return _resolve_time(repository, at)
    return _resolve_name(repository, at)


def resolve_for(repository: Repository, session_id: SessionId, at: At | None) -> CommitId | None:
    """Return the commit that `at` means for a session: as `resolve`, and two more forms.

    ``@{N}`` is the commit of the session's N-th change before the last one, and ``@{0}`` that of the
    last one. A revision, or its beginning, means the newest commit of the session's history that
    set it; an id that fits a commit too means the commit.

    Raises:
        UnknownCommitError: no commit, branch, tag or revision of that name, or less changes.
        AmbiguousCommitError: an abbreviation fits several commits, or several revisions.
        BeforeHistoryError: the time is before the first commit.
        NaiveTimeError: the time has no time zone.
    """
    if not isinstance(at, str):
        return resolve(repository, at)
    counted = _COUNTED.fullmatch(at)
    if counted is not None:
        return _counted_back(repository, session_id, at, int(counted[1]))
    try:
        return resolve(repository, at)
    except UnknownCommitError:
        if not _HEX.fullmatch(at):
            raise
    return _of_revision(repository, session_id, at)


def _counted_back(repository: Repository, session_id: SessionId, at: str, number: int) -> CommitId:
    with closing(walk(repository, path_of(session_id))) as steps:
        step = next(islice(steps, number, None), None)
    if step is None:
        raise UnknownCommitError(path=repository.path, at=at)
    return CommitId(step.commit.hex())


def _of_revision(repository: Repository, session_id: SessionId, at: str) -> CommitId:
    prefix = at.lower()
    found: dict[str, CommitId] = {}
    with closing(walk(repository, path_of(session_id))) as steps:
        for step in steps:
            revision = revision_of(step.entry)
            if revision is not None and revision.startswith(prefix):
                found.setdefault(revision, CommitId(step.commit.hex()))
    if len(found) > 1:
        candidates = tuple(sorted(found))[:_CANDIDATES_SHOWN]
        raise AmbiguousCommitError(path=repository.path, at=at, candidates=candidates)
    if not found:
        raise UnknownCommitError(path=repository.path, at=at)
    return next(iter(found.values()))


def _resolve_time(repository: Repository, at: datetime) -> CommitId:
    if at.tzinfo is None:
        raise NaiveTimeError(path=repository.path, at=at)
    tip = repository.tip()
    if tip is None:
        raise BeforeHistoryError(path=repository.path, at=at, first=None)
    line = first_line_of(repository)
    found = line.as_of(repository, tip, math.floor(at.timestamp()))
    if found is not None:
        return found
    first = datetime.fromtimestamp(line.first_time(repository, tip), UTC)
    raise BeforeHistoryError(path=repository.path, at=at, first=first)


def _resolve_name(repository: Repository, at: str) -> CommitId:
    if at in ("HEAD", repository.branch):
        tip = repository.tip()
        if tip is not None:
            return tip
    if _HEX.fullmatch(at):
        found = _resolve_hex(repository, at.lower())
        if found is not None:
            return found
    if _REF_NAME.fullmatch(at):
        for rule in ("{}",) if at.startswith("refs/") else _REF_RULES:
            named = repository.ref_tip(rule.format(at))
            commit = None if named is None else _peeled(repository, named)
            if commit is not None:
                return commit
    raise UnknownCommitError(path=repository.path, at=at)


def _resolve_hex(repository: Repository, prefix: str) -> CommitId | None:
    if len(prefix) == _FULL:
        return _peeled(repository, prefix)
    matching = repository.matching(prefix, limit=1000)
    commits = [name for name in matching if repository.kind_of(name) == "commit"]
    if len(commits) > 1:
        raise AmbiguousCommitError(
            path=repository.path, at=prefix, candidates=tuple(commits[:_CANDIDATES_SHOWN])
        )
    return CommitId(commits[0]) if commits else None


def _peeled(repository: Repository, object_id: str) -> CommitId | None:
    """Return the commit behind an object id: itself, or what an annotated tag points at."""
    for _ in range(_TAG_DEPTH_MAX):
        kind = repository.kind_of(object_id)
        if kind == "commit":
            return CommitId(object_id)
        if kind != "tag":
            return None
        object_id = repository.target_of_tag(object_id)
    return None
