"""Clusters of a unit's values: the best partition of numbers on a line, exactly, and how many clusters they have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_FEWEST = 10
"""Values below which there is one cluster."""


def centroids(values: NDArray[np.floating[Any]], most: int) -> Floats:
    """Return the centres of the clusters of values (n,), ascending, float64; none for no values.

    Values of exactly 0, a unit that is off, are a cluster of their own. The others have the 2 to ``most`` clusters of least
    squares whose mean silhouette is largest, the fewest of equals; fewer than ten values have one.
    """
    on = values[values != 0].astype(np.float64)
    off = np.zeros(int(len(on) < len(values)))
    return np.sort(np.concatenate([off, _of_active(on, most)]))


def nearest(values: NDArray[np.floating[Any]], centres: Floats) -> Ints:
    """Return the nearest of ascending centres for each value, the lower of two equally near, int64."""
    return np.searchsorted((centres[1:] + centres[:-1]) / 2, values).astype(np.int64)


def _of_active(values: Floats, most: int) -> Floats:
    if not len(values):
        return values
    x, counts = np.unique(values, return_counts=True)
    line = Line(x, counts)
    found = line.partitions(min(most, len(x))) if len(values) >= _FEWEST else []
    best = max(found, key=line.silhouette, default=np.array([0, len(x)]))
    return line.means(best)


class Line:
    """Numbers on a line, ascending and each once, with how often each occurs."""

    def __init__(self, x: Floats, counts: Ints) -> None:
        self._middle = float(x @ counts / counts.sum())  # against cancellation
        self._x, self._counts = x - self._middle, counts
        sums = (np.cumsum([0.0, *(counts * self._x**power)]) for power in range(3))
        self._weight, self._sum, self._squares = sums

    def means(self, ends: Ints) -> Floats:
        """Return the means of the clusters between consecutive ends."""
        means: Floats = np.diff(self._sum[ends]) / np.diff(self._weight[ends]) + self._middle
        return means

    def partitions(self, most: int) -> list[Ints]:
        """Return the partitions into 2, ..., ``most`` clusters of least sum of squares, each as the clusters' ends.

        Source: Wang and Song (2011), Ckmeans.1d.dp: Optimal k-means Clustering in One Dimension by Dynamic Programming;
        each cluster's start grows with its end, so that halves need searching only between their neighbours' starts.
        """
        n = len(self._x)
        costs, starts, found = self._cost(np.zeros(n + 1, np.int64), np.arange(n + 1)), [], []
        for k in range(2, most + 1):
            costs, start = self._one_more(costs, k)
            starts.append(start)
            ends = [n]
            for start in reversed(starts):
                ends.append(int(start[ends[-1]]))
            found.append(np.array([0, *reversed(ends)]))
        return found

    def silhouette(self, ends: Ints) -> float:
        """Return the mean silhouette of a partition, in [-1, 1].

        Source: Rousseeuw (1987), Silhouettes: A graphical aid to the interpretation and validation of cluster analysis.
        """
        place = np.arange(len(self._x))
        own = np.searchsorted(ends, place, side="right") - 1
        apart = np.stack([self._distances(place, ends[c], ends[c + 1]) for c in range(len(ends) - 1)])
        sizes = np.diff(self._weight[ends])
        inside = apart[own, place] / np.maximum(sizes[own] - 1, 1)
        apart /= sizes[:, None]
        apart[own, place] = np.inf
        outside = apart.min(axis=0)
        values = np.where(sizes[own] > 1, (outside - inside) / np.maximum(outside, inside), 0.0)
        return float(values @ self._counts / self._counts.sum())

    def _distances(self, place: Ints, start: int, end: int) -> Floats:
        """Return each number's summed distance from those of a cluster."""
        x, split = self._x, np.clip(place, start, end)
        left = x * (self._weight[split] - self._weight[start]) - (self._sum[split] - self._sum[start])
        right = (self._sum[end] - self._sum[split]) - x * (self._weight[end] - self._weight[split])
        distances: Floats = left + right
        return distances

    def _cost(self, start: Ints, end: Ints) -> Floats:
        """Return the sums of squares within [start, end), elementwise; 0 for nothing."""
        weight, total = self._weight[end] - self._weight[start], self._sum[end] - self._sum[start]
        squares = self._squares[end] - self._squares[start] - total**2 / np.maximum(weight, 1)
        cost: Floats = np.maximum(squares, 0)
        return cost

    def _one_more(self, costs: Floats, k: int) -> tuple[Floats, Ints]:
        """Return, for each end, the least cost of k clusters up to there, and where the last of them starts."""
        n = len(self._x)
        best, starts = np.full(n + 1, np.inf), np.full(n + 1, n)
        starts[:k] = k - 1
        step = 1 << n.bit_length()
        while step := step // 2:
            ends = np.arange(step, n + 1, 2 * step)
            ends = ends[ends >= k]
            if not len(ends):
                continue
            low = np.maximum(starts[ends - step], k - 1)
            above = np.where(ends + step > n, n, starts[np.minimum(ends + step, n)])
            high = np.minimum(above, ends - 1)
            lengths = high - low + 1
            first = np.cumsum(lengths) - lengths
            start = np.arange(lengths.sum()) - np.repeat(first - low, lengths)
            found = costs[start] + self._cost(start, np.repeat(ends, lengths))
            least = np.minimum.reduceat(found, first)
            at = np.flatnonzero(found == np.repeat(least, lengths))
            row = np.searchsorted(first, at, side="right") - 1
            _, once = np.unique(row, return_index=True)
            best[ends], starts[ends] = least, start[at[once]]
        return best, starts
