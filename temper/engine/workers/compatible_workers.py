"""Tracks which workers are compatible with a run, and ends a run that has none."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from temper.engine.running.engine import NoWorkers, Watcher

CHECK_INTERVAL = 5.0
"""Seconds between checks of the workers."""


class CompatibleWorkers:
    """The workers of a run, with their answers to the compatibility check.

    Each incompatibility is reported once. The run continues while some worker is compatible, or may still join.
    """

    def __init__(
        self,
        started: Any,
        client: Any,
        watcher: Watcher,
        replay_answers: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Track the workers of a started cluster or scheduler; ``replay_answers`` repeats the answers sent so far."""
        self._replay_answers = replay_answers
        self._started, self._client, self._watcher, self._clock = started, client, watcher, clock
        self._incompatibilities: dict[str, str] = {}
        self._reported: set[str] = set()
        self._is_waiting = False
        self._last_check = clock()

    def record_answer(self, address: str, where: str, incompatibility: str) -> None:
        """Record the answer of a worker: why it is incompatible, or an empty string if it is compatible."""
        self._incompatibilities[address] = incompatibility
        if incompatibility and incompatibility not in self._reported:
            self._reported.add(incompatibility)
            self._watcher.say(f"worker {where} does not join this run: {incompatibility}")

    def check(self) -> None:
        """Check, once per ``CHECK_INTERVAL``, that there is a compatible worker.

        Raises:
            NoWorkers: all workers are incompatible, and no others are expected.
        """
        if self._clock() - self._last_check < CHECK_INTERVAL:
            return
        self._last_check = self._clock()
        starts_workers = hasattr(self._started, "requested")  # a cluster object rather than a scheduler's address
        requested = len(self._started.requested) if starts_workers else 0
        present = list(self._client.nthreads())
        if any(address not in self._incompatibilities for address in present):
            self._replay_answers()
        incompatible = [self._incompatibilities[address] for address in present if self._incompatibilities.get(address)]
        if present and len(incompatible) == len(present) and requested <= len(present):
            raise NoWorkers(f"no worker can join this run: {'; '.join(dict.fromkeys(incompatible))}")
        if not present and not starts_workers and not self._is_waiting:
            self._watcher.say("the scheduler has no workers; the run waits for one")
        self._is_waiting = not present
