"""Intervals of measured numbers."""

from __future__ import annotations

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
    return max(0.0, centre - half), min(1.0, centre + half)


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
