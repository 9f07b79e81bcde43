"""The only access to the frameworks: the backend, its seed, its devices."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from temper.system import threads

BACKENDS = ("tensorflow", "jax", "torch")


def name() -> str:
    """Return the Keras backend in use (``KERAS_BACKEND``, by default tensorflow) without importing it.

    Raises:
        ValueError: the environment names a backend that cannot compute gradients of a Keras model.
    """
    chosen = os.environ.get("KERAS_BACKEND", "tensorflow")
    if chosen not in BACKENDS:
        raise ValueError(f"KERAS_BACKEND: expected {', '.join(BACKENDS)}, received {chosen!r}")
    return chosen


def prepare() -> None:
    """Have Keras use the chosen backend, whoever imports it first and whatever the user's keras.json says."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # A framework that reserves the whole GPU at import leaves nothing for a second worker, or for torch in this process.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


@cache
def keras() -> Any:
    """Return the keras module on the chosen backend, imported on the first call."""
    os.environ["KERAS_BACKEND"] = name()
    threads.fix()
    prepare()
    with muted():
        import keras as module

        # Set as experiments assume them, whatever the user's keras.json says.
        module.config.set_floatx("float32")
        module.config.set_epsilon(1e-7)
        module.config.set_image_data_format("channels_last")
        if name() == "tensorflow":
            on_gpu()
            # One program per model and batch shape is intended; TensorFlow warns of it as retracing.
            logging.getLogger("tensorflow").setLevel(logging.ERROR)
        elif name() == "torch":
            torch()
    return module


@cache
def on_gpu() -> bool:
    """Return whether the backend sees a GPU."""
    match name():
        case "tensorflow":
            import tensorflow as tf

            return bool(tf.config.list_physical_devices("GPU"))
        case "jax":
            import jax

            return bool(jax.default_backend() != "cpu")
        case _:
            import torch

            return bool(torch.cuda.is_available())


@cache
def torch() -> Any:
    """Return the torch module, imported on the first call, which computes on as many threads as ``threads`` says."""
    # A thread that spins while it waits takes a core from the thread it waits for, on a shared machine; the setting
    # must precede the loading of OpenMP.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch as module

    module.set_num_threads(threads.count())
    return module


@cache
def torch_device() -> str:
    """Return where torch computes: ``cuda`` or ``cpu``."""
    return "cuda" if torch().cuda.is_available() else "cpu"


@contextmanager
def muted() -> Iterator[None]:
    """Redirect file descriptor 2 to nowhere: TensorFlow's start-up notes ignore TF_CPP_MIN_LOG_LEVEL (2.21).

    Python's exceptions, failed imports among them, propagate as usual and are not lost.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def seed(value: int) -> None:
    """Seed Python, NumPy and the backend, for library code that draws from their global streams."""
    keras().utils.set_random_seed(value)
