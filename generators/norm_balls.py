"""The geometry of the L-inf, L2 and L1 balls around images: steps, projections and uniform draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images
from temper.core.threat_model import Norm
from temper.nn.inspection.compiled_programs import Tensor
from temper.system import backend

# Keeps a zero gradient zero instead of 0 / 0.
_TINY = 1e-12


def unit_step(gradient: Tensor, norm: Norm) -> Tensor:
    """Return the step of length 1 in ``norm`` for each gradient (n, h, w, c); zero where the gradient is zero.

    The sign for inf; the gradient over its own norm for 2 and for 1. (The steepest L1 step would move a single
    pixel, which is soon at 0 or 1 and then stays there.)
    """
    ops = backend.keras().ops
    if norm == "inf":
        return ops.sign(gradient)
    # Divide by the largest entry first: the squares of a small gradient would underflow in float32. Then no length is below
    # 1 but that of 0. XLA divides once, by the product of both, which must not underflow either.
    gradient = gradient / ops.maximum(ops.max(ops.abs(gradient), axis=(1, 2, 3), keepdims=True), 1e-37)
    return gradient / ops.maximum(length(gradient, norm), 1.0)


def projector(centre: Tensor, eps: Tensor, norm: Norm) -> Callable[[Tensor], Tensor]:
    """Return the function that moves images to the nearest point of the ball around ``centre``, then into [0, 1].

    The second move cannot leave the ball, because ``centre`` lies in [0, 1] and pixels only move towards it.
    """
    ops = backend.keras().ops
    if norm == "inf":
        low, high = ops.maximum(centre - eps, 0.0), ops.minimum(centre + eps, 1.0)
        return lambda images: ops.minimum(ops.maximum(images, low), high)
    shrink = _shrink_l1 if norm == 1 else _shrink_l2
    return lambda images: ops.clip(centre + shrink(images - centre, eps), 0.0, 1.0)


def uniform_in_ball(
    source: np.random.Generator | Iterable[np.random.Generator], shape: tuple[int, ...], norm: Norm, eps: float
) -> Images:
    """Return perturbations (n, h, w, c) uniformly distributed in the ball, float32.

    Numbers are drawn image by image, from one stream or from a stream for each image, so that the split into batches
    does not matter.

    Source: Barthe, Guedon, Mendelson and Naor (2005), A probabilistic approach to the geometry of the l_p^n-ball,
    theorem 1; the exponential it adds is half the square sum of two normals, or the size of a Laplace variable.
    """
    size = math.prod(shape[1:])
    if norm == "inf":
        unit: Images = _drawn(
            source, lambda rng, out: rng.random(dtype=np.float32, out=out), shape[0], size, np.float32
        )
        # float32 throughout: a double would promote the whole array.
        return ((unit * np.float32(2) - np.float32(1)) * np.float32(eps)).reshape(shape)
    if norm == 1:
        noise = _drawn(source, _laplace, shape[0], size + 1)
        total = np.abs(noise).sum(axis=1, keepdims=True)
    else:
        noise = _drawn(source, lambda rng, out: rng.standard_normal(out=out), shape[0], size + 2)
        total = np.sqrt(np.square(noise).sum(axis=1, keepdims=True))
    inside: Images = (noise[:, :size] * (eps / total)).astype(np.float32)
    return inside.reshape(shape)


def _laplace(rng: np.random.Generator, out: NDArray[Any]) -> None:
    out[...] = rng.laplace(size=out.shape)


def _drawn(
    source: np.random.Generator | Iterable[np.random.Generator],
    fill: Callable[[np.random.Generator, NDArray[Any]], object],
    rows: int,
    width: int,
    dtype: type[np.floating[Any]] = np.float64,
) -> NDArray[Any]:
    drawn = np.empty((rows, width), dtype)
    for part, rng in [(drawn, source)] if isinstance(source, np.random.Generator) else zip(drawn, source, strict=True):
        fill(rng, part)
    return drawn


def length(moves: Tensor, norm: Norm) -> Tensor:
    """Return the length of each move (n, ...) in ``norm``, with axes of size 1 in place of all but the first."""
    ops = backend.keras().ops
    axes = tuple(range(1, len(moves.shape)))
    if norm == "inf":
        return ops.max(ops.abs(moves), axis=axes, keepdims=True)
    powers = ops.square(moves) if norm == 2 else ops.abs(moves)
    total = ops.sum(powers, axis=axes, keepdims=True)
    return ops.sqrt(total) if norm == 2 else total


def _shrink_l2(difference: Tensor, eps: Tensor) -> Tensor:
    ops = backend.keras().ops
    return difference * ops.minimum(1.0, eps / ops.maximum(length(difference, 2), _TINY))


def _shrink_l1(difference: Tensor, eps: Tensor) -> Tensor:
    """Return the Euclidean projection on the L1 ball: every entry is decreased by one threshold, down to 0.

    Source: Duchi, Shalev-Shwartz, Singer and Chandra (2008), Efficient Projections onto the l1-Ball for Learning in
    High Dimensions, figure 1.
    """
    ops = backend.keras().ops
    flat = ops.reshape(difference, (difference.shape[0], -1))
    size = ops.abs(flat)
    falling = ops.flip(ops.sort(size, axis=1), axis=1)
    excess = ops.cumsum(falling, axis=1) - eps
    rank = ops.arange(1, flat.shape[1] + 1, dtype="float32")
    kept = ops.sum(ops.cast(falling * rank > excess, "int32"), axis=1, keepdims=True)
    kept = ops.maximum(kept, 1)
    threshold = ops.take_along_axis(excess, kept - 1, axis=1) / ops.cast(kept, "float32")
    lowered = ops.sign(flat) * ops.maximum(size - ops.maximum(threshold, 0.0), 0.0)
    lowered = ops.reshape(lowered, difference.shape)
    # Rounding in a sum over many thousand pixels can leave the result a little outside.
    return lowered * ops.minimum(1.0, eps / ops.maximum(length(lowered, 1), _TINY))
