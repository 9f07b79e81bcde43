"""Tells how a run goes: a live view on a terminal, plain lines elsewhere, and everything in the run's log file."""

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
"""Seconds until a work that is under way is told of where there is no terminal, and the longest until it is told of again."""
TICK = 1.0
"""Seconds between two looks at whether something is to be told."""
LINES = 5
"""Works that such a look names."""
ROWS = 20
"""Works that a terminal shows, if it is high enough."""


class _LogFile(logging.FileHandler):
    """A log whose faults, such as a full disk, are those of whoever writes to it."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # called where the fault is handled


class _Visible(logging.Formatter):
    """Writes out what would steer the terminal on which a log is looked at."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


class Progress:
    """What a run tells its user."""

    def __init__(self, console: Console, log: Path) -> None:
        self._console = console
        log.parent.mkdir(parents=True, exist_ok=True)
        self._handler = _LogFile(log, encoding="utf-8", errors="backslashreplace")
        self._handler.setFormatter(_Visible("%(asctime)s %(message)s"))
        self._log_file = logging.Logger(str(log))
        self._log_file.addHandler(self._handler)
        self._board = RunStatus()
        self._looked, self._gap = self._board.clock(), FIRST
        self._looking = threading.Lock()
        self._ended = threading.Event()
        self._live = Live(console=console, get_renderable=self._drawn, transient=True)

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        else:
            # A stage may hold the main thread for minutes.
            threading.Thread(target=self._beat, daemon=True, name="heartbeat").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._live.stop()
        with self._looking:
            self._handler.close()

    def _beat(self) -> None:
        while not self._ended.wait(TICK):
            with suppress(OSError):  # a full disk ends the run where the next work is told of
                self.look()

    def say(self, text: str, style: str = "") -> None:
        """Tell the user something, and log it."""
        self.log(text)
        stamp = "" if self._console.is_terminal else time.strftime("%H:%M:%S ")
        self._console.print(f"{stamp}{text}", style=style or None, markup=False, highlight=False, soft_wrap=True)

    def log(self, text: str) -> None:
        """Log something that the user sees elsewhere."""
        self._log_file.info(text)

    def begin(self, tasks: Iterable[Task], estimates: Mapping[str, float | None], workers: int) -> None:
        """Show how much there is to do, and for how many workers."""
        self._board.begin(tasks, estimates, workers)

    def add(self, task: Task) -> None:
        """Count a work that has to be done again."""
        self._board.add(task)

    def start(self, task: Task) -> None:
        """Show that a work begins."""
        self._board.start(task)
        self._log_file.info("%s begins", task.label)

    def began(self, fingerprint: str, where: str) -> None:
        """Show which worker makes an artefact."""
        label = self._board.began(fingerprint, where)
        self._gap = FIRST
        if label is not None:
            self._log_file.info("%s is on %s", label, where)

    def report(self, fingerprint: str, done: int, total: int, unit: str) -> None:
        """Show how far a work is."""
        self._board.report(fingerprint, done, total, unit)

    def look(self) -> None:
        """Without a terminal, say now and then what is under way for long; however many works that are, in a few lines.

        A work is told of after ``FIRST`` seconds, and again after twice as long each time, up to ``LONGEST``.
        """
        with self._looking:
            now = self._board.clock()
            if self._console.is_terminal or self._ended.is_set() or now - self._looked < self._gap:
                return
            sight = self._board.sight(LINES)
            under_way = [row for row in sight.rows if row.where]
            rows = [row for row in under_way if row.passed(now) >= FIRST]
            if not rows and (under_way or not sight.waiting):
                return
            # What has begun of late is told of soon.
            self._looked, self._gap = now, FIRST if len(rows) < len(under_way) else min(2 * self._gap, LONGEST)
            for row in rows:
                self.say(_said(row, now))
            if sight.hidden:
                self.say(f"and {sight.hidden:,} more")
            if sight.running != 1:
                self.say(summary(sight))

    def finish(self, task: Task) -> None:
        """Show that a work is done."""
        seconds = self._board.end(task)
        took = f" ({duration(seconds)})" if seconds is not None else " (made by another runner)"
        left = self._board.left()
        rest = "" if left is None else f", about {duration(left)} left"
        self.say(f"[{self._board.ended}/{self._board.total}] {task.label} done{took}{rest}")

    def fail(self, task: Task, cause: str, known: bool) -> None:
        """Show that a work failed, now or (``known``) in an earlier run."""
        self._board.end(task, failed=True)
        when = "failed before: " if known else "FAILED: "
        self.say(f"{task.label} {when}{cause}", style="red")

    def stop(self, task: Task) -> None:
        """Show that a work was interrupted and goes on another time."""
        self.retry(task, "interrupted; it has kept what it had done")

    def retry(self, task: Task, why: str) -> None:
        """Show that a work ended before it was done and begins again."""
        self._board.stop(task)
        self.say(f"{task.label} {why}")

    def skip(self, task: Task, because: str) -> None:
        """Show that a work cannot be done."""
        self._board.end(task, failed=True)
        self.say(f"{task.label} skipped: {because} failed", style="yellow")

    def _drawn(self) -> RenderableType:
        room = max(1, min(ROWS, self._console.height - 4))
        return drawn(self._board.sight(room), self._board.clock())


def _said(row: RunningTask, now: float) -> str:
    left = row.left(now)
    return "".join([
        row.label,
        f" on {row.where}" if row.where else "",
        f": {row.done:,}/{row.total:,} {row.unit}" if row.total else "",
        f", for {duration(row.passed(now))}",
        f", about {duration(left)} left" if left is not None else "",
    ])  # fmt: skip
