"""What a run has in progress, what is left, and when it will be done: plain values, without a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from temper.engine.planning.task_graph import Task
from temper.engine.progress.time_left import RunningEstimate, TimeLeft


@dataclass(frozen=True)
class RunningTask:
    """One running task: on which worker, since when and how far; ``where`` is empty until a worker starts it.

    ``seen`` is the time and value of the first progress report: a resumed task does not start at zero.
    """

    label: str
    since: float
    where: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    seen: tuple[float, int] | None = None

    def passed(self, now: float) -> float:
        """Return the seconds since it started."""
        return max(0.0, now - self.since)

    def left(self, now: float) -> float | None:
        """Return the estimated seconds remaining, by its speed so far; ``None`` if unknown."""
        if self.seen is None or self.done <= self.seen[1]:
            return None
        return max(0.0, (now - self.seen[0]) * (self.total - self.done) / (self.done - self.seen[1]))


@dataclass(frozen=True)
class StatusView:
    """A snapshot: the longest-running tasks, how many more there are, and the totals."""

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
        """How many submitted tasks no worker has started."""
        return self.total - self.ended - self.running


class RunStatus:
    """The state of a run's tasks; thread-safe."""

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
        """Record all tasks to run, with their estimated seconds where known."""
        with self._lock:
            self._estimates, self._workers = estimates, workers
            for task in tasks:
                self.add(task)

    def add(self, task: Task) -> None:
        """Record a task to run, for the first time or again."""
        with self._lock:
            if task.fingerprint in self._left:
                return
            self.total += 1
            self._count(task.fingerprint, task.component.tag, 1)

    def start(self, task: Task) -> None:
        """Record that a task was submitted."""
        with self._lock:
            self._rows[task.fingerprint] = RunningTask(task.label, self.clock())
            self._began = self.clock() if self._began is None else self._began

    def began(self, fingerprint: str, where: str) -> str | None:
        """Record which worker runs a task from now on; return its label, ``None`` if it is no longer in progress."""
        with self._lock:
            row = self._rows.get(fingerprint)
            if row is None:
                return None
            self._rows[fingerprint] = RunningTask(row.label, self.clock(), where)
            return row.label

    def report(self, fingerprint: str, done: int, total: int, unit: str) -> None:
        """Record the progress of a task."""
        with self._lock:
            if row := self._rows.get(fingerprint):
                seen = row.seen or (self.clock(), done)
                self._rows[fingerprint] = replace(row, done=done, total=total, unit=unit, seen=seen)

    def end(self, task: Task, failed: bool = False) -> float | None:
        """Record that a task is done, or never will be; return the seconds it took if it started in this run."""
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
        """Record that a task is no longer in progress; return the seconds it ran."""
        with self._lock:
            row = self._rows.pop(task.fingerprint, None)
            return None if row is None else row.passed(self.clock())

    def snapshot(self, most: int) -> StatusView:
        """Return a snapshot with at most ``most`` running tasks, those that started first."""
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
        """Return the estimated seconds until the run is done; ``None`` while too few tasks have an estimate."""
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
        """Return the task seconds completed per second: as measured so far, within the limits of the workers."""
        shares = max(1, min(len(rows) or self._workers, len(self._left)))
        if self._began is None or now <= self._began:
            return shares
        seen = (self._remaining.worked + sum(row.passed for row in rows)) / (now - self._began)
        return min(max(seen, shares / 2), shares)

    def _count(self, fingerprint: str, tag: str, change: int) -> None:
        """Add a task to those that are left, or remove it."""
        if change > 0:
            self._left[fingerprint] = tag
        else:
            del self._left[fingerprint]
        self._remaining.add(tag, self._estimates.get(fingerprint), change)
