"""Removing a session, or old history, for good.

Everything else in gitstore keeps what was; this does not. The branch's history is made again, the
branch moves to it in one step, and what only the old history reached is removed from the disk. It
leaves a record without content. Run it while no other git command works in the repository: git
itself cannot be kept from looking at an object that is about to go.
"""

from __future__ import annotations

import hashlib
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gitstore.engine.leftbehind import LeftBehind
from gitstore.engine.moments import resolve
from gitstore.errors import (
    ConcurrentUpdateError,
    RepositoryError,
    SerializationError,
    SessionNotFoundError,
)
from gitstore.git.draft import Draft, identity
from gitstore.git.location import locate
from gitstore.git.maintain.lock import kept_out
from gitstore.git.objects import Staged
from gitstore.git.removal import Vault
from gitstore.git.rewrite import Commits, Rewritten, WithoutPath, from_root, without_path
from gitstore.git.translate import translated
from gitstore.session import codec
from gitstore.session.ids import path_of
from gitstore.session.message import compose
from gitstore.types import CommitId

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from gitstore.git.checkout import WorkingFile
    from gitstore.git.draft import Sign
    from gitstore.git.repository import Repository
    from gitstore.types import Author, Runtime, SessionId

_SHOWN: Final = 5
#: Rows of sessions, which are made again.
_CACHES: Final = "*.sqlite*"
_ADVICE: Final = (
    "The history of {branch} was rewritten: its commits have new ids. Push it with "
    "`git push --force-with-lease`. Everybody who has a clone must not merge or push the old "
    "history again, which would bring all back: clone anew, or `git fetch`, `git reset --hard "
    "origin/{branch}`, `git reflog expire --expire=now --all` and `git gc --prune=now`. Ask the host "
    "of each remote, and whoever keeps forks or backups, to remove the old commits too."
)
_KEPT: Final = " It is still reachable here from {refs}: delete these, then purge again."
_LEFT: Final = (
    " {count} objects stay, since the index of another working tree or a reflog still names them: "
    "`git reset` there, then purge again."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What a purge did.

    `changed` counts the commits of the old history that are no more, `dropped` those of them that
    nothing stands for now, `removed` the objects that went from the disk, `left` those that should
    have gone and that the index of another working tree, say, still names. `kept_by` names the refs
    that still reach the old history, when it was forced. `advice` says what collaborators must do.
    """

    branch: str
    old: CommitId | None
    new: CommitId | None
    changed: int
    dropped: int
    removed: int
    left: int
    kept_by: tuple[str, ...]
    advice: str


def purge(
    repository: Repository,
    *,
    session_id: SessionId,
    confirm: str,
    author: Author,
    runtime: Runtime,
    force: bool = False,
    actor: str | None = None,
    sign: Sign | None = None,
) -> Purged:
    """Remove a session from the branch, from its whole history, and from the disk.

    Commits that only changed it are left out; those after it are made again with what they say, but
    without their signatures, which would be false (`sign` signs the record). The working file goes
    too, edited or not, and so do reflog lines that lead to the old history. A purge that was broken
    off is finished by the next one. Copies under other ids, and messages of other commits that
    mention the session, stay. Cost: reads every commit and tree of the repository.

    Raises:
        SessionNotFoundError: no commit that is reachable here has it.
        RepositoryError: `confirm` is not the id; another branch, tag or remote-tracking branch has
            the session and `force` was not given; the repository is in a state that must end first.
        ConcurrentUpdateError: the branch moved meanwhile; nothing was changed.
    """
    _check_confirmed(repository, confirm, session_id, "the session id")
    path = path_of(session_id)
    with _vault(repository, runtime) as vault:
        job = _Job(repository, vault, author=author, now=runtime.clock())
        strip = WithoutPath(job.vault.objects, Staged(), path)
        holders = job.holders(lambda commit: strip.has(job.commits[commit].tree))
        strays = job.strays(session_id)
        tip = repository.tip()
        if not holders and not strays:
            if job.resumed:
                return job.result(tip, tip, Rewritten())
            raise SessionNotFoundError(session_id=session_id)
        kept_by = job.check_others(holders, force=force)
        rewritten = Rewritten()
        draft: Draft | None = None
        base = tip
        if tip is not None and tip in holders:
            rewritten = without_path(job.commits, tip, path)
            message = _record(session_id, rewritten.changed, job.now, actor)
            draft = job.draft(tip, rewritten)
            base = draft.tip
            draft.commit(
                path, None, author=author, time=int(job.now.timestamp()), message=message, sign=sign
            )
        new = job.carry_out(draft, holders, strays, base=base, path=path)
    return job.result(tip, new, rewritten, kept_by=kept_by)


def prune_history(
    repository: Repository,
    *,
    before: datetime,
    confirm: str,
    author: Author,
    runtime: Runtime,
    force: bool = False,
    actor: str | None = None,
) -> Purged:
    """Forget how the branch came to be what it was at a time; keep that state, and what followed.

    The state becomes a new first commit, which keeps the time of the commit that had it, so that
    `load(at=...)` finds it as before. A side branch that began earlier and was merged later begins
    at the new first commit too.

    Raises:
        RepositoryError: `confirm` is not the branch's name; or as `purge`.
        BeforeHistoryError: the time is before the first commit. NaiveTimeError: it has no zone.
        ConcurrentUpdateError: the branch moved meanwhile; nothing was changed.
    """
    _check_confirmed(repository, confirm, repository.branch, "the name of the branch")
    with _vault(repository, runtime) as vault:
        job = _Job(repository, vault, author=author, now=runtime.clock())
        tip, base = repository.tip(), resolve(repository, before)
        assert tip is not None
        assert base is not None
        past = set(job.commits.parents_first([base])) - {base}
        if not past:
            return job.result(tip, tip, Rewritten())
        holders = job.holders(lambda commit: commit in past)
        kept_by = job.check_others(holders, force=force)
        time = repository.facts(base).time
        message = compose(
            operation="prune",
            session_id=None,
            message=None,
            actor=actor,
            detail=f"history of {len(past)} commits",
            extra={"Commits-Dropped": str(len(past)), "Pruned-At": job.now.isoformat()},
        )
        who = identity(author, time)
        root = b"tree %s\nauthor %s\ncommitter %s\n\n%s" % (
            job.commits[base].tree.encode(), who, who, message.encode(),
        )  # fmt: skip
        rewritten = from_root(job.commits, tip, base, root)
        draft = job.draft(tip, rewritten)
        draft.subject = message.split("\n", 1)[0]
        new = job.carry_out(draft, holders, set(), base=draft.tip, path=None)
    return job.result(tip, new, rewritten, kept_by=kept_by)


class _Job:
    """One rewrite, from the look around to the last object; under the writer lock."""

    def __init__(self, repository: Repository, vault: Vault, *, author: Author, now: float) -> None:
        self.vault = vault
        self.vault.check()
        #: Objects that a purge broken off earlier had left.
        self.resumed, _ = self.vault.finish()
        self.commits = Commits(self.vault.objects)
        self.now = datetime.fromtimestamp(int(now), UTC)
        self.removed, self.left = self.resumed, 0
        self._repository = repository
        self._author = author
        self._names = self.vault.names(set())
        self._heads = {
            name: commit
            for name, value in self._names.refs.items()
            if (commit := self._commit_of(value)) is not None
        }
        self._logged = {CommitId(each) for each in self.vault.logged()}
        self._stashed = {CommitId(each) for each in self._names.others}

    def holders(self, is_one: Callable[[CommitId], bool]) -> set[CommitId]:
        """Return the commits whose history holds such a commit, wherever they are reachable from."""
        tips = [*self._heads.values(), *self._logged, *self._stashed]
        found: set[CommitId] = set()
        for commit in self.commits.parents_first(tips):
            if is_one(commit) or not found.isdisjoint(self.commits[commit].parents):
                found.add(commit)
        return found

    def strays(self, session_id: SessionId) -> set[str]:
        """Return versions of a session that nothing reaches: staged once, or saved by a loser."""
        tips = [*self._names.refs.values(), *self._logged, *self._stashed]
        found: set[str] = set()
        for name in self.vault.stored() - self.vault.reachable(tips):
            if self.vault.objects.kind_of(name) == "blob":
                data = self.vault.objects.read(name, "blob")
                if _is_session(data, session_id):
                    found.add(name)
        return found

    def check_others(self, holders: set[CommitId], *, force: bool) -> tuple[str, ...]:
        """Return the other refs that hold what shall go; refuse unless forced."""
        named = [
            name
            for name, commit in sorted(self._heads.items())
            if commit in holders and name != self._repository.ref
        ]
        named += ["the stash"] if self._stashed & holders and "refs/stash" not in named else []
        if named and not force:
            shown = ", ".join(named[:_SHOWN]) + (", ..." if len(named) > _SHOWN else "")
            message = (
                f"nothing was changed: {shown} would keep it. Delete these, or give force=True and "
                "see to them, and to every remote, yourself"
            )
            raise RepositoryError(message, path=self._repository.path)
        return tuple(named)

    def draft(self, tip: CommitId, rewritten: Rewritten) -> Draft:
        """Write the new history, and begin a draft on it that takes the place of the tip."""
        new = rewritten.became[tip]
        # Before the branch moves: a remote that has the old history must not bring it back.
        LeftBehind(self._repository).add(rewritten.first(self.commits))
        self.vault.packs.write(rewritten.staged)
        self.vault.objects.close()
        draft = Draft(
            base=tip,
            base_time=0 if new is None else self._repository.facts(tip).time,
            root=None if new is None else self.commits[new].tree,
            read_tree=self.vault.objects.read_tree,
        )
        draft.tip = new
        return draft

    def carry_out(
        self,
        draft: Draft | None,
        holders: set[CommitId],
        strays: set[str],
        *,
        base: CommitId | None,
        path: str | None,
    ) -> CommitId | None:
        """Write down what may go, move the branch, and let it go; return the new tip."""
        repository, vault = self._repository, self.vault
        started = {*self._heads.values(), *self._logged} & holders
        keep = [value for name, value in self._names.refs.items() if name != repository.ref]
        staying = vault.reachable([*keep, *self._stashed, *([base] if base else [])])
        doomed = (vault.reachable(started) - staying) | strays
        vault.check_packs(doomed)
        vault.begin(doomed, tip=base if draft is None else draft.tip)
        if draft is not None and not self._publish(draft, path):
            vault.forget()
            message = "the branch or the file changed meanwhile; nothing was done, try again"
            raise ConcurrentUpdateError(message, path=repository.path)
        # Open packs would keep on the disk what is gone.
        repository.close()
        for cache in Path(repository.folder).glob(_CACHES):
            cache.unlink(missing_ok=True)
        removed, self.left = vault.finish()
        self.removed += removed
        return repository.tip()

    def result(
        self,
        old: CommitId | None,
        new: CommitId | None,
        rewritten: Rewritten,
        *,
        kept_by: tuple[str, ...] = (),
    ) -> Purged:
        """Return what was done, and what is left to others."""
        advice = _ADVICE.format(branch=self._repository.branch) if old != new else ""
        if kept_by:
            advice += _KEPT.format(refs=", ".join(kept_by))
        if self.left:
            advice += _LEFT.format(count=self.left)
        return Purged(
            branch=self._repository.branch,
            old=old,
            new=new,
            changed=rewritten.changed,
            dropped=rewritten.dropped,
            removed=self.removed,
            left=self.left,
            kept_by=kept_by,
            advice=advice.strip(),
        )

    def _publish(self, draft: Draft, path: str | None) -> bool:
        tree = self._repository.working_tree()
        seen: dict[str, WorkingFile | None] = {}
        if tree is not None and path is not None:
            seen[path] = tree.read(path, limit=codec.MAX_BYTES)
        return self._repository.publish(draft, tree=tree, seen=seen, who=self._author)

    def _commit_of(self, name: str) -> CommitId | None:
        """Return the commit that a ref's value means, through annotated tags."""
        repository = self._repository
        kind = repository.kind_of(name)
        while kind == "tag":
            name = repository.target_of_tag(name)
            kind = repository.kind_of(name)
        return CommitId(name) if kind == "commit" else None


def _record(session_id: SessionId, changed: int, now: datetime, actor: str | None) -> str:
    """Return the message that says that something was purged, and not what."""
    return compose(
        operation="purge",
        session_id=None,
        message=None,
        actor=actor,
        detail=f"of one session from {changed} commits",
        extra={
            "Session-Sha256": hashlib.sha256(session_id.encode()).hexdigest(),
            "Commits-Changed": str(changed),
            "Purged-At": now.isoformat(),
        },
    )


@contextmanager
def _vault(repository: Repository, runtime: Runtime) -> Generator[Vault]:
    """Lend out the objects of a repository, and keep other writers out meanwhile."""
    location = locate(repository.path)
    with (
        translated(repository.path),
        # Before the writer lock, as maintenance takes them: it would bring back what it had read.
        kept_out(location, runtime=runtime),
        repository.writing(),
        closing(Vault(location, runtime=runtime)) as vault,
    ):
        yield vault


def _check_confirmed(repository: Repository, confirm: str, wanted: str, what: str) -> None:
    if confirm != wanted:
        message = f"this cannot be undone; nothing was changed. Confirm it with {what}: confirm={wanted!r}"
        raise RepositoryError(message, path=repository.path)


def _is_session(data: bytes, session_id: SessionId) -> bool:
    try:
        return codec.decode(data).get("id") == session_id
    except SerializationError:
        return False
