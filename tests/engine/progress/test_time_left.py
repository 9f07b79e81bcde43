"""The time left: within a factor of two after a third of a (simulated) run, and none while little is known."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from temper.engine.progress.run_status import RunStatus


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Kind:
    """The tasks of one type: their number, their estimate from earlier runs, and their duration in this run."""

    tag: str
    count: int
    expected: float | None
    takes: float


def replay(kinds: list[Kind], workers: int = 1) -> list[tuple[float, float | None]]:
    """Return (elapsed share of the run, estimated over true time left) each second; ``None`` without an estimate."""
    clock = Clock()
    status = RunStatus(clock)
    tasks: list[Any] = [
        SimpleNamespace(
            fingerprint=f"{kind.tag}{i}", label=f"{kind.tag}{i}", component=SimpleNamespace(tag=kind.tag), kind=kind
        )
        for kind in kinds
        for i in range(kind.count)
    ]
    status.begin(tasks, {task.fingerprint: task.kind.expected for task in tasks}, workers)
    queue, running, first_report = list(tasks), list[tuple[float, Any]](), list[tuple[float, float | None]]()
    tick = 0.0
    while queue or running:
        while queue and len(running) < workers:
            task = queue.pop(0)
            status.start(task)
            status.began(task.fingerprint, f"n{len(running)}")
            # No two tasks of a type take equally long.
            running.append((clock.now + task.kind.takes * (0.7, 1.2, 0.9, 1.3, 0.9)[len(queue) % 5], task))
        until, first = min(running, key=lambda entry: entry[0])
        while tick < until:
            clock.now = tick
            first_report.append((tick, status.left()))
            tick += 1.0
        clock.now = until
        running.remove((until, first))
        status.end(first)
    end = clock.now
    return [(now / end, None if left is None else left / (end - now)) for now, left in first_report if end - now > 2]


# Estimates are medians of earlier runs; "takes" is this run. Orders are those of an experiment file: data and models first.
SMOKE_AFTER_REAL = [
    Kind("digits", 2, 1.0, 0.1), Kind("dense", 4, 90.0, 2.5), Kind("pgd", 12, 60.0, 1.2), Kind("adversarial_training", 4, 240.0, 7.0),
    Kind("robustness_matrix", 30, 8.0, 0.4),
]  # fmt: skip
REAL_AFTER_SMOKE = [
    Kind("digits", 2, 0.1, 0.5), Kind("dense", 4, 0.7, 22.0), Kind("pgd", 12, 0.3, 14.0), Kind("adversarial_training", 4, 1.2, 40.0),
    Kind("robustness_matrix", 30, 0.1, 2.0),
]  # fmt: skip
AGAIN = [Kind("dense", 3, 20.0, 21.0), Kind("pgd", 9, 30.0, 27.0), Kind("matrix", 20, 1.0, 1.1)]
SLOWER_MACHINE = [Kind("dense", 3, 20.0, 60.0), Kind("pgd", 9, 30.0, 90.0), Kind("matrix", 20, 1.0, 3.0)]
ONE_TYPE_IS_NEW = [Kind("dense", 5, 20.0, 20.0), Kind("pgd", 20, 3.0, 3.0), Kind("new", 4, None, 3.0)]


@pytest.mark.parametrize(
    ("kinds", "workers", "factor"),
    [
        (AGAIN, 1, 1.5), (AGAIN, 4, 1.5), (SLOWER_MACHINE, 1, 1.5), (SLOWER_MACHINE, 4, 2), (SMOKE_AFTER_REAL, 1, 2), (REAL_AFTER_SMOKE, 1, 2),
        # With several workers, tasks end in waves.
        (SMOKE_AFTER_REAL, 4, 2.5), (REAL_AFTER_SMOKE, 4, 2.5),
    ],
)  # fmt: skip
def test_time_left_is_accurate_within_a_factor_of_two_after_a_third_of_a_run(
    kinds: list[Kind], workers: int, factor: float
) -> None:
    late = [ratio for share, ratio in replay(kinds, workers) if 1 / 3 <= share <= 0.85]
    assert late
    assert [ratio for ratio in late if ratio is None or not 1 / factor <= ratio <= factor] == []


def test_no_estimate_if_most_remaining_tasks_are_new() -> None:
    output = replay(ONE_TYPE_IS_NEW)
    assert all(ratio is not None and 0.5 <= ratio <= 2 for share, ratio in output if share < 0.6)
    assert [ratio for share, ratio in output if 0.75 <= share <= 0.9 and ratio is not None] == []


def test_no_estimate_while_little_is_known() -> None:
    # 49 tasks of milliseconds, then 54 of a new type: 51 seconds, about which the first tasks say nothing.
    output = replay([Kind("quick", 49, None, 0.02), Kind("slow", 54, None, 0.94)])
    assert output[0][1] is None
    known = [ratio for _, ratio in output if ratio is not None]
    assert all(0.5 <= ratio <= 2 for ratio in known)
    assert len(known) >= len(output) - 4


def test_overdue_tasks_increase_the_time_left() -> None:
    clock = Clock()
    status = RunStatus(clock)
    tasks: list[Any] = [
        SimpleNamespace(fingerprint=f"{i}", label=f"{i}", component=SimpleNamespace(tag="a")) for i in range(3)
    ]
    status.begin(tasks, {task.fingerprint: 1.0 for task in tasks}, 1)
    assert status.left() == 3
    status.start(tasks[0])
    status.began("0", "here")
    clock.now = 60.0
    left = status.left()
    assert left is not None
    assert left >= 2 * 60 * 2 / 3
