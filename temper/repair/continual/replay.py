"""Replay: a memory of earlier images, and the order in which old and new ones are seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images, Labels

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images (n, h, w, c) and their labels (n,)."""

    x: Images
    y: Labels

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Rows) -> LabelledImages:
        """Return some of the images."""
        return LabelledImages(self.x[rows], self.y[rows])

    def of(self, classes: tuple[int, ...]) -> LabelledImages:
        """Return the images of some classes."""
        return self.take(np.flatnonzero(np.isin(self.y, classes)))

    def joined_with(self, other: LabelledImages) -> LabelledImages:
        """Return these images followed by others."""
        return LabelledImages(np.concatenate([self.x, other.x]), np.concatenate([self.y, other.y]))


def balanced_rows(y: Labels, per_class: int, rng: np.random.Generator) -> Rows:
    """Return the rows of ``per_class`` images sampled from each class, ascending; all of a class with fewer."""
    of_each = [np.flatnonzero(y == label) for label in np.unique(y)]
    drawn = [rng.permutation(rows)[:per_class] for rows in of_each]
    return np.sort(np.concatenate([*drawn, np.empty(0, np.int64)]))


def epoch_rows(new: int, old: int, batch_size: int, rng: np.random.Generator) -> Rows:
    """Return the rows of an epoch over ``new`` images followed by ``old`` remembered ones, in the order they are seen.

    Every ``batch_size`` new ones are followed by as many old ones. The epoch is one pass over the larger of the two;
    the smaller is repeated, in another order each time.
    """
    if not old:
        return rng.permutation(new)
    pairs = max(new, old)
    first, second = _cycled(new, pairs, rng), new + _cycled(old, pairs, rng)
    starts = range(0, pairs, batch_size)
    chunks = [rows[start : start + batch_size] for start in starts for rows in (first, second)]
    return np.concatenate(chunks)


def _cycled(size: int, length: int, rng: np.random.Generator) -> Rows:
    # Ceiling division.
    rounds = -(-length // size)
    return np.concatenate([rng.permutation(size) for _ in range(rounds)])[:length]
