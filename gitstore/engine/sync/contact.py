"""The last contact with each remote: when it was, and what went wrong."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from gitstore.errors import StorageError, SyncError

if TYPE_CHECKING:
    from collections.abc import Generator

    from gitstore.git.repository import Repository
    from gitstore.types import Runtime

_FILE: Final = "contacts.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """What is known of the contacts with one remote; times in seconds since 1970."""

    #: The last one that went well; None if none did.
    good: float | None = None
    #: What went wrong in the last one; None if nothing did.
    problem: str | None = None


class Contacts:
    """The contacts of one repository, in ``.git/gitstore/contacts.json``, which may be deleted."""

    def __init__(self, repository: Repository, *, runtime: Runtime) -> None:
        self._repository = repository
        self._note = repository.note(_FILE)
        self._runtime = runtime
        self._mutex = threading.Lock()
        self._running = 0

    @property
    def is_running(self) -> bool:
        """Whether some exchange runs in this process now."""
        return self._running > 0

    def last(self, remote: str) -> Contact:
        """Return what is known of the contacts with a remote."""
        return self._all().get(remote, Contact())

    @contextmanager
    def exchanging(self) -> Generator[None]:
        """Count an exchange as running."""
        with self._mutex:
            self._running += 1
        try:
            yield
        finally:
            with self._mutex:
                self._running -= 1

    @contextmanager
    def contacting(self, remote: str) -> Generator[None]:
        """Remember how the contact in the block went."""
        try:
            yield
        except SyncError as error:
            self._record(remote, problem=str(error))
            raise
        self._record(remote, problem=None)

    def _record(self, remote: str, *, problem: str | None) -> None:
        # Nothing rests on it: what was exchanged counts, also where this cannot be written.
        with suppress(StorageError), self._repository.writing():
            known = self._all()
            good = self._runtime.clock() if problem is None else self.last(remote).good
            known[remote] = Contact(good=good, problem=problem)
            plain = {
                name: {"good": each.good, "problem": each.problem} for name, each in known.items()
            }
            self._note.replace(json.dumps(plain, indent=1).encode())

    def _all(self) -> dict[str, Contact]:
        with suppress(ValueError, TypeError, AttributeError):
            plain = cast("dict[str, Any]", json.loads(self._note.read() or b"{}"))
            return {
                name: Contact(good=_number(each.get("good")), problem=_text(each.get("problem")))
                for name, each in plain.items()
            }
        return {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
