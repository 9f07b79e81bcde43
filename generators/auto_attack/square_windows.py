"""The squares of the Square attack: their sizes over the queries, and the patterns that fill them in norms 2 and 1."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images
from temper.core.threat_model import Norm

_FIRST_SHARE = 0.8
"""Share of the pixels that the first square covers (p)."""
_HALVED_AFTER = np.array([10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000])
"""Queries after which the share is halved."""
_TILES = 5


def square_sizes(steps: NDArray[np.int64], height: int, width: int, norm: Norm) -> NDArray[np.int64]:
    """Return the side of the square at each query, given the number of queries before it.

    The schedule is the paper's for 10,000 queries; like the authors' AutoAttack, it is not compressed to fewer.
    """
    share = _FIRST_SHARE / 2.0 ** np.searchsorted(_HALVED_AFTER, steps)
    sides = np.rint(np.sqrt(share * height * width)).astype(np.int64)
    # Odd for the patterns of norms 2 and 1, so that they have a middle row.
    sides = np.maximum(sides, 1) if norm == "inf" else np.maximum(sides, 3) | 1
    found: NDArray[np.int64] = np.minimum(sides, min(height, width))
    return found


def placed(
    corners: NDArray[np.int32], sides: NDArray[np.int64], turned: NDArray[np.bool_], shape: tuple[int, int], norm: Norm
) -> Images:
    """Return the pattern of each query in its square, zero outside, float32 (queries, h, w)."""
    made = np.zeros((len(sides), *shape), np.float32)
    for number, (side, turn) in enumerate(zip(sides.tolist(), turned.tolist(), strict=True)):
        top, left = corners[number, :2]
        made[number, top : top + side, left : left + side] = _pattern(side, turn, norm)
    return made


def tiled(rng: np.random.Generator, shape: tuple[int, int, int], norm: Norm) -> Images:
    """Return a start (h, w, c): tiles of the pattern with random signs."""
    height, width, channels = shape
    made = np.zeros(shape, np.float32)
    side = max(height // _TILES, 1)
    first = (height - side * _TILES) // 2 if height >= _TILES else 0
    for top in range(first, height - side + 1, side):
        for left in range(first, width - side + 1, side):
            sign = np.where(rng.random(channels) < 0.5, -1, 1)
            pattern = _pattern(side, bool(rng.random() < 0.5), norm)
            made[top : top + side, left : left + side] += pattern[:, :, None] * sign
    return made


@cache
def _pattern(side: int, turned: bool, norm: Norm) -> Images:
    """Return two bumps of opposite sign that fill a square, of length 1 in the norm."""
    made = np.zeros((side, side), np.float64)
    made[: side // 2] = _bump(side // 2, side, norm)
    made[side // 2 :] = -_bump(side - side // 2, side, norm)
    unit = (made / _length(made, norm)).astype(np.float32)
    return unit.T if turned else unit


def _bump(height: int, width: int, norm: Norm) -> NDArray[np.float64]:
    """Return concentric rectangles whose height falls with the distance from the middle, of length 1 in the norm."""
    made = np.zeros((height, width))
    middle = (height // 2 + 1, width // 2 + 1)
    top, left = middle[0] - 1, middle[1] - 1
    for ring in range(max(middle)):
        span = 2 * ring + 1
        rows = slice(max(top - ring, 0), min(top - ring + span, height))
        columns = slice(max(left - ring, 0), min(left - ring + span, width))
        made[rows, columns] += 1.0 / (ring + 1) ** (2 if norm == 2 else 4)
    length = _length(made, norm)
    return made / length if length else made


def _length(values: NDArray[np.float64], norm: Norm) -> float:
    return float(np.sqrt(np.square(values).sum()) if norm == 2 else np.abs(values).sum())
