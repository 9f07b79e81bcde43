"""Nearest-neighbour search: matrix products to find candidates, float64 differences to decide between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.floating]
Rows = NDArray[np.int64]

ROWS, COLUMNS = 1024, 4096
"""Number of distances held at once."""
PAIRS = 2**20
"""Number of candidates held at once, before they are compared."""
NUMBERS = 2**22
"""Number of coordinates held at once when candidates are compared."""
NO_POINT = -1
_UNIT = float(np.finfo(np.float32).eps)
_FAR = 1e30
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest point of each query: its row, or ``NOBODY`` with an infinite distance where there is none."""

    rows: Rows
    distances: NDArray[np.float64]


class Neighbours:
    """Points (n, d) to search for the nearest.

    Squared distances are first computed as |p|^2 - 2 q.p + |q|^2 in float32, with one matrix product per block. All
    candidates within the product's rounding error are then compared in float64, so that the result is exact. Memory is
    bounded by the blocks, whatever n.

    Raises:
        ValueError: a coordinate is not finite.
    """

    def __init__(self, points: Points) -> None:
        if not np.isfinite(points).all():
            raise ValueError("neighbours: expected finite coordinates")
        self.points = points
        # Centred and scaled to size one: small norms have small rounding errors, and none overflows.
        self._middle = points.mean(axis=0, dtype=np.float64) if len(points) else np.zeros(points.shape[1])
        self._size = max(
            (float(np.abs(points[b] - self._middle).max(initial=0.0)) for b in _blocks(len(points))), default=0
        )
        self._size = self._size or 1.0
        self._scaled, self._norms = self._prepared(points)
        # Bound on the relative error of a dot product of d + 1 numbers, each rounded once before.
        self._error = (points.shape[1] + 8) * _UNIT
        self._lower = self._norms * np.float32(1 - self._error)

    def nearest(self, queries: Points, among: Sequence[slice], without: Rows | None = None) -> Nearest:
        """Return the nearest points of queries (m, d) in some ranges of rows; of ties the first.

        ``without`` (m,) is a row to skip for each query; ``NOBODY`` names none.
        """
        m = len(queries)
        found = Nearest(np.full(m, NO_POINT), np.full(m, np.inf))
        for block in _blocks(m, ROWS):
            scaled, norms = self._prepared(queries[block])
            # For a query too far away for float32, every point is a candidate.
            far = ~(norms < _FAR)
            scaled[far], norms[far] = 0.0, _FAR
            left = np.hstack([-2 * scaled, np.ones((len(scaled), 1), np.float32)])
            barred = None if without is None else without[block]
            for rows, columns in self._candidates(left, norms, among, barred):
                self._tell_apart(queries, rows + block.start, columns, found)
        np.sqrt(found.distances, out=found.distances)
        return found

    def _prepared(self, points: Points) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return points centred and scaled to size one in float32, and their squared norms."""
        scaled = np.empty(points.shape, np.float32)
        with np.errstate(over="ignore"):
            for block in _blocks(len(points)):
                scaled[block] = (points[block] - self._middle) / self._size
            return scaled, np.einsum("ij,ij->i", scaled, scaled)

    def _candidates(
        self, left: NDArray[np.float32], norms: NDArray[np.float32], among: Sequence[slice], barred: Rows | None
    ) -> Iterator[tuple[Rows, Rows]]:
        """Yield the pairs of query and point that may be the nearest, as rows of the block and of the points."""
        pending: list[tuple[Rows, Rows, NDArray[np.float32]]] = []
        least = np.full(len(left), np.inf, np.float32)

        def possible() -> tuple[Rows, Rows]:
            rows, columns, bounds = (np.concatenate(parts) for parts in zip(*pending, strict=True))
            pending.clear()
            kept = bounds <= least[rows]
            return rows[kept], columns[kept]

        for block in (block for part in among for block in _blocks(part.stop, COLUMNS, part.start)):
            right = np.hstack([self._scaled[block], self._lower[block, None]])
            below = left @ right.T  # lower bound on the squared distance, minus the query's own norm
            if barred is not None:
                (hit,) = np.nonzero((barred >= block.start) & (barred < block.stop))
                below[hit, barred[hit] - block.start] = np.inf
            at = below.argmin(axis=1)
            # Upper bound on the squared distance of the apparently nearest point: points not above it may be nearer.
            slack = 2 * self._error * (norms + self._norms[block][at]) + _TINY
            least = np.minimum(least, np.take_along_axis(below, at[:, None], axis=1)[:, 0] + slack)
            # flatnonzero is ten times as fast as nonzero here.
            rows, places = np.divmod(np.flatnonzero(below <= least[:, None]), below.shape[1])
            bounds = below[rows, places]
            known = np.isfinite(bounds)
            pending.append((rows[known], places[known] + block.start, bounds[known]))
            if sum(len(rows) for rows, _, _ in pending) > PAIRS:
                yield possible()
        if pending:
            yield possible()

    def _tell_apart(self, queries: Points, rows: Rows, columns: Rows, found: Nearest) -> None:
        """Update the nearest points with candidates that are nearer, and their squared distances."""
        for block in _blocks(len(rows), max(1, NUMBERS // max(1, queries.shape[1]))):
            who, points = rows[block], columns[block]
            apart = queries[who].astype(np.float64) - self.points[points]
            exact = np.einsum("ij,ij->i", apart, apart)
            best = np.lexsort((points, exact, who))
            best = best[np.unique(who[best], return_index=True)[1]]
            best = best[exact[best] < found.distances[who[best]]]
            found.rows[who[best]], found.distances[who[best]] = points[best], exact[best]


def _blocks(stop: int, size: int = COLUMNS, start: int = 0) -> Iterator[slice]:
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))
