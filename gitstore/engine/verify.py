"""Whether a store is what it says it is: every object, every session, every claim of its history.

A damaged repository gives a report and never an exception. Nothing is repaired (see
`gitstore.engine.repair`), and one file is written: `.git/gitstore/verified`, after a check that found
no problem, so that the next one can tell whether the branch was rewritten in between.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from gitstore.engine.findings import Checked, Findings, ProblemKind, VerifyReport
from gitstore.engine.verify_history import HistoryCheck
from gitstore.engine.verify_surroundings import (
    check_cache,
    check_git_files,
    check_history_cache,
    check_working_files,
)
from gitstore.errors import StorageError
from gitstore.git.graph import is_ancestor
from gitstore.git.survey import Flaw

if TYPE_CHECKING:
    from collections.abc import Generator

    from gitstore.git.repository import Repository
    from gitstore.git.signing import Checker
    from gitstore.git.survey import Survey
    from gitstore.types import CommitId


def verify(
    repository: Repository,
    *,
    deep: bool = False,
    remembered: CommitId | None = None,
    checker: Checker | None = None,
    require_signatures: bool = False,
) -> VerifyReport:
    """Check everything that the branch is made of, and what surrounds it.

    Objects are read and hashed, loose and packed; the sessions of the tip are decoded, with `deep`
    those of every commit. The history must contain `remembered`, by default the tip of the last
    check that found no problem; name the tip itself to accept a history that was rewritten on
    purpose. With `checker` every signature must be good, with `require_signatures` there must be one.
    Cost: reads all of the history once; memory grows with the number of objects, not their size.
    """
    survey = repository.survey()
    findings = Findings()
    check_git_files(repository, survey, findings)
    try:
        tip = repository.tip()
    except StorageError as error:
        findings.add(ProblemKind.REF, repository.ref, str(error))
        return _report(None, findings, Checked(), None, is_complete=False)
    known = remembered or _remembered(survey, findings)
    history = HistoryCheck(
        repository, findings, deep=deep, checker=checker, require_signatures=require_signatures
    )
    if tip is None:
        _check_unborn(repository, survey, findings)
    else:
        history.run(tip)
        _check_moves(repository, survey, findings, history, tip)
        check_working_files(repository, findings, history.sessions)
        check_cache(repository, findings, history.sessions)
        check_history_cache(repository, findings)
    if known is not None and not history.contains(known):
        text = (
            f"the branch was rewritten: {known}, its tip when it was last checked, is not in its "
            "history any more; if that was on purpose, check it with its present tip as remembered"
        )
        findings.add(ProblemKind.HISTORY, repository.ref, text)
    if tip is not None and not findings.problems:
        try:
            survey.remember(tip)
        except StorageError as error:
            findings.note(ProblemKind.HISTORY, repository.ref, f"not remembered: {error}")
    return _report(tip, findings, history.checked(), known, is_complete=True)


@contextmanager
def following_rewrite(repository: Repository) -> Generator[None]:
    """Let the next check expect the history that a rewrite on purpose leaves.

    Only if the history of before was the expected one: what was wrong then must still be found.
    """
    survey, tip = repository.survey(), repository.tip()
    known = survey.remembered()
    expected = (
        tip is not None
        and known is not None
        and not isinstance(known, Flaw)
        and is_ancestor(known, tip, repository.facts)
    )
    yield
    new = repository.tip()
    if expected and new is not None:
        survey.remember(new)


def _report(
    tip: CommitId | None,
    findings: Findings,
    checked: Checked,
    remembered: CommitId | None,
    *,
    is_complete: bool,
) -> VerifyReport:
    return VerifyReport(
        tip=tip,
        problems=tuple(findings.problems),
        notes=tuple(findings.notes),
        checked=checked,
        remembered=remembered,
        is_complete=is_complete,
        is_cut=findings.is_cut,
    )


def _remembered(survey: Survey, findings: Findings) -> CommitId | None:
    found = survey.remembered()
    if isinstance(found, Flaw):
        findings.add(ProblemKind.HISTORY, found.where, found.text)
        return None
    return found


def _check_unborn(repository: Repository, survey: Survey, findings: Findings) -> None:
    """Notice a branch that has no commit but had some, or that HEAD names by mistake."""
    if survey.logged():
        findings.add(ProblemKind.REF, repository.ref, "is gone, and its reflog says where it was")
    heads = [ref.name for ref in survey.refs() if not isinstance(ref, Flaw)]
    others = [name for name in heads if name.startswith("refs/heads/")]
    if others:
        text = f"has no commit, while {others[0]} has; does HEAD name the right branch?"
        findings.add(ProblemKind.REF, repository.ref, text)


def _check_moves(
    repository: Repository,
    survey: Survey,
    findings: Findings,
    history: HistoryCheck,
    tip: CommitId,
) -> None:
    """Notice a branch that is not where it last moved to.

    A ref file that is lost uncovers what `packed-refs` held long ago. A log may lag behind: its line
    is written after the branch moved.
    """
    last = next(iter(survey.logged()), None)
    if last is not None and last != tip and not history.contains(last):
        text = f"is at {tip}, but its reflog says that it last moved to {last}"
        findings.add(ProblemKind.HISTORY, repository.ref, text)
