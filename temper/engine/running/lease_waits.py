"""What a runner waits for that another one is making, told once for each artefact."""

from __future__ import annotations

from collections.abc import Callable

from temper.engine.planning.task_graph import Task
from temper.engine.storage.leases import Leases

MOST = 5
"""Artefacts of which a run tells that it waits for them."""


class LeaseWaits:
    """The works that another runner holds the leases of."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._held: dict[str, Task] = {}
        self._told: set[str] = set()

    def add(self, task: Task) -> None:
        """Take down that another runner is making a work."""
        self._held[task.fingerprint] = task

    def discard(self, task: Task) -> None:
        """Take down that nobody else is making a work any more."""
        self._held.pop(task.fingerprint, None)

    def tell(self, say: Callable[[str], None]) -> None:
        """Say what is waited for and who holds it since when: for a runner that has nothing else to do."""
        for fingerprint, task in self._held.items():
            if len(self._told) == MOST:
                return
            if fingerprint not in self._told and (holder := self._leases.holder(fingerprint)):
                self._told.add(fingerprint)
                say(f"waiting for {task.label}: {holder} is making it")
