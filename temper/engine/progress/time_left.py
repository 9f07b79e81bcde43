"""How long a run may take yet: what past runs took, by the scale that this one shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

SMALL = 0.1
"""Seconds that are added to what was expected and what was taken, so that works of milliseconds do not set the scale."""
MOST_UNKNOWN = 0.2
"""The share of the works left of which nothing may be known; where it is larger, nothing is said."""
OVERRUN = 0.2
"""The least share of the time a work has taken that it is taken to last yet."""


@dataclass
class _Type:
    """The works of one type: those left, with and without an estimate, and those of this run that ended."""

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
    """A work under way: its type, the seconds it has had, and those it may take yet by its own report, if it makes one."""

    tag: str
    expected: float | None
    passed: float
    left: float | None


@dataclass
class TimeLeft:
    """The works that are left, by type; the estimates are those of earlier runs."""

    _types: dict[str, _Type] = field(default_factory=dict)

    def add(self, tag: str, expected: float | None, change: int = 1) -> None:
        """Count a work among those that are left; with a ``change`` of -1, no more."""
        kind = self._types.setdefault(tag, _Type())
        if expected is None:
            kind.unknown += change
        else:
            kind.known += change
            kind.expected += change * expected

    def ended(self, tag: str, expected: float | None, seconds: float) -> None:
        """Take down how long a work took in this run."""
        kind = self._types.setdefault(tag, _Type())
        kind.ended += 1
        kind.took += seconds
        if expected is not None:
            kind.ended_known += 1
            kind.took_known += seconds
            kind.ended_expected += expected

    @property
    def worked(self) -> float:
        """Seconds that the works which ended took together."""
        return sum(kind.took for kind in self._types.values())

    def seconds(self, running: Iterable[RunningEstimate]) -> float | None:
        """Return the seconds of work that are left; ``None`` while little is known of them.

        A type's estimates are scaled by what its works of this run took, or by what all took where none of its own has ended.
        A work of which earlier runs tell nothing is taken to be as long as those of its type.
        """
        running = list(running)
        evidence = {tag: self._evidence(tag, running) for tag in self._types}
        common = _scale(*map(sum, zip(*evidence.values(), strict=True))) if evidence else 1.0
        whole, nothing, left = 0.0, 0, 0
        scales, means = dict[str, float](), dict[str, float | None]()
        for tag, kind in self._types.items():
            took, expected = evidence[tag]
            # Works that are late say how long they take at least.
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
        """Return what works of a type took that had an estimate, and what was expected: those that ended, or are late."""
        kind = self._types[tag]
        took, expected = kind.took_known, kind.ended_expected
        for task in running:
            if task.tag == tag and task.expected is not None and task.passed > task.expected:
                took, expected = took + task.passed, expected + task.expected
        return took, expected


def _scale(took: float, expected: float) -> float:
    return (took + SMALL) / (expected + SMALL)


def _mean(kind: _Type, scale: float) -> float | None:
    """Return the seconds of a work of a type without an estimate of its own; ``None`` if nothing tells."""
    if kind.ended:
        return kind.took / kind.ended
    return scale * kind.expected / kind.known if kind.known else None


def _correction(task: RunningEstimate, scale: float, mean: float | None) -> float:
    """Return by how much what is left of a work under way differs from the whole it was counted with."""
    whole = (mean or 0.0) if task.expected is None else scale * task.expected
    left = max(whole - task.passed, OVERRUN * task.passed) if task.left is None else task.left
    return left - whole
