"""Auto-PGD for single images: a projected gradient ascent with momentum that chooses its step length itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images, Labels
from temper.core.classifier import Classifier
from temper.core.threat_model import Norm
from temper.generators.auto_attack.attack_losses import AttackLoss, attack_loss
from temper.generators.auto_attack.box_projections import onto_l1_ball
from temper.generators.auto_attack.job_states import initial, per_image, run_jobs, where
from temper.generators.auto_attack.random_starts import directions, on_sphere
from temper.generators.auto_attack.refilled_batches import Jobs, State
from temper.generators.image_streams import Streams
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.compiled_programs import Call, Tensor
from temper.nn.inspection.gradients import differentiate
from temper.system import backend

_AT_ONCE = 5
"""Iterations per call of the program: few, because a broken image's remaining ones are lost."""
_TINY = 1e-12
_RISING = 0.75
"""Share of steps that must increase the loss between two checkpoints, or the step is halved (rho)."""
_MOMENTUM = 0.25
_L1_SHORTENING, _L1_SHORTEST, _L1_SPARSER = 1.5, 10.0, 0.95
_L1_STAGES = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))
"""Radius, as a multiple of eps, and share of the iterations of each stage of the attack in norm 1."""

Values = dict[str, Any]


@dataclass(frozen=True)
class ApgdKernel:
    """Auto-PGD of ``max_iter`` iterations, as a kernel of ``refilled_batches``.

    Source: Croce and Hein (2020), Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks, algorithm 1; for norm 1, Croce and Hein (2021), Mind the box, algorithm 1. Constants are those of the
    authors' implementation.
    """

    norm: Norm
    eps: float
    loss: AttackLoss
    max_iter: int
    samples: int
    streams: Streams

    def begin(self, victim: Classifier, x: Images, y: Labels, jobs: Jobs) -> State:
        clean = np.asarray(x[jobs.rows], np.float32)
        start = self._start(clean, jobs)
        n = len(clean)
        zero, whole = np.zeros(n, np.float32), np.zeros(n, np.int32)
        state = initial(clean, y, jobs, self._stages[0][1]) | {
            "current": start,
            "previous": start,
            "gradient": np.zeros_like(clean),
            "best": start,
            "best_gradient": np.zeros_like(clean),
            "step": zero,
            "loss": zero,
            "best_loss": zero,
            "checked_loss": zero,
            "rises": whole,
            "reduced": whole,
            "waited": whole,
            "interval": whole,
            "stage": whole,
            "done": whole - 1,
            "share": zero,
            "sparsity": zero,
        }
        return self._projected(victim, state, np.ones(n, bool)) if self.norm == 1 else state

    def advance(self, victim: Classifier, state: State, width: int) -> State:
        last = len(self._stages) - 1
        stage = np.asarray(state["stage"])
        state = run_jobs(
            victim,
            _advance,
            state,
            width,
            others=(self._radii[stage], (stage == last).astype(np.int32)),
            shared=(_AT_ONCE,),
            static=(self.norm, self.loss, self._intervals, self.samples),
            passes=self.max_iter,
        )
        turning = (state["left"] <= 0) & (state["stage"] < last) & (state["broken"] == 0)
        return self._turned(victim, state, turning) if turning.any() else state

    @property
    def _stages(self) -> list[tuple[float, int]]:
        """Radius and iterations of each stage."""
        if self.norm != 1:
            return [(self.eps, self.max_iter)]
        counts = [int(np.ceil(share * self.max_iter)) for _, share in _L1_STAGES]
        counts[-1] = self.max_iter - sum(counts[:-1])
        return [(factor * self.eps, count) for (factor, _), count in zip(_L1_STAGES, counts, strict=True)]

    @property
    def _radii(self) -> NDArray[np.float32]:
        return np.array([radius for radius, _ in self._stages], np.float32)

    @property
    def _intervals(self) -> tuple[int, int, int]:
        """Iterations before the first checkpoint, by how many each later interval is shorter, and the shortest."""
        if self.norm == 1:
            return max(int(0.04 * self._stages[0][1]), 1), 0, 1
        first, shorter, least = (max(int(share * self.max_iter), 1) for share in (0.22, 0.03, 0.06))
        return first, shorter, least

    def _start(self, clean: Images, jobs: Jobs) -> Images:
        """Return a random start for each job: on the surface of the ball, or any point for norm 1."""
        if self.norm == 1:
            return clean + directions(self.streams, jobs.rows, jobs.numbers, clean.shape[1:], self.norm)
        unit = on_sphere(self.streams, jobs.rows, jobs.numbers, clean.shape[1:], self.norm)
        return np.clip(clean + np.float32(self.eps) * unit, 0, 1)

    def _turned(self, victim: Classifier, state: State, turning: NDArray[np.bool_]) -> State:
        """Return the state with some jobs moved to the start of the next stage."""
        stage = np.where(turning, state["stage"] + 1, state["stage"])
        counts = np.array([count for _, count in self._stages])
        renewed = {
            "stage": stage,
            "left": np.where(turning, counts[stage], state["left"]),
            "done": np.where(turning, -1, state["done"]),
            "current": np.where(turning[:, None, None, None], state["best"], state["current"]),
        }
        return self._projected(victim, {**state, **renewed}, turning)

    def _projected(self, victim: Classifier, state: State, chosen: NDArray[np.bool_]) -> State:
        """Return the state with the current images of some jobs projected onto the ball of their stage."""
        rows = np.flatnonzero(chosen)
        current = np.array(state["current"])
        eps = self._radii[np.asarray(state["stage"])[rows]]
        for part in np.array_split(np.arange(len(rows)), -(-len(rows) // compiled_programs.BATCH)):
            images = (state["x"][rows[part]], current[rows[part]], eps[part])
            current[rows[part]] = compiled_programs.run(victim.model, _onto_ball, images=images)[0]
        return {**state, "current": current}


def _onto_ball(call: Call, x: Tensor, current: Tensor, eps: Tensor) -> tuple[Tensor]:
    ops = backend.keras().ops
    flat = ops.reshape(x, (x.shape[0], -1))
    moved = onto_l1_ball(flat, ops.reshape(current, flat.shape) - flat, ops.expand_dims(eps, 1))
    return (ops.reshape(flat + moved, x.shape),)


def _advance(call: Call, *arguments: Any) -> tuple[Tensor, ...]:
    """Run the program of ``ApgdKernel.advance``: some iterations of every job of a batch."""
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
        return ops.clip(x + _unit(moved) * ops.minimum(radius, _length(moved)), 0.0, 1.0)

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


def _length(images: Tensor) -> Tensor:
    ops = backend.keras().ops
    return ops.sqrt(ops.sum(ops.square(images), axis=(1, 2, 3), keepdims=True))


def _unit(images: Tensor) -> Tensor:
    return images / (_length(images) + _TINY)
