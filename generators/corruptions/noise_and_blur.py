"""Corruptions by noise and blur."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from temper.generators.corruptions.pixels import (
    Corrupt,
    Parameters,
    Pixels,
    Plane,
    motion_blurred,
    smoothed,
    zoomed,
)
from temper.generators.corruptions.severities import CorruptionName


def gaussian_noise(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """Gaussian noise: x + g, g ~ N(0, p^2)."""
    return x + p[0] * rng.standard_normal(x.shape)


def shot_noise(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """Poisson(p x) / p."""
    return rng.poisson(x * p[0]) / p[0]


def impulse_noise(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """A share p of the values is 0 or 1, with equal probability."""
    drawn, salt = rng.random(x.shape) <= p[0], rng.random(x.shape) <= 0.5
    return np.where(drawn, salt, x)


def speckle_noise(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """Noise in proportion to the value: x + x g, g ~ N(0, p^2)."""
    return x + p[0] * x * rng.standard_normal(x.shape)


def gaussian_blur(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """A Gaussian filter of standard deviation p pixels."""
    return smoothed(x, p[0] * factor)


def defocus_blur(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """The mean over a disk of radius p[0] pixels, whose edge is smoothed by a Gaussian of p[1] pixels."""
    from scipy.signal import convolve

    kernel = _disk(p[0] * factor, p[1])
    margin = len(kernel) // 2
    padded = np.pad(x, [(margin, margin), (margin, margin), (0, 0)], mode="reflect")
    # The disk is symmetric: convolution is correlation.
    blurred: Pixels = convolve(padded, kernel[..., None], mode="valid")
    return blurred


@lru_cache
def _disk(radius: float, edge: float) -> Plane:
    """Return the weights of a disk, without the zeros around it.

    As published, radius and edge reach to the border of the kernel at radii of 8 and 10: there, the weights are not quite of sum 1.
    """
    from scipy.ndimage import correlate1d

    # The published kernel of the edge has 3 pixels up to a radius of 8, else 5.
    taps, reach = (np.arange(-1, 2), 8) if radius <= 8 else (np.arange(-2, 3), int(np.ceil(radius)))
    line = np.arange(-reach, reach + 1)
    disk = (line[:, None] ** 2 + line**2 <= radius**2).astype(np.float64)
    disk /= disk.sum()
    gauss = np.exp(-(taps**2) / (2 * edge**2))
    for axis in (0, 1):
        disk = correlate1d(disk, gauss / gauss.sum(), axis, mode="mirror")
    used = np.abs(line[disk.any(axis=0)]).max()
    return disk[reach - used : reach + used + 1, reach - used : reach + used + 1]


def glass_blur(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """Pixels replaced by others up to p[1] pixels away, p[2] times, between two Gaussian filters of p[0] pixels.

    Every pixel in turn takes the value of a random neighbour, as in ImageNet-C and CIFAR-10-C, whose code sets out to swap the two but,
    with the channels of a pixel as views of one array, copies.
    """
    return _through_glass(x, p, factor, rng, swap=False)


def glass_blur_by_swaps(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """As ``glass_blur``, but half of the pixels swap with the neighbour, as in MNIST-C."""
    return _through_glass(x, p, factor, rng, swap=True)


def _through_glass(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator, *, swap: bool) -> Pixels:
    height, width, channels = x.shape
    reach, rounds = max(1, round(p[1] * factor)), int(p[2])
    rows, columns = np.arange(height - reach, reach, -1), np.arange(width - reach, reach, -1)
    own = (rows[:, None] * width + columns).ravel()
    order = list(range(height * width))
    for _ in range(rounds):
        down, right = rng.integers(-reach, reach, (2, len(own)))
        there = own + down * width + right
        if swap:
            chosen = rng.random(len(own)) < 0.5
            for a, b in zip(own[chosen].tolist(), there[chosen].tolist(), strict=True):
                order[a], order[b] = order[b], order[a]
        else:
            for a, b in zip(own.tolist(), there.tolist(), strict=True):
                order[a] = order[b]
    shuffled = smoothed(x, p[0] * factor).reshape(-1, channels)[order].reshape(x.shape)
    return smoothed(shuffled, p[0] * factor)


def motion_blur(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """A blur of radius p[0] and standard deviation p[1] pixels along a random direction within 45 degrees of horizontal."""
    return motion_blurred(x, p[0] * factor, p[1] * factor, rng.uniform(-45, 45))


def zoom_blur(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """The mean of the image and of its centre magnified by each factor of p."""
    return (x + sum(zoomed(x, zoom) for zoom in p)) / (len(p) + 1)


NOISE_AND_BLUR: Mapping[CorruptionName, Corrupt] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "speckle_noise": speckle_noise,
    "defocus_blur": defocus_blur,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "gaussian_blur": gaussian_blur,
}
