"""Mutations that leave every pixel in place: brightness, contrast, noise, patches, erosion and dilation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""Images (n, height, width, channels) as grey levels 0 to 255, as stored in files, which reproduce the faults."""
Values = NDArray[np.float32]
Numbers = NDArray[Any]
"""One number for each image, (n,)."""


def quantised(values: NDArray[Any]) -> Pixels:
    """Return grey levels clipped to 0..255 and rounded."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def wrapped(values: NDArray[Any]) -> Pixels:
    """Return grey levels truncated and taken modulo 256, as a cast without clipping does."""
    return np.asarray(np.trunc(values).astype(np.int64) % 256, np.uint8)


def column(numbers: Numbers) -> Values:
    """Return one number for each image, shaped for broadcasting with images."""
    return numbers.astype(np.float32)[:, None, None, None]


def contrast(x: Pixels, factor: Numbers) -> Pixels:
    """Return images whose levels are multiplied."""
    return quantised(x * column(factor))


def brightness(x: Pixels, shift: Numbers) -> Pixels:
    """Return images whose levels are shifted."""
    return quantised(x + column(shift))


def additive_noise(x: Pixels, variance: Numbers, rng: np.random.Generator, wrap: bool = False) -> Pixels:
    """Return x + N(0, variance), the variance in squared grey levels."""
    noise = rng.standard_normal(x.shape, np.float32) * column(np.sqrt(variance))
    return (wrapped if wrap else quantised)(x + noise)


def multiplicative_noise(x: Pixels, variance: Numbers, rng: np.random.Generator, wrap: bool = False) -> Pixels:
    """Return x + x * N(0, variance)."""
    noise = rng.standard_normal(x.shape, np.float32) * column(np.sqrt(variance))
    return (wrapped if wrap else quantised)(x + x * noise)


def salt_and_pepper(x: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """Return images with a share of their entries, single channels of pixels, set to 255, and then as many to 0.

    Each half is rounded up; an entry may be drawn twice.
    """
    n, size = len(x), x[0].size
    made = x.reshape(n, size).copy()
    # With replacement, as in DRFuzz: an entry may be drawn twice.
    entries = rng.integers(size, size=(2, n, int(np.ceil(amount * size / 2))))
    for level, chosen in zip((255, 0), entries, strict=True):
        np.put_along_axis(made, chosen, np.uint8(level), axis=1)
    return made.reshape(x.shape)


def patched(x: Pixels, top: Numbers, left: Numbers, change: Callable[[Pixels], Any]) -> Pixels:
    """Return images with a patch of 2 x 2 pixels at (top, left) transformed by ``change``."""
    made = x.copy()
    rows = top[:, None, None] + np.arange(2)[:, None]
    columns = left[:, None, None] + np.arange(2)
    place = (np.arange(len(x))[:, None, None], rows, columns)
    made[place] = change(made[place])
    return made


def eroded(x: Pixels, height: int, width: int) -> Pixels:
    """Return the smallest value around each pixel, channel by channel, in a window that reaches up and left if even."""
    return _extreme(x, height, width, np.minimum, 255)


def dilated(x: Pixels, height: int, width: int) -> Pixels:
    """Return the largest value around each pixel, channel by channel, in a window that reaches up and left if even."""
    return _extreme(x, height, width, np.maximum, 0)


def _extreme(x: Pixels, height: int, width: int, choose: Callable[[Pixels, Pixels], Pixels], outside: int) -> Pixels:
    for axis, size in ((1, height), (2, width)):
        padding = [(0, 0)] * 4
        padding[axis] = (size // 2, size - 1 - size // 2)
        padded = np.pad(x, padding, constant_values=outside)
        for shifted in windows(padded, axis, size):
            x = choose(x, shifted)
    return x


def windows(padded: NDArray[Any], axis: int, size: int) -> list[NDArray[Any]]:
    """Return the views of padded images shifted by 0 to ``size`` - 1 along an axis, all of the unpadded length."""
    length = padded.shape[axis] - size + 1
    shifts = (slice(shift, shift + length) for shift in range(size))
    return [padded[(slice(None),) * axis + (shift,)] for shift in shifts]
