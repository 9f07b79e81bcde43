"""Surprise by Mahalanobis distance: the distance of an input from the mean of its class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from temper.evaluation.surprise.spreads import Spread, SpreadScore
from temper.evaluation.surprise.traces import TraceJudge, Values
from temper.nn.adequacy.reference_data import Arrays
from temper.nn.adequacy.score import Scores


@dataclass(frozen=True, kw_only=True)
class MDSA(SpreadScore):
    """Mahalanobis distance-based surprise adequacy, sqrt((a(x) - m)^T C^-1 (a(x) - m)).

    m and C are the mean and the covariance of the traces of the training images with the same prediction. For a
    training image, both include the image itself. There is no score if a class has fewer than two training images.

    Source: Kim, Ju, Feldt and Yoo (2020), Reducing DNN Labelling Cost using Surprise Adequacy: An Industrial Case Study for
    Autonomous Driving, section 2.
    """

    tag = "mdsa"

    def judge(self, learnt: Arrays) -> TraceJudge:
        return _FromMeans(learnt)


class _FromMeans(TraceJudge):
    """Scores by the distance from the class's mean."""

    def __init__(self, learnt: Arrays) -> None:
        super().__init__(learnt)
        self._learnt = learnt

    def of_class(self, label: int, traces: Values, places: NDArray[np.int64]) -> Scores:
        spread = Spread(self._learnt, label)
        return np.linalg.norm(spread.white(traces), axis=1) if spread.units else np.full(len(traces), np.nan)
