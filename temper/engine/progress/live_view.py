"""The live view of a run on a terminal."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from temper.engine.progress.duration import duration
from temper.engine.progress.run_status import RunningTask, StatusView

BAR_WIDTH = 10
"""Width of a progress bar in characters."""


def live_view(snapshot: StatusView, now: float) -> RenderableType:
    """Return the live view: a line per worker, as many as fit, and one for the whole run."""
    if not snapshot.total:
        return Text()
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=28, style="cyan")
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(width=BAR_WIDTH)
    for justify in ("left", "right", "left"):
        table.add_column(no_wrap=True, justify=justify)
    for row in snapshot.rows:
        table.add_row(*_cells(row, now))
    parts: list[RenderableType] = [table]
    if snapshot.hidden:
        parts.append(Text(f"and {snapshot.hidden:,} more", style="dim"))
    parts.append(_total_line(snapshot))
    return Group(*parts)


def summary(snapshot: StatusView) -> str:
    """Return one line with the progress of a run, and when it will be done."""
    parts = [f"{snapshot.ended:,} of {snapshot.total:,} done"]
    if snapshot.running:
        parts.append(f"{snapshot.running:,} running on {snapshot.workers:,} worker{'s' * (snapshot.workers > 1)}")
    if snapshot.waiting:
        parts.append(f"{snapshot.waiting:,} waiting")
    if snapshot.failed:
        parts.append(f"{snapshot.failed:,} failed or skipped")
    if snapshot.left is not None:
        parts.append(f"about {duration(snapshot.left)} left{_end_time(snapshot.left)}")
    return ", ".join(parts)


def _cells(row: RunningTask, now: float) -> tuple[RenderableType, ...]:
    left = row.left(now)
    return (
        row.where or "waiting for a worker",
        row.label,
        ProgressBar(total=row.total, completed=row.done, width=BAR_WIDTH) if row.total else Text(""),
        f"{row.done:,}/{row.total:,} {row.unit}" if row.total else "",
        duration(row.elapsed(now)),
        "" if left is None else f"{duration(left)} left",
    )


def _total_line(snapshot: StatusView) -> RenderableType:
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_row(
        ProgressBar(total=snapshot.total, completed=snapshot.ended, width=BAR_WIDTH),
        Text(summary(snapshot), style="bold"),
    )
    return line


def _end_time(seconds: float) -> str:
    """Return the time of day when the run will end, if it takes two minutes or more."""
    if seconds < 120:
        return ""
    now, then = time.localtime(), time.localtime(time.time() + seconds)
    return time.strftime(", at %H:%M" if now.tm_yday == then.tm_yday else ", on %a %d %b at %H:%M", then)
