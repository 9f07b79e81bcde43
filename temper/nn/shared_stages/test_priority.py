"""Orders inputs by test priority, once for the metrics and the figures based on it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.display_names import display_name
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.nn.adequacy.coverage import Criterion
from temper.nn.adequacy.reference_data import Arrays
from temper.nn.adequacy.score import Score, Scores, descending
from temper.nn.adequacy.score_order import FaultOrder, InputScores
from temper.nn.inspection.activations import Activations
from temper.nn.shared_stages.activation_readout import ActivationReadout
from temper.nn.shared_stages.input_scores import InputScoring
from temper.nn.shared_stages.training_profile import CriterionProfile

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class _Priority(Preparation):
    """An order of inputs, with those the model misclassifies."""

    produces = FaultOrder
    framework = False

    model: Annotated[Ref[Classifier], "the model to inspect"]
    data: Annotated[Ref[Examples], "the training images"]
    examples: Annotated[Ref[Examples], "the inputs to order"]

    def preparations(self) -> Mapping[str, Preparation]:
        fitting = self.fitting()
        seen = ActivationReadout(model=self.model, examples=self.examples, positions=self.positions)
        return {"seen": seen} | ({"learnt": fitting} if fitting else {})

    def produce(self, run: Run) -> FaultOrder:
        seen: Activations = run.prepared("seen")
        order, remarks = self.order(run, seen)
        run.images += len(seen)
        return FaultOrder(self.name, order, seen.predicted != run[self.examples].y, remarks)

    @property
    def positions(self) -> bool:
        """Whether it needs every position of feature maps."""
        return False

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the order."""

    @abstractmethod
    def fitting(self) -> Preparation | None:
        """Return the preparation named ``learnt``, if any."""

    @abstractmethod
    def order(self, run: Run, seen: Activations) -> tuple[Rows, tuple[str, ...]]:
        """Return the inputs in order, int64 (n,), and notes for the reader."""


@dataclass(frozen=True, kw_only=True)
class ScorePriority(_Priority):
    """Inputs from the highest score to the lowest, ties in random order, those without a score last.

    Source: the score's.
    """

    tag = "score_priority"

    score: Score

    @property
    def stochastic(self) -> bool:
        return self.score.stochastic or self.score.coarse

    @property
    def name(self) -> str:
        return display_name(self.score)

    def fitting(self) -> Preparation:
        return InputScoring(model=self.model, data=self.data, examples=self.examples, score=self.score)

    def order(self, run: Run, seen: Activations) -> tuple[Rows, tuple[str, ...]]:
        scored: InputScores = run.prepared("learnt")
        return descending(scored.values, run.rng("order")), (*scored.remarks, *_tie_note(scored.values))


@dataclass(frozen=True, kw_only=True)
class CoveragePriority(_Priority):
    """Inputs in greedy order of what each adds to the coverage of those before it, starting from none.

    Source: the criterion's; the order is that of temper.nn.adequacy.coverage.
    """

    tag = "coverage_priority"

    criterion: Criterion

    @property
    def stochastic(self) -> bool:
        return False

    @property
    def name(self) -> str:
        return display_name(self.criterion)

    @property
    def positions(self) -> bool:
        return self.criterion.positions

    def fitting(self) -> Preparation | None:
        if not self.criterion.learns:
            return None
        return CriterionProfile(model=self.model, data=self.data, criterion=self.criterion)

    def order(self, run: Run, seen: Activations) -> tuple[Rows, tuple[str, ...]]:
        learnt: Arrays = run.prepared("learnt").arrays if self.criterion.learns else {}
        coverage = self.criterion.coverage(learnt, seen)
        return coverage.additional_order(seen), tuple(coverage.remarks)


def _tie_note(values: Scores) -> tuple[str, ...]:
    """Return a note on the share of inputs in random order, if it is at least 1 %."""
    _, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    share = counts[counts > 1].sum() / max(1, len(values))
    # Below 1 % the random order of ties hardly matters.
    return (f"{share:.0%} of the inputs have tied scores, in random order",) if share >= 0.01 else ()
