"""Threat models: how far from the original an attack may go, and in which norm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.artefacts import Images

Norm = Literal["inf", 2, 1]
TOLERANCE = 1e-5  # of the attack's own arithmetic
PIXEL_ROUNDING = 2.0**-24  # of x + perturbation to float32, for x up to 1


def distance(difference: Images, norm: Norm | Literal[0]) -> NDArray[np.float64]:
    """Return the norm of each image of a difference (n, h, w, c), as float64 (n,)."""
    flat = np.abs(difference.reshape(len(difference), -1))
    found: NDArray[np.float64]
    match norm:
        case "inf":
            found = flat.max(axis=1, initial=0.0).astype(np.float64)
        case 2:
            found = np.sqrt(np.square(flat, dtype=np.float64).sum(axis=1))
        case 1:
            found = flat.sum(axis=1, dtype=np.float64)
        case 0:
            found = (flat > 0).sum(axis=1).astype(np.float64)
    return found


@dataclass(frozen=True)
class ThreatModel:
    """The ball of radius ``eps`` in ``norm`` around each image, within [0, 1]."""

    norm: Norm
    eps: float

    def contains(self, difference: Images) -> NDArray[np.bool_]:
        """Return which images' perturbations lie inside the ball, up to rounding; bool (n,)."""
        pixels = math.prod(difference.shape[1:])
        rounding = PIXEL_ROUNDING * (1.0 if self.norm == "inf" else pixels ** (1 / self.norm))
        return distance(difference, self.norm) <= self.eps * (1 + TOLERANCE) + TOLERANCE + rounding
