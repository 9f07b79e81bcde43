"""Weights to start from that do not depend on the Keras backend, whose own random numbers do."""

from __future__ import annotations

from typing import Any

import numpy as np


def set_glorot(model: Any, seed: int = 0) -> Any:
    """Draw the kernels of a Keras model with NumPy, leave its other weights as they are, and return it.

    Source: Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural networks, eq. 16.
    """
    rng = np.random.default_rng(seed)
    model.set_weights([_kernel(w.shape, rng) if w.ndim > 1 else w for w in model.get_weights()])
    return model


def _kernel(shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    field = int(np.prod(shape[:-2]))
    limit = np.sqrt(6 / (field * (shape[-2] + shape[-1])))
    return rng.uniform(-limit, limit, shape).astype(np.float32)
