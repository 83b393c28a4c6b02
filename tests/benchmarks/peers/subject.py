"""What every subject has in common: it opens a copy of a repository and writes one session at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from gitstore import dump_session
from tests.benchmarks.sessions import change, path_of, session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.benchmarks.measure import Act
    from tests.benchmarks.peers.ours import Gitstore
    from tests.benchmarks.sessions import Size

#: How the repository that a subject starts from is laid out. "sharded" is gitstore's own layout;
#: "none" is an empty folder.
Layout: TypeAlias = Literal["sharded", "flat", "toml", "none"]

UNSYNCED = "nothing synced: a power loss can take the commit, or leave empty objects"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change of one session: the last turn says something else.

    The bytes are made when somebody asks for them: gitstore encodes its own, and must not find
    them in memory because a peer was given them.
    """

    name: str
    #: The seed that the stored session was made with.
    number: int
    size: Size
    #: The seed of what the last turn says then.
    seed: int

    @property
    def path(self) -> str:
        """Where gitstore keeps the session."""
        return path_of(self.name)

    @property
    def data(self) -> bytes:
        """The whole session after the change, as gitstore writes it."""
        return _data(self)


@lru_cache(maxsize=2)
def _data(edit: Edit) -> bytes:
    asset = session(edit.name, edit.size, seed=edit.number)
    change(asset, seed=edit.seed, size=edit.size)
    return dump_session(asset)


class Peer(Protocol):
    """An open subject that is not gitstore."""

    def write(self, name: str, path: str, data: bytes) -> Act:
        """Prepare, untimed; return what stores these bytes."""
        ...

    def delete(self, name: str, path: str) -> Act:
        """Prepare, untimed; return what removes the session."""
        ...

    def close(self) -> None:
        """Let go of files and processes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Something that stores sessions."""

    name: str
    #: What an acknowledged save survives.
    durability: str
    #: Whether its repository has a working tree; None for what is no repository.
    bare: bool | None
    layout: Layout
    #: Raises ImportError if what it needs is not installed.
    open: Callable[[Path], Peer | Gitstore]
    settings: dict[str, str] = field(default_factory=dict[str, str])
    notes: str = ""
    deletes: bool = True
