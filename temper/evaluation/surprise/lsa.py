"""Surprise by likelihood: the density of the class's training images at an input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from temper.evaluation.surprise.spreads import LEAST, Floats, Spread, SpreadScore
from temper.evaluation.surprise.traces import Match, TraceJudge, Values
from temper.nn.adequacy.reference_data import Arrays
from temper.nn.adequacy.score import Scores

ROWS, COLUMNS = 256, 1024
"""Number of kernels held at once."""
FAINT = -600.0
"""The exponent below which a kernel is near or below the smallest float."""


@dataclass(frozen=True, kw_only=True)
class LSA(SpreadScore):
    """Likelihood-based surprise adequacy, -ln of a kernel density estimate in nats.

    LSA(x) = -ln( 1/n sum_i N(a(x); a(x_i), s^2 C) ) over the n training images with the same prediction; C is the
    covariance of their d traces' units, s = n^(-1 / (d + 4)) Scott's factor. A training image's own kernel is excluded
    from its density. A density depends on the units it is computed over: with ``mask: per_class`` these differ by
    class. There is no score if a class has fewer than two training images.

    Source: Kim, Feldt and Yoo (2019), Guiding Deep Learning System Testing Using Surprise Adequacy, eq. 2 and 3, whose code has
    ``mask: union``, ``self_match: include`` and ``singular: published``; Scott (1992), Multivariate Density Estimation.
    """

    tag = "lsa"

    self_match: Annotated[
        Match, "whether a training image's own kernel is in its density, as in the published code"
    ] = "exclude"

    def judge(self, learnt: Arrays) -> TraceJudge:
        return _Densities(learnt, self.self_match == "exclude")


class _Densities(TraceJudge):
    """Scores by density, from the kernels of each class's training images, cached."""

    def __init__(self, learnt: Arrays, without_itself: bool) -> None:
        super().__init__(learnt)
        self._learnt, self._without_itself = learnt, without_itself
        self._of: dict[int, Kernels | None] = {}

    def of_class(self, label: int, traces: Values, places: NDArray[np.int64]) -> Scores:
        if label not in self._of:
            self._of[label] = self._kernels(label)
        kernels, part = self._of[label], self.groups.slices[label]
        if kernels is None:
            return np.full(len(traces), np.nan)
        inside = (places >= part.start) & (places < part.stop) & self._without_itself
        return -kernels.log_density(traces, np.where(inside, places - part.start, -1))

    def _kernels(self, label: int) -> Kernels | None:
        rows, spread = self.groups.rows[self.groups.slices[label]], Spread(self._learnt, label)
        if len(rows) < LEAST or not spread.units:
            return None
        return Kernels(spread, np.asarray(self._learnt["traces"])[rows])


class Kernels:
    """Gaussian kernels on n training images of one class, with Scott's width relative to their spread."""

    def __init__(self, spread: Spread, traces: Values) -> None:
        n, d = len(traces), spread.units
        self._spread, self._n, self._width = spread, n, n ** (-1 / (d + 4))
        self._volume = d * (np.log(2 * np.pi) / 2 + np.log(self._width)) + spread.volume
        self._right = _extended(spread.white(traces, self._width), first=False)

    def log_density(self, traces: Values, without: NDArray[np.int64]) -> Floats:
        """Return ln of the mean kernel at traces (m, units), each without kernel ``without`` (m,); -1 excludes none."""
        logs = np.empty(len(traces))
        for start in range(0, len(traces), ROWS):
            rows = slice(start, start + ROWS)
            logs[rows] = self._log_sum(
                _extended(self._spread.white(traces[rows], self._width), first=True), without[rows]
            )
        return np.asarray(logs - np.log(self._n - (without >= 0)) - self._volume)

    def _log_sum(self, left: Floats, without: NDArray[np.int64]) -> Floats:
        """Return ln sum_i exp(-|p - s_i|^2 / 2) of each row p."""
        top, shift, total = np.full(len(left), -np.inf), np.full(len(left), -np.inf), np.zeros(len(left))
        for first in range(0, self._n, COLUMNS):
            exponents = left @ self._right[first : first + COLUMNS].T
            at = without - first
            (hit,) = np.nonzero((at >= 0) & (at < exponents.shape[1]))
            exponents[hit, at[hit]] = -np.inf
            np.maximum(top, exponents.max(axis=1), out=top)
            # Log-sum-exp: where even the largest kernel underflows, scale all by it.
            moved = np.where((top < FAINT) & np.isfinite(top), top, 0.0)
            if moved.any():
                exponents -= moved[:, None]
            total = total * np.exp(shift - moved) + np.exp(exponents, out=exponents).sum(axis=1)
            shift = moved
        logs: Floats = shift + np.log(total)
        return logs


def _extended(points: Floats, *, first: bool) -> Floats:
    """Return points p (m, d) extended by 1 and -|p|^2 / 2, so that products of two are -|p - s|^2 / 2."""
    half = -np.einsum("ij,ij->i", points, points) / 2
    extended = np.empty((len(points), points.shape[1] + 2))
    extended[:, :-2] = points
    extended[:, -2 if first else -1] = half
    extended[:, -1 if first else -2] = 1
    return extended
