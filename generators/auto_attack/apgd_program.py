"""The compiled program of Auto-PGD: its steps and checkpoints on a batch of single-image jobs."""

from __future__ import annotations

from typing import Any

import numpy as np

from temper.core.threat_model import Norm
from temper.generators.auto_attack.attack_losses import attack_loss
from temper.generators.auto_attack.box_projections import onto_l1_ball
from temper.generators.auto_attack.job_states import per_image, where
from temper.generators.norm_balls import length
from temper.nn.inspection.compiled_programs import Call, Tensor
from temper.nn.inspection.gradients import differentiate
from temper.system import backend

_TINY = 1e-12
_RISING = 0.75
"""Share of steps that must increase the loss between two checkpoints, or the step is halved (rho)."""
_MOMENTUM = 0.25
_L1_SHORTENING, _L1_SHORTEST, _L1_SPARSER = 1.5, 10.0, 0.95

Values = dict[str, Any]
"""The arrays of a batch of jobs by name, as ``ApgdKernel.begin`` makes them."""


def onto_l1_balls(call: Call, x: Tensor, current: Tensor, eps: Tensor) -> tuple[Tensor]:
    """Return the images ``current`` (n, h, w, c) projected onto the L1 balls of radius ``eps`` (n,) around ``x``."""
    ops = backend.keras().ops
    flat = ops.reshape(x, (x.shape[0], -1))
    moved = onto_l1_ball(flat, ops.reshape(current, flat.shape) - flat, ops.expand_dims(eps, 1))
    return (ops.reshape(flat + moved, x.shape),)


def advance(call: Call, *arguments: Any) -> tuple[Tensor, ...]:
    """Run some iterations of every job of a batch."""
    *arrays, eps, final, iterations, names, norm, loss, intervals, samples = arguments
    ops = backend.keras().ops
    step_of = _sparse_step if norm == 1 else _ball_step
    check = _sparse_checkpoint if norm == 1 else _checkpoint
    longest = eps * (1.0 if norm == 1 else 2.0)

    def objective(state: Values) -> tuple[Tensor, Tensor, Tensor]:
        def values(images: Tensor) -> tuple[Tensor, Tensor]:
            logits = call(images)
            return attack_loss(loss, logits, state["y"], state["target"]), logits

        return differentiate(values, state["current"])

    def iterate(_: Tensor, before: Values) -> Values:
        state = dict(before)
        fresh = state["done"] < 0  # the start, which has no loss and gradient yet
        active = (state["left"] > 0) & (state["broken"] == 0)
        moved = step_of(state, eps, norm)
        state["previous"] = state["current"]
        state["current"] = where(fresh, state["current"], moved)
        value, gradient, logits = objective(state)
        for _ in range(samples - 1):
            value, more, logits = objective(state)
            gradient = gradient + more
        state["gradient"] = gradient / samples
        state = _reset(state, value, fresh, longest, intervals[0], norm)
        state = _recorded(state, value, ~fresh)
        state = check(state, fresh, longest, intervals)
        wrong = ops.cast(ops.argmax(logits, axis=-1), "int32") != state["y"]
        # The image that was evaluated, not the one that a checkpoint went back to.
        hit = wrong & (final > 0)
        state["current"] = where(hit, where(fresh, before["current"], moved), state["current"])
        state["broken"] = ops.cast(hit, "int32")
        state["left"] = state["left"] - ops.cast(~fresh, "int32")
        state["done"] = state["done"] + 1
        return {name: where(active, state[name], before[name]) for name in names}

    state = ops.fori_loop(0, iterations, iterate, dict(zip(names, arrays, strict=True)))
    return tuple(state[name] for name in names)


def _reset(state: Values, value: Tensor, fresh: Tensor, longest: Tensor, interval: int, norm: Norm) -> Values:
    """Return the state with the jobs that evaluated their start initialised."""
    ops = backend.keras().ops
    first = {
        "previous": state["current"],
        "best": state["current"],
        "best_gradient": state["gradient"],
        "best_loss": value,
        "checked_loss": value,
        # The reference compares the first loss with 0.
        "loss": ops.zeros_like(value),
        "step": longest,
        "rises": ops.zeros_like(state["rises"]),
        "reduced": ops.ones_like(state["reduced"]),
        "waited": ops.zeros_like(state["waited"]),
        "interval": ops.full_like(state["interval"], interval),
    }
    if norm == 1:
        count = _changed(state, "current")
        first |= {"sparsity": count, "share": count / _pixels(state) / _L1_SHORTENING}
    return state | {name: where(fresh, start, state[name]) for name, start in first.items()}


def _recorded(state: Values, value: Tensor, counts: Tensor) -> Values:
    """Return the state with the loss of an iteration entered, and the best image so far."""
    ops = backend.keras().ops
    better = (value > state["best_loss"]) & counts
    return state | {
        "best": where(better, state["current"], state["best"]),
        "best_gradient": where(better, state["gradient"], state["best_gradient"]),
        "best_loss": ops.where(better, value, state["best_loss"]),
        "rises": state["rises"] + ops.cast((value > state["loss"]) & counts, "int32"),
        "loss": ops.where(counts, value, state["loss"]),
        "waited": state["waited"] + ops.cast(counts, "int32"),
    }


def _ball_step(state: Values, eps: Tensor, norm: Norm) -> Tensor:
    """Return the images after a step with momentum, projected onto the ball in norm inf or 2."""
    ops = backend.keras().ops
    x, current, radius = state["x"], state["current"], per_image(eps)

    def project(images: Tensor) -> Tensor:
        if norm == "inf":
            return ops.clip(ops.clip(images, x - radius, x + radius), 0.0, 1.0)
        moved = images - x
        return ops.clip(x + _unit(moved) * ops.minimum(radius, length(moved, 2)), 0.0, 1.0)

    direction = ops.sign(state["gradient"]) if norm == "inf" else _unit(state["gradient"])
    ahead = project(current + per_image(state["step"]) * direction)
    momentum = _MOMENTUM * per_image(ops.cast(state["done"] > 0, "float32"))
    return project(current + (ahead - current) * (1.0 - momentum) + (current - state["previous"]) * momentum)


def _sparse_step(state: Values, eps: Tensor, norm: Norm) -> Tensor:
    """Return the images after a step along the signs of the largest gradient entries, projected onto the L1 ball."""
    ops = backend.keras().ops
    x = state["x"]
    flat = ops.reshape(x, (x.shape[0], -1))
    gradient = ops.reshape(state["gradient"], flat.shape)
    size = ops.abs(gradient)
    pixels = flat.shape[1]
    # A share of 0 keeps the largest entry.
    place = ops.cast(ops.clip((1.0 - state["share"]) * pixels, 0, pixels - 1), "int32")
    least = ops.take_along_axis(ops.sort(size, axis=1), ops.expand_dims(place, 1), axis=1)
    signs = ops.sign(gradient) * ops.cast(size >= least, "float32")
    direction = signs / (ops.sum(ops.abs(signs), axis=1, keepdims=True) + 1e-10)
    moved = ops.reshape(state["current"], flat.shape) + ops.expand_dims(state["step"], 1) * direction - flat
    return ops.reshape(flat + onto_l1_ball(flat, moved, ops.expand_dims(eps, 1)), x.shape)


def _checkpoint(state: Values, fresh: Tensor, longest: Tensor, intervals: tuple[int, int, int]) -> Values:
    """Return the state after a checkpoint, where one is due: halve the step and go back to the best image, or go on."""
    ops = backend.keras().ops
    due = (state["waited"] == state["interval"]) & ~fresh
    oscillates = ops.cast(state["rises"], "float32") <= _RISING * ops.cast(state["interval"], "float32")
    stuck = (state["reduced"] == 0) & (state["checked_loss"] >= state["best_loss"])
    halved = due & (oscillates | stuck)
    _, shorter, least = intervals
    return state | {
        "step": ops.where(halved, state["step"] / 2, state["step"]),
        "current": where(halved, state["best"], state["current"]),
        "gradient": where(halved, state["best_gradient"], state["gradient"]),
        "reduced": ops.where(due, ops.cast(halved, "int32"), state["reduced"]),
        "checked_loss": ops.where(due, state["best_loss"], state["checked_loss"]),
        "interval": ops.where(due, ops.maximum(state["interval"] - shorter, least), state["interval"]),
        "rises": ops.where(due, 0, state["rises"]),
        "waited": ops.where(due, 0, state["waited"]),
    }


def _sparse_checkpoint(state: Values, fresh: Tensor, longest: Tensor, intervals: tuple[int, int, int]) -> Values:
    """Return the state after a checkpoint in norm 1: restart with long steps while the best image gets sparser."""
    ops = backend.keras().ops
    due = (state["waited"] == state["interval"]) & ~fresh
    count = _changed(state, "best")
    sparser = due & (count / state["sparsity"] < _L1_SPARSER)
    shortened = ops.clip(state["step"] / _L1_SHORTENING, longest / _L1_SHORTEST, longest)
    return state | {
        "step": ops.where(due, ops.where(sparser, longest, shortened), state["step"]),
        "current": where(sparser, state["best"], state["current"]),
        "gradient": where(sparser, state["best_gradient"], state["gradient"]),
        "share": ops.where(due, count / _pixels(state) / _L1_SHORTENING, state["share"]),
        "sparsity": ops.where(due, count, state["sparsity"]),
        "rises": ops.where(due, 0, state["rises"]),
        "waited": ops.where(due, 0, state["waited"]),
    }


def _changed(state: Values, name: str) -> Tensor:
    """Return the number of changed pixel values of each image, (n,)."""
    ops = backend.keras().ops
    return ops.sum(ops.cast(state[name] != state["x"], "float32"), axis=(1, 2, 3))


def _pixels(state: Values) -> float:
    return float(np.prod(state["x"].shape[1:]))


def _unit(images: Tensor) -> Tensor:
    return images / (length(images, 2) + _TINY)
