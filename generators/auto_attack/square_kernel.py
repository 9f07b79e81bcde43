"""The Square attack for single images: random search with squares that shrink, which needs no gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images, Labels
from temper.core.classifier import Classifier
from temper.core.threat_model import Norm
from temper.generators.auto_attack.box_projections import onto_l1_ball
from temper.generators.auto_attack.job_states import initial, run_jobs, where
from temper.generators.auto_attack.refilled_batches import Jobs, State
from temper.generators.auto_attack.square_windows import placed, square_sizes, tiled
from temper.generators.image_streams import ImageStreams
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.compiled_programs import Call, Tensor
from temper.system import backend

_AT_ONCE = 25
"""Queries per call of the program: few, because a broken image's remaining ones are lost."""
_SEARCH = 1
"""Stream number of the first chunk of queries; 0 is that of the start."""
_TINY = 1e-12


@dataclass(frozen=True)
class SquareKernel:
    """Square of ``queries`` queries, as a kernel of ``refilled_batches``.

    Unlike the authors' implementation, which draws one square for all images of a batch, it draws one for each image, so
    that an image does not depend on the others.

    Source: Andriushchenko, Croce, Flammarion and Hein (2020), Square Attack: a query-efficient black-box adversarial
    attack via random search, algorithms 1 to 3; norm 1 and the constants are those of AutoAttack's implementation.
    """

    norm: Norm
    eps: float
    queries: int
    streams: ImageStreams

    def begin(self, victim: Classifier, x: Images, y: Labels, jobs: Jobs) -> State:
        clean = np.asarray(x[jobs.rows], np.float32)
        start = self._start(victim, clean, jobs)
        n = len(clean)
        return {
            **initial(clean, y, jobs, self.queries + 1),
            "current": start,
            "margin": np.full(n, np.inf, np.float32),
            "row": jobs.rows.astype(np.int32),
            "number": jobs.numbers.astype(np.int32),
        }

    def advance(self, victim: Classifier, state: State, width: int) -> State:
        windows = self._windows(state)
        return run_jobs(
            victim,
            _advance,
            state,
            width,
            others=windows,
            shared=(self.eps, _AT_ONCE),
            static=(self.norm, victim.num_classes),
            passes=self.queries,
        )

    def _start(self, victim: Classifier, clean: Images, jobs: Jobs) -> Images:
        """Return the first images: vertical stripes for norm inf, tiles for the others."""
        n, height, width, channels = clean.shape
        noise = np.empty_like(clean)
        for job, rng in self._each(jobs.rows, jobs.numbers, np.zeros(n, np.int64)):
            if self.norm == "inf":
                noise[job] = np.where(rng.random((1, width, channels)) < 0.5, -1, 1)
            else:
                noise[job] = tiled(rng, (height, width, channels), self.norm)
        if self.norm == "inf":
            return (clean + np.float32(self.eps) * noise).clip(0, 1)
        if self.norm == 2:
            length = np.sqrt(np.square(noise).sum(axis=(1, 2, 3), keepdims=True)) + np.float32(_TINY)
            tiles: Images = (clean + np.float32(self.eps) * noise / length).clip(0, 1)
            return tiles
        eps = np.full(n, self.eps, np.float32)
        parts = [slice(s, s + compiled_programs.BATCH) for s in range(0, n, compiled_programs.BATCH)]
        made = [compiled_programs.run(victim.model, _inside, (clean[p], noise[p], eps[p]))[0] for p in parts]
        return np.concatenate(made)

    def _windows(self, state: State) -> list[NDArray[Any]]:
        """Return the squares of the next queries of each job: corners, sizes, signs, and the patterns of norms 2 and 1."""
        n, height, width, channels = state["x"].shape
        done = self.queries + 1 - np.asarray(state["left"], np.int64)
        # The first query of a job is its start.
        steps = np.maximum(done[:, None] + np.arange(_AT_ONCE) - 1, 0)
        sizes = square_sizes(steps, height, width, self.norm)
        corners = np.empty((n, _AT_ONCE, 4), np.int32)
        signs = np.empty((n, _AT_ONCE, channels), np.float32)
        patterns = np.zeros((n, _AT_ONCE, height, width) if self.norm != "inf" else (n, 1), np.float32)
        for job, rng in self._each(state["row"], state["number"], _SEARCH + done // _AT_ONCE):
            room = np.stack([height - sizes[job], width - sizes[job]] * 2, axis=1)
            corners[job] = (rng.random((_AT_ONCE, 4)) * room).astype(np.int32)
            signs[job] = np.where(rng.random((_AT_ONCE, channels)) < 0.5, -1, 1)
            if self.norm != "inf":
                turned = rng.random(_AT_ONCE) < 0.5
                patterns[job] = placed(corners[job], sizes[job], turned, (height, width), self.norm)
        return [corners, sizes.astype(np.int32), signs, patterns]

    def _each(self, rows: Any, numbers: Any, chunks: NDArray[np.int64]) -> Any:
        """Return each job with the random stream of its restart and chunk of queries."""
        return self.streams.of_jobs(np.asarray(rows), np.asarray(numbers, np.int64) * (self.queries + 2) + chunks)


def _advance(call: Call, *arguments: Any) -> tuple[Tensor, ...]:
    """Run the program of ``SquareKernel.advance``: some queries of every job of a batch."""
    *arrays, corners, sizes, signs, patterns, eps, queries, names, norm, classes = arguments
    ops = backend.keras().ops
    state = dict(zip(names, arrays, strict=True))
    x, y = state["x"], state["y"]
    own = ops.one_hot(y, classes, dtype="float32")

    def query(number: Tensor, before: dict[str, Tensor]) -> dict[str, Tensor]:
        current = before["current"]
        fresh = ops.isinf(before["margin"])
        corner, size, sign = (ops.take(values, number, axis=1) for values in (corners, sizes, signs))
        first = _window(x, corner[:, 0], corner[:, 1], size)
        sign = ops.reshape(sign, (-1, 1, 1, x.shape[3]))
        if norm == "inf":
            tried = ops.clip(current + 2.0 * eps * sign * first, x - eps, x + eps)
        else:
            pattern = ops.expand_dims(ops.take(patterns, number, axis=1), -1) * sign
            second = _window(x, corner[:, 2], corner[:, 3], size)
            tried = _reshaped(x, current - x, pattern, first, second, eps, norm)
        tried = where(fresh, current, ops.clip(tried, 0.0, 1.0))
        logits = call(tried)
        other = ops.max(ops.where(own > 0, -np.inf, logits), axis=-1)
        margin = ops.sum(logits * own, axis=-1) - other
        wrong = ops.cast(ops.argmax(logits, axis=-1), "int32") != y
        active = (before["left"] > 0) & (before["broken"] == 0)
        better = active & ((margin < before["margin"]) | wrong)
        return before | {
            "current": where(better, tried, current),
            "margin": ops.where(better, margin, before["margin"]),
            "broken": ops.where(active, ops.cast(wrong, "int32"), before["broken"]),
            "left": before["left"] - ops.cast(active, "int32"),
        }

    state = ops.fori_loop(0, queries, query, state)
    return tuple(state[name] for name in names)


def _window(x: Tensor, top: Tensor, left: Tensor, size: Tensor) -> Tensor:
    """Return 1 inside each image's square and 0 outside, (n, h, w, 1)."""
    ops = backend.keras().ops

    def along(start: Tensor, length: int) -> Tensor:
        place = ops.expand_dims(ops.arange(length, dtype="int32"), 0)
        start = ops.expand_dims(start, 1)
        return ops.cast((place >= start) & (place < start + ops.expand_dims(size, 1)), "float32")

    rows, columns = along(top, x.shape[1]), along(left, x.shape[2])
    return ops.expand_dims(ops.expand_dims(rows, 2) * ops.expand_dims(columns, 1), -1)


def _reshaped(
    x: Tensor, change: Tensor, pattern: Tensor, first: Tensor, second: Tensor, eps: Tensor, norm: Norm
) -> Tensor:
    """Return images whose perturbation is moved from the second square to the first, in norm 2 or 1."""
    ops = backend.keras().ops
    channels = x.shape[3]

    def length(values: Tensor, axes: tuple[int, ...] = (1, 2)) -> Tensor:
        powers = ops.square(values) if norm == 2 else ops.abs(values)
        total = ops.sum(powers, axis=axes, keepdims=True)
        return ops.sqrt(total) if norm == 2 else total

    whole = length(change, (1, 2, 3))
    both = length(change * ops.maximum(first, second))
    made = pattern + first * change / (_TINY + length(change * first))
    made = made / (_TINY + length(made))
    if norm == 2:
        unused = ops.maximum(eps**2 - whole**2, 0.0) / channels
        made = made * ops.sqrt(unused + both**2)
    else:
        made = made * (ops.maximum(eps - whole, 0.0) / channels + both) * channels
    change = ops.where(first > 0, made, ops.where(second > 0, 0.0, change))
    if norm == 2:
        return x + change / (length(change, (1, 2, 3)) + _TINY) * eps
    return _onto_ball(x, change, ops.full_like(x[:, :1, 0, 0], 1.0) * eps)


def _inside(call: Call, x: Tensor, change: Tensor, eps: Tensor) -> tuple[Tensor]:
    return (_onto_ball(x, change, backend.keras().ops.expand_dims(eps, 1)),)


def _onto_ball(x: Tensor, change: Tensor, eps: Tensor) -> Tensor:
    ops = backend.keras().ops
    flat = ops.reshape(x, (x.shape[0], -1))
    # A hair inside, since the result is added to the image in float32.
    moved = onto_l1_ball(flat, ops.reshape(change, flat.shape), eps * (1.0 - 1e-6))
    return ops.reshape(flat + moved, x.shape)
