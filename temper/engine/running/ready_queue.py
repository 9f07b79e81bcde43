"""The agenda of a run: what is left to do, and which of it can begin."""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

from temper.engine.planning.task_graph import Task


class ReadyQueue:
    """Works that are left, each given out once all it needs is done, the first in the plan first.

    Every step costs time that grows with the works it touches, not with those that are left.
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
        """Whether a work can begin, now or later, without another one being done first."""
        return bool(self._ready or self._later)

    @property
    def out(self) -> int:
        """How many works are given out."""
        return len(self._out)

    def take(self) -> Task | None:
        """Give out the first work that can begin, if there is one."""
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
        """Take back a work that was not done; it is offered again after so many seconds."""
        self._out.discard(fingerprint)
        if delay:
            heapq.heappush(self._later, (self._clock() + delay, fingerprint))
        else:
            self._offer(fingerprint)

    def done(self, fingerprint: str) -> None:
        """Strike a work off; what waited for it alone can begin."""
        self.drop(fingerprint)
        for reader in self._readers[fingerprint]:
            self._missing[reader].discard(fingerprint)
            self._offer(reader)

    def drop(self, fingerprint: str) -> None:
        """Strike a work off that will not be done; what waits for it goes on waiting."""
        self._left.pop(fingerprint, None)
        self._out.discard(fingerprint)

    def add(self, task: Task) -> None:
        """Enter a work that has to be done again; what needs it waits for it."""
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
