"""Identifiers and results: the nouns every layer shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal, NewType, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SessionId = NewType("SessionId", str)
#: 40 lower-case hex digits of a commit.
CommitId = NewType("CommitId", str)
#: Blob id (40 hex digits) of one session's bytes: two equal revisions are two equal sessions.
Revision = NewType("Revision", str)
#: A moment or a commit-ish (id, abbreviation, branch, tag) to read the store at.
At: TypeAlias = str | datetime
#: What an acknowledged save survives: power loss, or only the death of the process.
Durability: TypeAlias = Literal["full", "process"]


class Expect(Enum):
    """What a write expects to find, when it does not name a revision."""

    #: Whatever is there.
    ANY = "any"
    #: Nothing.
    ABSENT = "absent"


Expected: TypeAlias = Revision | Expect


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "missing"


#: Stands in a `Conflict` for a value that is not there (None is a value like any other).
MISSING: Final = Missing.MISSING


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who a commit is by."""

    name: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Where time and chance come from, for everything below the face of the package."""

    #: Seconds since 1970, as `time.time`.
    clock: Callable[[], float]
    #: Seconds that never go back, as `time.monotonic`.
    monotonic: Callable[[], float]
    #: Waits for some seconds, as `time.sleep`.
    sleep: Callable[[float], None]
    #: A name that nobody else has: hex digits.
    token: Callable[[], str]
    #: A number in [0, 1), for jitter.
    chance: Callable[[], float]


class Outcome(StrEnum):
    """What a write did."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """One part of one session that two writers changed differently.

    `where` is a path such as ``project_context.name`` or ``history.turns[t7].content``. The three
    values are plain data, or `MISSING`.
    """

    session_id: SessionId
    where: str
    base: Any
    ours: Any
    theirs: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """How many secrets of one kind were replaced in one value, such as ``history.turns[3].content``."""

    where: str
    name: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Result of a save or a delete.

    `commit` is None when nothing had to be committed (`Outcome.UNCHANGED`); `revision` is None
    after a delete. `merged` says that the stored session had moved on since this one was loaded
    and that both were merged; `conflicts` then lists the fields in which the saved value won.
    `adopted` is the commit of a hand edit that was found in the working tree and kept first.
    `masked` lists the secrets that were replaced before anything was written.
    """

    session_id: SessionId
    outcome: Outcome
    revision: Revision | None
    commit: CommitId | None
    merged: bool = False
    conflicts: tuple[Conflict, ...] = ()
    adopted: CommitId | None = None
    masked: tuple[Masked, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One commit in the history of a session or of the store.

    `session_id` and `actor` are what the commit's trailers say: None in a commit that gitstore did
    not make. `operation` is the trailer's word too, and is told from what changed where there is
    none: create, update, delete or merge. `revision` is the session after the commit; None if it
    was deleted, and in the history of the whole store. `summary` says in one line what changed,
    against the first parent for one session ("+2 turns, name changed"), by session for the store
    ("a: +2 turns; b: deleted"). `sessions` are those whose content no parent had, by comparing
    trees. `time` is the author's.
    """

    commit: CommitId
    session_id: SessionId | None
    revision: Revision | None
    operation: str
    author: Author
    actor: str | None
    time: datetime
    subject: str
    parents: tuple[CommitId, ...] = ()
    summary: str = ""
    sessions: tuple[SessionId, ...] = ()
    signature: SignatureState | None = None


class SignatureState(StrEnum):
    """What is known of the signature of a commit."""

    UNSIGNED = "unsigned"
    GOOD = "good"
    #: The signature is not of these bytes, cannot be read, or its key was revoked.
    BAD = "bad"
    #: Right, but by a key that nobody vouches for.
    UNKNOWN_KEY = "unknown-key"
    #: Right, but its key was not valid, or is not valid any more.
    EXPIRED = "expired"
    #: There is one, and nobody could look: a program is missing, hangs, or fails.
    UNCHECKED = "unchecked"


class SyncMode(StrEnum):
    """How the store stands with its remote."""

    #: No remote is configured.
    OFFLINE = "Offline"
    ONLINE = "Online"
    SYNCING = "Syncing"
    #: The last contact failed.
    ERROR = "Error"


class SyncState(StrEnum):
    """How one session stands with the remote."""

    #: The remote never had it, or there is no remote.
    LOCAL_ONLY = "LocalOnly"
    SYNCED = "Synced"
    LOCAL_AHEAD = "LocalAhead"
    REMOTE_AHEAD = "RemoteAhead"
    CONFLICT = "Conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncStatus:
    """The local branch compared with its remote-tracking branch.

    `ahead` and `behind` count commits; `pending_uploads` and `pending_downloads` count sessions;
    `conflicts` names the sessions whose two sides cannot be merged without a decision.
    """

    mode: SyncMode
    last_sync: datetime | None = None
    pending_uploads: int = 0
    pending_downloads: int = 0
    conflicts: tuple[SessionId, ...] = ()
    ahead: int = 0
    behind: int = 0
    local: CommitId | None = None
    remote: CommitId | None = None
    #: What went wrong at the last contact; None when it went well.
    problem: str | None = None

    @classmethod
    def offline(cls, local: CommitId | None = None) -> SyncStatus:
        """Return the status of a store without a remote."""
        return cls(mode=SyncMode.OFFLINE, local=local)

    @property
    def is_fully_synced(self) -> bool:
        """Whether nothing is left to send, to fetch or to decide."""
        return (
            self.mode is SyncMode.ONLINE
            and not self.pending_uploads
            and not self.pending_downloads
            and not self.conflicts
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A remote of the repository's configuration.

    `url` is without user name and password. `branch` is the branch there that the store's branch
    is compared with and pushed to, and `is_default` says that this is the remote the store uses.
    """

    name: str
    url: str
    branch: str
    is_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far some long work is.

    `phase` is one of "connecting", "receiving", "checking", "merging", "writing", "sending",
    "listing", "repacking". `done` and `total` count what `unit` says ("bytes", "objects", "sessions");
    `total` is None when nobody knows it.
    """

    phase: str
    done: int
    total: int | None
    unit: str


#: Is told how far the work is, often, in the thread that does it. What it raises ends the work.
OnProgress: TypeAlias = "Callable[[Progress], None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a remote asks for: a user name and a password or token."""

    username: str
    password: str = field(repr=False)


#: Asked with the URL, without credentials, when a remote wants some; None: there are none.
AskCredentials: TypeAlias = "Callable[[str], Credentials | None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A decision of a conflict: this value, plain data (`MISSING` removes the field)."""

    value: Any


#: Which side of a conflict is to stand; "newest" is the side whose session was updated last.
Side: TypeAlias = Literal["base", "ours", "theirs", "newest"]
#: How one conflict is decided.
Decision: TypeAlias = Side | Use
#: What a pull does about conflicts: gives up, takes a side, or asks for each (awaited if need be).
OnConflict: TypeAlias = "Literal['raise', 'ours', 'theirs', 'newest'] | Callable[[Conflict], Decision | Awaitable[Decision]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What an exchange with the remote did, in sessions.

    `new`, `updated` and `deleted` are what came in; `merged` those that both sides had changed;
    `revived` those that one side deleted and the other edited: the edit stands. `decided` lists the
    conflicts, all decided by `on_conflict` or `resolve` (one that is not raises), and `conflicting`
    the sessions they are in. `sent` are the sessions that the remote got. `local` and `remote` are the tips
    after it; `rounds` counts how often it was tried because others were faster.
    """

    new: tuple[SessionId, ...] = ()
    updated: tuple[SessionId, ...] = ()
    merged: tuple[SessionId, ...] = ()
    deleted: tuple[SessionId, ...] = ()
    revived: tuple[SessionId, ...] = ()
    conflicting: tuple[SessionId, ...] = ()
    decided: tuple[Conflict, ...] = ()
    sent: tuple[SessionId, ...] = ()
    local: CommitId | None = None
    remote: CommitId | None = None
    rounds: int = 1


class ChangeKind(StrEnum):
    """What became of a session."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A change that somebody made: this process, another, or a pull; `commit` holds it."""

    session_id: SessionId
    kind: ChangeKind
    commit: CommitId


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One thing that `doctor` looked at; `advice` says what to do when it is not `is_ok`."""

    name: str
    is_ok: bool
    found: str
    advice: str = ""
