"""A request to stop a whole process: stages that keep checkpoints save one and end."""

from __future__ import annotations

import threading

_REQUESTED = threading.Event()


class Stopped(Exception):
    """A task saved a checkpoint and ended early, as requested."""


def request() -> None:
    """Request that the tasks of this process stop where they can resume later."""
    _REQUESTED.set()


def requested() -> bool:
    """Return whether the tasks of this process should stop."""
    return _REQUESTED.is_set()


def withdraw() -> None:
    """Withdraw the request."""
    _REQUESTED.clear()
