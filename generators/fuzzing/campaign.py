"""The loop of a fuzzer: augment, judge, keep, write down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.artefacts import Images
from core.augmenter import Augmented, Augmenter, Bench, Seeds
from core.corner_cases import (
    CORNER_CASE,
    NOTHING_NEW,
    REFUSED,
    UNREALISTIC,
    Candidate,
    CornerCases,
    Iteration,
)
from core.naming import named
from core.networks.activations import Activations
from core.preparations.observation import observe
from core.realism import Measures, Realism
from generators.fuzzing.guidance import Guidance


@dataclass(frozen=True, eq=False)
class _Judged:
    """What became of a batch: each row's outcome, prediction (-1: none), realism (measures, n) and gains (criteria, n)."""

    made: Augmented
    outcome: NDArray[np.str_]
    predicted: NDArray[np.int64]
    realism: Measures
    gains: NDArray[np.int64]


@dataclass(eq=False, kw_only=True)
class Campaign:
    """A fuzzer at work.

    ``control`` are the activations on unchanged clean images, ``None`` where nothing guides. Corner cases that were augmented
    fewer than ``deepest`` times are augmented again.
    """

    bench: Bench
    augmenter: Augmenter
    realism: Sequence[Realism]
    guidance: Guidance
    control: Activations | None
    iterations: int
    batch_size: int
    deepest: int
    _kept: list[Seeds] = field(default_factory=list)
    _rejected: list[Images] = field(default_factory=list)
    _candidates: list[Candidate] = field(default_factory=list)
    _log: list[Iteration] = field(default_factory=list)

    def fuzz(self, queue: Seeds) -> None:
        """Augment every seed of the queue once in each iteration."""
        for iteration in range(self.iterations):
            control, length = self._control_share(), len(queue)
            outcomes: Counter[str] = Counter()
            failures, again = 0, [queue]
            for start in range(0, length, self.batch_size):
                rows = slice(start, min(start + self.batch_size, length))
                batch = queue.take(rows)
                batch = replace(batch, variant=np.full(len(batch), iteration))
                judged = self._judge(batch)
                self._write_down(iteration, batch, judged)
                corner = self._keep(batch, judged)
                failures += int((judged.predicted != judged.made.y)[judged.outcome == CORNER_CASE].sum())
                outcomes.update(judged.outcome.tolist())
                again.append(corner.take(corner.depth < self.deepest))
                done = (iteration * length + rows.stop, self.iterations * length)
                self.bench.run.progress(*done, "candidates")
            self._log.append(
                Iteration(
                    iteration=iteration,
                    queue=length,
                    refused=outcomes[REFUSED],
                    unrealistic=outcomes[UNREALISTIC],
                    nothing_new=outcomes[NOTHING_NEW],
                    corner_cases=outcomes[CORNER_CASE],
                    failures=failures,
                    control=control,
                    coverage=self.guidance.values,
                )
            )
            queue = _joined(again)

    def found(self, with_rejected: bool) -> CornerCases:
        """Return the corner cases and the log."""
        kept = _joined(self._kept)
        return CornerCases(
            x=kept.x,
            y=kept.y,
            index=kept.index,
            measures=tuple(map(named, self.realism)),
            iterations=tuple(self._log),
            candidates=tuple(self._candidates),
            rejected=np.concatenate(self._rejected) if with_rejected else None,
        )

    def _control_share(self) -> float:
        if self.control is None or not len(self.control):
            return float("nan")
        return float(self.guidance.enough(self.guidance.gains(self.control)).mean())

    def _judge(self, batch: Seeds) -> _Judged:
        made, n = self.augmenter.augment(batch, self.bench), len(batch)
        outcome = np.full(n, CORNER_CASE, dtype="U16")
        outcome[list(made.refused)] = REFUSED
        alive = np.flatnonzero(outcome == CORNER_CASE)
        realism = np.full((len(self.realism), n), np.nan)
        for row, measure in zip(realism, self.realism, strict=True):
            row[alive] = measure.values(made.take(alive), batch.take(alive), self.bench)
            outcome[alive[~measure.accepts(row[alive])]] = UNREALISTIC
        # One pass says what is predicted and what is covered.
        positions = self.control is not None and self.control.positions is not None
        seen = observe(self.bench.model, np.ascontiguousarray(made.x[alive]), positions=positions)
        predicted = np.full(n, -1)
        predicted[alive] = seen.predicted
        real = outcome[alive] == CORNER_CASE
        admitted, added = self.guidance.admit(seen.take(np.flatnonzero(real)))
        outcome[alive[real][~admitted]] = NOTHING_NEW
        gains = np.full((len(added), n), -1)
        gains[:, alive[real]] = added
        self.bench.run.images += n
        return _Judged(made, outcome, predicted, realism, gains)

    def _write_down(self, iteration: int, batch: Seeds, judged: _Judged) -> None:
        for row in range(len(batch)):
            self._candidates.append(
                Candidate(
                    iteration=iteration,
                    seed=int(batch.index[row]),
                    depth=int(batch.depth[row]) + 1,
                    seed_label=int(batch.y[row]),
                    label=int(judged.made.y[row]),
                    predicted=int(judged.predicted[row]),
                    outcome=str(judged.outcome[row]),
                    reason=judged.made.refused.get(row, ""),
                    realism=tuple(judged.realism[:, row].tolist()),
                    gains=tuple(judged.gains[:, row].tolist()),
                )
            )

    def _keep(self, batch: Seeds, judged: _Judged) -> Seeds:
        """Keep the corner cases of a batch and return them as seeds; lay what was rejected aside."""
        corner = np.flatnonzero(judged.outcome == CORNER_CASE)
        self._rejected.append(judged.made.x[judged.outcome != CORNER_CASE])
        parent = batch.take(corner)
        kept = replace(parent, x=judged.made.x[corner], y=judged.made.y[corner], depth=parent.depth + 1)
        self._kept.append(kept)
        return kept


def _joined(parts: Sequence[Seeds]) -> Seeds:
    def together(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays)

    x, y, index, variant, depth, masks = map(together, ("x", "y", "index", "variant", "depth", "masks"))
    return Seeds(x, y, index, variant, depth, parts[0].entropy, masks)
