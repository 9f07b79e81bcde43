"""Operations on the pixels of one image that several corruptions share."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from temper.nn.images.preprocessing import LUMA

Pixels = NDArray[np.float64]
"""One image (h, w, c), in [0, 1] before the corruption; what exceeds it afterwards is clipped."""
Plane = NDArray[np.float64]
"""One value for each pixel (h, w)."""
Parameters = tuple[float, ...]
Corrupt = Callable[[Pixels, Parameters, float, np.random.Generator], Pixels]
"""Corrupts an image, given parameters, the factor of lengths in pixels, and a random stream."""


def grey(x: Pixels) -> Plane:
    """Return the luma (h, w) of an image."""
    return x @ LUMA.astype(np.float64) if x.shape[2] == 3 else x[..., 0]


def smoothed(x: NDArray[np.float64], sigma: float, mode: str = "nearest", truncate: float = 4.0) -> NDArray[np.float64]:
    """Return an image or plane after a Gaussian filter over its two first axes."""
    from scipy.ndimage import gaussian_filter

    smooth: NDArray[np.float64] = gaussian_filter(x, sigma, mode=mode, truncate=truncate, axes=(0, 1))
    return smooth


def zoomed(x: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Return the centre of an image or plane, magnified bilinearly by ``factor`` >= 1 to its full size."""
    rows, columns = _magnifier(x.shape[0], factor), _magnifier(x.shape[1], factor)
    return np.swapaxes(np.tensordot(columns, np.tensordot(rows, x, 1), (1, 1)), 0, 1)


@lru_cache(maxsize=256)
def _magnifier(side: int, factor: float) -> Plane:
    """Return the matrix (side, side) that magnifies the centre of a line of pixels; linear, as interpolation is."""
    from scipy.ndimage import zoom

    kept = int(np.ceil(side / factor))
    first = (side - kept) // 2
    matrix = zoom(np.eye(side)[first : first + kept], (factor, 1), order=1)
    trimmed = (len(matrix) - side) // 2
    return np.ascontiguousarray(matrix[trimmed : trimmed + side])


def motion_blurred(x: NDArray[np.float64], radius: float, sigma: float, angle: float) -> NDArray[np.float64]:
    """Return an image or plane blurred along one direction, ``angle`` in degrees; pixels outside repeat the border.

    The weight of the pixel i steps behind is exp(-i^2 / 2 sigma^2), i = 0 .. 2 radius, as in ImageMagick's MotionBlurImage.
    """
    steps = np.arange(2 * int(np.ceil(radius)) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    # Farther than this a step weighs less than the rounding of a published 8-bit image.
    steps, weights = steps[weights > 1e-4], weights[weights > 1e-4]
    weights /= weights.sum()
    turn = np.deg2rad(angle)
    down, right = (np.ceil(steps * part - 0.5).astype(int) for part in (np.sin(turn), np.cos(turn)))
    margin = int(max(np.abs(down).max(), np.abs(right).max()))
    padded = np.pad(x, [(margin, margin)] * 2 + [(0, 0)] * (x.ndim - 2), mode="edge")
    height, width = x.shape[:2]
    blurred = np.zeros_like(x)
    for weight, i, j in zip(weights, margin + down, margin + right, strict=True):
        blurred += weight * padded[i : i + height, j : j + width]
    return blurred


def plasma(side: int, decay: float, rng: np.random.Generator) -> Plane:
    """Return a fractal height map (side, side) in [0, 1], periodic; ``side`` is a power of two.

    Source: Fournier, Fussell and Carpenter (1982), Computer Rendering of Stochastic Models (midpoint displacement), with
    the displacements of ImageNet-C: uniform up to w^2, w = 100 at first and divided by ``decay`` at each halving.
    """
    heights, wobble = np.zeros((1, 1)), 100.0

    def displaced(total: Plane) -> Plane:
        return total / 4 + wobble * rng.uniform(-wobble, wobble, total.shape)

    while len(heights) < side:
        finer = np.empty((2 * len(heights),) * 2)
        beside, below = np.roll(heights, -1, 1), np.roll(heights, -1, 0)
        centres = displaced(heights + beside + below + np.roll(beside, -1, 0))
        finer[::2, ::2], finer[1::2, 1::2] = heights, centres
        finer[::2, 1::2] = displaced(centres + np.roll(centres, 1, 0) + heights + beside)
        finer[1::2, ::2] = displaced(centres + np.roll(centres, 1, 1) + heights + below)
        heights, wobble = finer, wobble / decay
    heights -= heights.min()
    levels: Plane = heights / heights.max()
    return levels
