"""Clusters of a unit's values: the exact optimal 1-D partition, and the number of clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_FEWEST = 10
"""Number of values below which there is one cluster."""
_DECIMALS = 2
"""Decimals of the centres in DeepImportance's code."""


def centroids(values: NDArray[np.floating[Any]], most: int) -> Floats:
    """Return the centres of the clusters of values (n,), ascending, float64; none for no values.

    Values of exactly 0, an inactive unit, form a separate cluster. The others get the 2 to ``most`` least-squares
    clusters with the largest mean silhouette, the fewest of ties; fewer than ten values have one.
    """
    on = values[values != 0].astype(np.float64)
    off = np.zeros(int(len(on) < len(values)))
    return np.sort(np.concatenate([off, _of_active(on, most)]))


def published(values: NDArray[np.floating[Any]], most: int, is_map: bool) -> Floats:
    """Return the centres as in DeepImportance's code: to two decimals, unique, and without a cluster for 0.

    Values of exactly 0 are excluded, unless they are means of a feature map. Fewer than ten values have one cluster, at 0.
    """
    counted = values if is_map else values[values != 0]
    if len(counted) < _FEWEST:
        return np.zeros(1)
    centres: Floats = np.unique(np.round(_of_active(counted.astype(np.float64), most), _DECIMALS)) + 0.0
    return centres


def nearest(values: NDArray[np.floating[Any]], centres: Floats) -> Ints:
    """Return the nearest of ascending centres for each value, the lower one in a tie, int64."""
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
    """Distinct numbers, ascending, with their counts."""

    def __init__(self, x: Floats, counts: Ints) -> None:
        self._middle = float((x * counts).sum() / counts.sum())  # centring avoids cancellation
        self._x, self._counts = x - self._middle, counts.astype(np.float64)
        self._weight, self._sum = (
            np.concatenate([[0.0], np.cumsum(part)]) for part in (self._counts, self._counts * self._x)
        )

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
        last = np.array([n])
        starts: list[Ints] = []
        less, found = self._less(np.zeros(n + 1, np.int64), np.arange(n + 1)), []
        for k in range(2, most + 1):
            # For the largest number of clusters, only the partition of all numbers is needed.
            more, start = self._one_more(less, k) if k < most else self._best(less, last, last * 0 + k - 1, last - 1)
            found.append(np.array([0, *_followed(starts, int(start[-1])), n]))
            starts.append(start)
            less = more
        return found

    def silhouette(self, ends: Ints) -> float:
        """Return the mean silhouette of a partition, in [-1, 1].

        Source: Rousseeuw (1987), Silhouettes: A graphical aid to the interpretation and validation of cluster analysis.
        """
        # In one dimension, the nearest other cluster is one of the two neighbours, entirely on one side.
        means = self.means(ends) - self._middle
        total = 0.0
        for c in range(len(ends) - 1):
            x, counts = self._x[ends[c] : ends[c + 1]], self._counts[ends[c] : ends[c + 1]]
            if (size := counts.sum()) > 1:
                inside = self._distances(int(ends[c]), int(ends[c + 1])) / (size - 1)
                outside = np.minimum(
                    x - means[c - 1] if c else np.inf, means[c + 1] - x if c + 2 < len(ends) else np.inf
                )
                total += float(((outside - inside) / np.maximum(outside, inside) * counts).sum())
        return total / float(self._weight[-1])

    def _distances(self, start: int, end: int) -> Floats:
        """Return the summed distance of each number of a cluster to all its numbers."""
        x, weight, total = self._x[start:end], self._weight[start : end + 1], self._sum[start : end + 1]
        left = x * (weight[:-1] - weight[0]) - (total[:-1] - total[0])
        right = (total[-1] - total[:-1]) - x * (weight[-1] - weight[:-1])
        distances: Floats = left + right
        return distances

    def _less(self, start: Ints, end: Ints) -> Floats:
        """Return how much the sum of squares of [start, end) decreases about its mean instead of 0; 0 if empty."""
        weight, total = self._weight[end] - self._weight[start], self._sum[end] - self._sum[start]
        less: Floats = total**2 / np.maximum(weight, 1)
        return less

    def _one_more(self, less: Floats, k: int) -> tuple[Floats, Ints]:
        """Return, for each end, the largest decrease by k clusters up to it, and where the last cluster starts.

        ``less`` is the same of k - 1 clusters.
        """
        n = len(self._x)
        best, starts = np.full(n + 1, -np.inf), np.full(n + 1, n)
        starts[:k] = k - 1
        step = 1 << n.bit_length()
        while step := step // 2:
            ends = np.arange(step, n + 1, 2 * step)
            ends = ends[ends >= k]
            if not len(ends):
                continue
            low = np.maximum(starts[ends - step], k - 1)
            above = np.where(ends + step > n, n, starts[np.minimum(ends + step, n)])
            best[ends], starts[ends] = self._best(less, ends, low, np.minimum(above, ends - 1))
        return best, starts

    def _best(self, less: Floats, ends: Ints, low: Ints, high: Ints) -> tuple[Floats, Ints]:
        """Return the same for some ends, whose last clusters start between low and high, both among the candidates."""
        lengths = high - low + 1
        first = np.cumsum(lengths) - lengths
        start = np.arange(lengths.sum()) - np.repeat(first - low, lengths)
        # Works on flat arrays, for few long ranges and many short ones alike.
        total = np.repeat(self._sum[ends], lengths) - self._sum[start]
        weight = np.repeat(self._weight[ends], lengths) - self._weight[start]
        found = total * total
        found /= weight
        found += less[start]
        most = np.maximum.reduceat(found, first)
        at = np.flatnonzero(found == np.repeat(most, lengths))
        row = np.searchsorted(first, at, side="right") - 1
        _, once = np.unique(row, return_index=True)
        return most, start[at[once]]


def _followed(starts: list[Ints], end: int) -> list[int]:
    """Return the starts of all clusters but the first, traced back from the one that ends at ``end``."""
    ends = [end]
    for start in reversed(starts):
        ends.append(int(start[ends[-1]]))
    return ends[::-1]
