"""Intervals of measured numbers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev


def wilson(hits: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion (95 % by default); (nan, nan) where ``n`` is 0.

    Source: Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    if n == 0:
        return float("nan"), float("nan")
    p, square = hits / n, z * z
    centre = (p + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * sqrt(p * (1 - p) / n + square / (4 * n * n))
    # Exactly 0 and 1 at the ends, or rounding would leave the proportion outside its own interval.
    return max(0.0, centre - half) if hits else 0.0, min(1.0, centre + half) if hits < n else 1.0


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return Student's t interval of the mean of independent runs.

    Raises:
        ValueError: fewer than two values, whose spread cannot be known.

    Source: Student (1908), The probable error of a mean.
    """
    if len(values) < 2:
        raise ValueError(f"interval of a mean: expected at least 2 values, received {len(values)}")
    from scipy.special import stdtrit

    centre = fmean(values)
    half = float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * stdev(values) / sqrt(len(values))
    return centre - half, centre + half


def difference_interval(
    first: Sequence[float], second: Sequence[float], confidence: float = 0.95
) -> tuple[float, float]:
    """Return Welch's t interval of the difference of two means of independent runs, whose spreads may differ.

    Raises:
        ValueError: fewer than two values on a side, whose spread cannot be known.

    Source: Welch (1947), The generalization of Student's problem when several different population variances are involved.
    """
    if (fewest := min(len(first), len(second))) < 2:
        raise ValueError(f"interval of a difference: expected at least 2 values on each side, received {fewest}")
    from scipy import stats

    with warnings.catch_warnings():
        # SciPy doubts the spread of equal values, which is 0.
        warnings.simplefilter("ignore", RuntimeWarning)
        found = stats.ttest_ind(first, second, equal_var=False).confidence_interval(confidence)
    return float(found.low), float(found.high)
