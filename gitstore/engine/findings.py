"""What a check of a store found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gitstore.errors import StorageError
    from gitstore.types import CommitId

#: Where everything is damaged the first thousand say so.
PROBLEMS_MAX: Final = 1000


class ProblemKind(StrEnum):
    """What a problem is about."""

    REPOSITORY = "repository"
    OBJECT = "object"
    TREE = "tree"
    SESSION = "session"
    HISTORY = "history"
    TRAILERS = "trailers"
    SIGNATURE = "signature"
    REF = "ref"
    LOG = "log"
    INDEX = "index"
    WORKING_FILE = "working-file"
    CACHE = "cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is not as it should be.

    `where` is an object id, a path, a ref, or a commit and a path; `text` a sentence about it.
    """

    kind: ProblemKind
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How much was looked at; `sessions` counts contents, each once, `signed` good signatures."""

    commits: int = 0
    trees: int = 0
    blobs: int = 0
    sessions: int = 0
    signed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify` found.

    `notes` are worth knowing and no problem: hand edits that the next save will commit, files that
    are no sessions. `remembered` is the tip that the history had to contain. `is_complete` is False
    when the branch itself could not be looked at, `is_cut` when there were too many problems to list.
    """

    tip: CommitId | None
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()
    checked: Checked = Checked()
    remembered: CommitId | None = None
    is_complete: bool = True
    is_cut: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether everything was looked at and nothing was found."""
        return self.is_complete and not self.problems

    @property
    def exit_code(self) -> int:
        """What a command should end with: 0 clean, 1 problems, 2 could not be checked at all."""
        if not self.is_complete:
            return 2
        return 1 if self.problems else 0

    @classmethod
    def impossible(cls, error: StorageError) -> VerifyReport:
        """Return the report about a repository that cannot even be opened."""
        where = str(getattr(error, "path", "repository"))
        problem = Problem(kind=ProblemKind.REPOSITORY, where=where, text=str(error))
        return cls(tip=None, problems=(problem,), is_complete=False)


class Findings:
    """Problems as they are found: each once, and not without end."""

    def __init__(self) -> None:
        self.problems: dict[Problem, None] = {}
        self.notes: dict[Problem, None] = {}
        self.is_cut = False

    def add(self, kind: ProblemKind, where: str, text: str) -> None:
        """Take in a problem."""
        self._add(self.problems, Problem(kind=kind, where=where, text=text))

    def note(self, kind: ProblemKind, where: str, text: str) -> None:
        """Take in what is worth knowing and no problem."""
        self._add(self.notes, Problem(kind=kind, where=where, text=text))

    def _add(self, found: dict[Problem, None], problem: Problem) -> None:
        if len(found) < PROBLEMS_MAX:
            found[problem] = None
        elif problem not in found:
            self.is_cut = True
