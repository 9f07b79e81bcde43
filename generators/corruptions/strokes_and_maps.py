"""MNIST-C's own corruptions: affine maps, inverted stripes, drawn lines, edges."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from temper.generators.corruptions.noise_and_blur import glass_blur_by_swaps
from temper.generators.corruptions.pixels import Corrupt, Parameters, Pixels, Plane, grey
from temper.generators.corruptions.severities import CorruptionName
from temper.generators.corruptions.weather import fog_of_256

_LAST = 27.0
"""The last row and column of MNIST-C's images, in whose coordinates lines are drawn."""
_FADE = 2.3
"""Half the width of a line: its brightness at a distance d is 1 + ln(1 - d / 2.3), at least 0."""
_TOOTH = 2.0
"""Length of half a tooth of the zigzag, and its height."""
Rng = np.random.Generator


def shear(x: Pixels, p: Parameters, factor: float, rng: Rng) -> Pixels:
    """Sheared by p radians, to a random side."""
    angle = p[0] * _sign(rng)
    # The shear of scikit-image as it was in 2019; today's is by the tangent.
    return _mapped(x, np.array([[np.cos(angle), 0], [-np.sin(angle), 1]]))


def rotate(x: Pixels, p: Parameters, factor: float, rng: Rng) -> Pixels:
    """Turned by p radians, to a random side."""
    angle = p[0] * _sign(rng)
    return _mapped(x, np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]))


def scale(x: Pixels, p: Parameters, factor: float, rng: Rng) -> Pixels:
    """Reduced to a share p of the size."""
    return _mapped(x, np.eye(2) / p[0])


def translate(x: Pixels, p: Parameters, factor: float, rng: Rng) -> Pixels:
    """Moved by p pixels along both axes, each to a random side."""
    return _mapped(x, np.eye(2), p[0] * factor * np.array([_sign(rng), _sign(rng)]))


def stripe(x: Pixels, p: Parameters, factor: float, rng: Rng) -> Pixels:
    """The left and the right quarter inverted."""
    quarter = x.shape[1] // 4
    inverted = x.copy()
    for part in (slice(None, quarter), slice(x.shape[1] - quarter, None)):
        inverted[:, part] = 1 - x[:, part]
    return inverted


def dotted_line(x: Pixels, p: Parameters, factor: float, rng: Rng) -> Pixels:
    """A dotted line from left to right, between random rows."""
    first, last = rng.integers(0, 27, 2)
    line = _line(x.shape[:2], 0, first, _LAST, last)
    line[:, np.linspace(0, _LAST, x.shape[1]) % 4 < 2] = 0
    return x + line[..., None]


def zigzag(x: Pixels, p: Parameters, factor: float, rng: Rng) -> Pixels:
    """A zigzag from left to right, which starts in a random row and ends up to 5 rows away."""
    left, right = 2.0, 25.0
    start = float(rng.integers(0, 27))
    slope = np.arctan(rng.integers(-5, 5) / (right - left))
    length = (right - left) / np.cos(slope)
    teeth = int((length - _TOOTH) // (2 * _TOOTH)) + 1
    points = [(0.0, 0.0), *(((2 * i + 1) * _TOOTH, (-1) ** i * _TOOTH) for i in range(teeth))]
    rest = length - 2 * _TOOTH * (length // (2 * _TOOTH))
    if rest:
        points.append((length, points[-1][1] / (2 * rest)))
    turn = np.array([[np.cos(slope), -np.sin(slope)], [np.sin(slope), np.cos(slope)]])
    corners = np.array(points) @ turn.T + (left, start)
    drawn = x
    for (c0, r0), (c1, r1) in pairwise(corners):
        drawn = np.clip(drawn + _line(x.shape[:2], c0, r0, c1, r1)[..., None], 0, 1)
    return drawn


def canny_edges(x: Pixels, p: Parameters, factor: float, rng: Rng) -> Pixels:
    """1 at the edges that the Canny detector finds, else 0."""
    from skimage.feature import canny

    return np.broadcast_to(canny(grey(x))[..., None].astype(np.float64), x.shape)


def _sign(rng: Rng) -> int:
    return 1 if rng.random() < 0.5 else -1


def _mapped(x: Pixels, back: NDArray[np.float64], shift: NDArray[np.float64] | float = 0.0) -> Pixels:
    """Return an image whose pixel at u (row, column) is that of x at back (u - c) + c + shift, c the centre; 0 outside."""
    from scipy.ndimage import affine_transform

    centre = (np.array(x.shape[:2]) - 1) / 2
    offset = centre - back @ centre + shift
    planes = [affine_transform(plane, back, offset, order=1, mode="grid-constant") for plane in np.moveaxis(x, 2, 0)]
    return np.stack(planes, axis=2)


def _line(size: tuple[int, ...], c0: float, r0: float, c1: float, r1: float) -> Plane:
    """Return the brightness (h, w) of a line from column c0 to c1 > c0, in MNIST-C's coordinates."""
    rows, columns = np.linspace(0, _LAST, size[0])[:, None], np.linspace(0, _LAST, size[1])
    if c1 <= c0:
        return np.zeros(size)
    distance = np.abs(rows - r0 - (r1 - r0) / (c1 - c0) * (columns - c0))
    line = np.maximum(1 + np.log(1 - np.minimum(distance, _FADE - 1e-10) / _FADE), 0)
    return np.where((columns >= np.floor(c0)) & (columns < np.ceil(c1)), line, 0)


MNIST_C: Mapping[CorruptionName, Corrupt] = {
    "glass_blur": glass_blur_by_swaps,
    "fog": fog_of_256,
    "shear": shear,
    "scale": scale,
    "rotate": rotate,
    "translate": translate,
    "stripe": stripe,
    "dotted_line": dotted_line,
    "zigzag": zigzag,
    "canny_edges": canny_edges,
}
"""Those that only MNIST-C has, and those that it has in another form."""
