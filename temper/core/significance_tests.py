"""Whether two samples differ, by how much, and whether their sizes allow a significant result at all."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, floor, inf, log10

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05
MAX_EXACT = 100
"""The largest number of values, or pairs, for which p is exact."""
# Doubles have 15 to 17 significant digits; 12 leave room for the errors of a few operations.
_DIGITS = 12
EFFECTS = ((0.71, "large"), (0.64, "medium"), (0.56, "small"))

Sample = Sequence[float] | NDArray[np.float64]


def vargha_delaney(first: Sample, second: Sample) -> float:
    """Return A12, the probability that a value of the first sample exceeds one of the second, ties counted half.

    Source: Vargha and Delaney (2000), A Critique and Improvement of the CL Common Language Effect Size Statistics, eq.
    1.
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
    """Return the two-sided p of the Mann-Whitney U test, ties included: exact for up to ``MAX_EXACT`` values, then SciPy's.

    Source: Mann and Whitney (1947), On a test of whether one of two random variables is stochastically larger.
    """
    from scipy import stats

    numbers = np.concatenate([rounded(first), rounded(second)])
    if len(numbers) > MAX_EXACT:
        return float(stats.mannwhitneyu(numbers[: len(first)], numbers[len(first) :], alternative="two-sided").pvalue)
    ranks = _doubled_ranks(stats.rankdata(numbers))
    return _two_sided(_subset_sums(ranks, len(first)), int(ranks[: len(first)].sum()))


def wilcoxon(first: Sample, second: Sample) -> float:
    """Return the two-sided p of the Wilcoxon signed-rank test of paired samples; 1 where no pair differs.

    Pairs that do not differ are excluded. Exact, ties included, for up to ``MAX_EXACT`` pairs, then SciPy's.

    Source: Wilcoxon (1945), Individual comparisons by ranking methods.
    """
    from scipy import stats

    # inf - inf is nan, but two equal infinities do not differ.
    pairs = [(float(a), float(b)) for a, b in zip(first, second, strict=True)]
    differences = np.array([_rounded(a - b, max(abs(a), abs(b))) if a != b else 0.0 for a, b in pairs])
    differences = differences[differences != 0]
    if len(differences) > MAX_EXACT:
        return float(stats.wilcoxon(differences).pvalue)
    ranks = _doubled_ranks(stats.rankdata(np.abs(differences)))
    return _two_sided(_subset_sums(ranks), int(ranks[differences > 0].sum()))


def mcnemar(fixed: int, broken: int) -> float:
    """Return the two-sided p of McNemar's exact test that as many answers were fixed as broken; 1 if both are 0.

    Source: McNemar (1947), Note on the sampling error of the difference between correlated proportions or percentages.
    """
    from scipy import stats

    return float(stats.binomtest(fixed, fixed + broken).pvalue) if fixed + broken else 1.0


def smallest_p(first: int, second: int, paired: bool) -> float:
    """Return the smallest two-sided p that samples of these sizes allow: every value of one above all of the other."""
    return min(1.0, 2.0 / (2**first if paired else comb(first + second, first)))


def holm(p: Sample) -> list[float]:
    """Return p values corrected for multiple tests, in the same order.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    corrected, largest = [0.0] * len(p), 0.0
    for rank, at in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[at]))
        corrected[at] = largest
    return corrected


def rounded(sample: Sample) -> NDArray[np.float64]:
    """Return values rounded to 12 significant digits, float64 (n,), so that 0.1 + 0.2 and 0.3 tie."""
    return np.array([_rounded(float(number), abs(float(number))) for number in sample])


def _rounded(number: float, scale: float) -> float:
    """Return a number to 12 digits, counted from the first digit of ``scale``."""
    return round(number, _DIGITS - 1 - floor(log10(scale))) if 0 < scale < inf else number


def _doubled_ranks(ranks: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return twice the ranks, as integers: ties have half ranks."""
    return np.rint(2 * ranks).astype(np.int64)


def _subset_sums(values: NDArray[np.int64], size: int | None = None) -> NDArray[np.float64]:
    """Return the probability of each subset sum from 0 to the total; all subsets (of one size) are equally likely."""
    ways = np.zeros((1 if size is None else size + 1, int(values.sum()) + 1))
    # The empty subset sums to 0.
    ways[0, 0] = 1
    for value in values:
        # The right-hand sides are copies, so that each value enters a subset at most once.
        if size is None:
            ways[:, value:] += ways[:, :-value].copy()
        else:
            ways[1:, value:] += ways[:-1, :-value].copy()
    shares: NDArray[np.float64] = ways[-1] / ways[-1].sum()
    return shares


def _two_sided(shares: NDArray[np.float64], found: int) -> float:
    # Doubling the smaller tail may exceed 1 where the sample is at the centre.
    return min(1.0, 2 * float(min(shares[: found + 1].sum(), shares[found:].sum())))
