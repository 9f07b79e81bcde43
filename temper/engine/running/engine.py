"""Engines, which run tasks in processes. The runner owns the task graph; an engine runs the tasks submitted to it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Protocol

from temper.engine.running import code_drift
from temper.engine.running.task import TaskOutcome, TaskSpec, perform
from temper.engine.workers.compatibility import WorkerRequirements


class Unreachable(Exception):
    """The workers of a cluster cannot be reached; the message says what was tried."""


class NoWorkers(Exception):
    """No worker is left for the run; the message says why."""


class Watcher(Protocol):
    """Receives the progress of tasks."""

    def say(self, text: str) -> None:
        """Show the user a message."""

    def began(self, fingerprint: str, where: str) -> None:
        """Show which worker computes an artefact."""

    def report(self, fingerprint: str, done: int, total: int, unit: str) -> None:
        """Show the progress of a task."""


class Engine(Protocol):
    """Runs tasks, at most one per worker at a time."""

    workers: int

    def submit(self, task: TaskSpec) -> None:
        """Queue a task."""

    def next(self, timeout: float) -> TaskOutcome | None:
        """Return the outcome of a task that has ended, or ``None`` after ``timeout`` seconds without one."""

    def close(self) -> None:
        """Release all resources; running tasks are terminated."""


class InProcess:
    """Runs one task after another in the runner's own process: no start-up time, and a debugger works."""

    workers = 1

    def __init__(self, requirements: WorkerRequirements, watcher: Watcher) -> None:
        self._root, self._watcher = Path(requirements.root), watcher
        code_drift.expect(requirements.modules)
        self._tasks: list[TaskSpec] = []

    def submit(self, task: TaskSpec) -> None:
        self._tasks.append(task)

    def next(self, timeout: float) -> TaskOutcome | None:
        if not self._tasks:
            return None
        task = self._tasks.pop(0)
        self._watcher.began(task.fingerprint, worker_name())
        return perform(task, self._root, self._watcher.report)

    def close(self) -> None:
        self._tasks.clear()


def worker_name() -> str:
    """Return the name of this process as users see it: ``host:pid``."""
    return f"{socket.gethostname().partition('.')[0]}:{os.getpid()}"
