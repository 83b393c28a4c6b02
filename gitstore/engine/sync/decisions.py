"""Decisions of conflicts: those that were recorded for later, and those asked for in a pull.

A decision is for one conflict: this field, with these three values. When either side changes the field
again it is another conflict, and nobody has decided that one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast, get_args

from gitstore.errors import SerializationError
from gitstore.types import MISSING, Conflict, Decision, Side, Use

if TYPE_CHECKING:
    from gitstore.git.repository import Repository

#: What a pull does about a conflict that was not decided before; asked callables do not wait.
Policy: TypeAlias = Literal["raise", "ours", "theirs", "newest"] | Callable[[Conflict], Decision]
#: Decisions by session, field and values.
Recorded: TypeAlias = Mapping[str, Decision]

_FILE: Final = "decisions.json"
_FORMAT: Final = 1
#: Decisions kept; of more, the oldest are forgotten, and their conflicts are open again.
_KEPT_MAX: Final = 10_000
_SIDES: Final = get_args(Side)


class Decisions:
    """The recorded decisions of one repository, in ``.git/gitstore/decisions.json``.

    When that file is lost or damaged, the conflicts are open again.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._note = repository.note(_FILE)
        self._read: tuple[bytes | None, Recorded] = (None, {})

    def recorded(self) -> Recorded:
        """Return the decisions as they are now; the same object while nobody changes them."""
        data = self._note.read()
        if data != self._read[0]:
            self._read = (data, _decoded(data))
        return self._read[1]

    def record(self, decided: Sequence[tuple[Conflict, Decision]]) -> None:
        """Remember how some conflicts are to be decided, durably."""
        with self._repository.writing():
            known = dict(self.recorded())
            for conflict, decision in decided:
                known.pop(key_of(conflict), None)
                known[key_of(conflict)] = decision
            self._write(known)

    def forget(self, conflicts: Sequence[Conflict]) -> None:
        """Drop the decisions of conflicts that are no more."""
        done = {key_of(conflict) for conflict in conflicts}
        if not done & self.recorded().keys():
            return
        with self._repository.writing():
            self._write({key: each for key, each in self.recorded().items() if key not in done})

    def _write(self, decisions: Recorded) -> None:
        kept = list(decisions.items())[-_KEPT_MAX:]
        value = {"format": _FORMAT, "decisions": {key: _plain(each) for key, each in kept}}
        self._note.replace(json.dumps(value, indent=1).encode())


class Chooser:
    """Decides the conflicts of one pull: as recorded, or else by its policy.

    A callable is asked once for each conflict, and only while `is_asking`: never under a lock, since
    it may take as long as a person does, or use the store.
    """

    def __init__(self, policy: Policy, recorded: Recorded) -> None:
        self.is_asking = True
        self._policy = policy
        self._known = dict(recorded)

    def __call__(self, conflict: Conflict) -> Decision | None:
        """Return the decision of a conflict; None leaves it open."""
        key = key_of(conflict)
        decision = self._known.get(key)
        if decision is not None or self._policy == "raise":
            return decision
        if not callable(self._policy):
            return checked(self._policy, conflict)
        if not self.is_asking:
            return None
        decision = self._known[key] = checked(self._policy(conflict), conflict)
        return decision


def side_of(policy: Policy) -> Literal["ours", "theirs"] | None:
    """Return the side that a policy takes wherever it can."""
    match policy:
        case "ours" | "theirs":
            return policy
        case _:
            return None


def checked(decision: object, conflict: Conflict) -> Decision:
    """Return what is a decision.

    Raises:
        SerializationError: it is none.
    """
    if isinstance(decision, Use) or decision in _SIDES:
        return cast("Decision", decision)
    raise SerializationError(
        f"{decision!a} is no decision; give one of {', '.join(_SIDES)}, or Use(value)",
        where=conflict.where or "document",
        session_id=conflict.session_id,
    )


def key_of(conflict: Conflict) -> str:
    """Return what tells a conflict from every other: session, field, and the three values."""
    values = [
        [] if value is MISSING else [value]
        for value in (conflict.base, conflict.ours, conflict.theirs)
    ]
    parts = [conflict.session_id, conflict.where, values]
    # JSON keeps 1, 1.0 and true apart; the order of keys does not matter to a merge.
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _plain(decision: Decision) -> object:
    if not isinstance(decision, Use):
        return decision
    return [] if decision.value is MISSING else [decision.value]


def _decoded(data: bytes | None) -> Recorded:
    try:
        value = json.loads(data or b"{}")
        if value.get("format") != _FORMAT:
            return {}
        plain = cast("dict[str, Any]", dict(value["decisions"]))
    except (ValueError, TypeError, AttributeError, KeyError):
        return {}
    found: dict[str, Decision] = {}
    for key, each in plain.items():
        if isinstance(each, list):
            found[key] = Use(value=each[0] if each else MISSING)
        elif each in _SIDES:
            found[key] = each
    return found
