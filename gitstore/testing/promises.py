"""What the checks of the contract are written with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from gitstore.session.model import ConversationTurn, SessionAsset

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gitstore.contract import SessionStore

E = TypeVar("E", bound=Exception)

#: A fixed moment: the contract asks no clock.
NOON: Final = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


class Check(Protocol):
    """An async function that puts an empty store to one test."""

    __name__: str

    async def __call__(self, store: SessionStore, /) -> None:
        """Raise unless the store keeps the promise."""


def session(session_id: str = "s-1", *texts: str, minute: int = 0) -> SessionAsset:
    """Return a session with a turn for each text, last changed some minutes after noon."""
    asset = SessionAsset.new(id=session_id, name="A session", now=NOON + timedelta(minutes=minute))
    for number, text in enumerate(texts):
        say(asset, text, turn=f"t{number}", minute=minute)
    return asset


def say(asset: SessionAsset, text: str, *, turn: str, minute: int = 0) -> None:
    """Add a turn, some minutes after noon."""
    now = NOON + timedelta(minutes=minute)
    asset.add_turn(ConversationTurn.user(text, id=turn, now=now), now=now)


def turns(asset: SessionAsset) -> list[str]:
    """Return the ids of the turns, in their order."""
    return [turn.id for turn in asset.history.turns]


def require(holds: object, promise: str) -> None:
    """Fail unless something holds. Works under ``python -O`` too."""
    if not holds:
        raise AssertionError(promise)


def equal(got: object, wanted: object, what: str) -> None:
    """Fail unless two values are equal."""
    if got != wanted:
        message = f"{what}: expected {wanted!r}, got {got!r}"
        raise AssertionError(message)


async def raises(kind: type[E], call: Awaitable[object]) -> E:
    """Return the error that the call must raise."""
    try:
        await call
    except kind as error:
        require(str(error), f"{kind.__name__} has a message")
        return error
    message = f"{kind.__name__} was not raised"
    raise AssertionError(message)
