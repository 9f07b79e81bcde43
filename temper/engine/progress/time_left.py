"""The estimated time remaining of a run: durations of past runs, scaled by what this run measures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

SMALL = 0.1
"""Seconds added to expected and measured durations, so that tasks of milliseconds do not determine the scale."""
MOST_UNKNOWN = 0.2
"""The largest share of remaining tasks without an estimate; above it no estimate is shown."""
OVERRUN = 0.2
"""A running task is assumed to need at least this share of its elapsed time yet."""


@dataclass
class _Type:
    """The tasks of one type: those left, with and without an estimate, and those that ended in this run."""

    expected: float = 0.0
    known: int = 0
    unknown: int = 0
    ended: int = 0
    took: float = 0.0
    ended_known: int = 0
    took_known: float = 0.0
    ended_expected: float = 0.0


@dataclass(frozen=True)
class RunningEstimate:
    """A running task: its type, its elapsed seconds, and the seconds left by its own progress, if it reports any."""

    tag: str
    expected: float | None
    passed: float
    left: float | None


@dataclass
class TimeLeft:
    """The tasks that are left, by type; the estimates come from earlier runs."""

    _types: dict[str, _Type] = field(default_factory=dict)

    def add(self, tag: str, expected: float | None, change: int = 1) -> None:
        """Add a task to those that are left; a ``change`` of -1 removes it."""
        kind = self._types.setdefault(tag, _Type())
        if expected is None:
            kind.unknown += change
        else:
            kind.known += change
            kind.expected += change * expected

    def ended(self, tag: str, expected: float | None, seconds: float) -> None:
        """Record how long a task took in this run."""
        kind = self._types.setdefault(tag, _Type())
        kind.ended += 1
        kind.took += seconds
        if expected is not None:
            kind.ended_known += 1
            kind.took_known += seconds
            kind.ended_expected += expected

    @property
    def worked(self) -> float:
        """Total seconds of the tasks that ended."""
        return sum(kind.took for kind in self._types.values())

    def seconds(self, running: Iterable[RunningEstimate]) -> float | None:
        """Return the task seconds that are left; ``None`` while too little is known of them.

        A type's estimates are scaled by its tasks of this run, or by all tasks where none of its own has ended. A task
        without an estimate is assumed to take as long as the others of its type.
        """
        running = list(running)
        evidence = {tag: self._evidence(tag, running) for tag in self._types}
        common = _scale(*map(sum, zip(*evidence.values(), strict=True))) if evidence else 1.0
        whole, nothing, left = 0.0, 0, 0
        scales, means = dict[str, float](), dict[str, float | None]()
        for tag, kind in self._types.items():
            took, expected = evidence[tag]
            # Overdue tasks give a lower bound on the scale.
            scales[tag] = (
                _scale(took, expected) if kind.ended_known else max(common, _scale(took, expected) if expected else 0.0)
            )
            means[tag] = _mean(kind, scales[tag])
            left += kind.known + kind.unknown
            nothing += kind.unknown if means[tag] is None else 0
            whole += scales[tag] * kind.expected + kind.unknown * (means[tag] or 0.0)
        if not left or nothing > MOST_UNKNOWN * left:
            return None
        whole *= left / (left - nothing)
        return max(0.0, whole + sum(_correction(task, scales[task.tag], means[task.tag]) for task in running))

    def _evidence(self, tag: str, running: Iterable[RunningEstimate]) -> tuple[float, float]:
        """Return measured and expected seconds over a type's tasks with an estimate that ended or are overdue."""
        kind = self._types[tag]
        took, expected = kind.took_known, kind.ended_expected
        for task in running:
            if task.tag == tag and task.expected is not None and task.passed > task.expected:
                took, expected = took + task.passed, expected + task.expected
        return took, expected


def _scale(took: float, expected: float) -> float:
    return (took + SMALL) / (expected + SMALL)


def _mean(kind: _Type, scale: float) -> float | None:
    """Return the mean seconds of a type's tasks without an estimate of their own; ``None`` if unknown."""
    if kind.ended:
        return kind.took / kind.ended
    return scale * kind.expected / kind.known if kind.known else None


def _correction(task: RunningEstimate, scale: float, mean: float | None) -> float:
    """Return the difference between what is left of a running task and the full duration it was counted with."""
    whole = (mean or 0.0) if task.expected is None else scale * task.expected
    left = max(whole - task.passed, OVERRUN * task.passed) if task.left is None else task.left
    return left - whole
