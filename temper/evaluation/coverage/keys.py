"""Keys: patterns as 64-bit numbers, so that sets of them are arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]


def draw_keys(*shape: int) -> Keys:
    """Return the same random numbers always.

    The combinations of two different patterns are equal with a probability of 2^-64 or thereabouts.
    """
    return np.random.default_rng(0).integers(0, 2**64, shape, np.uint64, endpoint=False)
