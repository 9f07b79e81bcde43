"""The loop of every regression fuzzer: mutate, run both versions, count and learn, until the budget is spent."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.checkpoint import restore_stream, stream_state, with_prefix
from temper.core.run import Run
from temper.generators.regression.fault_accounting import FaultAccounting, MutantOutcomes, Mutants, Roots
from temper.generators.regression.fidelity_gates import Gate
from temper.generators.regression.model_versions import UNFAITHFUL, Versions, classify
from temper.generators.regression.mutation_queue import Rows

_POINTS = 100
"""Points of the curve, evenly spread over the budget of mutants."""


@dataclass(frozen=True)
class Budget:
    """The limits of a campaign: mutants, model calls, seconds; ``None`` means no limit."""

    mutants: int
    model_calls: int | None = None
    seconds: float | None = None

    def spent(self, model_calls: int, seconds: float) -> bool:
        """Return whether the calls or the seconds are used up."""
        return (self.model_calls is not None and model_calls >= self.model_calls) or (
            self.seconds is not None and seconds >= self.seconds
        )


class Strategy(ABC):
    """The specific part of a regression fuzzer: which mutants it generates, and what it learns from them."""

    @abstractmethod
    def propose(self, most: int, rng: np.random.Generator) -> Mutants | None:
        """Return the next round, at most ``most`` mutants; ``None`` if no image is left or ``most`` is too small."""

    @abstractmethod
    def learn(self, mutants: Mutants, outcomes: MutantOutcomes, found: NDArray[np.bool_]) -> None:
        """Learn from the outcomes of a round; ``found`` are each root's wrong labels so far, including this round's."""

    @abstractmethod
    def trace(self, entries: Rows) -> NDArray[np.int8]:
        """Return the operators that produced entries, int8 (n, most), -1 after the last."""

    @property
    @abstractmethod
    def waiting(self) -> int:
        """The number of images that may be mutated next."""

    @abstractmethod
    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return what ``restore`` needs: arrays and plain JSON values."""

    @abstractmethod
    def restore(self, arrays: Mapping[str, NDArray[Any]], plain: Mapping[str, Any]) -> None:
        """Resume from a state."""


@dataclass(kw_only=True)
class RegressionLoop:
    """A running regression fuzzer. ``exhausted`` means that it ended because nothing was left to mutate."""

    run: Run
    budget: Budget
    versions: Versions
    gate: Gate
    roots: Roots
    strategy: Strategy
    accounting: FaultAccounting
    exhausted: bool = False
    _before: float = 0.0
    _resumed: int = 0
    _started: float = field(default_factory=time.monotonic)

    def fuzz(self) -> None:
        """Fuzz until the budget is spent, resuming an interrupted campaign; save the state regularly."""
        rng = self.run.rng("fuzzing")
        self._resume(rng)
        while not self.budget.spent(self.versions.calls, self.seconds):
            mutants = self.strategy.propose(self.budget.mutants - self.accounting.mutants, rng)
            if mutants is None:
                self.exhausted = not self.strategy.waiting
                break
            outcomes = self._evaluate(mutants)
            self.accounting.count(mutants, outcomes)
            self.strategy.learn(mutants, outcomes, self.accounting.found)
            self._report_progress(len(mutants))
            if self.run.checkpoint.due:
                self._save(rng)
        self._snapshot()

    @property
    def seconds(self) -> float:
        """The running time of the campaign, including the time before interruptions."""
        return self._before + time.monotonic() - self._started

    def _evaluate(self, mutants: Mutants) -> MutantOutcomes:
        answers, roots = self.versions.predict(mutants.x), self.roots
        kept = self.gate.keeps(mutants.x, roots.x[mutants.source], answers.scores, roots.answers.scores[mutants.source])
        kind = classify(answers, roots.y[mutants.source], mutants.drop)
        # An unchanged mutant finds nothing new and counts as unfaithful.
        kind[~(kept & mutants.changed)] = UNFAITHFUL
        return MutantOutcomes(kind, answers)

    def _report_progress(self, made: int) -> None:
        self.run.images += made
        accounting, step = self.accounting, max(1, self.budget.mutants // _POINTS)
        if accounting.mutants // step > (accounting.mutants - made) // step:
            self._snapshot()
        # Of this process only: the time before an interruption ran at another speed.
        rate = (accounting.mutants - self._resumed) / max(time.monotonic() - self._started, 1e-9)
        found = f"mutants, {accounting.rfi} regression faults, {accounting.urf} distinct, {rate:,.0f} mutants/s"
        self.run.progress(accounting.mutants, self.budget.mutants, found)

    def _snapshot(self) -> None:
        if not self.accounting.curve or self.accounting.curve[-1].mutants < self.accounting.mutants:
            self.accounting.snapshot(self.versions.calls, self.seconds, self.strategy.waiting)

    def _save(self, rng: np.random.Generator) -> None:
        arrays: dict[str, NDArray[Any]] = {}
        plain: dict[str, Any] = {
            "rng": stream_state(rng),
            "calls": self.versions.calls,
            "seconds": self.seconds,
        }
        for name, part in (("accounting", self.accounting), ("strategy", self.strategy)):
            own, plain[name] = part.state()
            arrays |= {f"{name}.{key}": array for key, array in own.items()}
        self.run.checkpoint.save(arrays, plain)

    def _resume(self, rng: np.random.Generator) -> None:
        saved = self.run.checkpoint.load()
        if saved is None:
            return
        arrays, plain = saved
        restore_stream(rng, plain["rng"])
        self.versions.calls, self._before = plain["calls"], plain["seconds"]
        for name, part in (("accounting", self.accounting), ("strategy", self.strategy)):
            part.restore(with_prefix(arrays, name), plain[name])
        self._resumed = self.accounting.mutants
