"""Scores inputs, once for everything that orders, summarises or draws them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from core.adequacy.material import Arrays
from core.adequacy.score import NOT_LEARNT, Score, Scores
from core.adequacy.scored import Scored
from core.artefacts import Examples
from core.classifier import Classifier
from core.component import Ref
from core.naming import named
from core.networks.activations import Activations
from core.preparations.observation import Observation
from core.preparations.profile import ScoreProfile
from core.run import Run
from core.stage import Preparation


@dataclass(frozen=True, kw_only=True)
class Scoring(Preparation):
    """What a score says of inputs; where these are the training images, each is compared with the others only.

    Source: the score's.
    """

    tag = "scoring"
    produces = Scored
    framework = False

    model: Annotated[Ref[Classifier], "the model to look into"]
    data: Annotated[Ref[Examples], "the training images"]
    examples: Annotated[Ref[Examples], "the inputs to score"]
    score: Score

    @property
    def stochastic(self) -> bool:
        return self.score.stochastic

    def preparations(self) -> Mapping[str, Preparation]:
        seen = Observation(model=self.model, examples=self.examples)
        if not self.score.learns:
            return {"seen": seen}
        return {"seen": seen, "profile": ScoreProfile(model=self.model, data=self.data, score=self.score)}

    def produce(self, run: Run) -> Scored:
        seen: Activations = run.prepared("seen")
        learnt: Arrays = run.prepared("profile").arrays if self.score.learns else {}
        n = len(seen)
        own = np.arange(n) if self.examples == self.data else np.full(n, NOT_LEARNT)
        values = self.score.values(learnt, seen, own, run.rng(f"score {self.examples}"))
        run.images += n
        return Scored(named(self.score), values, (*self.score.remarks(learnt), *_unjudged(values)))


def _unjudged(values: Scores) -> Iterator[str]:
    if missing := int(np.isnan(values).sum()):
        yield f"{missing} of {len(values)} inputs have no score"
