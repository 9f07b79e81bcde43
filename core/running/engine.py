"""Engines: what carries a task to a process. The runner keeps the graph; an engine only runs what it is given."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Protocol

from core.cluster import Cluster
from core.running import drift
from core.running.task import Outcome, Task, perform
from core.running.terms import Terms


class Unreachable(Exception):
    """The workers of a cluster cannot be reached; the message says what was tried."""


class NoWorkers(Exception):
    """No worker does the work of a run any more; the message says why."""


class Watcher(Protocol):
    """Who is told how works go."""

    def say(self, text: str) -> None:
        """Tell the user something."""

    def began(self, fingerprint: str, where: str) -> None:
        """Show which worker makes an artefact."""

    def report(self, fingerprint: str, done: int, total: int, unit: str) -> None:
        """Show how far a work is."""


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

    def __init__(self, terms: Terms, watcher: Watcher) -> None:
        self._root, self._watcher = Path(terms.root), watcher
        drift.expect(terms.modules)
        self._tasks: list[Task] = []

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def next(self, timeout: float) -> Outcome | None:
        if not self._tasks:
            return None
        task = self._tasks.pop(0)
        self._watcher.began(task.fingerprint, here())
        return perform(task, self._root, self._watcher.report)

    def close(self) -> None:
        self._tasks.clear()


def here() -> str:
    """Return what this process is called where people are told which worker does what."""
    return f"{socket.gethostname().partition('.')[0]}:{os.getpid()}"


def engine(terms: Terms, cluster: Cluster | None, watcher: Watcher) -> Engine:
    """Return the engine for the workers of a cluster, or for the runner's own process if there is none.

    Raises:
        Unreachable: there is no scheduler of use where one was said to be.
    """
    if cluster is None:
        return InProcess(terms, watcher)
    from core.running.dask_engine import DaskEngine

    return DaskEngine(terms, cluster, watcher)
