"""Surprise by likelihood: how dense the training images of the class lie where an input is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from core.adequacy.material import Arrays
from core.adequacy.score import Scores
from core.networks.activations import Activations
from evaluation.surprise.spreads import LEAST, Floats, Spread, SpreadScore
from evaluation.surprise.traces import Groups, Match, judged_by_class

ROWS, COLUMNS = 1024, 4096
"""Kernels held at once."""


@dataclass(frozen=True, kw_only=True)
class LSA(SpreadScore):
    """Likelihood-based surprise adequacy, -ln of a kernel density estimate in nats.

    LSA(x) = -ln( 1/n sum_i N(a(x); a(x_i), s^2 C) ) over the n training images that get the same prediction; C is the
    covariance of their d traces' units, s = n^(-1 / (d + 4)) Scott's factor. A training image's own kernel is left out of its
    density. A density belongs to the units it is taken over: with ``mask: per_class`` these differ from class to class. No score
    where a class has fewer than two training images.

    Source: Kim, Feldt and Yoo (2019), Guiding Deep Learning System Testing Using Surprise Adequacy, eq. 2 and 3, whose code has
    ``mask: union`` and ``self_match: include``; Scott (1992), Multivariate Density Estimation.
    """

    tag = "lsa"

    self_match: Annotated[Match, "whether a training image's own kernel is in its density, as in published code"] = (
        "exclude"
    )

    def values(self, learnt: Arrays, seen: Activations, own: NDArray[np.int64], rng: np.random.Generator) -> Scores:
        groups = Groups(learnt)
        traces, support, places = self.traces(seen), np.asarray(learnt["traces"]), groups.places(own)
        scores = np.full(len(seen), np.nan)
        for label, rows in judged_by_class(seen, traces):
            part, spread = groups.slices[label], Spread(learnt, label)
            n, d = part.stop - part.start, spread.units
            if n < LEAST or not d:
                continue
            scott = n ** (-1 / (d + 4))
            constant = d * (np.log(2 * np.pi) / 2 + np.log(scott)) + spread.volume
            itself = places[rows] - part.start
            excluded = (itself >= 0) & (itself < n) & (self.self_match == "exclude")
            density = log_kernels(
                spread.white(traces[rows]) / scott,
                spread.white(support[groups.rows[part]]) / scott,
                np.where(excluded, itself, -1),
            )
            scores[rows] = constant + np.log(n - excluded) - density
        return scores


def log_kernels(points: Floats, support: Floats, without: NDArray[np.int64]) -> Floats:
    """Return ln sum_i exp(-|p - s_i|^2 / 2) of each point (m, d), the sum without one i for each; -1 leaves out none."""
    right = np.hstack([support, -np.einsum("ij,ij->i", support, support)[:, None] / 2])
    logs = np.empty(len(points))
    for start in range(0, len(points), ROWS):
        rows = slice(start, start + ROWS)
        left = np.hstack([points[rows], np.ones((len(points[rows]), 1))])
        highest, total = np.full(len(left), -np.inf), np.zeros(len(left))
        for first in range(0, len(support), COLUMNS):
            exponents = left @ right[first : first + COLUMNS].T
            at = without[rows] - first
            (hit,) = np.nonzero((without[rows] >= first) & (at < exponents.shape[1]))
            exponents[hit, at[hit]] = -np.inf
            top = np.maximum(highest, exponents.max(axis=1))
            shift = np.where(np.isfinite(top), top, 0.0)  # where all there is was left out
            exponents -= shift[:, None]
            total = total * np.exp(highest - shift) + np.exp(exponents, out=exponents).sum(axis=1)
            highest = top
        logs[rows] = highest + np.log(total) - np.einsum("ij,ij->i", points[rows], points[rows]) / 2
    return logs
