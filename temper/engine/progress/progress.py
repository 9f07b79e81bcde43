"""Reports a run's progress: a live view on a terminal, plain lines elsewhere, and everything in the run's log file."""

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
from temper.engine.progress.live_view import drawn, summary
from temper.engine.progress.run_status import RunningTask, RunStatus
from temper.engine.progress.terminal import visible

FIRST, LONGEST = 10.0, 60.0
"""Seconds after which a running task is first reported without a terminal, and the longest interval between reports."""
TICK = 1.0
"""Seconds between checks for something to report."""
LINES = 5
"""Running tasks that one report names."""
ROWS = 20
"""Running tasks that a terminal shows, if it is high enough."""


class _LogFile(logging.FileHandler):
    """A log whose errors, such as a full disk, are raised to the caller."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # the caller handles the error


class _Visible(logging.Formatter):
    """Escapes control characters that would affect the terminal on which a log is viewed."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


class Progress:
    """What a run reports to its user."""

    def __init__(self, console: Console, log: Path) -> None:
        self._console = console
        log.parent.mkdir(parents=True, exist_ok=True)
        self._handler = _LogFile(log, encoding="utf-8", errors="backslashreplace")
        self._handler.setFormatter(_Visible("%(asctime)s %(message)s"))
        self._log_file = logging.Logger(str(log))
        self._log_file.addHandler(self._handler)
        self._status = RunStatus()
        self._last_report, self._gap = self._status.clock(), FIRST
        self._looking = threading.Lock()
        self._ended = threading.Event()
        self._live = Live(console=console, get_renderable=self._drawn, transient=True)

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        else:
            # A stage may block the main thread for minutes.
            threading.Thread(target=self._report_regularly, daemon=True, name="heartbeat").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._live.stop()
        with self._looking:
            self._handler.close()

    def _report_regularly(self) -> None:
        while not self._ended.wait(TICK):
            with suppress(OSError):  # a full disk ends the run at the next report of a task
                self.look()

    def say(self, text: str, style: str = "") -> None:
        """Show the user a message, and log it."""
        self.log(text)
        stamp = "" if self._console.is_terminal else time.strftime("%H:%M:%S ")
        self._console.print(f"{stamp}{text}", style=style or None, markup=False, highlight=False, soft_wrap=True)

    def log(self, text: str) -> None:
        """Log a message that the user sees elsewhere."""
        self._log_file.info(text)

    def begin(self, tasks: Iterable[Task], estimates: Mapping[str, float | None], workers: int) -> None:
        """Show how much there is to do, and for how many workers."""
        self._status.begin(tasks, estimates, workers)

    def add(self, task: Task) -> None:
        """Count a task that has to be repeated."""
        self._status.add(task)

    def start(self, task: Task) -> None:
        """Show that a task starts."""
        self._status.start(task)
        self._log_file.info("%s begins", task.label)

    def began(self, fingerprint: str, where: str) -> None:
        """Show which worker computes an artefact."""
        label = self._status.began(fingerprint, where)
        self._gap = FIRST
        if label is not None:
            self._log_file.info("%s is on %s", label, where)

    def report(self, fingerprint: str, done: int, total: int, unit: str) -> None:
        """Show the progress of a task."""
        self._status.report(fingerprint, done, total, unit)

    def look(self) -> None:
        """Without a terminal, report from time to time which tasks run for long, in a few lines however many there are.

        A task is reported after ``FIRST`` seconds, then at intervals that double up to ``LONGEST``.
        """
        with self._looking:
            now = self._status.clock()
            if self._console.is_terminal or self._ended.is_set() or now - self._last_report < self._gap:
                return
            snapshot = self._status.snapshot(LINES)
            under_way = [row for row in snapshot.rows if row.where]
            rows = [row for row in under_way if row.passed(now) >= FIRST]
            if not rows and (under_way or not snapshot.waiting):
                return
            # Tasks that started recently are reported soon.
            self._last_report, self._gap = now, FIRST if len(rows) < len(under_way) else min(2 * self._gap, LONGEST)
            for row in rows:
                self.say(_task_line(row, now))
            if snapshot.hidden:
                self.say(f"and {snapshot.hidden:,} more")
            if snapshot.running != 1:
                self.say(summary(snapshot))

    def finish(self, task: Task) -> None:
        """Show that a task is done."""
        seconds = self._status.end(task)
        took = f" ({duration(seconds)})" if seconds is not None else " (made by another runner)"
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
        """Show that a task ended early and starts again."""
        self._status.stop(task)
        self.say(f"{task.label} {why}")

    def skip(self, task: Task, because: str) -> None:
        """Show that a task cannot run."""
        self._status.end(task, failed=True)
        self.say(f"{task.label} skipped: {because} failed", style="yellow")

    def _drawn(self) -> RenderableType:
        room = max(1, min(ROWS, self._console.height - 4))
        return drawn(self._status.snapshot(room), self._status.clock())


def _task_line(row: RunningTask, now: float) -> str:
    left = row.left(now)
    return "".join([
        row.label,
        f" on {row.where}" if row.where else "",
        f": {row.done:,}/{row.total:,} {row.unit}" if row.total else "",
        f", for {duration(row.passed(now))}",
        f", about {duration(left)} left" if left is not None else "",
    ])  # fmt: skip
