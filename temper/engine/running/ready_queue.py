"""The ready queue of a run: which tasks are left, and which of them can start."""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

from temper.engine.planning.task_graph import Task


class ReadyQueue:
    """The tasks that are left, each taken once all its inputs are done, in the order of the plan.

    The cost of a step grows with the tasks it touches, not with those that are left.
    """

    def __init__(self, tasks: Iterable[Task], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, Task] = {}
        self._places: dict[str, int] = {}
        self._missing: dict[str, set[str]] = {}
        self._readers: defaultdict[str, list[str]] = defaultdict(list)
        self._ready: list[tuple[int, str]] = []
        self._later: list[tuple[float, str]] = []
        self._out: set[str] = set()
        for task in tasks:
            self._left[task.fingerprint] = task
            self._places[task.fingerprint] = len(self._places)
        for task in list(self._left.values()):
            self._enter(task)

    def __len__(self) -> int:
        return len(self._left)

    def __contains__(self, fingerprint: object) -> bool:
        return fingerprint in self._left

    def __getitem__(self, fingerprint: str) -> Task:
        return self._left[fingerprint]

    @property
    def waits(self) -> bool:
        """Whether a task can start, now or later, without another one being done first."""
        return bool(self._ready or self._later)

    @property
    def out(self) -> int:
        """How many tasks are taken and not yet returned."""
        return len(self._out)

    def take(self) -> Task | None:
        """Take the first task that can start, if there is one."""
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            self._offer(heapq.heappop(self._later)[1])
        while self._ready:
            _, fingerprint = heapq.heappop(self._ready)
            if fingerprint in self._left and fingerprint not in self._out and not self._missing[fingerprint]:
                self._out.add(fingerprint)
                return self._left[fingerprint]
        return None

    def give_back(self, fingerprint: str, delay: float = 0.0) -> None:
        """Return a task that was not done; it can be taken again after ``delay`` seconds."""
        self._out.discard(fingerprint)
        if delay:
            heapq.heappush(self._later, (self._clock() + delay, fingerprint))
        else:
            self._offer(fingerprint)

    def done(self, fingerprint: str) -> None:
        """Remove a finished task; tasks that waited only for it can start."""
        self.drop(fingerprint)
        for reader in self._readers[fingerprint]:
            self._missing[reader].discard(fingerprint)
            self._offer(reader)

    def drop(self, fingerprint: str) -> None:
        """Remove a task that will not be done; its dependents keep waiting."""
        self._left.pop(fingerprint, None)
        self._out.discard(fingerprint)

    def add(self, task: Task) -> None:
        """Add a task that has to run again; its dependents wait for it."""
        if task.fingerprint in self._left:
            return
        self._left[task.fingerprint] = task
        self._places.setdefault(task.fingerprint, -1)
        for reader in self._readers[task.fingerprint]:
            self._missing[reader].add(task.fingerprint)
        self._enter(task)

    def _enter(self, task: Task) -> None:
        missing = {need for need in task.needs if need in self._left}
        self._missing[task.fingerprint] = missing
        for need in task.needs:
            self._readers[need].append(task.fingerprint)
        self._offer(task.fingerprint)

    def _offer(self, fingerprint: str) -> None:
        if fingerprint in self._left and fingerprint not in self._out and not self._missing[fingerprint]:
            heapq.heappush(self._ready, (self._places[fingerprint], fingerprint))
