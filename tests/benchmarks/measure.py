"""Rows of figures, and how they are taken: subject by subject in turns, so that all meet the same machine."""

from __future__ import annotations

import math
import resource
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: What is timed.
Act: TypeAlias = "Callable[[], object]"
#: Prepares the act of one round, untimed, and returns it.
Prepare: TypeAlias = "Callable[[int], Act]"

#: The subject that the others are compared with.
OURS = "gitstore"
#: Rounds whose figures are thrown away: they read what later ones find in memory.
_WARM_UP = 2
_SAMPLES_MIN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure: how long one subject takes for one thing (or how much it needs)."""

    workload: str
    parameters: dict[str, str | int]
    subject: str
    #: None says that the subject is absent; `notes` says why.
    median: float | None
    n: int
    unit: str = "ms"
    #: User and system time of this process and of the programs it ran; None if not of one process.
    cpu: float | None = None
    durability: str = ""
    notes: str = ""


def absent(workload: str, parameters: dict[str, str | int], subject: str, reason: str) -> Row:
    """Return the row of what could not be measured."""
    return Row(
        workload=workload,
        parameters=parameters,
        subject=subject,
        median=None,
        n=0,
        notes=f"absent: {reason}",
    )


@dataclass(slots=True)
class Samples:
    """What was measured of one subject, in milliseconds."""

    wall: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])

    def row(
        self, workload: str, parameters: dict[str, str | int], subject: str, **more: Any
    ) -> Row:
        """Return the medians as a row."""
        return Row(
            workload=workload,
            parameters=parameters,
            subject=subject,
            median=median(self.wall),
            n=len(self.wall),
            cpu=median(self.cpu) if self.cpu else None,
            **more,
        )


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that ended."""
    mine, theirs = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime


def timed(act: Act, samples: Samples | None = None) -> float:
    """Do it once; return how many milliseconds it took, and note it."""
    cpu, began = cpu_seconds(), time.perf_counter()
    act()
    took = (time.perf_counter() - began) * 1000
    if samples is not None:
        samples.wall.append(took)
        samples.cpu.append((cpu_seconds() - cpu) * 1000)
    return took


def interleave(
    subjects: Mapping[str, Prepare], *, rounds: int, budget_seconds: float
) -> dict[str, Samples]:
    """Let the subjects act in turns, another one first each round; return what each took.

    A subject that would need longer than the budget for all rounds takes part in every second,
    third, ... one, spread over the whole run, and in no fewer than three.
    """
    strides: dict[str, int] = {}
    for name, prepare in subjects.items():
        took = min(timed(prepare(-1 - number)) for number in range(_WARM_UP))
        wanted = math.ceil(took * rounds / 1000 / budget_seconds)
        strides[name] = max(1, min(wanted, rounds // _SAMPLES_MIN))
    measured = {name: Samples() for name in subjects}
    names = list(subjects)
    for number in range(rounds):
        first = number % max(len(names), 1)
        for name in names[first:] + names[:first]:
            if number % strides[name] == 0:
                timed(subjects[name](number), measured[name])
    return measured


def ratio(row: Row, rows: list[Row]) -> float | None:
    """Return how many times gitstore's figure this one is; None where there is none to compare with."""
    ours = next(
        (
            each.median
            for each in rows
            if each.subject == OURS
            and (each.workload, each.parameters, each.unit)
            == (row.workload, row.parameters, row.unit)
        ),
        None,
    )
    return row.median / ours if row.median is not None and ours else None
