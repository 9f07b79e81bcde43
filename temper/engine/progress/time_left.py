"""Estimates the time remaining of a run: durations of past runs, scaled by those measured in this run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

SMOOTHING = 0.1
"""Seconds added to expected and measured durations, so that tasks of milliseconds do not dominate the scale."""
MAX_UNKNOWN = 0.2
"""Maximum share of remaining tasks without an estimate; above it, no time remaining is shown."""
MIN_REMAINING = 0.2
"""Minimum assumed remaining time of a running task, as a share of its elapsed time."""


@dataclass
class _TypeStatistics:
    """The tasks of one type: remaining ones, with and without an estimate, and those that ended in this run."""

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
    """A running task: its type, expected and elapsed seconds, and those remaining by its own progress, if known."""

    tag: str
    expected: float | None
    elapsed: float
    left: float | None


@dataclass
class TimeLeft:
    """The remaining tasks by type, with estimates from earlier runs."""

    _types: dict[str, _TypeStatistics] = field(default_factory=dict)

    def add(self, tag: str, expected: float | None, change: int = 1) -> None:
        """Add a task to the remaining ones; a ``change`` of -1 removes it."""
        kind = self._types.setdefault(tag, _TypeStatistics())
        if expected is None:
            kind.unknown += change
        else:
            kind.known += change
            kind.expected += change * expected

    def ended(self, tag: str, expected: float | None, seconds: float) -> None:
        """Record how long a task took in this run."""
        kind = self._types.setdefault(tag, _TypeStatistics())
        kind.ended += 1
        kind.took += seconds
        if expected is not None:
            kind.ended_known += 1
            kind.took_known += seconds
            kind.ended_expected += expected

    @property
    def total_seconds(self) -> float:
        """Total seconds of the tasks that ended."""
        return sum(kind.took for kind in self._types.values())

    def seconds(self, running: Iterable[RunningEstimate]) -> float | None:
        """Return the remaining task seconds; ``None`` while too many tasks have no estimate.

        A type's estimates are scaled by its tasks that ended in this run, or by all tasks if none of its own has ended.
        A task without an estimate is assumed to take as long as the others of its type.
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
        if not left or nothing > MAX_UNKNOWN * left:
            return None
        whole *= left / (left - nothing)
        return max(0.0, whole + sum(_correction(task, scales[task.tag], means[task.tag]) for task in running))

    def _evidence(self, tag: str, running: Iterable[RunningEstimate]) -> tuple[float, float]:
        """Return measured and expected seconds over a type's tasks with an estimate that ended or are overdue."""
        kind = self._types[tag]
        took, expected = kind.took_known, kind.ended_expected
        for task in running:
            if task.tag == tag and task.expected is not None and task.elapsed > task.expected:
                took, expected = took + task.elapsed, expected + task.expected
        return took, expected


def _scale(took: float, expected: float) -> float:
    return (took + SMOOTHING) / (expected + SMOOTHING)


def _mean(kind: _TypeStatistics, scale: float) -> float | None:
    """Return the mean seconds of a type's tasks without an estimate of their own; ``None`` if unknown."""
    if kind.ended:
        return kind.took / kind.ended
    return scale * kind.expected / kind.known if kind.known else None


def _correction(task: RunningEstimate, scale: float, mean: float | None) -> float:
    """Return the remaining time of a running task minus the full duration that it was counted with."""
    whole = (mean or 0.0) if task.expected is None else scale * task.expected
    left = max(whole - task.elapsed, MIN_REMAINING * task.elapsed) if task.left is None else task.left
    return left - whole
