"""Whether two samples of numbers differ, by how much, and whether so few numbers could have shown it at all."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, floor, inf, log10

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05
EXACT = 100
"""The most numbers, or pairs, for which p is exact."""
_DIGITS = 12
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
    """Return the two-sided p of the Mann-Whitney U test, ties included: exact for up to ``EXACT`` numbers, then SciPy's.

    Source: Mann and Whitney (1947), On a test of whether one of two random variables is stochastically larger.
    """
    from scipy import stats

    numbers = np.concatenate([rounded(first), rounded(second)])
    if len(numbers) > EXACT:
        return float(stats.mannwhitneyu(numbers[: len(first)], numbers[len(first) :], alternative="two-sided").pvalue)
    ranks = _doubled(stats.rankdata(numbers))
    return _two_sided(_subset_sums(ranks, len(first)), int(ranks[: len(first)].sum()))


def wilcoxon(first: Sample, second: Sample) -> float:
    """Return the two-sided p of the Wilcoxon signed-rank test of paired samples; 1 where no pair differs.

    Pairs that do not differ are left out. Exact, ties included, for up to ``EXACT`` pairs, then SciPy's.

    Source: Wilcoxon (1945), Individual comparisons by ranking methods.
    """
    from scipy import stats

    # Two infinite numbers do not differ.
    pairs = [(float(a), float(b)) for a, b in zip(first, second, strict=True)]
    differences = np.array([_rounded(a - b, max(abs(a), abs(b))) if a != b else 0.0 for a, b in pairs])
    differences = differences[differences != 0]
    if len(differences) > EXACT:
        return float(stats.wilcoxon(differences).pvalue)
    ranks = _doubled(stats.rankdata(np.abs(differences)))
    return _two_sided(_subset_sums(ranks), int(ranks[differences > 0].sum()))


def mcnemar(fixed: int, broken: int) -> float:
    """Return the two-sided p of McNemar's exact test that as many answers were fixed as were broken; 1 for none of either.

    Source: McNemar (1947), Note on the sampling error of the difference between correlated proportions or percentages.
    """
    from scipy import stats

    return float(stats.binomtest(fixed, fixed + broken).pvalue) if fixed + broken else 1.0


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


def rounded(sample: Sample) -> NDArray[np.float64]:
    """Return numbers to 12 significant digits, without what arithmetic adds to them: 0.1 + 0.2 and 0.3 tie."""
    return np.array([_rounded(float(number), abs(float(number))) for number in sample])


def _rounded(number: float, scale: float) -> float:
    """Return a number to 12 digits, counted from the first one of ``scale``."""
    return round(number, _DIGITS - 1 - floor(log10(scale))) if 0 < scale < inf else number


def _doubled(ranks: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return twice the ranks: those of ties are halves."""
    return np.rint(2 * ranks).astype(np.int64)


def _subset_sums(values: NDArray[np.int64], size: int | None = None) -> NDArray[np.float64]:
    """Return how likely each sum is, from 0 to that of all values, if all subsets, or all of one size, are equally likely."""
    ways = np.zeros((1 if size is None else size + 1, int(values.sum()) + 1))
    ways[0, 0] = 1
    for value in values:
        # The right-hand sides are copies: each value is in a subset once at most.
        if size is None:
            ways[:, value:] += ways[:, :-value].copy()
        else:
            ways[1:, value:] += ways[:-1, :-value].copy()
    shares: NDArray[np.float64] = ways[-1] / ways[-1].sum()
    return shares


def _two_sided(shares: NDArray[np.float64], found: int) -> float:
    return min(1.0, 2 * float(min(shares[: found + 1].sum(), shares[found:].sum())))
