"""Which workers meet the requirements of a run, and how a run without any ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from temper.engine.running.engine import NoWorkers, Watcher

EVERY = 5.0
"""Seconds between checks of the workers."""


class CompatibleWorkers:
    """The answers of a run's workers to its requirements.

    Each objection is reported once. The run continues while some worker is compatible, or may still join.
    """

    def __init__(
        self,
        started: Any,
        client: Any,
        watcher: Watcher,
        recall: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch the workers of a started cluster, or of a scheduler; ``recall`` makes them repeat their answers."""
        self._recall = recall
        self._started, self._client, self._watcher, self._clock = started, client, watcher, clock
        self._objections: dict[str, str] = {}
        self._reported: set[str] = set()
        self._waits = False
        self._last_check = clock()

    def heard(self, address: str, where: str, objection: str) -> None:
        """Record the answer of a worker: its objection, or nothing if it is compatible."""
        self._objections[address] = objection
        if objection and objection not in self._reported:
            self._reported.add(objection)
            self._watcher.say(f"worker {where} does not join this run: {objection}")

    def check(self) -> None:
        """Check from time to time that there is a compatible worker.

        Raises:
            NoWorkers: all workers refuse, and no others are expected.
        """
        if self._clock() - self._last_check < EVERY:
            return
        self._last_check = self._clock()
        starts_workers = hasattr(self._started, "requested")  # a cluster object, not a scheduler's address
        requested = len(self._started.requested) if starts_workers else 0
        present = list(self._client.nthreads())
        if any(address not in self._objections for address in present):
            self._recall()
        refused = [self._objections[address] for address in present if self._objections.get(address)]
        if present and len(refused) == len(present) and requested <= len(present):
            raise NoWorkers(f"no worker can join this run: {'; '.join(dict.fromkeys(refused))}")
        if not present and not starts_workers and not self._waits:
            self._watcher.say("the scheduler has no workers; the run waits for one")
        self._waits = not present
