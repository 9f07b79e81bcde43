"""What Temper shares with the user's process: a framework that was loaded before, its backend and its threads."""

from __future__ import annotations

import os
import sys

from temper.core.errors import SpecError
from temper.system import backend, threads

_TENSORFLOW_THREADS = "TF_NUM_INTRAOP_THREADS"
_FOREIGN: set[str] = set()
"""Frameworks that the user started with other threads than Temper's, which they keep."""


def adopt_backend(where: str) -> None:
    """Take over the backend of a Keras that is loaded already.

    Raises:
        SpecError: it is one that cannot take gradients of Keras models.
    """
    if "keras" in sys.modules:  # it may have been chosen by keras.json
        os.environ["KERAS_BACKEND"] = sys.modules["keras"].config.backend()
    try:
        backend.name()
    except ValueError as wrong:
        raise SpecError.at(where, 0, str(wrong)) from None


def adopt_threads(number: int = threads.DEFAULT) -> None:
    """Have a TensorFlow that is loaded already compute on so many threads, where that can still be had."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or threads.fixed() is not None or os.environ.get(_TENSORFLOW_THREADS) == str(number):
        return
    try:
        tensorflow.config.threading.set_intra_op_parallelism_threads(number)
        tensorflow.config.threading.set_inter_op_parallelism_threads(number)
    except RuntimeError:  # it has computed something
        _FOREIGN.add("TensorFlow")


def demand_threads(number: int) -> None:
    """Refuse to compute in this process what would depend on threads that are not the experiment's.

    Raises:
        SpecError: the framework of this process was started with another number.
    """
    advice = "set jobs=2 to compute in processes of their own, or start Python again and call temper.run first"
    if _FOREIGN:
        name = ", ".join(sorted(_FOREIGN))
        raise SpecError.at("temper.run", 0, f"{name} has computed in this process before, on other threads; {advice}")
    if threads.fixed() not in (None, number):
        message = f"this process computes on {threads.fixed()} threads, the experiment on {number}; {advice}"
        raise SpecError.at("temper.run", 0, message)
