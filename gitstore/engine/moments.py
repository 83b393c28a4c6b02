"""What a commit-ish or a time means in a store."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gitstore.errors import (
    AmbiguousCommitError,
    BeforeHistoryError,
    NaiveTimeError,
    UnknownCommitError,
)
from gitstore.git.graph import as_of
from gitstore.types import CommitId

if TYPE_CHECKING:
    from gitstore.git.repository import Repository
    from gitstore.types import At

_HEX = re.compile(r"[0-9a-fA-F]{4,40}")
_FULL = 40
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


def _resolve_time(repository: Repository, at: datetime) -> CommitId:
    if at.tzinfo is None:
        raise NaiveTimeError(path=repository.path, at=at)
    tip = repository.tip()
    found = None if tip is None else as_of(tip, int(at.timestamp()), repository.facts)
    if found is None:
        raise BeforeHistoryError(path=repository.path, at=at, first=_first_time(repository, tip))
    return found


def _first_time(repository: Repository, commit: CommitId | None) -> datetime | None:
    time: int | None = None
    while commit is not None:
        facts = repository.facts(commit)
        time = facts.time
        commit = facts.parents[0] if facts.parents else None
    return None if time is None else datetime.fromtimestamp(time, UTC)


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
