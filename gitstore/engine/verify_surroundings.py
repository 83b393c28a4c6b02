"""What surrounds a branch, checked: refs, logs, packs, index, working files, and the row cache."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gitstore.engine.findings import ProblemKind
from gitstore.engine.historycache import FILE as HISTORY
from gitstore.engine.historycache import HistoryCache
from gitstore.engine.pathwalk import agrees
from gitstore.engine.rowcache import RowCache
from gitstore.engine.worktree import problem_of
from gitstore.errors import StorageError
from gitstore.git.objects import object_id
from gitstore.git.survey import Flaw
from gitstore.session import codec
from gitstore.session.ids import DIRECTORY, path_of, session_id_of

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from gitstore.engine.findings import Findings
    from gitstore.git.checkout import WorkingTree
    from gitstore.git.repository import Repository
    from gitstore.git.survey import Survey
    from gitstore.types import Revision, SessionId

_CACHE: Final = "cache.sqlite"
_ADVICE: Final = "remove the file: it is made again"
#: Walks that are made anew: each costs a look at every commit.
_WALKS_MAX: Final = 100
_CACHE_ENDINGS: Final = ("", "-journal", "-wal")


def check_git_files(repository: Repository, survey: Survey, findings: Findings) -> None:
    """Check what git keeps beside the objects: config, HEAD, refs, reflogs, index, packs."""
    try:
        repository.setting("core", "repositoryformatversion")
    except StorageError as error:
        findings.add(ProblemKind.REPOSITORY, "config", str(error))
    for flaw in survey.head():
        findings.add(ProblemKind.REF, *flaw)
    for flaw in survey.seals():
        findings.add(ProblemKind.OBJECT, *flaw)
    for flaw in survey.logs():
        findings.add(ProblemKind.LOG, *flaw)
    for ref in survey.refs():
        if isinstance(ref, Flaw):
            findings.add(ProblemKind.REF, *ref)
            continue
        try:
            if repository.kind_of(ref.target) is None:
                text = f"points at {ref.target}, which is missing"
                findings.add(ProblemKind.REF, ref.name, text)
        except StorageError as error:
            findings.add(ProblemKind.REF, ref.name, str(error))
    _check_index(repository, survey, findings)


def _check_index(repository: Repository, survey: Survey, findings: Findings) -> None:
    try:
        if not survey.has_index():
            if repository.working_tree() is not None and repository.tip() is not None:
                text = "is missing: git takes every file for deleted; `git reset` makes it again"
                findings.add(ProblemKind.INDEX, "index", text)
            return
        for path, blob in survey.index().items():
            if session_id_of(path) is not None and repository.kind_of(blob) != "blob":
                findings.add(ProblemKind.INDEX, path, f"its object {blob} is missing")
    except StorageError as error:
        findings.add(ProblemKind.INDEX, "index", str(error))


def check_working_files(
    repository: Repository, findings: Findings, sessions: Mapping[SessionId, Revision]
) -> None:
    """Compare the working files with the branch.

    A file that differs is a hand edit, or damage that looks like one: noted when it is a session,
    since the next load or save commits it, and a problem when it is none.
    """
    try:
        tree = repository.working_tree()
        if tree is None or repository.is_merging():
            return
        there = {path for path in tree.scan(DIRECTORY) if session_id_of(path) is not None}
    except StorageError as error:
        findings.add(ProblemKind.WORKING_FILE, DIRECTORY, str(error))
        return
    ids = sessions.keys() | {name for path in there if (name := session_id_of(path))}
    for session_id in sorted(ids):
        _check_working_file(tree, findings, session_id, sessions.get(session_id))


def _check_working_file(
    tree: WorkingTree, findings: Findings, session_id: SessionId, committed: Revision | None
) -> None:
    path = path_of(session_id)
    try:
        file = tree.read(path, limit=codec.MAX_BYTES)
    except StorageError as error:
        findings.add(ProblemKind.WORKING_FILE, path, str(error))
        return
    if file is None:
        text = "is missing, and still on the branch; `git checkout` brings it back"
        findings.note(ProblemKind.WORKING_FILE, path, text)
        return
    if object_id("blob", file.data) == committed:
        return
    problem = problem_of(file.data, session_id)
    if problem is not None:
        findings.add(ProblemKind.WORKING_FILE, path, f"differs from the branch: {problem}")
    else:
        text = "differs from the branch: a hand edit, which the next load or save commits"
        findings.note(ProblemKind.WORKING_FILE, path, text)


def check_cache(
    repository: Repository, findings: Findings, sessions: Mapping[SessionId, Revision]
) -> None:
    """Compare the rows that are kept with the sessions they are about."""
    with _copied(repository, _CACHE, findings) as copy:
        rows = {} if copy is None else RowCache(copy).load()
    where, advice = f"gitstore/{_CACHE}", _ADVICE
    for key, row in rows.items():
        if sessions.get(key[0]) != key[1]:
            continue
        try:
            fresh = codec.read_meta(
                repository.read_blob(key[1]), session_id=key[0], revision=key[1]
            )
        except StorageError:
            continue  # the object is reported already
        if fresh != row:
            text = f"its row for {key[0]} is not what the session says; {advice}"
            findings.add(ProblemKind.CACHE, where, text)


def check_history_cache(repository: Repository, findings: Findings) -> None:
    """Compare the walks that are kept with the history they are of, each walked anew."""
    with _copied(repository, HISTORY, findings) as copy:
        walks = [] if copy is None else HistoryCache(copy).all_stored(_WALKS_MAX)
    for path, kept in walks:
        if not agrees(repository, path, kept):
            text = f"its history of {path} is not what the commits say; {_ADVICE}"
            findings.add(ProblemKind.CACHE, f"gitstore/{HISTORY}", text)


@contextmanager
def _copied(repository: Repository, name: str, findings: Findings) -> Generator[Path | None]:
    """Lend a copy of a cache: reading a damaged one removes it, and nothing is repaired here."""
    kept, where = Path(repository.folder, name), f"gitstore/{name}"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, name)
        try:
            for ending in _CACHE_ENDINGS:
                if (source := kept.with_name(name + ending)).exists():
                    shutil.copyfile(source, copy.with_name(name + ending))
        except OSError as error:
            findings.add(ProblemKind.CACHE, where, f"cannot be read ({error.strerror}); {_ADVICE}")
            copy.unlink(missing_ok=True)
        was_there = copy.exists()
        yield copy if was_there else None
        if was_there and not copy.exists():
            findings.add(ProblemKind.CACHE, where, f"is damaged; {_ADVICE}")
