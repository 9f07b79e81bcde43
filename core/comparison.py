"""Whether two samples of numbers differ, by how much, and whether so few numbers could have shown it at all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05
EXACT = 20_000  # ways to deal tied numbers out to two sides that are still counted one by one
EFFECTS = ((0.71, "large"), (0.64, "medium"), (0.56, "small"))

Sample = Sequence[float] | NDArray[np.float64]


def vargha_delaney(first: Sample, second: Sample) -> float:
    """Return A12, the probability that a number of the first sample is larger than one of the second, ties counted half.

    Source: Vargha and Delaney (2000), A Critique and Improvement of the CL Common Language Effect Size Statistics, eq. 1.
    """
    ordered, numbers = np.sort(np.asarray(second, float)), np.asarray(first, float)
    below, not_above = (np.searchsorted(ordered, numbers, side=side).sum() for side in ("left", "right"))
    return float((below + not_above) / (2 * len(ordered) * len(numbers)))


def magnitude(a12: float) -> str:
    """Return how large an effect is in a word: negligible, small, medium or large.

    Source: Vargha and Delaney (2000), table 1.
    """
    distance = max(a12, 1.0 - a12) + 1e-12  # 0.71 on one side is 0.29 on the other, up to rounding
    return next((word for least, word in EFFECTS if distance >= least), "negligible")


def mann_whitney(first: Sample, second: Sample) -> float:
    """Return the two-sided p of the Mann-Whitney U test: exact for small samples, ties included.

    Source: Mann and Whitney (1947), On a test of whether one of two random variables is stochastically larger.
    """
    from scipy import stats

    tied = len({*first, *second}) < len(first) + len(second)
    if tied and comb(len(first) + len(second), len(first)) <= EXACT:
        ranks = stats.rankdata([*first, *second])  # halves, which add up without rounding
        found = ranks[: len(first)].sum()
        sums = np.array([sum(chosen) for chosen in combinations(ranks.tolist(), len(first))])
        return min(1.0, 2 * float(min((sums <= found).mean(), (sums >= found).mean())))
    return float(stats.mannwhitneyu(first, second, alternative="two-sided").pvalue)


def wilcoxon(first: Sample, second: Sample) -> float:
    """Return the two-sided p of the Wilcoxon signed-rank test of paired samples; 1 where no pair differs.

    Source: Wilcoxon (1945), Individual comparisons by ranking methods.
    """
    from scipy import stats

    differences = np.subtract(first, second)
    return float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0


def smallest_p(first: int, second: int, paired: bool) -> float:
    """Return the smallest two-sided p that samples of these sizes can give: every number on one side of all others."""
    return min(1.0, 2.0 / (2**first if paired else comb(first + second, first)))


def holm(p: Sample) -> list[float]:
    """Return p values corrected for their number, in the same order.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    corrected, largest = [0.0] * len(p), 0.0
    for rank, at in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[at]))
        corrected[at] = largest
    return corrected


def bootstrap_mean(sample: Sample, resamples: int) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of a mean; ``None`` for fewer than two numbers, whose spread is not known.

    Source: Efron (1979), Bootstrap methods: another look at the jackknife.
    """
    return _interval(_means(sample, resamples, 0)) if len(sample) > 1 else None


def bootstrap_difference(first: Sample, second: Sample, resamples: int, paired: bool) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of the difference of two means; pairs are drawn as pairs.

    Source: Efron (1979), Bootstrap methods: another look at the jackknife.
    """
    if min(len(first), len(second)) < 2:
        return None
    if paired:
        return bootstrap_mean(np.subtract(first, second).tolist(), resamples)
    return _interval(_means(first, resamples, 0) - _means(second, resamples, 1))


def _means(sample: Sample, resamples: int, stream: int) -> np.ndarray:
    # The same numbers give the same interval, whatever the comparison is called.
    drawn = np.random.default_rng(stream).integers(len(sample), size=(resamples, len(sample)))
    means: np.ndarray = np.asarray(sample, float)[drawn].mean(axis=1)
    return means


def _interval(means: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
