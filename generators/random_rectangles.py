"""Random rectangles in an image."""

from __future__ import annotations

import math

import numpy as np

Rectangle = tuple[slice, slice]
"""Rows and columns."""


def random_rectangle(
    rng: np.random.Generator,
    size: tuple[int, int],
    area: tuple[float, float],
    aspect: tuple[float, float],
    tries: int = 10,
) -> Rectangle | None:
    """Return a rectangle at a uniform position in an image of ``size`` (height, width); ``None`` if no attempt fits.

    Its share of the image is uniform in ``area``, its aspect ratio log-uniform in ``aspect``, both rounded to pixels.
    """
    for _ in range(tries):
        pixels = rng.uniform(*area) * size[0] * size[1]
        ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        height, width = max(1, round(math.sqrt(pixels * ratio))), max(1, round(math.sqrt(pixels / ratio)))
        if height <= size[0] and width <= size[1]:
            top, left = (int(rng.integers(whole - part + 1)) for whole, part in zip(size, (height, width), strict=True))
            return slice(top, top + height), slice(left, left + width)
    return None
