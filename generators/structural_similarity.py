"""Structural similarity of images, a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_TRUNCATE = 3.5
"""Standard deviations at which a Gaussian window is truncated, as in scikit-image."""


@dataclass(frozen=True)
class Window:
    """The window of the similarity: ``size`` pixels a side, with Gaussian or uniform weights.

    In smaller images it is as large as fits; a Gaussian extends over the reflected border.
    """

    size: int
    sigma: float | None = None

    def fitting(self, shape: tuple[int, ...]) -> int:
        """Return the odd size that fits into images (n, height, width, channels)."""
        side = min(shape[1:3])
        return min(self.size, side - 1 + side % 2)


def similarity_map(one: NDArray[Any], two: NDArray[Any], window: Window, span: float) -> Floats:
    """Return the similarity of images (n, h, w, c) around each pixel, in [-1, 1], of the same shape.

    ``span`` is the range of pixel values, 255 or 1. Variances are sample variances with uniform weights, and population
    variances with Gaussian weights.

    Source: Wang, Bovik, Sheikh and Simoncelli (2004), Image Quality Assessment: From Error Visibility to Structural
    Similarity, eq. 13, as scikit-image has it.
    """
    from scipy.ndimage import gaussian_filter, uniform_filter

    if window.sigma is None:
        size = window.fitting(one.shape)
        mean, pixels = partial(uniform_filter, size=(size, size), axes=(1, 2)), size * size
        unbiased = pixels / max(pixels - 1, 1)
    else:
        mean, unbiased = partial(gaussian_filter, sigma=window.sigma, truncate=_TRUNCATE, axes=(1, 2)), 1.0
    first, second = one.astype(np.float64), two.astype(np.float64)
    mean_one, mean_two = mean(first), mean(second)
    together = unbiased * (mean(first * second) - mean_one * mean_two)
    variances = unbiased * (mean(first * first) - mean_one**2 + mean(second * second) - mean_two**2)
    # K1 and K2 of the paper.
    dark, flat = (0.01 * span) ** 2, (0.03 * span) ** 2
    found: Floats = (2 * mean_one * mean_two + dark) / (mean_one**2 + mean_two**2 + dark)
    found *= (2 * together + flat) / (variances + flat)
    return found


def similarity(one: NDArray[Any], two: NDArray[Any], window: Window, span: float) -> Floats:
    """Return the similarity of images (n, h, w, c), the mean over windows that lie inside and over channels, (n,)."""
    border = window.fitting(one.shape) // 2
    inside = slice(border, -border or None)
    means: Floats = similarity_map(one, two, window, span)[:, inside, inside].mean(axis=(1, 2, 3))
    return means
