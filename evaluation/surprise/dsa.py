"""Surprise by distance: how far an input is from its class, against how far apart the classes are there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from core.adequacy.material import Arrays, Material
from core.adequacy.score import Scores
from core.faults import StageError
from core.networks.activations import Activations
from evaluation.surprise.neighbours import NOBODY, Neighbours
from evaluation.surprise.traces import Groups, Match, TraceScore, judged_by_class


@dataclass(frozen=True, kw_only=True)
class DSA(TraceScore):
    """Distance-based surprise adequacy: the distance from the own class against that between the classes.

    DSA(x) = |a(x) - a(x_a)| / |a(x_a) - a(x_b)|, where a(x) is the trace of x, x_a the nearest training image that gets the same
    prediction, and x_b the nearest to x_a that gets another. A training image is not its own x_a, else it would score 0. No
    score where a class has no training image, or where x_a and x_b have the same trace.

    Source: Kim, Feldt and Yoo (2019), Guiding Deep Learning System Testing Using Surprise Adequacy, eq. 4 to 6.
    """

    tag = "dsa"

    self_match: Annotated[Match, "whether a training image may be its own nearest, as in published code"] = "exclude"

    def fit(self, material: Material) -> Arrays:
        learnt = self.learnt_traces(material)
        if (Groups(learnt).sizes() > 0).sum() < 2:
            raise StageError(
                "dsa: expected training images of at least two predicted classes, received one; the model says the same of all"
            )
        return learnt

    def values(self, learnt: Arrays, seen: Activations, own: NDArray[np.int64], rng: np.random.Generator) -> Scores:
        groups = Groups(learnt)
        traces, places = self.traces(seen), groups.places(own)
        neighbours = Neighbours(np.asarray(learnt["traces"])[groups.rows])
        scores = np.full(len(seen), np.nan)
        for label, rows in judged_by_class(seen, traces):
            inside = groups.slices[label]
            outside = [slice(0, inside.start), slice(inside.stop, len(groups.rows))]
            without = places[rows] if self.self_match == "exclude" else None
            same = neighbours.nearest(traces[rows], [inside], without)
            found = same.rows != NOBODY
            # What lies outside depends on x_a alone, and many inputs share theirs.
            nearest, which = np.unique(same.rows[found], return_inverse=True)
            apart = neighbours.nearest(neighbours.points[nearest], outside).distances[which]
            with np.errstate(divide="ignore", invalid="ignore"):
                surprise = same.distances[found] / apart
            scores[rows[found]] = np.where(apart > 0, surprise, np.nan)
        return scores

    def remarks(self, learnt: Arrays) -> Iterator[str]:
        yield from Groups(learnt).remarks(least=1)
