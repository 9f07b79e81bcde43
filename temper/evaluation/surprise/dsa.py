"""Surprise by distance: the distance of an input from its class, relative to that between classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from temper.core.errors import UndertrainedModelError
from temper.evaluation.surprise.neighbours import NO_POINT, Neighbours
from temper.evaluation.surprise.traces import Groups, Match, TraceJudge, TraceScore, Values
from temper.nn.adequacy.reference_data import Arrays, ReferenceData
from temper.nn.adequacy.score import Scores


@dataclass(frozen=True, kw_only=True)
class DSA(TraceScore):
    """Distance-based surprise adequacy: the distance from the own class relative to that between the classes.

    DSA(x) = |a(x) - a(x_a)| / |a(x_a) - a(x_b)|, where a(x) is the trace of x, x_a the nearest training image with the
    same prediction, and x_b the nearest to x_a with another. A training image is not its own x_a, else it would score
    0. There is no score if a class has no training image, or if x_a and x_b have the same trace.

    Source: Kim, Feldt and Yoo (2019), Guiding Deep Learning System Testing Using Surprise Adequacy, eq. 4 to 6.
    """

    tag = "dsa"

    self_match: Annotated[Match, "whether a training image may be its own nearest, as in the published code"] = (
        "exclude"
    )

    def fit(self, reference: ReferenceData) -> Arrays:
        learnt = self.learnt_traces(reference)
        if (Groups(learnt).sizes() > 0).sum() < 2:
            raise UndertrainedModelError(
                "dsa: expected training images of at least two predicted classes, received one; the model predicts one class"
            )
        return learnt

    def judge(self, learnt: Arrays) -> TraceJudge:
        return _Distances(learnt, self.self_match == "exclude")

    def remarks(self, learnt: Arrays) -> Iterator[str]:
        yield from Groups(learnt).remarks(least=1)


class _Distances(TraceJudge):
    """Scores by distance; the part that depends on the training images alone is computed once, on demand."""

    def __init__(self, learnt: Arrays, without_itself: bool) -> None:
        super().__init__(learnt)
        self._without_itself = without_itself
        self._neighbours = Neighbours(np.asarray(learnt["traces"])[self.groups.rows])
        self._apart = np.full(len(self.groups.rows), np.nan)

    def of_class(self, label: int, traces: Values, places: NDArray[np.int64]) -> Scores:
        inside = self.groups.slices[label]
        same = self._neighbours.nearest(traces, [inside], places if self._without_itself else None)
        found = same.rows != NO_POINT
        apart = np.full(len(traces), np.nan)
        apart[found] = self._from_others(inside, same.rows[found])
        with np.errstate(divide="ignore", invalid="ignore"):
            surprise = same.distances / apart
        return np.where(apart > 0, surprise, np.nan)

    def _from_others(self, inside: slice, rows: NDArray[np.int64]) -> Scores:
        """Return the distance of a class's training images from the nearest image of another class."""
        new = np.unique(rows[np.isnan(self._apart[rows])])
        outside = [slice(0, inside.start), slice(inside.stop, len(self._apart))]
        self._apart[new] = self._neighbours.nearest(self._neighbours.points[new], outside).distances
        return self._apart[rows]
