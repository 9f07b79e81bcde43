"""Projections within the box [0, 1]: onto the L1 ball, and onto the hyperplane of a linearised decision boundary.

Each is the root of a monotone, piecewise linear function of one number per image, found by a few vectorised passes;
sorting the pixels, as the reference implementation does, takes several times as long.
"""

from __future__ import annotations

from typing import Any

from temper.core.threat_model import Norm
from temper.nn.inspection.compiled_programs import Tensor
from temper.system import backend

_HALVINGS = 30
"""More than the 24 bits of a float32 number, so that the final linear step starts on the right piece."""
_NEWTON_STEPS = 50
_TINY = 1e-12
_FLAT = 1e-8
"""Weights of a hyperplane below this are treated as zero for the norms 2 and 1, as in the reference."""


def onto_l1_ball(centre: Tensor, perturbation: Tensor, eps: Tensor) -> Tensor:
    """Return the Euclidean projection of perturbations (n, d) onto the L1 ball of radius ``eps`` (n, 1) and the box.

    Each entry is decreased by one threshold, down to 0, and limited by the room that its pixel has. ``centre`` (n, d) are
    the clean images.

    Source: Croce and Hein (2021), Mind the box: l1-APGD for sparse adversarial attacks on image classifiers, section 3.
    """
    ops = backend.keras().ops
    size = ops.abs(perturbation)
    room = ops.where(perturbation > 0, 1.0 - centre, centre)

    def length(threshold: Tensor) -> Tensor:
        return ops.sum(ops.clip(size - threshold, 0.0, room), axis=1, keepdims=True)

    def halve(_: Any, bounds: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        low, high = bounds
        middle = (low + high) / 2
        outside = length(middle) > eps
        return ops.where(outside, middle, low), ops.where(outside, high, middle)

    bounds = ops.zeros_like(eps), ops.max(size, axis=1, keepdims=True)
    low, _ = ops.fori_loop(0, _HALVINGS, halve, bounds)
    moving = ops.cast((size > low) & (size - low < room), "float32")
    excess = ops.maximum(length(low) - eps, 0.0)
    threshold = low + excess / ops.maximum(ops.sum(moving, axis=1, keepdims=True), 1.0)
    return ops.sign(perturbation) * ops.clip(size - threshold, 0.0, room)


def onto_hyperplane(points: Tensor, weights: Tensor, offsets: Tensor, norm: Norm) -> Tensor:
    """Return the smallest moves (n, d) in ``norm`` that take points (n, d) of the box to w . x = b inside the box.

    ``weights`` (n, d) and ``offsets`` (n, 1) are w and b. If no point of the box lies on the hyperplane, the move is the one
    that comes nearest to it.

    Source: Croce and Hein (2020), Minimally distorted Adversarial Examples with a Fast Adaptive Boundary Attack,
    section 2.2 (equation 4), whose problems have these solutions.
    """
    ops = backend.keras().ops
    distance = ops.sum(weights * points, axis=1, keepdims=True) - offsets
    # Orient each hyperplane so that w . x must decrease.
    weights = ops.where(distance >= 0, weights, -weights)
    distance = ops.abs(distance)
    size = ops.abs(weights)
    if norm != "inf":
        size = ops.where(size > _FLAT, size, 0.0)
    room = ops.where(weights > 0, points, 1.0 - points) * ops.cast(size > 0, "float32")
    if norm == 1:
        length = _greedy(size, room, distance)
    else:
        rate = ops.cast(size > 0, "float32") if norm == "inf" else size
        length = _level(size, rate, room, distance)
    return -ops.sign(weights) * length


def _level(size: Tensor, rate: Tensor, room: Tensor, distance: Tensor) -> Tensor:
    """Return min(level * rate, room) (n, d) with the level at which the moves cover the distance (n, 1).

    The distance covered is concave in the level, so Newton's method from 0 never overshoots.
    """
    ops = backend.keras().ops

    def better(_: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        moving = ops.cast(level * rate < room, "float32")
        covered = ops.sum(size * ops.minimum(level * rate, room), axis=1, keepdims=True)
        slope = ops.sum(size * rate * moving, axis=1, keepdims=True)
        step = ops.where(slope > 0, ops.maximum(distance - covered, 0.0) / ops.maximum(slope, _TINY), 0.0)
        return ops.max(step - 1e-6 * level), level + step

    _, level = ops.while_loop(
        lambda change, level: change > 0,
        better,
        better(None, ops.zeros_like(distance)),
        maximum_iterations=_NEWTON_STEPS,
    )
    feasible = distance < ops.sum(size * room, axis=1, keepdims=True)
    return ops.where(feasible, ops.minimum(level * rate, room), room)


def _greedy(size: Tensor, room: Tensor, distance: Tensor) -> Tensor:
    """Return moves (n, d) that use the pixels of largest weight first, as far as their room goes."""
    ops = backend.keras().ops
    order = ops.argsort(-size, axis=1)
    weight, space = ops.take_along_axis(size, order, axis=1), ops.take_along_axis(room, order, axis=1)
    gain = weight * space
    before = ops.cumsum(gain, axis=1) - gain
    # Each pixel moves by what is left of the distance after the pixels before it.
    moved = ops.clip((distance - before) / ops.maximum(weight, _TINY), 0.0, space)
    return ops.take_along_axis(moved, ops.argsort(order, axis=1), axis=1)
