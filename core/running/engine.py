"""Engines: what carries a task to a process. The runner keeps the graph; an engine only runs what it is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from core.running.task import Outcome, Report, Task, perform


class Engine(Protocol):
    """Runs tasks, some at a time."""

    slots: int

    def submit(self, task: Task) -> None:
        """Take a task on."""

    def next(self, timeout: float) -> Outcome | None:
        """Return the outcome of a task that has ended, or ``None`` after ``timeout`` seconds without one."""

    def close(self) -> None:
        """Give everything back; tasks that still run are ended."""


class InProcess:
    """Runs one task after another in the runner's own process: nothing to start, and a debugger works."""

    slots = 1

    def __init__(self, root: Path, report: Report) -> None:
        self._root, self._report = root, report
        self._tasks: list[Task] = []

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def next(self, timeout: float) -> Outcome | None:
        return perform(self._tasks.pop(0), self._root, self._report) if self._tasks else None

    def close(self) -> None:
        self._tasks.clear()


def local(root: Path, jobs: int, report: Report, say: Callable[[str], None]) -> Engine:
    """Return the engine for ``jobs`` worker processes on this machine, or for the runner's own at 1."""
    if jobs == 1:
        return InProcess(root, report)
    from core.running.dask_engine import DaskLocal

    return DaskLocal(root, jobs, report, say)
