"""Processes: whether the one that wrote a record still runs."""

from __future__ import annotations

import psutil


def is_alive(pid: int, started: float) -> bool:
    """Return whether the process with this number and start time (seconds since the epoch) runs; numbers are reused."""
    try:
        return abs(psutil.Process(pid).create_time() - started) < 1.0
    except psutil.NoSuchProcess:
        return False
    except (
        psutil.AccessDenied
    ):  # of another user, on macOS and Windows: it is there, and nothing says that it is another one
        return True
