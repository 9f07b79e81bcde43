"""The arrays that attack jobs carry from one call of their program to the next."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images, Labels
from temper.core.classifier import Classifier
from temper.generators.auto_attack.refilled_batches import Jobs, State
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.compiled_programs import Body, Tensor
from temper.system import backend


def initial(clean: Images, y: Labels, jobs: Jobs, iterations: int) -> dict[str, NDArray[Any]]:
    """Return what the jobs of every kernel hold, from their images (n, h, w, c) and the labels of all images."""
    n = len(clean)
    return {
        "x": clean,
        "y": y[jobs.rows].astype(np.int32),
        "target": jobs.targets.astype(np.int32),
        "left": np.full(n, iterations, np.int32),
        "broken": np.zeros(n, np.int32),
    }


def run_jobs(
    victim: Classifier,
    body: Body,
    state: State,
    width: int,
    others: Sequence[NDArray[Any]] = (),
    shared: Sequence[Any] = (),
    static: tuple[Hashable, ...] = (),
    passes: int = 1,
) -> State:
    """Return the state after ``body(call, *state, *others, *shared, names, *static)`` on one batch.

    ``others`` are arrays with a row for each job that the program only reads. The batch is padded to ``width`` jobs by
    repeating some: one shape, one compilation.
    """
    n = len(state["x"])
    padded = [array[np.arange(width) % n] for array in (*state.values(), *others)]
    made = compiled_programs.run(
        victim.model,
        body,
        images=padded,
        shared=shared,
        static=(tuple(state), *static),
        batch_size=width,
        passes=passes,
    )
    return {name: array[:n] for name, array in zip(state, made, strict=True)}


def where(condition: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    """Return ``chosen`` where ``condition`` (n,) holds, else ``other``; both (n,) or (n, h, w, c)."""
    ops = backend.keras().ops
    return ops.where(per_image(condition) if len(chosen.shape) == 4 else condition, chosen, other)


def per_image(values: Tensor) -> Tensor:
    """Return numbers (n,) in the shape (n, 1, 1, 1)."""
    return backend.keras().ops.reshape(values, (-1, 1, 1, 1))
