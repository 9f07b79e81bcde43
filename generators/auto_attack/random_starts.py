"""Random directions from single images, each from its own stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images
from temper.core.threat_model import Norm, distance
from temper.generators.image_streams import ImageStreams

_TINY = 1e-12


def directions(
    streams: ImageStreams, rows: NDArray[np.int64], numbers: NDArray[np.int64], shape: tuple[int, ...], norm: Norm
) -> Images:
    """Return noise (n, *shape), uniform in [-1, 1] for norm inf and normal else, from stream ``numbers`` of ``rows``."""
    noise = np.empty((len(rows), *shape), np.float32)
    for job, rng in streams.of_jobs(rows, numbers):
        noise[job] = rng.uniform(-1, 1, shape) if norm == "inf" else rng.standard_normal(shape)
    return noise


def on_sphere(
    streams: ImageStreams, rows: NDArray[np.int64], numbers: NDArray[np.int64], shape: tuple[int, ...], norm: Norm
) -> Images:
    """Return ``directions`` scaled to length 1 in ``norm``."""
    noise = directions(streams, rows, numbers, shape, norm)
    return noise / (distance(noise, norm) + _TINY).astype(np.float32)[:, None, None, None]
