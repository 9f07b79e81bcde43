"""Stratified sampling: every class keeps its share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Labels


def stratified(labels: Labels, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return ``size`` positions in ``labels`` (n,), in ascending order, with each class in proportion.

    Every class gets the integer part of its quota ``size * count / n``; the rest goes one each to the classes with the
    largest remainders, with ties to the smaller label.

    Raises:
        ValueError: ``size`` is negative or larger than the number of labels.
    """
    if not 0 <= size <= len(labels):
        raise ValueError(f"expected a size of 0 to {len(labels)}, received {size}")
    if size == len(labels):
        return np.arange(size)
    names, counts = np.unique(labels, return_counts=True)
    # Integer arithmetic, so that equal remainders compare equal.
    quotas, remainders = np.divmod(size * counts.astype(np.int64), len(labels))
    quotas[np.argsort(-remainders, kind="stable")[: size - quotas.sum()]] += 1
    chosen = [
        rng.permutation(np.flatnonzero(labels == name))[:quota] for name, quota in zip(names, quotas, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def sample(labels: Labels, groups: Labels | None, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return positions, int64 (k,), from ``stratified``, or from ``grouped`` if there are groups."""
    return stratified(labels, size, rng) if groups is None else grouped(labels, groups, size, rng)


def grouped(labels: Labels, groups: Labels, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return about ``size`` positions in ``labels``, in ascending order: of each group all or none.

    Groups are sampled from every class until it is nearest to its share. A class of several groups contributes at least
    one and keeps at least one; a class of one group keeps it.

    Raises:
        ValueError: ``size`` is negative or larger than the number of labels, or a group holds several classes.
    """
    if not 0 <= size <= len(labels):
        raise ValueError(f"expected a size of 0 to {len(labels)}, received {size}")
    if size in (0, len(labels)):
        return np.arange(size)
    chosen = []
    for label in np.unique(labels):
        own = labels == label
        names, counts = np.unique(groups[own], return_counts=True)
        if np.isin(names, groups[~own]).any():
            raise ValueError(f"a group of class {label} contains other classes as well; expected one class per group")
        order = rng.permutation(len(names))
        misses = np.abs(np.cumsum(counts[order]) - size * own.sum() / len(labels))
        # Never all groups, so that the class keeps at least one image on the other side.
        taken = names[order[: 1 + np.argmin(misses[:-1])]] if len(names) > 1 else names[:0]
        chosen.append(np.flatnonzero(own & np.isin(groups, taken)))
    return np.sort(np.concatenate(chosen)).astype(np.int64)
