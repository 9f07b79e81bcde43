"""The bounds of each unit's value on the training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from temper.core.component import Range
from temper.core.errors import StageError
from temper.nn.adequacy.coverage import Criterion
from temper.nn.adequacy.reference_data import Arrays, ReferenceData

Values = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Bounded(Criterion):
    """A criterion based on the bounds of each unit's value on the training images."""

    sigma: Annotated[
        float,
        "number of standard deviations of the training images' values by which each bound is widened",
        Range(ge=0),
    ] = 0.0

    def profile(self, reference: ReferenceData) -> dict[str, NDArray[Any]]:
        if not len(reference.activations):
            raise StageError(f"{self.tag}: expected training images to compute bounds from, received none")
        reference = reference.finite()
        seen = reference.activations
        columns = seen.units(self.counted(seen))
        low, high = (np.full(len(columns), end) for end in (np.inf, -np.inf))
        total, squares = np.zeros(len(columns)), np.zeros(len(columns))
        middle = seen.means[0, columns].astype(np.float64)  # centring avoids cancellation in the sum of squares
        for block in seen.blocks():
            values = block.means[:, columns].astype(np.float64)
            low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
            total += (values - middle).sum(axis=0)
            squares += ((values - middle) ** 2).sum(axis=0)
        variance = squares / len(seen) - (total / len(seen)) ** 2
        margin = self.sigma * np.sqrt(np.maximum(variance, 0))
        return {"low": low - margin, "high": high + margin, "excluded": np.array(reference.excluded)}


@dataclass(frozen=True, kw_only=True)
class Crossed(Bounded):
    """A criterion of the units that inputs drive beyond these bounds."""

    tolerance: Annotated[
        float,
        "share of a unit's range by which a value must exceed a bound; with 1e-6, rounding of a softmax unit at 1 does not count",
        Range(ge=0),
    ] = 0.0

    def beyond(self, profile: Arrays, values: Values) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which values (n, units) are below their unit's lower bound, and which above the upper, both bool."""
        slack = self.tolerance * (profile["high"] - profile["low"])
        return values < profile["low"] - slack, values > profile["high"] + slack
