"""Reports a run's progress: a live view on a terminal, plain lines elsewhere, and a log file in both cases."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live

from temper.engine.planning.task_graph import Task
from temper.engine.progress.duration import duration
from temper.engine.progress.live_view import live_view, summary
from temper.engine.progress.run_status import RunningTask, RunStatus
from temper.engine.progress.terminal import escaped

FIRST_REPORT, MAX_INTERVAL = 10.0, 60.0
"""Without a terminal: seconds until a running task is first reported, and the maximum interval between reports."""
CHECK_INTERVAL = 1.0
"""Seconds between checks for something to report."""
MAX_LINES = 5
"""Maximum number of running tasks in a report."""
MAX_ROWS = 20
"""Maximum number of running tasks on a terminal."""


class _LogFile(logging.FileHandler):
    """A log that raises its errors, such as a full disk, to the caller."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # the base class would only print it


class _EscapingFormatter(logging.Formatter):
    """Escapes control characters that would affect the terminal on which a log is viewed."""

    def format(self, record: logging.LogRecord) -> str:
        return escaped(super().format(record))


class Progress:
    """The progress report of a run."""

    def __init__(self, console: Console, log: Path) -> None:
        self._console = console
        log.parent.mkdir(parents=True, exist_ok=True)
        self._handler = _LogFile(log, encoding="utf-8", errors="backslashreplace")
        self._handler.setFormatter(_EscapingFormatter("%(asctime)s %(message)s"))
        self._log_file = logging.Logger(str(log))
        self._log_file.addHandler(self._handler)
        self._status = RunStatus()
        self._last_report, self._interval = self._status.clock(), FIRST_REPORT
        self._report_lock = threading.Lock()
        self._ended = threading.Event()
        self._live = Live(console=console, get_renderable=self._renderable, transient=True)

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        else:
            # A separate thread, since a stage may block the main thread for minutes.
            threading.Thread(target=self._report_until_end, daemon=True, name="heartbeat").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._live.stop()
        with self._report_lock:
            self._handler.close()

    def _report_until_end(self) -> None:
        while not self._ended.wait(CHECK_INTERVAL):
            with suppress(OSError):  # a full disk ends the run when the next task is reported
                self.report_running()

    def say(self, text: str, style: str = "") -> None:
        """Show the user a message, and log it."""
        self.log(text)
        stamp = "" if self._console.is_terminal else time.strftime("%H:%M:%S ")
        self._console.print(f"{stamp}{text}", style=style or None, markup=False, highlight=False, soft_wrap=True)

    def log(self, text: str) -> None:
        """Log a message that the user sees elsewhere."""
        self._log_file.info(text)

    def begin(self, tasks: Iterable[Task], estimates: Mapping[str, float | None], workers: int) -> None:
        """Start with all tasks of the run, their estimates and the number of workers."""
        self._status.begin(tasks, estimates, workers)

    def add(self, task: Task) -> None:
        """Count a task that has to run again."""
        self._status.add(task)

    def start(self, task: Task) -> None:
        """Show that a task starts."""
        self._status.start(task)
        self._log_file.info("%s begins", task.label)

    def began(self, fingerprint: str, where: str) -> None:
        """Show which worker computes an artefact."""
        label = self._status.began(fingerprint, where)
        self._interval = FIRST_REPORT
        if label is not None:
            self._log_file.info("%s is on %s", label, where)

    def report(self, fingerprint: str, done: int, total: int, unit: str) -> None:
        """Show the progress of a task."""
        self._status.report(fingerprint, done, total, unit)

    def report_running(self) -> None:
        """Without a terminal, report long-running tasks at intervals, in a few lines however many there are.

        A task is reported after ``FIRST_REPORT`` seconds, then at intervals that double up to ``MAX_INTERVAL``.
        """
        with self._report_lock:
            now = self._status.clock()
            if self._console.is_terminal or self._ended.is_set() or now - self._last_report < self._interval:
                return
            snapshot = self._status.snapshot(MAX_LINES)
            running = [row for row in snapshot.rows if row.where]
            rows = [row for row in running if row.elapsed(now) >= FIRST_REPORT]
            if not rows and (running or not snapshot.waiting):
                return
            # A short interval while some tasks have not been reported yet.
            self._last_report, self._interval = (
                now,
                FIRST_REPORT if len(rows) < len(running) else min(2 * self._interval, MAX_INTERVAL),
            )
            for row in rows:
                self.say(_task_line(row, now))
            if snapshot.hidden:
                self.say(f"and {snapshot.hidden:,} more")
            if snapshot.running != 1:
                self.say(summary(snapshot))

    def finish(self, task: Task) -> None:
        """Show that a task is done."""
        seconds = self._status.end(task)
        took = f" ({duration(seconds)})" if seconds is not None else " (computed by another runner)"
        left = self._status.left()
        rest = "" if left is None else f", about {duration(left)} left"
        self.say(f"[{self._status.ended}/{self._status.total}] {task.label} done{took}{rest}")

    def fail(self, task: Task, cause: str, known: bool) -> None:
        """Show that a task failed, now or (``known``) in an earlier run."""
        self._status.end(task, failed=True)
        when = "failed before: " if known else "FAILED: "
        self.say(f"{task.label} {when}{cause}", style="red")

    def stop(self, task: Task) -> None:
        """Show that a task was interrupted and will resume in a later run."""
        self.retry(task, "interrupted; its checkpoint is saved")

    def retry(self, task: Task, why: str) -> None:
        """Show that a task ended early and will run again."""
        self._status.stop(task)
        self.say(f"{task.label} {why}")

    def skip(self, task: Task, because: str) -> None:
        """Show that a task cannot run."""
        self._status.end(task, failed=True)
        self.say(f"{task.label} skipped: {because} failed", style="yellow")

    def _renderable(self) -> RenderableType:
        room = max(1, min(MAX_ROWS, self._console.height - 4))
        return live_view(self._status.snapshot(room), self._status.clock())


def _task_line(row: RunningTask, now: float) -> str:
    left = row.left(now)
    return "".join([
        row.label,
        f" on {row.where}" if row.where else "",
        f": {row.done:,}/{row.total:,} {row.unit}" if row.total else "",
        f", for {duration(row.elapsed(now))}",
        f", about {duration(left)} left" if left is not None else "",
    ])  # fmt: skip
