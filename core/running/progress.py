"""Shows how a run goes: a live view on a terminal, plain lines elsewhere, and everything in the run's log file."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from core.running.graph import Work

EVERY = 10.0
"""Seconds between two lines about the same stage where there is no terminal."""


class Progress:
    """What a run tells its user."""

    def __init__(self, console: Console, log: Path) -> None:
        self._console = console
        log.parent.mkdir(parents=True, exist_ok=True)
        self._handler = logging.FileHandler(log, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self._log = logging.Logger(str(log))
        self._log.addHandler(self._handler)
        self._labels: dict[str, str] = {}
        self._started: dict[str, float] = {}
        self._said: dict[str, float] = {}
        self._estimates: Mapping[str, float | None] = {}
        self._left: set[str] = set()
        self._unknown, self._seconds = 0, 0.0
        self._total = self._ended = 0
        self._workers = 1
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._rows: dict[str, TaskID] = {}

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        self._handler.close()

    def say(self, text: str, style: str = "") -> None:
        """Tell the user something, and log it."""
        self._log.info(text)
        stamp = "" if self._console.is_terminal else time.strftime("%H:%M:%S ")
        self._bars.console.print(f"{stamp}{text}", style=style or None, markup=False, highlight=False, soft_wrap=True)

    def begin(self, works: Iterable[Work], estimates: Mapping[str, float | None], workers: int) -> None:
        """Show how much there is to do, and for how many workers."""
        self._estimates, self._workers = estimates, workers
        for work in works:
            self._count(work.fingerprint, 1)
        self._total = len(self._left)
        if self._total:
            self._rows[""] = self._bars.add_task("all stages", total=self._total, unit="")

    def add(self, work: Work) -> None:
        """Count a work that has to be done again."""
        self._count(work.fingerprint, 1)
        self._total += 1
        if "" in self._rows:
            self._bars.update(self._rows[""], total=self._total)

    def start(self, work: Work) -> None:
        """Show that a work begins."""
        self._labels[work.fingerprint] = work.label
        self._started[work.fingerprint] = self._said[work.fingerprint] = time.monotonic()
        self._rows[work.fingerprint] = self._bars.add_task(work.label, total=None, unit="")
        self._log.info("%s begins", work.label)

    def began(self, fingerprint: str, where: str) -> None:
        """Show which worker makes an artefact."""
        self._log.info("%s is on %s", self._labels[fingerprint], where)
        if fingerprint in self._rows:
            self._bars.update(self._rows[fingerprint], description=f"{self._labels[fingerprint]} on {where}")

    def report(self, fingerprint: str, done: int, total: int, unit: str) -> None:
        """Show how far a work is."""
        if fingerprint in self._rows:
            self._bars.update(self._rows[fingerprint], completed=done, total=total, unit=unit)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._said.get(fingerprint, now) >= EVERY:
            self._said[fingerprint] = now
            passed = now - self._started[fingerprint]
            left = f", about {duration(passed * (total - done) / done)} left" if done else ""
            self.say(f"{self._labels[fingerprint]}: {done}/{total} {unit}{left}")

    def finish(self, work: Work) -> None:
        """Show that a work is done."""
        self._end(work)
        started = self._started.get(work.fingerprint)
        took = f" ({duration(time.monotonic() - started)})" if started is not None else " (made by another runner)"
        self.say(f"[{self._ended}/{self._total}] {work.label} done{took}{self._remaining()}")

    def fail(self, work: Work, cause: str, known: bool) -> None:
        """Show that a work failed, now or (``known``) in an earlier run."""
        self._end(work)
        when = "failed before: " if known else "FAILED: "
        self.say(f"{work.label} {when}{cause}", style="red")

    def stop(self, work: Work) -> None:
        """Show that a work was interrupted and goes on another time."""
        self.retry(work, "interrupted; it has kept what it had done")

    def retry(self, work: Work, why: str) -> None:
        """Show that a work ended before it was done and begins again."""
        self._close_row(work)
        self.say(f"{work.label} {why}")

    def skip(self, work: Work, because: str) -> None:
        """Show that a work cannot be done."""
        self._end(work)
        self.say(f"{work.label} skipped: {because} failed", style="yellow")

    def _close_row(self, work: Work) -> None:
        row = self._rows.pop(work.fingerprint, None)
        if row is not None:
            self._bars.remove_task(row)

    def _end(self, work: Work) -> None:
        self._close_row(work)
        if work.fingerprint in self._left:
            self._count(work.fingerprint, -1)
            self._ended += 1
            self._bars.update(self._rows[""], completed=self._ended)

    def _count(self, fingerprint: str, change: int) -> None:
        """Count a work among those that are left, or no more."""
        (self._left.add if change > 0 else self._left.discard)(fingerprint)
        seconds = self._estimates.get(fingerprint)
        self._unknown += change * (seconds is None)
        self._seconds += change * (seconds or 0.0)

    def _remaining(self) -> str:
        if self._unknown or not self._left:
            return ""
        return f", about {duration(max(0.0, self._seconds) / min(self._workers, len(self._left)))} left"


def duration(seconds: float) -> str:
    """Return seconds in words for people: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
