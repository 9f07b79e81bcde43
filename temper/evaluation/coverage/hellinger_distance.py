"""The Hellinger distance between the activations of a layer's units on images of two domains."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from temper.nn.inspection.activations import Activations

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Measured = tuple[Floats, Counts, Counts]
"""The units' distances in [0, 1], and the number of images of the first and second domain that activate each."""
BINS = 32
_SMOOTHING = 1e-6
_TOGETHER = 32


def of_histograms(one: Activations, two: Activations, place: int) -> Measured:
    """Return the distance of the units' values in two domains; units above 0 are active.

    HD = sqrt(1 - sum_b sqrt(p_b q_b)) over bins with equal shares of all values.
    """
    (columns,) = one.columns([one.layers[place].name])
    pairs = zip(_units(one, columns), _units(two, columns), strict=True)
    found = [(hellinger(a, b), (a > 0).sum(), (b > 0).sum()) for a, b in pairs]
    distances, in_one, in_two = np.array(found, np.float64).reshape(-1, 3).T
    return distances, in_one.astype(np.int64), in_two.astype(np.int64)


def _units(seen: Activations, columns: slice) -> Iterator[NDArray[np.float32]]:
    """Yield each unit's values (n,), read a few units at once since these are adjacent on disk."""
    for start in range(columns.start, columns.stop, _TOGETHER):
        yield from np.ascontiguousarray(seen.means[:, start : min(start + _TOGETHER, columns.stop)].T)


def hellinger(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    """Return the distance of two samples' distributions, in [0, 1]."""
    edges = np.unique(np.quantile(np.sort(np.concatenate([one, two])), np.arange(1, BINS) / BINS))
    p, q = (_shares(np.sort(values), edges) for values in (one, two))
    return float(np.sqrt(np.maximum(0, 1 - np.sqrt(p * q).sum())))


def _shares(ascending: NDArray[np.float32], edges: NDArray[np.floating]) -> Floats:
    """Return the share of values in each bin, smoothed.

    A value on an edge is in the bin below it: 0, of an inactive unit, never shares a bin with active values.
    """
    up_to = np.searchsorted(ascending, edges, side="right")
    counts = np.diff(up_to, prepend=0, append=len(ascending)) + _SMOOTHING
    return np.asarray(counts / counts.sum(), np.float64)


def of_indices(one: Activations, two: Activations, place: int) -> Measured:
    """Return the distance as in DeepKnowledge's code; the most active unit of the layer is active.

    HD = sqrt(1 - sum_r sqrt(p_r q_r)) / |R|, where p_r is the unit's share in the sum of its values that image number r of the
    first domain has, q_r likewise, and R are the numbers of the images of either.
    """
    units = one.layers[place].units
    who = [np.asarray(seen.peak[:, place]) % units for seen in (one, two)]
    values = [np.maximum(np.asarray(seen.high[:, place], np.float64), 0) for seen in (one, two)]
    sums = [np.bincount(w, v, units) for w, v in zip(who, values, strict=True)]
    active = [np.bincount(w, minlength=units) for w in who]
    n = min(len(one), len(two))
    both = np.flatnonzero(who[0][:n] == who[1][:n])
    unit = who[0][both]
    product = np.sqrt(values[0][both] * values[1][both])
    norm = np.sqrt(sums[0] * sums[1])
    overlap = np.bincount(unit, product, units) / np.where(norm > 0, norm, np.inf)
    either = active[0] + active[1] - np.bincount(unit, minlength=units)
    return np.sqrt(np.maximum(0, 1 - overlap)) / np.maximum(either, 1), active[0], active[1]
