"""Assigns the GPUs of this machine to its workers."""

from __future__ import annotations

import os
import re
from itertools import takewhile

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
_GPU = r"\d+|(GPU|MIG)-[\w/-]+"
"""The index or the name of a GPU, or the name of a MIG instance."""


def gpu_variables(worker: int, workers: int, gpus: int) -> dict[str, str]:
    """Return the environment variables that assign a GPU to worker number ``worker``; it sees all if ``gpus`` is 0."""
    variables: dict[str, str] = {}
    if gpus:
        variables[VISIBLE_DEVICES] = (visible_gpus() or list(map(str, range(gpus))))[worker % gpus]
    # TensorFlow and XLA reserve the whole memory of a GPU by default, and leave none to the worker they share it with.
    if gpus < workers:
        variables |= {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return variables


def visible_gpus() -> list[str] | None:
    """Return the GPUs that the runner may use, by index or name; ``None`` if nothing limits them.

    Source: CUDA, which uses those before the first invalid one, such as -1.
    """
    listed = os.environ.get(VISIBLE_DEVICES)
    if listed is None:
        return None
    return list(dict.fromkeys(takewhile(re.compile(_GPU).fullmatch, map(str.strip, listed.split(",")))))
