"""Neuron coverage (NC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from temper.core.component import Range
from temper.nn.adequacy.coverage import NO_CELL, CellCoverage, Counts, Criterion
from temper.nn.adequacy.reference_data import Arrays
from temper.nn.inspection.activations import Activations


@dataclass(frozen=True, kw_only=True)
class NC(Criterion):
    """Neuron coverage: the share of units that some input drives above a threshold.

    NC(T) = |{n : exists x in T, s_n(x) > t}| / |N|, where s_n(x) = (phi_n(x) - min) / (max - min) with the smallest and
    the largest value at any position of n's layer for x; 0 where they are equal. A feature map counts by its mean.

    Source: Pei, Cao, Yang and Jana (2017), DeepXplore: Automated Whitebox Testing of Deep Learning Systems, sec. 4.1; scaled
    as by its authors.
    """

    tag = "nc"

    threshold: Annotated[float, "t, the scaled value above which a unit counts as covered", Range(ge=0, lt=1)] = 0.75

    def coverage(self, profile: Arrays, like: Activations) -> CellCoverage:
        names = self.counted(like)
        units = like.units(names)

        def hits(seen: Activations) -> Counts:
            scaled = scaled_by_layer(seen, names)
            return np.where(scaled > self.threshold, np.arange(len(units)), NO_CELL)

        return CellCoverage(len(units), hits)


def scaled_by_layer(seen: Activations, names: tuple[str, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the units' values as a share of the range of their layer's values for the same image, float64 (n, units)."""
    parts = []
    for place, columns in zip(seen.places(names), seen.columns(names), strict=True):
        low = seen.low[:, place, None].astype(np.float64)
        width = seen.high[:, place, None] - low
        parts.append((seen.means[:, columns] - low) / np.where(width > 0, width, np.inf))
    return np.concatenate(parts, axis=1)
