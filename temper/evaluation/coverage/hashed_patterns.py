"""Keys: patterns hashed to 64-bit numbers, so that sets of them are arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]


def draw_keys(*shape: int) -> Keys:
    """Return random numbers that are always the same.

    The keys of two different patterns are equal with a probability of about 2^-64.
    """
    return np.random.default_rng(0).integers(0, 2**64, shape, np.uint64, endpoint=False)
