"""AI-agent sessions in a git repository: one YAML file per session, one commit per save or delete.

How the package is laid out, from the bottom up; each layer imports only what is below:

* ``types``, ``errors``      the nouns
* ``session/``               what is stored: pure values, YAML, ids, merge, messages
* ``git/``                   where it is stored: objects, refs, index, working tree; only it knows dulwich
* ``engine/``                how they meet: group commit, listing, hand edits, sync status; blocking
* ``contract``               what every session store does
* ``blocking``               the store, for callers without an event loop
* ``store``                  the same store, in worker threads: asyncio and trio
* ``testing``                the contract as tests, and a store in memory
* ``importers/``, ``cli/``   users of this face, like any other
"""

from gitstore.blocking import BlockingSessionStore
from gitstore.contract import SessionStore
from gitstore.engine.blame import Blame, Blamed
from gitstore.engine.compare import StoreDiff
from gitstore.engine.findings import Problem, ProblemKind, VerifyReport
from gitstore.engine.maintenance import MaintenanceReport
from gitstore.engine.purge import Purged
from gitstore.engine.repair import RepairReport, Restored
from gitstore.engine.restore import Deleted
from gitstore.engine.stats import Growth, SessionSize, Stats
from gitstore.errors import (
    AmbiguousCommitError,
    BeforeHistoryError,
    ConcurrentUpdateError,
    CorruptRepositoryError,
    InvalidSessionIdError,
    NaiveTimeError,
    OutOfSpaceError,
    PermissionDeniedError,
    RepositoryError,
    RepositoryLockedError,
    RepositoryNotFoundError,
    SerializationError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
    SigningError,
    StaleRevisionError,
    StorageError,
    StoreClosedError,
    UnknownCommitError,
    UnsafePathError,
    UnsupportedRepositoryError,
    UnsupportedVersionError,
    UntrustedOwnerError,
)
from gitstore.git.programs import Programs
from gitstore.git.signing import SigningSettings
from gitstore.session.diff import FieldChange, PlacedTurn, SessionDiff, TurnChange, TurnMove
from gitstore.session.difftext import render as render_diff
from gitstore.session.files import dump_session, read_session
from gitstore.session.ids import parse_session_id
from gitstore.session.meta import SessionMeta
from gitstore.session.model import (
    AutoTriggerConfig,
    CodingStylePreferences,
    CommandGrant,
    CommunicationPreferences,
    CompactedTurn,
    ComponentSnapshot,
    ContextInjection,
    ConversationHistory,
    ConversationTurn,
    GrantKind,
    Interval,
    LearnedFact,
    OnEvent,
    OnFileEdit,
    OnLLMPostResponse,
    OnLLMPreRequest,
    ProjectContext,
    SessionAsset,
    SkillConfig,
    ToolCallRecord,
    TriggerCondition,
    UserPreferences,
)
from gitstore.session.redact import Redacted, Redaction, named_redactions, redact_document
from gitstore.store import GitSessionStore
from gitstore.types import (
    MISSING,
    At,
    Author,
    Change,
    CommitId,
    Conflict,
    Durability,
    Expect,
    Expected,
    Masked,
    Missing,
    Outcome,
    Revision,
    Runtime,
    Saved,
    SessionId,
    SignatureState,
    SyncMode,
    SyncState,
    SyncStatus,
)

__all__ = [
    "MISSING",
    "AmbiguousCommitError",
    "At",
    "Author",
    "AutoTriggerConfig",
    "BeforeHistoryError",
    "Blame",
    "Blamed",
    "BlockingSessionStore",
    "Change",
    "CodingStylePreferences",
    "CommandGrant",
    "CommitId",
    "CommunicationPreferences",
    "CompactedTurn",
    "ComponentSnapshot",
    "ConcurrentUpdateError",
    "Conflict",
    "ContextInjection",
    "ConversationHistory",
    "ConversationTurn",
    "CorruptRepositoryError",
    "Deleted",
    "Durability",
    "Expect",
    "Expected",
    "FieldChange",
    "GitSessionStore",
    "GrantKind",
    "Growth",
    "Interval",
    "InvalidSessionIdError",
    "LearnedFact",
    "MaintenanceReport",
    "Masked",
    "Missing",
    "NaiveTimeError",
    "OnEvent",
    "OnFileEdit",
    "OnLLMPostResponse",
    "OnLLMPreRequest",
    "OutOfSpaceError",
    "Outcome",
    "PermissionDeniedError",
    "PlacedTurn",
    "Problem",
    "ProblemKind",
    "Programs",
    "ProjectContext",
    "Purged",
    "Redacted",
    "Redaction",
    "RepairReport",
    "RepositoryError",
    "RepositoryLockedError",
    "RepositoryNotFoundError",
    "Restored",
    "Revision",
    "Runtime",
    "Saved",
    "SerializationError",
    "SessionAsset",
    "SessionDiff",
    "SessionError",
    "SessionExistsError",
    "SessionId",
    "SessionMeta",
    "SessionNotFoundError",
    "SessionSize",
    "SessionStore",
    "SignatureState",
    "SigningError",
    "SigningSettings",
    "SkillConfig",
    "StaleRevisionError",
    "Stats",
    "StorageError",
    "StoreClosedError",
    "StoreDiff",
    "SyncMode",
    "SyncState",
    "SyncStatus",
    "ToolCallRecord",
    "TriggerCondition",
    "TurnChange",
    "TurnMove",
    "UnknownCommitError",
    "UnsafePathError",
    "UnsupportedRepositoryError",
    "UnsupportedVersionError",
    "UntrustedOwnerError",
    "UserPreferences",
    "VerifyReport",
    "dump_session",
    "named_redactions",
    "parse_session_id",
    "read_session",
    "redact_document",
    "render_diff",
]
