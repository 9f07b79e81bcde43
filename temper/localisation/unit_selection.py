"""Selects the suspicious units of a class by score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from temper.artefacts.rankings import NO_UNIT, Indices, Scores
from temper.core.errors import StageError

Scope = Literal["network", "layer"]


def most_suspicious(
    scores: Scores, sizes: Sequence[int], top: int, scope: Scope, as_published: bool = False
) -> Indices:
    """Return the ``top`` units of highest score of one class, the highest first, int64 (k,).

    ``scores`` is float64 (units,) without nan, ``sizes`` the number of units of each layer in order. Ties are in order.
    With scope ``layer``, every layer contributes its ``top``, or all it has. ``as_published`` selects as DeepFault did
    in 2018: each layer is searched in order for units that score at least the ``top``-th highest, until ``top`` units
    have been found in total; with ties, later layers may add more.

    Raises:
        StageError: the network has fewer than ``top`` units.
    """
    all_units = np.arange(len(scores))
    layers = np.split(all_units, np.cumsum(sizes)[:-1])
    if scope == "layer":
        chosen = np.concatenate([_highest(scores, layer, top) for layer in layers])
    elif top > len(scores):
        raise StageError(f"expected at least {top} units to choose from, received {len(scores)}; lower `top`")
    else:
        chosen = _scanned(scores, layers, top) if as_published else _highest(scores, all_units, top)
    # Sorted by position first, so that ties come in order.
    return _highest(scores, np.sort(chosen), len(chosen))


def most_suspicious_by_class(
    scores: Scores, sizes: Sequence[int], top: int, scope: Scope, as_published: bool = False
) -> list[Indices]:
    """Return ``most_suspicious`` for each row of scores (classes, units); empty where a score is nan."""
    return [
        np.zeros(0, np.int64) if np.isnan(row).any() else most_suspicious(row, sizes, top, scope, as_published)
        for row in scores
    ]


def layers_of(units: Iterable[int], sizes: Sequence[int]) -> Indices:
    """Return all units of the layers that contain any of some units, int64, in order."""
    layers = np.repeat(np.arange(len(sizes)), sizes)
    found: Indices = np.flatnonzero(np.isin(layers, layers[np.fromiter(units, np.int64)]))
    return found


def padded(chosen: Sequence[Indices]) -> Indices:
    """Return the units of every class as one array (classes, most units), padded with ``NO_UNIT``."""
    selected = np.full((len(chosen), max((len(units) for units in chosen), default=0)), NO_UNIT, np.int64)
    for row, units in zip(selected, chosen, strict=True):
        row[: len(units)] = units
    return selected


def _highest(scores: Scores, units: Indices, top: int) -> Indices:
    order: Indices = units[np.argsort(-scores[units], kind="stable")[:top]]
    return order


def _scanned(scores: Scores, layers: Sequence[Indices], top: int) -> Indices:
    lowest = np.sort(np.concatenate([scores[layer] for layer in layers]))[-top]
    found: list[int] = []
    for layer in layers:
        for unit in layer.tolist():
            if scores[unit] >= lowest:
                found.append(unit)
            # Leaves this layer only: later layers may add more ties, as in DeepFault's code of 2018.
            if len(found) == top:
                break
    return np.array(found, np.int64)
