"""Auto-PGD for single images: a projected gradient ascent with momentum that chooses its step length itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images, Labels
from temper.core.classifier import Classifier
from temper.core.threat_model import Norm
from temper.generators.auto_attack.apgd_program import advance, onto_l1_balls
from temper.generators.auto_attack.attack_losses import AttackLoss
from temper.generators.auto_attack.job_states import initial, run_jobs
from temper.generators.auto_attack.random_starts import directions, on_sphere
from temper.generators.auto_attack.refilled_batches import Jobs, State
from temper.generators.image_streams import ImageStreams
from temper.nn.inspection import compiled_programs

_AT_ONCE = 5
"""Iterations per call of the program: few, because a broken image's remaining ones are lost."""
_L1_STAGES = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))
"""Radius, as a multiple of eps, and share of the iterations of each stage of the attack in norm 1."""


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
    streams: ImageStreams

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
            advance,
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
            current[rows[part]] = compiled_programs.run(victim.model, onto_l1_balls, images=images)[0]
        return {**state, "current": current}
