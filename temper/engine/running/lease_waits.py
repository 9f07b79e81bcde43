"""Artefacts that a runner waits for because another one computes them, each reported once."""

from __future__ import annotations

from collections.abc import Callable

from temper.engine.planning.task_graph import Task
from temper.engine.storage.leases import Leases

MAX_REPORTED = 5
"""Maximum number of awaited artefacts that a run reports."""


class LeaseWaits:
    """The tasks whose leases another runner holds."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._held: dict[str, Task] = {}
        self._reported: set[str] = set()

    def add(self, task: Task) -> None:
        """Record that another runner computes a task."""
        self._held[task.fingerprint] = task

    def discard(self, task: Task) -> None:
        """Record that no other runner computes a task any more."""
        self._held.pop(task.fingerprint, None)

    def report(self, say: Callable[[str], None]) -> None:
        """Report each awaited artefact, who computes it and since when; for a runner that has nothing else to do."""
        for fingerprint, task in self._held.items():
            if len(self._reported) == MAX_REPORTED:
                return
            if fingerprint not in self._reported and (holder := self._leases.holder(fingerprint)):
                self._reported.add(fingerprint)
                say(f"waiting for {task.label}: {holder} is computing it")
