"""Intervals of measured numbers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from math import atan2, cos, pi, sin, sqrt
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
    # Exactly 0 and 1 at the ends, or rounding could put the proportion outside its own interval.
    return max(0.0, centre - half) if hits else 0.0, min(1.0, centre + half) if hits < n else 1.0


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return Student's t interval of the mean of independent runs.

    Raises:
        ValueError: fewer than two values, whose spread is unknown.

    Source: Student (1908), The probable error of a mean.
    """
    if len(values) < 2:
        raise ValueError(f"interval of a mean: expected at least 2 values, received {len(values)}")
    centre = fmean(values)
    half = _student_t(len(values) - 1, confidence) * stdev(values) / sqrt(len(values))
    return centre - half, centre + half


@cache
def _student_t(df: int, confidence: float) -> float:
    """Return the t within whose two signs a share ``confidence`` of Student's distribution lies."""
    # Not SciPy's: tables are written where it is not installed.
    # Doubled until the interval contains the quantile.
    low, high = 0.0, 1.0
    # Bisection until the floats on both sides are neighbours: exact to the last digit.
    while _share_within(high, df) < confidence:
        high *= 2
    while low < (middle := (low + high) / 2) < high:
        if _share_within(middle, df) < confidence:
            low = middle
        else:
            high = middle
    return high


def _share_within(t: float, df: int) -> float:
    """Return the share of Student's distribution between -t and t.

    Source: Abramowitz and Stegun (1964), Handbook of mathematical functions, 26.7.3 and 26.7.4.
    """
    angle, even = atan2(t, sqrt(df)), df % 2 == 0
    term = total = 1.0 if even else cos(angle) * (df > 1)
    for i in range(2 if even else 3, df - 1, 2):
        term *= cos(angle) ** 2 * (i - 1) / i
        total += term
    return sin(angle) * total if even else 2 / pi * (angle + sin(angle) * total)


def difference_interval(
    first: Sequence[float], second: Sequence[float], confidence: float = 0.95
) -> tuple[float, float]:
    """Return Welch's t interval of the difference of two means of independent runs, whose spreads may differ.

    Raises:
        ValueError: fewer than two values on a side, whose spread is unknown.

    Source: Welch (1947), The generalization of Student's problem when several different population variances are
    involved.
    """
    if (fewest := min(len(first), len(second))) < 2:
        raise ValueError(f"interval of a difference: expected at least 2 values on each side, received {fewest}")
    from scipy import stats

    with warnings.catch_warnings():
        # SciPy warns of precision loss for equal values, whose spread is 0.
        warnings.simplefilter("ignore", RuntimeWarning)
        found = stats.ttest_ind(first, second, equal_var=False).confidence_interval(confidence)
    return float(found.low), float(found.high)
