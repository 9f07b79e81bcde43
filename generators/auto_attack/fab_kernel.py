"""The Fast Adaptive Boundary attack for single images: steps onto the linearised decision boundary, pulled to the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from temper.core.artefacts import Images, Labels
from temper.core.classifier import Classifier
from temper.core.threat_model import Norm
from temper.generators.auto_attack.box_projections import onto_hyperplane
from temper.generators.auto_attack.job_states import initial, run_jobs, where
from temper.generators.auto_attack.random_starts import on_sphere
from temper.generators.auto_attack.refilled_batches import Jobs, State
from temper.generators.image_streams import ImageStreams
from temper.generators.norm_balls import length
from temper.nn.inspection.compiled_programs import Call, Tensor
from temper.nn.inspection.gradients import differentiate
from temper.system import backend

_AT_ONCE = 5
"""Iterations per call of the program: few, because a broken image's remaining ones are lost."""
_LARGEST_PULL = 0.1
"""Largest share of a step towards the clean image (alpha_max)."""
_OVERSHOOT = 1.05
"""How far a step goes beyond the boundary (eta)."""
_RETREAT = 0.9
"""Share of the perturbation that is kept when an adversarial image lies outside the ball (beta)."""
_TINY = 1e-12


@dataclass(frozen=True)
class FabKernel:
    """FAB of ``max_iter`` iterations, as a kernel of ``refilled_batches``.

    A job with a target moves towards the boundary with that class, one without (-1) towards the nearest of all
    boundaries, which takes a gradient for each class. It starts from the image itself, but for restarts (stream number
    above 0) from a random point halfway to the surface of the ball.

    Source: Croce and Hein (2020), Minimally distorted Adversarial Examples with a Fast Adaptive Boundary Attack,
    algorithm 1. Constants are those of the authors' implementation.
    """

    norm: Norm
    eps: float
    max_iter: int
    targeted: bool
    streams: ImageStreams

    def begin(self, victim: Classifier, x: Images, y: Labels, jobs: Jobs) -> State:
        clean = np.asarray(x[jobs.rows], np.float32)
        start = np.array(clean)
        restarts = np.flatnonzero(jobs.numbers)
        if len(restarts):
            noise = on_sphere(self.streams, jobs.rows[restarts], jobs.numbers[restarts], clean.shape[1:], self.norm)
            start[restarts] = np.clip(clean[restarts] + np.float32(self.eps / 2) * noise, 0, 1)
        return {**initial(clean, y, jobs, self.max_iter), "current": start}

    def advance(self, victim: Classifier, state: State, width: int) -> State:
        return run_jobs(
            victim,
            _advance,
            state,
            width,
            shared=(self.eps, _AT_ONCE),
            static=(self.norm, 0 if self.targeted else victim.num_classes),
            passes=self.max_iter,
        )


def _advance(call: Call, *arguments: Any) -> tuple[Tensor, ...]:
    """Run the program of ``FabKernel.advance``: some iterations of every job of a batch."""
    *arrays, eps, iterations, names, norm, classes = arguments
    ops = backend.keras().ops
    state = dict(zip(names, arrays, strict=True))
    x, y, target = state["x"], state["y"], state["target"]
    flat = ops.reshape(x, (x.shape[0], -1))

    def iterate(_: Tensor, before: dict[str, Tensor]) -> dict[str, Tensor]:
        current = before["current"]
        difference, gradient = _boundary(call, current, y, target, norm, classes)
        point, slope = ops.reshape(current, flat.shape), ops.reshape(gradient, flat.shape)
        offset = ops.sum(slope * point, axis=1, keepdims=True) - ops.expand_dims(difference, 1)
        from_point = onto_hyperplane(point, slope, offset, norm)
        from_clean = onto_hyperplane(flat, slope, offset, norm)
        near, far = (ops.maximum(length(move, norm), 1e-8) for move in (from_point, from_clean))
        pull = ops.minimum(near / (near + far), _LARGEST_PULL)
        moved = (point + _OVERSHOOT * from_point) * (1 - pull) + (flat + _OVERSHOOT * from_clean) * pull
        moved = ops.clip(moved, 0.0, 1.0)
        adversarial = ops.cast(ops.argmax(call(ops.reshape(moved, x.shape)), axis=-1), "int32") != y
        inside = length(moved - flat, norm)[:, 0] <= eps
        closer = ops.where(ops.expand_dims(adversarial & ~inside, 1), flat + (moved - flat) * _RETREAT, moved)
        active = (before["left"] > 0) & (before["broken"] == 0)
        return before | {
            "current": where(active, ops.reshape(closer, x.shape), current),
            "broken": ops.where(active, ops.cast(adversarial & inside, "int32"), before["broken"]),
            "left": before["left"] - ops.cast(active, "int32"),
        }

    state = ops.fori_loop(0, iterations, iterate, state)
    return tuple(state[name] for name in names)


def _boundary(call: Call, images: Tensor, y: Tensor, target: Tensor, norm: Norm, classes: int) -> tuple[Tensor, Tensor]:
    """Return the logit difference to the class whose linearised boundary is nearest (n,), and its gradient (n, ...)."""
    ops = backend.keras().ops

    def towards(aim: Tensor) -> tuple[Tensor, Tensor]:
        def difference(batch: Tensor) -> tuple[Tensor, tuple[()]]:
            logits = call(batch)
            own, other = (ops.take_along_axis(logits, ops.expand_dims(k, 1), axis=1)[:, 0] for k in (y, aim))
            return other - own, ()

        return differentiate(difference, images)[:2]

    if not classes:
        return towards(target)
    best = None
    for number in range(classes):
        value, gradient = towards(ops.full_like(y, number))
        flat = ops.reshape(gradient, (images.shape[0], -1))
        # The distance to a hyperplane divides by the dual norm of its weights.
        distance = ops.abs(value) / (_TINY + _dual(flat, norm)[:, 0])
        distance = ops.where(y == number, np.inf, distance)
        if best is None:
            best = distance, value, gradient
            continue
        nearer = distance < best[0]
        best = (
            ops.where(nearer, distance, best[0]),
            ops.where(nearer, value, best[1]),
            where(nearer, gradient, best[2]),
        )
    assert best is not None
    return best[1], best[2]


def _dual(weights: Tensor, norm: Norm) -> Tensor:
    dual: dict[Norm, Norm] = {"inf": 1, 2: 2, 1: "inf"}
    return length(weights, dual[norm])
