"""The ready queue of a run: the remaining tasks, and which of them can start."""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

from temper.engine.planning.task_graph import Task


class ReadyQueue:
    """The remaining tasks; each can be taken once its inputs are done, in the order of the plan.

    The cost of an operation grows with the tasks it touches, not with the number of remaining tasks.
    """

    def __init__(self, tasks: Iterable[Task], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._remaining: dict[str, Task] = {}
        self._ranks: dict[str, int] = {}
        self._unmet: dict[str, set[str]] = {}
        self._readers: defaultdict[str, list[str]] = defaultdict(list)
        self._ready: list[tuple[int, str]] = []
        self._delayed: list[tuple[float, str]] = []
        self._in_progress: set[str] = set()
        for task in tasks:
            self._remaining[task.fingerprint] = task
            self._ranks[task.fingerprint] = len(self._ranks)
        for task in list(self._remaining.values()):
            self._insert(task)

    def __len__(self) -> int:
        return len(self._remaining)

    def __contains__(self, fingerprint: object) -> bool:
        return fingerprint in self._remaining

    def __getitem__(self, fingerprint: str) -> Task:
        return self._remaining[fingerprint]

    @property
    def can_progress(self) -> bool:
        """Whether a task can start now, or after a delay, without waiting for another one."""
        return bool(self._ready or self._delayed)

    @property
    def in_progress(self) -> int:
        """The number of tasks taken and neither done, dropped nor requeued."""
        return len(self._in_progress)

    def take(self) -> Task | None:
        """Take the first task that can start; ``None`` if there is none."""
        now = self._clock()
        while self._delayed and self._delayed[0][0] <= now:
            self._push_if_ready(heapq.heappop(self._delayed)[1])
        while self._ready:
            _, fingerprint = heapq.heappop(self._ready)
            # The heap may hold a task twice, or one that has been dropped or waits again.
            if fingerprint in self._remaining and fingerprint not in self._in_progress and not self._unmet[fingerprint]:
                self._in_progress.add(fingerprint)
                return self._remaining[fingerprint]
        return None

    def requeue(self, fingerprint: str, delay: float = 0.0) -> None:
        """Put back a task that is not done; it can be taken again after ``delay`` seconds."""
        self._in_progress.discard(fingerprint)
        if delay:
            heapq.heappush(self._delayed, (self._clock() + delay, fingerprint))
        else:
            self._push_if_ready(fingerprint)

    def done(self, fingerprint: str) -> None:
        """Remove a finished task; tasks that waited only for it can start."""
        self.drop(fingerprint)
        for reader in self._readers[fingerprint]:
            self._unmet[reader].discard(fingerprint)
            self._push_if_ready(reader)

    def drop(self, fingerprint: str) -> None:
        """Remove a task that will not be done; its dependents keep waiting."""
        self._remaining.pop(fingerprint, None)
        self._in_progress.discard(fingerprint)

    def add(self, task: Task) -> None:
        """Add a task that has to run again; its dependents wait for it."""
        if task.fingerprint in self._remaining:
            return
        self._remaining[task.fingerprint] = task
        self._ranks.setdefault(task.fingerprint, -1)  # a task outside the plan runs first: others wait for it
        for reader in self._readers[task.fingerprint]:
            self._unmet[reader].add(task.fingerprint)
        self._insert(task)

    def _insert(self, task: Task) -> None:
        missing = {need for need in task.needs if need in self._remaining}
        self._unmet[task.fingerprint] = missing
        for need in task.needs:
            self._readers[need].append(task.fingerprint)
        self._push_if_ready(task.fingerprint)

    def _push_if_ready(self, fingerprint: str) -> None:
        if fingerprint in self._remaining and fingerprint not in self._in_progress and not self._unmet[fingerprint]:
            heapq.heappush(self._ready, (self._ranks[fingerprint], fingerprint))
