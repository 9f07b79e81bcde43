"""The live view of a run on a terminal."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from temper.engine.progress.duration import duration
from temper.engine.progress.run_status import RunningTask, StatusView

BAR = 10
"""Columns of a bar."""


def drawn(sight: StatusView, now: float) -> RenderableType:
    """Return what a terminal shows of a run: a line for each worker, as far as there is room, and one for the whole."""
    if not sight.total:
        return Text()
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=28, style="cyan")
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(width=BAR)
    for justify in ("left", "right", "left"):
        table.add_column(no_wrap=True, justify=justify)
    for row in sight.rows:
        table.add_row(*_cells(row, now))
    parts: list[RenderableType] = [table]
    if sight.hidden:
        parts.append(Text(f"and {sight.hidden:,} more", style="dim"))
    parts.append(_whole(sight))
    return Group(*parts)


def summary(sight: StatusView) -> str:
    """Return in a line how far a run is, and when it will be done."""
    said = [f"{sight.ended:,} of {sight.total:,} done"]
    if sight.running:
        said.append(f"{sight.running:,} under way on {sight.workers:,} worker{'s' * (sight.workers > 1)}")
    if sight.waiting:
        said.append(f"{sight.waiting:,} waiting")
    if sight.failed:
        said.append(f"{sight.failed:,} failed or skipped")
    if sight.left is not None:
        said.append(f"about {duration(sight.left)} left{_at(sight.left)}")
    return ", ".join(said)


def _cells(row: RunningTask, now: float) -> tuple[RenderableType, ...]:
    left = row.left(now)
    return (
        row.where or "waits for a worker",
        row.label,
        ProgressBar(total=row.total, completed=row.done, width=BAR) if row.total else Text(""),
        f"{row.done:,}/{row.total:,} {row.unit}" if row.total else "",
        duration(row.passed(now)),
        "" if left is None else f"{duration(left)} left",
    )


def _whole(sight: StatusView) -> RenderableType:
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_row(ProgressBar(total=sight.total, completed=sight.ended, width=BAR), Text(summary(sight), style="bold"))
    return line


def _at(seconds: float) -> str:
    """Return when that will be, for what takes long enough that one goes away meanwhile."""
    if seconds < 120:
        return ""
    now, then = time.localtime(), time.localtime(time.time() + seconds)
    return time.strftime(", at %H:%M" if now.tm_yday == then.tm_yday else ", on %a %d %b at %H:%M", then)
