"""Corruptions by weather and light: snow, frost, fog, spatter, brightness."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from temper.generators.corruptions.pixels import (
    Corrupt,
    Parameters,
    Pixels,
    Plane,
    grey,
    motion_blurred,
    plasma,
    smoothed,
    zoomed,
)
from temper.generators.corruptions.severities import CorruptionName
from temper.nn.images.preprocessing import LUMA

WATER, MUD, GREY_MUD = ((175, 238, 238), (63, 42, 20), (63, 63, 63))
"""Red, green and blue of the spatter by its kind: pale turquoise, brown, and MNIST-C's grey."""


def snow(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """Falling flakes on a whitened image.

    p: mean and standard deviation of the flakes, their size in pixels, the threshold below which there is none, radius and standard
    deviation of their motion blur, weight of the image against its whitened form.
    """
    mean, deviation, size, threshold, radius, sigma, kept = p
    flakes = zoomed(rng.normal(mean, deviation, x.shape[:2]), max(1.0, size * factor))
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)
    flakes = motion_blurred(flakes, radius * factor, sigma * factor, rng.uniform(-135, -45))
    white = np.maximum(x, grey(x)[..., None] * 1.5 + 0.5)
    return kept * x + (1 - kept) * white + (flakes + np.rot90(flakes, 2))[..., None]


def frosted(x: Pixels, p: Parameters, frost: Pixels) -> Pixels:
    """p[0] x + p[1] frost, the frost (h, w, 3) in [0, 1]."""
    return p[0] * x + p[1] * (frost if x.shape[2] == 3 else grey(frost)[..., None])


def fog(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """(x + p[0] f) max(x) / (max(x) + p[0]), f a plasma fractal of decay p[1]."""
    side = 1 << (max(x.shape[:2]) - 1).bit_length()
    return _fogged(x, p, plasma(side, p[1], rng))


def fog_of_256(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """As ``fog``, but a corner of a fractal of 256 pixels for 28, as in MNIST-C: nearly uniform."""
    side = 1 << (int(np.ceil(max(x.shape[:2]) * 256 / 28)) - 1).bit_length()
    return _fogged(x, p, plasma(side, p[1], rng))


def _fogged(x: Pixels, p: Parameters, cloud: Plane) -> Pixels:
    brightest = x.max()
    fogged: Pixels = (x + p[0] * cloud[: x.shape[0], : x.shape[1], None]) * brightest / (brightest + p[0])
    return fogged


def brightness(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """The value of HSV raised by p, hue and saturation kept."""
    value = x.max(axis=2, keepdims=True)
    raised = np.minimum(value + p[0], 1)
    # Black has no hue: it becomes grey.
    brighter: Pixels = np.where(value > 0, x * raised / np.where(value > 0, value, 1), raised)
    return brighter


def spatter(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """Drops of water (p[5] = 0) or mud (1; 2: grey).

    p: mean and standard deviation of a random height map, its Gaussian filter in pixels, the threshold above which there is liquid, its
    strength (water) or the Gaussian filter of its edge in pixels (mud), its kind.
    """
    mean, deviation, sigma, threshold, last, kind = p
    # The height map keeps its spread after the filter, so that other sizes have as much liquid.
    deviation *= _gain(sigma) / _gain(sigma * factor)
    liquid = smoothed(rng.normal(mean, deviation, x.shape[:2]), sigma * factor)
    liquid[liquid < threshold] = 0
    colour = np.array((WATER, MUD, GREY_MUD)[int(kind)]) / 255
    if x.shape[2] == 1:
        colour = np.array([colour @ LUMA])
    if kind == 0:
        return x + last * _relief(liquid)[..., None] * colour
    opaque = smoothed((liquid > threshold).astype(np.float64), last * factor)[..., None]
    opaque[opaque < 0.8] = 0
    return x * (1 - opaque) + opaque * colour


def _gain(sigma: float) -> float:
    """Return what a Gaussian filter over two axes multiplies the standard deviation of white noise by."""
    taps = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2))
    return float(np.sum((weights / weights.sum()) ** 2))


def _relief(liquid: Plane) -> Plane:
    """Return how bright each pixel of water is, in [0, 1]: lit from one side, by its distance to the edge of a drop.

    As the published steps on 8 bits: distance to the edges up to 20, mean of 3 x 3, histogram equalised, embossed, mean of 3 x 3.
    """
    from scipy.ndimage import correlate, distance_transform_edt, uniform_filter
    from skimage.feature import canny

    level = np.floor(np.clip(liquid, 0, 1) * 255)
    # Sobel sums of 50 and 150 grey levels; scikit-image's are means of four.
    edges = canny(np.pad(level, 1, mode="edge"), sigma=0, low_threshold=50 / 4, high_threshold=150 / 4)[1:-1, 1:-1]
    # Without an edge every pixel is far from one.
    distance = np.minimum(distance_transform_edt(~edges), 20) if edges.any() else np.full(level.shape, 20.0)
    shade = _equalised(uniform_filter(distance, 3, mode="mirror").astype(np.uint8))
    emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float64)
    embossed = np.clip(correlate(shade, emboss, mode="mirror"), 0, 255)
    # The running sums of the filter can end just below 0.
    lit: Plane = level * np.maximum(uniform_filter(embossed, 3, mode="mirror"), 0)
    return lit / lit.max() if lit.max() > 0 else lit


def _equalised(levels: NDArray[np.uint8]) -> Plane:
    """Return the levels 0 to 255 with a flat histogram; an image of one level is kept."""
    shares = np.cumsum(np.bincount(levels.ravel(), minlength=256))
    lowest = shares[levels.min()]
    if lowest == levels.size:
        return levels.astype(np.float64)
    equal: Plane = np.round((shares - lowest) * 255 / (levels.size - lowest))[levels]
    return equal


WEATHER: Mapping[CorruptionName, Corrupt] = {"snow": snow, "fog": fog, "brightness": brightness, "spatter": spatter}
