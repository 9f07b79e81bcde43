"""Which workers agree with the terms of a run, and what becomes of a run of which none does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from temper.engine.running.engine import NoWorkers, Watcher

EVERY = 5.0
"""Seconds between two looks at the workers."""


class CompatibleWorkers:
    """What the workers of a run have said of its terms.

    Each reason to refuse is told once. The run goes on as long as some worker agrees, or may yet come.
    """

    def __init__(
        self,
        started: Any,
        client: Any,
        watcher: Watcher,
        recall: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch the workers of a started cluster, or of a scheduler; ``recall`` has it hear again what they have said."""
        self._recall = recall
        self._started, self._client, self._watcher, self._clock = started, client, watcher, clock
        self._objections: dict[str, str] = {}
        self._told: set[str] = set()
        self._waits = False
        self._looked = clock()

    def heard(self, address: str, where: str, objection: str) -> None:
        """Take note of what a worker says: its objection, or nothing if it agrees."""
        self._objections[address] = objection
        if objection and objection not in self._told:
            self._told.add(objection)
            self._watcher.say(f"worker {where} takes no part in this run: {objection}")

    def look(self) -> None:
        """See now and then whether a worker is there that agrees.

        Raises:
            NoWorkers: all that are there refuse, and no others are expected.
        """
        if self._clock() - self._looked < EVERY:
            return
        self._looked = self._clock()
        starts_workers = hasattr(self._started, "requested")  # what is no address of a scheduler
        requested = len(self._started.requested) if starts_workers else 0
        present = list(self._client.nthreads())
        if any(address not in self._objections for address in present):
            self._recall()
        refused = [self._objections[address] for address in present if self._objections.get(address)]
        if present and len(refused) == len(present) and requested <= len(present):
            raise NoWorkers(f"no worker takes part in this run: {'; '.join(dict.fromkeys(refused))}")
        if not present and not starts_workers and not self._waits:
            self._watcher.say("the scheduler has no workers; the run waits for one")
        self._waits = not present
