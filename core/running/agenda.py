"""The agenda of a run: what is left to do, and which of it can begin."""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

from core.running.graph import Work


class Agenda:
    """Works that are left, each given out once all it needs is done, the first in the plan first.

    Every step costs time that grows with the works it touches, not with those that are left.
    """

    def __init__(self, works: Iterable[Work], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, Work] = {}
        self._places: dict[str, int] = {}
        self._missing: dict[str, set[str]] = {}
        self._readers: defaultdict[str, list[str]] = defaultdict(list)
        self._ready: list[tuple[int, str]] = []
        self._later: list[tuple[float, str]] = []
        self._out: set[str] = set()
        for work in works:
            self._left[work.fingerprint] = work
            self._places[work.fingerprint] = len(self._places)
        for work in list(self._left.values()):
            self._enter(work)

    def __len__(self) -> int:
        return len(self._left)

    def __contains__(self, fingerprint: object) -> bool:
        return fingerprint in self._left

    def __getitem__(self, fingerprint: str) -> Work:
        return self._left[fingerprint]

    @property
    def waits(self) -> bool:
        """Whether a work can begin, now or later, without another one being done first."""
        return bool(self._ready or self._later)

    @property
    def out(self) -> int:
        """How many works are given out."""
        return len(self._out)

    def take(self) -> Work | None:
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

    def add(self, work: Work) -> None:
        """Enter a work that has to be done again; what needs it waits for it."""
        if work.fingerprint in self._left:
            return
        self._left[work.fingerprint] = work
        self._places.setdefault(work.fingerprint, -1)
        for reader in self._readers[work.fingerprint]:
            self._missing[reader].add(work.fingerprint)
        self._enter(work)

    def _enter(self, work: Work) -> None:
        missing = {need for need in work.needs if need in self._left}
        self._missing[work.fingerprint] = missing
        for need in work.needs:
            self._readers[need].append(work.fingerprint)
        self._offer(work.fingerprint)

    def _offer(self, fingerprint: str) -> None:
        if fingerprint in self._left and fingerprint not in self._out and not self._missing[fingerprint]:
            heapq.heappush(self._ready, (self._places[fingerprint], fingerprint))
