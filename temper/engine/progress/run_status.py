"""The state of a run: its running and remaining tasks, and the estimated time remaining."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from temper.engine.planning.task_graph import Task
from temper.engine.progress.time_left import RunningEstimate, TimeLeft


@dataclass(frozen=True)
class RunningTask:
    """One running task: its worker, start time and progress; ``where`` is empty until a worker starts it.

    ``first_report`` is the time and value of the first progress report: a resumed task does not start at zero.
    """

    label: str
    started: float
    where: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    first_report: tuple[float, int] | None = None

    def elapsed(self, now: float) -> float:
        """Return the seconds since it started."""
        return max(0.0, now - self.started)

    def left(self, now: float) -> float | None:
        """Return the estimated seconds remaining, from its speed so far; ``None`` if unknown."""
        if self.first_report is None or self.done <= self.first_report[1]:
            return None
        return max(0.0, (now - self.first_report[0]) * (self.total - self.done) / (self.done - self.first_report[1]))


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
        self._running: dict[str, RunningTask] = {}
        self._remaining: dict[str, str] = {}
        self._estimates: Mapping[str, float | None] = {}
        self._time_left = TimeLeft()
        self._start_time: float | None = None
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
            if task.fingerprint in self._remaining:
                return
            self.total += 1
            self._count(task.fingerprint, task.component.tag, 1)

    def start(self, task: Task) -> None:
        """Record that a task was submitted."""
        with self._lock:
            self._running[task.fingerprint] = RunningTask(task.label, self.clock())
            self._start_time = self.clock() if self._start_time is None else self._start_time

    def began(self, fingerprint: str, where: str) -> str | None:
        """Record which worker has started a task; return its label, ``None`` if it is no longer running."""
        with self._lock:
            row = self._running.get(fingerprint)
            if row is None:
                return None
            self._running[fingerprint] = RunningTask(row.label, self.clock(), where)
            return row.label

    def report(self, fingerprint: str, done: int, total: int, unit: str) -> None:
        """Record the progress of a task."""
        with self._lock:
            if row := self._running.get(fingerprint):
                first_report = row.first_report or (self.clock(), done)
                self._running[fingerprint] = replace(row, done=done, total=total, unit=unit, first_report=first_report)

    def end(self, task: Task, failed: bool = False) -> float | None:
        """Record that a task is done or has failed; return the seconds it took if it started in this run."""
        with self._lock:
            took = self.stop(task)
            if task.fingerprint in self._remaining:
                self._count(task.fingerprint, task.component.tag, -1)
                self.ended += 1
                self.failed += failed
            if took is not None and not failed:
                self._time_left.ended(task.component.tag, self._estimates.get(task.fingerprint), took)
            return took

    def stop(self, task: Task) -> float | None:
        """Record that a task is no longer running; return the seconds it ran."""
        with self._lock:
            row = self._running.pop(task.fingerprint, None)
            return None if row is None else row.elapsed(self.clock())

    def snapshot(self, most: int) -> StatusView:
        """Return a snapshot with at most ``most`` running tasks, those that started first."""
        with self._lock:
            rows = sorted(self._running.values(), key=lambda row: (not row.where, row.started))
            started = [row.where for row in rows if row.where]
            return StatusView(
                rows=tuple(rows[:most]),
                hidden=max(0, len(rows) - most),
                ended=self.ended,
                failed=self.failed,
                running=len(started),
                workers=len(set(started)),
                total=self.total,
                left=self.left(),
            )

    def left(self) -> float | None:
        """Return the estimated seconds remaining; ``None`` while too few tasks have an estimate."""
        with self._lock:
            now = self.clock()
            started = {fingerprint: row for fingerprint, row in self._running.items() if row.where}
            rows = [
                RunningEstimate(self._remaining[f], self._estimates.get(f), row.elapsed(now), row.left(now))
                for f, row in started.items()
                if f in self._remaining
            ]
            seconds = self._time_left.seconds(rows) if self._remaining else None
            if seconds is None:
                return None
            return max([seconds / self._throughput(rows, now), *(row.left or 0.0 for row in rows)])

    def _throughput(self, rows: Sequence[RunningEstimate], now: float) -> float:
        """Return the task seconds completed per second: as measured, from half the number of workers to that number."""
        workers = max(1, min(len(rows) or self._workers, len(self._remaining)))
        if self._start_time is None or now <= self._start_time:
            return workers
        measured = (self._time_left.total_seconds + sum(row.elapsed for row in rows)) / (now - self._start_time)
        return min(max(measured, workers / 2), workers)

    def _count(self, fingerprint: str, tag: str, change: int) -> None:
        """Add a task to the remaining ones, or remove it."""
        if change > 0:
            self._remaining[fingerprint] = tag
        else:
            del self._remaining[fingerprint]
        self._time_left.add(tag, self._estimates.get(fingerprint), change)
