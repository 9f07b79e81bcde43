"""A request to stop, made of a whole process: work that keeps checkpoints saves what it has and ends."""

from __future__ import annotations

import threading

_REQUESTED = threading.Event()


class Stopped(Exception):
    """A work has saved what it has and ended before its end, since it was asked to."""


def request() -> None:
    """Ask the works of this process to stop where they can go on later."""
    _REQUESTED.set()


def requested() -> bool:
    """Return whether the works of this process should stop."""
    return _REQUESTED.is_set()


def withdraw() -> None:
    """Take the request back."""
    _REQUESTED.clear()
