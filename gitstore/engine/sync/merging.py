"""Three-way merge of all sessions, decided over lookups: no repository needed.

    mine    other   was     becomes
    ------  ------  ------  --------------------------------------------------------
    same    same    any     that
    kept    edited  x       the edit                 (new, updated, deleted)
    edited  kept    x       the edit                 (nothing comes in)
    edited  edited  any     both, merged by meaning  (merged, and maybe conflicts)
    gone    edited  x       the edit                 (revived)

Nothing here is ever lost in silence: what one side wins over the other is a conflict, decided or open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, cast

from gitstore.errors import SerializationError
from gitstore.session import codec
from gitstore.session.files import read_session
from gitstore.session.merge import Document, merge, same
from gitstore.session.model import SessionAsset
from gitstore.types import MISSING, Conflict, Decision, Missing, Revision, SessionId, Side, Use

#: Returns the bytes of a file.
Read: TypeAlias = Callable[[Revision], bytes]
#: Decides a conflict; None leaves it open.
Choose: TypeAlias = Callable[[Conflict], Decision | None]
#: What a session becomes: new bytes, the other side's file as it is, or nothing.
Content: TypeAlias = bytes | Revision | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a merge makes of the sessions.

    `files` holds what must change on our side. While there are `conflicts`, which nobody decided,
    it must not be used: ours stands in their place.
    """

    files: Mapping[SessionId, Content]
    new: tuple[SessionId, ...]
    updated: tuple[SessionId, ...]
    deleted: tuple[SessionId, ...]
    merged: tuple[SessionId, ...]
    revived: tuple[SessionId, ...]
    conflicts: tuple[Conflict, ...]
    decided: tuple[tuple[Conflict, Decision], ...]


class Versions(NamedTuple):
    """The three versions of one session; None where there is none."""

    base: Revision | None
    ours: Revision | None
    theirs: Revision | None


def merge_sets(
    base: Mapping[SessionId, Revision],
    ours: Mapping[SessionId, Revision],
    theirs: Mapping[SessionId, Revision],
    *,
    read: Read,
    choose: Choose,
) -> Plan:
    """Merge two sets of sessions that were one; sessions that nobody changed may be left out.

    Only sessions that both sides changed are read. `choose` is asked once for each conflict.

    Raises:
        SerializationError: what was decided makes no session.
    """
    files: dict[SessionId, Content] = {}
    told: dict[str, list[SessionId]] = {}
    ledger = _Ledger(choose)
    for name in sorted({**base, **ours, **theirs}):
        versions = Versions(base.get(name), ours.get(name), theirs.get(name))
        kind = _kind(versions)
        if kind is None:
            continue
        told.setdefault(kind, []).append(name)
        content: Content = versions.theirs
        if kind == "merged":
            content = _merged(name, versions, read, ledger)
        elif kind == "revived":
            content = versions.ours or versions.theirs
        if content != versions.ours:
            files[name] = content
    kinds = {
        kind: tuple(told.get(kind, ()))
        for kind in ("new", "updated", "deleted", "merged", "revived")
    }
    return Plan(files=files, conflicts=tuple(ledger.open), decided=tuple(ledger.decided), **kinds)


def _kind(versions: Versions) -> str | None:
    """Name what comes in; None if nothing does."""
    base, ours, theirs = versions
    if theirs in (base, ours):
        return None
    if ours == base:
        return "new" if base is None else "deleted" if theirs is None else "updated"
    return "revived" if None in (ours, theirs) else "merged"


class _Ledger:
    """Asks about conflicts, and keeps apart those that were decided."""

    def __init__(self, choose: Choose) -> None:
        self.open: list[Conflict] = []
        self.decided: list[tuple[Conflict, Decision]] = []
        self._choose = choose

    def value(self, conflict: Conflict, newest: Side) -> object:
        """Return what stands at a conflict."""
        decision = self._choose(conflict)
        if decision is None:
            self.open.append(conflict)
            return conflict.ours
        self.decided.append((conflict, decision))
        if isinstance(decision, Use):
            return cast("object", decision.value)
        side = newest if decision == "newest" else decision
        return cast("object", getattr(conflict, side))


def _merged(name: SessionId, versions: Versions, read: Read, ledger: _Ledger) -> Content:
    """Merge a session that both sides changed."""
    data = [None if each is None else read(each) for each in versions]
    base, ours, theirs = (document_of(each, name) for each in data)
    if ours is None or theirs is None:
        return _as_a_whole(name, versions, data, ledger)
    newest: Side = "theirs" if _updated(theirs) > _updated(ours) else "ours"
    opened, decided = len(ledger.open), len(ledger.decided)
    result = merge(
        base,
        ours,
        theirs,
        session_id=name,
        decide=lambda conflict: ledger.value(conflict, newest),
    ).document
    if len(ledger.open) > opened:
        return versions.ours
    try:
        return _written(name, result, (ours, theirs), versions, data)
    except SerializationError:
        if len(ledger.decided) > decided:
            raise
        # Both are sessions, and what both want is none: too large, say.
        return _as_a_whole(name, versions, data, ledger)


def _as_a_whole(
    name: SessionId, versions: Versions, data: list[bytes | None], ledger: _Ledger
) -> Content:
    """Let somebody choose between two versions of which one cannot be read."""
    base, ours, theirs = (_shown(each, name) for each in data)
    conflict = Conflict(session_id=name, where="", base=base, ours=ours, theirs=theirs)
    # The version that can be read is the newer one, as far as anybody can tell.
    newest: Side = "theirs" if isinstance(theirs, dict) else "ours"
    chosen = ledger.value(conflict, newest)
    for version, shown in zip(versions[::-1], (theirs, ours, base), strict=True):
        if chosen is shown:
            return version
    return None if chosen is MISSING else _encoded(name, chosen, None)


def _written(
    name: SessionId,
    result: Document,
    documents: tuple[Document, Document],
    versions: Versions,
    data: list[bytes | None],
) -> Content:
    """Return the merged session as one side's file if it is that, else as new bytes.

    Comments and forms that a person gave a file are kept: ours', unless only theirs have any.
    """
    base_is_plain, ours_is_plain, theirs_is_plain = (
        each is None or codec.is_canonical(each) for each in data
    )
    take_theirs_form = ours_is_plain and base_is_plain and not theirs_is_plain
    ours, theirs = documents
    if same(result, ours) and not take_theirs_form:
        return versions.ours
    if same(result, theirs) and (ours_is_plain or take_theirs_form):
        return versions.theirs
    return _encoded(name, result, data[2] if take_theirs_form else data[1])


def _encoded(name: SessionId, document: object, previous: bytes | None) -> bytes:
    """Return the bytes of a document, once it has proved to be a session."""
    if not isinstance(document, dict):
        problem = "the decision must be a whole session: a map"
        raise SerializationError(problem, where="document", session_id=name)
    asset = SessionAsset.from_document(cast("Document", document), session_id=name)
    return codec.encode(asset.to_document(), previous=previous, session_id=name)


def document_of(data: bytes | None, name: SessionId) -> Document | None:
    """Return the session in some bytes as plain data; None if there is none, or it is unreadable."""
    if data is None:
        return None
    try:
        return read_session(data, session_id=name).to_document()
    except SerializationError:
        return None


def _shown(data: bytes | None, name: SessionId) -> Document | str | Missing:
    """Return a version as a conflict shows it: a document, or the text that is none."""
    if data is None:
        return MISSING
    document = document_of(data, name)
    return data.decode(errors="replace") if document is None else document


def _updated(document: Document) -> str:
    """Return when a session was updated: canonical text, which sorts as the times do."""
    return str(document.get("updated_at", ""))
