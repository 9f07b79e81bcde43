"""Choosing some of a data set so that every class keeps its share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.artefacts import Labels


def stratified(labels: Labels, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return ``size`` positions in ``labels``, in rising order, with each class in proportion.

    Every class gets the whole part of its quota ``size * count / n``; what is left goes one each to the classes
    with the largest remainders, of equal ones to the smaller label.

    Raises:
        ValueError: ``size`` is negative or larger than the number of labels.
    """
    if not 0 <= size <= len(labels):
        raise ValueError(f"expected a size of 0 to {len(labels)}, received {size}")
    if size == len(labels):
        return np.arange(size)
    names, counts = np.unique(labels, return_counts=True)
    # Whole numbers, so that equal remainders are equal.
    quotas, remainders = np.divmod(size * counts.astype(np.int64), len(labels))
    quotas[np.argsort(-remainders, kind="stable")[: size - quotas.sum()]] += 1
    chosen = [
        rng.permutation(np.flatnonzero(labels == name))[:quota] for name, quota in zip(names, quotas, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)
