"""Images as every stage sees them: float32 (n, height, width, channels) in [0, 1], grey or resized where asked."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.artefacts import Images

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue. Source: ITU-R Recommendation BT.601, section 2.5.1."""
_CHUNK = 2048  # images converted at once: what lies between steps stays in the processor's cache


def prepare(
    x: NDArray[Any], rows: NDArray[np.int64] | None = None, *, grey: bool = False, size: int | None = None
) -> Images:
    """Return images (n, h, w, c), uint8 or float in [0, 1], as float32 in [0, 1].

    ``rows`` chooses images, in that order; ``grey`` turns three channels into one; ``size`` is the new height
    and width.

    Raises:
        ValueError: the pixels are of another type or out of range, or ``grey`` meets other than 1 or 3 channels.
    """
    rows = np.arange(len(x)) if rows is None else rows
    height, width, channels = x.shape[1:]
    if grey and channels not in (1, 3):
        raise ValueError(f"grey: expected images of 1 or 3 channels, received {channels}")
    shape = (size or height, size or width, 1 if grey else channels)
    out = np.empty((len(rows), *shape), np.float32)
    for start in range(0, len(rows), _CHUNK):
        images = to_unit(x[rows[start : start + _CHUNK]])
        if grey and channels == 3:
            images = (images @ LUMA)[..., None]
        if size and (height, width) != (size, size):
            images = resize(images, size)
        # Weights that add up to one do so only up to rounding.
        np.clip(images, 0.0, 1.0, out=out[start : start + _CHUNK])
    return out


def to_unit(x: NDArray[Any]) -> Images:
    """Return pixels as float32 in [0, 1]: bytes divided by 255, floats as they are.

    Raises:
        ValueError: the pixels are neither bytes nor floats in [0, 1].
    """
    if x.dtype == np.uint8:
        unit: Images = np.divide(x, np.float32(255), dtype=np.float32)
        return unit
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"pixels: expected uint8 or float in [0, 1], received {x.dtype}; convert them")
    if x.size and not (x.min() >= 0 and x.max() <= 1):
        raise ValueError(f"pixels: expected [0, 1], received [{x.min():g}, {x.max():g}]; divide by their maximum")
    return x.astype(np.float32)


def resize(x: Images, size: int) -> Images:
    """Return images (n, h, w, c) scaled to (n, size, size, c), bilinearly.

    Where images shrink, the triangle grows with them, so every source pixel counts and fine patterns do not
    alias; the weights are those of Pillow's ``BILINEAR``, without its rounding to bytes.
    """
    n, height, width, channels = x.shape
    rows = _triangle(height, size) @ x.reshape(n, height, width * channels)
    columns = rows.reshape(n, size, width, channels).swapaxes(2, 3) @ _triangle(width, size).T
    return np.ascontiguousarray(columns.swapaxes(2, 3))


@cache
def _triangle(source: int, target: int) -> NDArray[np.float32]:
    """Return the weight of each source pixel in each target pixel, (target, source); rows add up to one."""
    scale = source / target
    reach = max(scale, 1.0)
    centres = (np.arange(target)[:, None] + 0.5) * scale
    distances = np.abs(np.arange(source)[None, :] + 0.5 - centres) / reach
    weights = np.maximum(0.0, 1.0 - distances)
    shares: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
