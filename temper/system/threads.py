"""How many threads this process computes on: sums are split among them, so numbers depend on it."""

from __future__ import annotations

import os
import sys

DEFAULT = 1
_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "NPROC",  # JAX
)
"""The variables that libraries read when they are loaded."""
_STATE: dict[str, int] = {}
_NOW, _FRAMEWORK = "now", "framework"


def count() -> int:
    """Return how many threads this process computes on."""
    return _STATE.get(_NOW, DEFAULT)


def fixed() -> int | None:
    """Return the number that the framework of this process was started with, ``None`` while it may still change."""
    return _STATE.get(_FRAMEWORK)


def use(number: int) -> None:
    """Compute on ``number`` threads from now on, whatever the environment says.

    Raises:
        RuntimeError: the framework of this process was started with another number, which it keeps.
    """
    started = _STATE.get(_FRAMEWORK, number)
    if started != number:
        raise RuntimeError(f"this process computes on {started} threads and cannot change to {number}; start it again")
    if _STATE.get(_NOW) == number:
        return
    _STATE[_NOW] = number
    for variable in _VARIABLES:
        os.environ[variable] = str(number)
    from threadpoolctl import threadpool_limits

    threadpool_limits(number)  # for libraries that are already loaded
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(number)


def fix() -> None:
    """Fix the number for the life of the process: a framework is about to be loaded, which reads it only once."""
    use(count())
    _STATE[_FRAMEWORK] = count()
