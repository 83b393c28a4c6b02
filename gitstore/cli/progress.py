"""How far long work is: a bar on standard error, when a person looks there."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.progress import ProgressColumn, TaskID

    from gitstore import OnProgress, Progress

_BYTES = "bytes"


@contextmanager
def progress_bar() -> Generator[OnProgress | None]:
    """Give what is to be told of progress; None where nobody would see it. Gone when it is over."""
    if not sys.stderr.isatty():
        yield None
        return
    console = Console(stderr=True)
    with Bars(TextColumn("{task.description}"), console=console, transient=True) as bars:
        yield _Shown(bars)


class _Shown:
    """One bar, which becomes that of the next phase."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._phase = ""
        self._task: TaskID | None = None

    def __call__(self, progress: Progress) -> None:
        if self._task is None or progress.phase != self._phase:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._bars.columns = _columns(progress)
            self._phase = progress.phase
            self._task = self._bars.add_task(progress.phase, total=progress.total)
        self._bars.update(self._task, completed=progress.done, total=progress.total)


def _columns(progress: Progress) -> tuple[ProgressColumn | str, ...]:
    counted = DownloadColumn() if progress.unit == _BYTES else MofNCompleteColumn()
    unit = "" if progress.unit == _BYTES else progress.unit
    return (TextColumn("{task.description}"), BarColumn(), counted, unit)
