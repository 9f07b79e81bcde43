"""Blurs: box, Gaussian, median and bilateral, each of a whole batch at once."""

from __future__ import annotations

import numpy as np

from temper.generators.regression.pixel_mutations import Pixels, Values, quantised, windows

_GAUSSIAN: dict[int, tuple[float, ...]] = {
    3: (1 / 4, 1 / 2, 1 / 4),
    5: (1 / 16, 1 / 4, 3 / 8, 1 / 4, 1 / 16),
    7: (1 / 32, 7 / 64, 7 / 32, 9 / 32, 7 / 32, 7 / 64, 1 / 32),
}
"""The weights that OpenCV uses where a size is given and no deviation."""


_SHIFT = 23
"""Fractional bits with which OpenCV divides by the area of a window."""


def box(x: Pixels, size: int) -> Pixels:
    """Return the mean of a window, reflected at the border; one of even size reaches up and left.

    Rounded as OpenCV rounds: with 4 x 4 pixels, 7/16 is rounded up.
    """
    area = size * size
    share, rest = divmod(1 << _SHIFT, area)
    # Whether OpenCV rounds the reciprocal of the area up.
    upwards = 2 * rest >= area
    sums = _filtered(x, (1.0,) * size).astype(np.int64)
    return np.asarray(((sums + area // 2 + (not upwards)) * (share + upwards)) >> _SHIFT, np.uint8)


def gaussian(x: Pixels, size: int) -> Pixels:
    """Return the mean of a window of 3, 5 or 7 pixels with binomial-like weights, reflected at the border."""
    return np.asarray(np.floor(_filtered(x, _GAUSSIAN[size]) + np.float32(0.5)), np.uint8)


def median(x: Pixels, size: int) -> Pixels:
    """Return the median of a window of odd size; the border is repeated.

    Neither the smallest nor the largest of just over half of the values is the median, so both are dropped and the next
    value is added, until one is left: this needs only comparisons of whole batches.
    """
    half = size // 2
    # "edge" for the median, "reflect" for the means, as in OpenCV.
    padded = np.pad(x, [(0, 0), (half, half), (half, half), (0, 0)], mode="edge")
    values = [column for row in windows(padded, 1, size) for column in windows(row, 2, size)]
    held, rest = values[: len(values) // 2 + 2], values[len(values) // 2 + 2 :]
    while len(held) > 1:
        held = _without_extremes(held)
        if rest:
            held.append(rest.pop())
    return held[0].copy()


def bilateral(x: Pixels, radius: int, deviation: float) -> Pixels:
    """Return the mean of a disc weighted by distance and by difference of colour (L1), both of one deviation."""
    padded = np.pad(x, [(0, 0), (radius, radius), (radius, radius), (0, 0)], mode="reflect").astype(np.float32)
    own = x.astype(np.float32)
    total, weights = np.zeros_like(own), np.zeros((*x.shape[:3], 1), np.float32)
    scale = np.float32(-0.5 / deviation**2)
    for i, row in enumerate(windows(padded, 1, 2 * radius + 1)):
        for j, other in enumerate(windows(row, 2, 2 * radius + 1)):
            distance = (i - radius) ** 2 + (j - radius) ** 2
            if distance <= radius**2:
                difference = np.abs(other - own).sum(axis=3, keepdims=True)
                weight = np.exp(scale * (difference * difference + distance))
                total += weight * other
                weights += weight
    return quantised(total / weights)


def _filtered(x: Pixels, weights: tuple[float, ...]) -> Values:
    values: Values = x.astype(np.float32)
    size = len(weights)
    for axis in (1, 2):
        padding = [(0, 0)] * 4
        padding[axis] = (size // 2, size - 1 - size // 2)
        parts = windows(np.pad(values, padding, mode="reflect"), axis, size)
        values = np.zeros_like(values)
        for weight, part in zip(weights, parts, strict=True):
            values += np.float32(weight) * part
    return values


def _without_extremes(values: list[Pixels]) -> list[Pixels]:
    """Return values without the smallest and the largest of each pixel, in no order."""
    pairs = [(np.minimum(a, b), np.maximum(a, b)) for a, b in zip(values[::2], values[1::2], strict=False)]
    low, high = [a for a, _ in pairs], [b for _, b in pairs]
    if len(values) % 2:  # the unpaired one may be either
        last = values[-1]
        least, most = low[0], high[0]
        low[0], middle = np.minimum(least, last), np.maximum(least, last)
        middle, high[0] = np.minimum(middle, most), np.maximum(middle, most)
        return [middle, *_without(low, np.minimum, np.maximum), *_without(high, np.maximum, np.minimum)]
    return [*_without(low, np.minimum, np.maximum), *_without(high, np.maximum, np.minimum)]


def _without(values: list[Pixels], extreme: np.ufunc, other: np.ufunc) -> list[Pixels]:
    best, kept = values[0], []
    for value in values[1:]:
        kept.append(other(best, value))
        best = extreme(best, value)
    return kept
