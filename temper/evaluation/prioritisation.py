"""Test prioritisation: how soon faults are found in the order of a score, or of added coverage."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Annotated, Any, Self

import numpy as np

from temper.core.artefacts import Examples, Row
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.evaluation.cell_evaluation import FittedToModels
from temper.nn.adequacy.coverage import Criterion
from temper.nn.adequacy.score import Score
from temper.nn.adequacy.score_order import FaultOrder
from temper.nn.shared_stages.test_priority import CoveragePriority, ScorePriority

FIRST = (5, 10, 20)
"""The percentages of first inputs for which the share of faults found is reported."""


@dataclass(frozen=True, kw_only=True)
class Prioritisation(FittedToModels):
    """How soon misclassified inputs are found by checking inputs in the order of scores and of coverage.

    Each misclassified input is a fault that it alone reveals. apfd = 1 - sum_i place_i / (n m) + 1 / (2 n) for m faults
    at these positions, counted from 1, among n inputs; its note has the best possible value, 1 - m / (2 n), and 0.5 is
    chance. ``first_5`` is the share of the faults among the first 5 per cent of the inputs, rounded up. ``faults`` is
    the share of inputs that are misclassified. Criteria order inputs by what each adds to the coverage of those before
    it. Ties are in random order, inputs without a score come last.

    Source: Rothermel, Untch, Chu and Harrold (2001), Prioritizing Test Cases for Regression Testing, section 3; for misclassified
    inputs Feng et al. (2020), DeepGini: Prioritizing Massive Tests to Enhance the Robustness of Deep Neural Networks.
    """

    tag = "prioritisation"
    metrics = ("faults", "apfd", *(f"first_{share}" for share in FIRST))
    framework = False
    rows = ("model", "examples", "group")
    columns = ("metric",)

    models: Annotated[tuple[Ref[Classifier], ...], "the models whose faults are searched"]
    examples: Annotated[tuple[Ref[Examples], ...], "data sets and generators whose images are ordered"]
    scores: Annotated[tuple[Score, ...], "the scores to order by, in the group column"]
    criteria: Annotated[tuple[Criterion, ...], "the coverage criteria to order by, in the group column"] = ()

    @property
    def stochastic(self) -> bool:
        return any(score.stochastic or score.coarse for score in self.scores)

    def expand(self) -> Iterator[Self]:
        for cell in super().expand():
            for score in self.scores:
                yield dataclasses.replace(cell, scores=(score,), criteria=())
            for criterion in self.criteria:
                yield dataclasses.replace(cell, scores=(), criteria=(criterion,))

    def preparations(self) -> Mapping[str, Preparation]:
        assert self.data is not None
        about: dict[str, Any] = {"model": self.models[0], "data": self.data, "examples": self.examples[0]}
        if self.scores:
            return {"ordered": ScorePriority(score=self.scores[0], **about)}
        return {"ordered": CoveragePriority(criterion=self.criteria[0], **about)}

    def measure(self, run: Run) -> Iterable[Row]:
        ordered: FaultOrder = run.prepared("ordered")
        n, faults = len(ordered.order), int(ordered.faults.sum())
        about: dict[str, Any] = {**self.about(), "group": ordered.name}
        note = "; ".join(ordered.remarks)
        yield Row.proportion("faults", faults, n, higher_is_better=None, **about)
        if not faults:
            return
        best = f"best possible {1 - faults / (2 * n):.4f}"
        yield Row(
            metric="apfd",
            value=apfd(ordered),
            n=n,
            unit="proportion",
            higher_is_better=True,
            note="; ".join(filter(None, (best, note))),
            **about,
        )
        for share in FIRST:
            found = int(ordered.found[ceil(n * share / 100)])
            yield Row.proportion(f"first_{share}", found, faults, higher_is_better=True, note=note, **about)


def apfd(ordered: FaultOrder) -> float:
    """Return the average percentage of faults detected, in [0, 1], of an order with at least one fault."""
    places = np.flatnonzero(ordered.faults[ordered.order]) + 1
    n = len(ordered.order)
    return float(1 - places.sum() / (n * len(places)) + 1 / (2 * n))
