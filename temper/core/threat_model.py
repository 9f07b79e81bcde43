"""Threat models: how far from the original an attack may go, and in which norm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images

Norm = Literal["inf", 2, 1]
TOLERANCE = 1e-5  # rounding errors of the attack's own arithmetic
PIXEL_ROUNDING = 2.0**-24  # error of rounding x + perturbation to float32, for x up to 1


def step_problem(eps_step: float, eps: float) -> str:
    """Return why a step is too long for an attack in a ball of radius ``eps``; empty if it is not."""
    # 1e-9 allows for rounding of values such as 2 * 8/255.
    if eps_step <= 2 * eps * (1 + 1e-9):
        return ""
    return f"expected at most 2 x eps = {2 * eps:g}, the width of the ball, received {eps_step:g}"


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

    def problem(self) -> str:
        """Return why the radius is invalid for pixels from 0 to 1; empty if it is valid."""
        if not self.eps > 0:
            return f"expected more than 0, received {self.eps:g}"
        if self.norm == "inf" and self.eps > 1:
            return f"expected at most 1, the range of a pixel, received {self.eps:g}; write 8/255 for 8"
        return ""

    def size_problem(self, shape: tuple[int, int, int]) -> str:
        """Return why the radius is too large for images of a shape; empty if it is not."""
        diameter = 1.0 if self.norm == "inf" else math.prod(shape) ** (1 / self.norm)
        if self.eps <= diameter:
            return ""
        return (
            f"expected at most {diameter:g}, the largest distance between two images of {' x '.join(map(str, shape))} "
            f"in norm {self.norm}, received {self.eps:g}; pixels go from 0 to 1"
        )

    def trimmed(self, difference: Images, slack: float) -> Images:
        """Return perturbations (n, h, w, c); those longer than ``eps`` by at most the share ``slack`` are cut to it."""
        length = distance(difference, self.norm)
        over = (length > self.eps) & (length <= self.eps * (1 + slack))
        # Both branches are evaluated: the maximum keeps the unused one from dividing by 0.
        share = np.where(over, self.eps / np.maximum(length, self.eps), 1.0).astype(np.float32)
        return difference * share[:, None, None, None]

    def contains(self, difference: Images) -> NDArray[np.bool_]:
        """Return which images' perturbations lie inside the ball, up to rounding; bool (n,)."""
        pixels = math.prod(difference.shape[1:])
        rounding = PIXEL_ROUNDING * (1.0 if self.norm == "inf" else pixels ** (1 / self.norm))
        # The relative part covers large radii, the absolute part radii near 0.
        return distance(difference, self.norm) <= self.eps * (1 + TOLERANCE) + TOLERANCE + rounding
