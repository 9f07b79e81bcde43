"""What a run has under way, what is left of it, and when that will be done: plain values, without a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from temper.engine.planning.task_graph import Task
from temper.engine.progress.time_left import RunningEstimate, TimeLeft


@dataclass(frozen=True)
class RunningTask:
    """One work under way: on which worker, since when and how far; ``where`` is empty until a worker has begun it.

    ``seen`` is when progress was first reported and how far it was then: a work that goes on from a checkpoint does not
    begin at zero.
    """

    label: str
    since: float
    where: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    seen: tuple[float, int] | None = None

    def passed(self, now: float) -> float:
        """Return the seconds since it was begun."""
        return max(0.0, now - self.since)

    def left(self, now: float) -> float | None:
        """Return the seconds it may take yet, by the speed it has had; ``None`` if unknown."""
        if self.seen is None or self.done <= self.seen[1]:
            return None
        return max(0.0, (now - self.seen[0]) * (self.total - self.done) / (self.done - self.seen[1]))


@dataclass(frozen=True)
class StatusView:
    """What is to be seen at a moment: the works under way for longest, how many more there are, and the whole."""

    rows: tuple[RunningTask, ...]
    hidden: int
    ended: int
    failed: int
    running: int
    workers: int
    total: int
    left: float | None

    @property
    def waiting(self) -> int:
        """How many works no worker has begun."""
        return self.total - self.ended - self.running


class RunStatus:
    """The works of a run; any thread may ask and tell."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._lock = threading.RLock()
        self._rows: dict[str, RunningTask] = {}
        self._left: dict[str, str] = {}
        self._estimates: Mapping[str, float | None] = {}
        self._remaining = TimeLeft()
        self._began: float | None = None
        self._workers = 1
        self.total = self.ended = self.failed = 0

    def begin(self, tasks: Iterable[Task], estimates: Mapping[str, float | None], workers: int) -> None:
        """Take down all there is to do, with the seconds that works may take as far as they are known."""
        with self._lock:
            self._estimates, self._workers = estimates, workers
            for task in tasks:
                self.add(task)

    def add(self, task: Task) -> None:
        """Take down a work that is to be done, for the first time or again."""
        with self._lock:
            if task.fingerprint in self._left:
                return
            self.total += 1
            self._count(task.fingerprint, task.component.tag, 1)

    def start(self, task: Task) -> None:
        """Take down that a work was handed over."""
        with self._lock:
            self._rows[task.fingerprint] = RunningTask(task.label, self.clock())
            self._began = self.clock() if self._began is None else self._began

    def began(self, fingerprint: str, where: str) -> str | None:
        """Take down which worker makes a work, from now on; return its label, ``None`` if it is under way no more."""
        with self._lock:
            row = self._rows.get(fingerprint)
            if row is None:
                return None
            self._rows[fingerprint] = RunningTask(row.label, self.clock(), where)
            return row.label

    def report(self, fingerprint: str, done: int, total: int, unit: str) -> None:
        """Take down how far a work is."""
        with self._lock:
            if row := self._rows.get(fingerprint):
                seen = row.seen or (self.clock(), done)
                self._rows[fingerprint] = replace(row, done=done, total=total, unit=unit, seen=seen)

    def end(self, task: Task, failed: bool = False) -> float | None:
        """Take down that a work is done, or never will be; return the seconds it took if it was begun here."""
        with self._lock:
            took = self.stop(task)
            if task.fingerprint in self._left:
                self._count(task.fingerprint, task.component.tag, -1)
                self.ended += 1
                self.failed += failed
            if took is not None and not failed:
                self._remaining.ended(task.component.tag, self._estimates.get(task.fingerprint), took)
            return took

    def stop(self, task: Task) -> float | None:
        """Take down that a work is under way no more; return the seconds it was."""
        with self._lock:
            row = self._rows.pop(task.fingerprint, None)
            return None if row is None else row.passed(self.clock())

    def sight(self, most: int) -> StatusView:
        """Return what is to be seen now, with so many works at most, those that began first."""
        with self._lock:
            rows = sorted(self._rows.values(), key=lambda row: (not row.where, row.since))
            begun = [row.where for row in rows if row.where]
            return StatusView(
                rows=tuple(rows[:most]),
                hidden=max(0, len(rows) - most),
                ended=self.ended,
                failed=self.failed,
                running=len(begun),
                workers=len(set(begun)),
                total=self.total,
                left=self.left(),
            )

    def left(self) -> float | None:
        """Return the seconds until all is done; ``None`` while too little is known of the works that are left."""
        with self._lock:
            now = self.clock()
            begun = {fingerprint: row for fingerprint, row in self._rows.items() if row.where}
            rows = [
                RunningEstimate(self._left[f], self._estimates.get(f), row.passed(now), row.left(now))
                for f, row in begun.items()
                if f in self._left
            ]
            seconds = self._remaining.seconds(rows) if self._left else None
            if seconds is None:
                return None
            return max([seconds / self._pace(rows, now), *(row.left or 0.0 for row in rows)])

    def _pace(self, rows: Sequence[RunningEstimate], now: float) -> float:
        """Return the seconds of work that are done in a second: by what was done so far, within what the workers could do."""
        shares = max(1, min(len(rows) or self._workers, len(self._left)))
        if self._began is None or now <= self._began:
            return shares
        seen = (self._remaining.worked + sum(row.passed for row in rows)) / (now - self._began)
        return min(max(seen, shares / 2), shares)

    def _count(self, fingerprint: str, tag: str, change: int) -> None:
        """Count a work among those that are left, or no more."""
        if change > 0:
            self._left[fingerprint] = tag
        else:
            del self._left[fingerprint]
        self._remaining.add(tag, self._estimates.get(fingerprint), change)
