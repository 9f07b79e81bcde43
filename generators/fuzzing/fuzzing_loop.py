"""The loop of a fuzzer: augment, evaluate, keep, log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.artefacts.corner_cases import CORNER_CASE, NOTHING_NEW, REFUSED, UNREALISTIC, CornerCases, Iteration
from temper.core.augmenter import Augmenter, AugmenterContext, Seeds
from temper.core.checkpoint import with_prefix
from temper.core.display_names import display_name
from temper.core.realism import Realism
from temper.generators.fuzzing.findings import CandidateOutcomes, Findings, arrays_of, joined, seeds_of
from temper.generators.fuzzing.guidance import Guidance
from temper.nn.inspection.activations import Activations
from temper.nn.shared_stages.activation_readout import read_activations

_PARTS = ("found", "queue", "again", "guidance")


@dataclass(eq=False)
class _Round:
    """An iteration in progress: its queue, its progress, and the corner cases that join the next queue."""

    number: int
    queue: Seeds
    control: float
    done: int = 0
    failures: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    again: list[Seeds] = field(default_factory=list)


@dataclass(eq=False, kw_only=True)
class FuzzingLoop:
    """A running fuzzer.

    ``control`` are the activations on unchanged clean images, ``None`` without guidance. Corner cases that were
    augmented fewer than ``deepest`` times are augmented again. ``found`` are the findings so far.
    """

    context: AugmenterContext
    augmenter: Augmenter
    realism: Sequence[Realism]
    guidance: Guidance
    control: Activations | None
    iterations: int
    batch_size: int
    deepest: int
    found: Findings

    def fuzz(self, seeds: Seeds) -> CornerCases:
        """Augment every seed of the queue once in each iteration and return the findings.

        An interrupted campaign resumes from its checkpoint, batch by batch, with the same result.

        Raises:
            Stopped: the process was asked to stop; the checkpoint holds the state to resume from.
        """
        checkpoint = self.context.run.checkpoint
        current = self._resumed(seeds.entropy) or _Round(0, seeds, self._control_share())
        while True:
            while current.done < len(current.queue):
                self._step(current)
                if checkpoint.due:
                    checkpoint.save(*self._state(current))
            self.found.log.append(self._summary(current))
            if current.number + 1 == self.iterations:
                return self.found.corner_cases(tuple(map(display_name, self.realism)))
            queue = joined([current.queue, *current.again])
            current = _Round(current.number + 1, queue, self._control_share())

    def _step(self, current: _Round) -> None:
        """Augment and evaluate one batch."""
        length = len(current.queue)
        rows = slice(current.done, min(current.done + self.batch_size, length))
        batch = current.queue.take(rows)
        batch = replace(batch, variant=np.full(len(batch), current.number))
        outcomes = self._evaluate(batch)
        corner = self.found.add(current.number, batch, outcomes)
        current.again.append(corner.take(corner.depth < self.deepest))
        current.failures += outcomes.failures
        current.outcomes.update(outcomes.outcome.tolist())
        current.done = rows.stop
        done = current.number * length + rows.stop
        self.context.run.progress(done, self.iterations * length, "candidates")

    def _summary(self, current: _Round) -> Iteration:
        return Iteration(
            iteration=current.number,
            queue=len(current.queue),
            refused=current.outcomes[REFUSED],
            unrealistic=current.outcomes[UNREALISTIC],
            nothing_new=current.outcomes[NOTHING_NEW],
            corner_cases=current.outcomes[CORNER_CASE],
            failures=current.failures,
            control=current.control,
            coverage=self.guidance.values,
        )

    def _control_share(self) -> float:
        if self.control is None or not len(self.control):
            return float("nan")
        return float(self.guidance.enough(self.guidance.gains(self.control)).mean())

    def _evaluate(self, batch: Seeds) -> CandidateOutcomes:
        made, n = self.augmenter.augment(batch, self.context), len(batch)
        # Each gate overwrites the outcome of the images it rejects.
        outcome = np.full(n, CORNER_CASE, dtype="U16")
        outcome[list(made.refused)] = REFUSED
        alive = np.flatnonzero(outcome == CORNER_CASE)
        # nan where an earlier measure already rejected the image.
        realism = np.full((len(self.realism), n), np.nan)
        for row, measure in zip(realism, self.realism, strict=True):
            row[alive] = measure.values(made.take(alive), batch.take(alive), self.context)
            outcome[alive[~measure.accepts(row[alive])]] = UNREALISTIC
        # One forward pass gives both the predictions and the coverage.
        positions = self.control is not None and self.control.positions is not None
        seen = read_activations(self.context.model, np.ascontiguousarray(made.x[alive]), positions=positions)
        predicted = np.full(n, -1)
        predicted[alive] = seen.predicted
        real = outcome[alive] == CORNER_CASE
        admitted, added = self.guidance.admit(seen.take(np.flatnonzero(real)))
        outcome[alive[real][~admitted]] = NOTHING_NEW
        gains = np.full((len(added), n), -1)
        gains[:, alive[real]] = added
        self.context.run.images += n
        return CandidateOutcomes(made, outcome, predicted, realism, gains)

    def _state(self, current: _Round) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return what ``_resumed`` needs: arrays and plain JSON values."""
        found, log = self.found.state()
        again = arrays_of(joined(current.again)) if current.again else {}
        parts = zip(_PARTS, (found, arrays_of(current.queue), again, self.guidance.state()), strict=True)
        arrays = {f"{part}.{name}": array for part, own in parts for name, array in own.items()}
        numbers = {name: getattr(current, name) for name in ("number", "control", "done", "failures")}
        return arrays, {"log": log, "round": numbers | {"outcomes": dict(current.outcomes)}}

    def _resumed(self, entropy: tuple[int, ...]) -> _Round | None:
        """Return the iteration in which an interrupted campaign stopped, and restore its findings."""
        if (saved := self.context.run.checkpoint.load()) is None:
            return None
        arrays, plain = saved
        found, queue, again, guidance = (with_prefix(arrays, part) for part in _PARTS)
        self.found.restore(found, plain["log"], entropy)
        self.guidance.restore(guidance)
        numbers = plain["round"] | {"outcomes": Counter(plain["round"]["outcomes"])}
        return _Round(queue=seeds_of(queue, entropy), again=[seeds_of(again, entropy)] if again else [], **numbers)
