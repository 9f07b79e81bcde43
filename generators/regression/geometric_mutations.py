"""Mutations that move pixels: translation, shear, rotation and scale, each image by its own amount."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from temper.generators.regression.pixel_mutations import Numbers, Pixels, Values, quantised

_CUBIC = -0.75
"""The free parameter of the cubic kernel, as in OpenCV."""


def translated(x: Pixels, right: Numbers, down: Numbers) -> Pixels:
    """Return images shifted by whole pixels, with black borders."""
    n, height, width = x.shape[:3]
    far = int(max(np.abs(right).max(initial=0), np.abs(down).max(initial=0)))
    padded = np.pad(x, [(0, 0), (far, far), (far, far), (0, 0)])
    rows = (far - down)[:, None] + np.arange(height)
    columns = (far - right)[:, None] + np.arange(width)
    return padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def sheared(x: Pixels, factor: Numbers) -> Pixels:
    """Return images whose rows are shifted left by ``factor`` times their distance from the first."""
    one, none = np.ones(len(x)), np.zeros(len(x))
    return _affine(x, (one, factor, none), (none, one, none))


def rotated(x: Pixels, degrees: Numbers) -> Pixels:
    """Return images rotated counter-clockwise about the pixel (width / 2, height / 2)."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    middle, centre = x.shape[2] / 2, x.shape[1] / 2
    across = (cos, -sin, middle - cos * middle + sin * centre)
    down = (sin, cos, centre - sin * middle - cos * centre)
    return _affine(x, across, down)


def scaled(x: Pixels, factor: Numbers) -> Pixels:
    """Return images of the same size, enlarged and centre-cropped, or shrunk on black.

    Cubic interpolation without smoothing; the border is repeated. If the scaled size, rounded, is the image's own, the
    image is returned unchanged, as in OpenCV.
    """
    n, height, width, channels = x.shape
    same = (_length(height, factor) == height) & (_length(width, factor) == width)
    tall, wide = _cubic(height, factor), _cubic(width, factor)
    rows = (tall @ x.astype(np.float32).reshape(n, height, width * channels)).reshape(x.shape)
    planes = np.ascontiguousarray(rows.transpose(0, 3, 1, 2)) @ wide.transpose(0, 2, 1)[:, None]
    return np.where(same[:, None, None, None], x, quantised(planes.transpose(0, 2, 3, 1)))


def _length(size: int, factor: Numbers) -> NDArray[np.float64]:
    return np.rint(size * factor.astype(np.float64))


def _affine(x: Pixels, across: tuple[Numbers, ...], down: tuple[Numbers, ...]) -> Pixels:
    """Return images resampled: (column, row) shows the source at (a, b, c) . (column, row, 1) of ``across``, ``down``.

    Bilinear interpolation; black outside.
    """
    n, height, width, channels = x.shape
    rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)

    def positions(by: tuple[Numbers, ...], size: int) -> tuple[NDArray[np.intp], Values]:
        a, b, c = (np.asarray(number, np.float32)[:, None, None] for number in by)
        # One black pixel around the image represents everything farther out.
        place = np.clip(a * columns + (b * rows + c), -1, size)
        first = np.minimum(np.floor(place), size - 1)
        return first.astype(np.intp), (place - first)[..., None]

    left, right_share = positions(across, width)
    top, lower_share = positions(down, height)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]).astype(np.float32).reshape(-1)
    line = (width + 2) * channels
    images = np.arange(n)[:, None, None] * ((height + 2) * line)
    # Flat indices, so that each corner is one gather.
    corner = (images + (top + 1) * line + (left + 1) * channels)[..., None] + np.arange(channels)

    def mixed(start: int) -> Values:
        one, two = padded.take(corner + start), padded.take(corner + (start + channels))
        two -= one
        two *= right_share
        two += one
        return np.asarray(two)

    upper, lower = mixed(0), mixed(line)
    lower -= upper
    lower *= lower_share
    lower += upper
    return quantised(lower)


def _cubic(size: int, factor: Numbers) -> Values:
    """Return for each image the weights (n, size, size) with which a scaled line takes from the line."""
    factor = factor[:, None].astype(np.float64)
    length = _length(size, factor)
    margin = np.where(length > size, (length - size) // 2, -((size - length) // 2))
    target = np.arange(size) + margin
    source = (target + 0.5) / factor - 0.5
    first = np.floor(source)
    t = source - first
    inside = (target >= 0) & (target < length)
    taps = np.stack([_kernel(t + 1), _kernel(t), _kernel(1 - t), _kernel(2 - t)], axis=-1) * inside[..., None]
    # The cubic kernel reaches up to two pixels beyond the border, which repeat it.
    wide = np.zeros((len(factor), size, size + 4), np.float32)
    places = np.clip(first.astype(np.int64)[..., None] + np.arange(1, 5), 0, size + 3)
    np.put_along_axis(wide, places, taps.astype(np.float32), axis=2)
    wide[..., 2] += wide[..., 0] + wide[..., 1]
    wide[..., -3] += wide[..., -1] + wide[..., -2]
    return wide[..., 2:-2]


def _kernel(t: NDArray[np.float64]) -> NDArray[np.float64]:
    inner = ((_CUBIC + 2) * t - (_CUBIC + 3)) * t * t + 1
    outer = ((_CUBIC * t - 5 * _CUBIC) * t + 8 * _CUBIC) * t - 4 * _CUBIC
    return np.where(t <= 1, inner, outer)
