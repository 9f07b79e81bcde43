"""Surprise by Mahalanobis distance: how far an input is from the middle of its class, in the class's own measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.adequacy.material import Arrays
from core.adequacy.score import Scores
from core.networks.activations import Activations
from evaluation.surprise.spreads import Spread, SpreadScore
from evaluation.surprise.traces import judged_by_class


@dataclass(frozen=True, kw_only=True)
class MDSA(SpreadScore):
    """Mahalanobis distance-based surprise adequacy, sqrt((a(x) - m)^T C^-1 (a(x) - m)).

    m and C are the mean and the covariance of the traces of the training images that get the same prediction. A training image
    is one of the many that make both, itself included. No score where a class has fewer than two training images.

    Source: Kim, Ju, Feldt and Yoo (2020), Reducing DNN Labelling Cost using Surprise Adequacy: An Industrial Case Study for
    Autonomous Driving, section 2.
    """

    tag = "mdsa"

    def values(self, learnt: Arrays, seen: Activations, own: NDArray[np.int64], rng: np.random.Generator) -> Scores:
        traces = self.traces(seen)
        scores = np.full(len(seen), np.nan)
        for label, rows in judged_by_class(seen, traces):
            spread = Spread(learnt, label)
            if spread.units:
                scores[rows] = np.linalg.norm(spread.white(traces[rows]), axis=1)
        return scores
