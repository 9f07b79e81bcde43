"""Scores inputs, once for all stages that order, summarise or sample them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.display_names import display_name
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.nn.adequacy.reference_data import Arrays
from temper.nn.adequacy.score import NOT_FITTED_ON, Score, Scores
from temper.nn.adequacy.score_order import InputScores
from temper.nn.inspection.activations import Activations
from temper.nn.shared_stages.activation_readout import ActivationReadout
from temper.nn.shared_stages.training_profile import ScoreProfile


@dataclass(frozen=True, kw_only=True)
class InputScoring(Preparation):
    """The scores of inputs; each training image among them is compared with the others only.

    Source: the score's.
    """

    tag = "scoring"
    produces = InputScores
    framework = False

    model: Annotated[Ref[Classifier], "the model to inspect"]
    data: Annotated[Ref[Examples], "the training images"]
    examples: Annotated[Ref[Examples], "the inputs to score"]
    score: Score

    @property
    def stochastic(self) -> bool:
        return self.score.stochastic

    def preparations(self) -> Mapping[str, Preparation]:
        seen = ActivationReadout(model=self.model, examples=self.examples)
        if not self.score.learns:
            return {"seen": seen}
        return {"seen": seen, "profile": ScoreProfile(model=self.model, data=self.data, score=self.score)}

    def produce(self, run: Run) -> InputScores:
        seen: Activations = run.prepared("seen")
        learnt: Arrays = run.prepared("profile").arrays if self.score.learns else {}
        n = len(seen)
        # A training image would be its own nearest neighbour, at distance 0.
        own = np.arange(n) if self.examples == self.data else np.full(n, NOT_FITTED_ON)
        values = self.score.values(learnt, seen, own, run.rng(f"score {self.examples}"))
        run.images += n
        return InputScores(display_name(self.score), values, (*self.score.remarks(learnt), *_unscored(values)))


def _unscored(values: Scores) -> Iterator[str]:
    if missing := int(np.isnan(values).sum()):
        yield f"{missing} of {len(values)} inputs have no score"
