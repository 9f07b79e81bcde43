"""k-multisection neuron coverage (KMNC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from temper.core.component import Range
from temper.evaluation.coverage.unit_bounds import Bounded
from temper.nn.adequacy.coverage import NO_CELL, CellCoverage, Counts
from temper.nn.adequacy.reference_data import Arrays, remarks
from temper.nn.inspection.activations import Activations


@dataclass(frozen=True, kw_only=True)
class KMNC(Bounded):
    """k-multisection neuron coverage: the share of the sections of the units' ranges that inputs hit.

    KMNC(T) = sum_n |{i : exists x in T, phi_n(x) in section i}| / (k |N|), with k equal sections of the range of phi_n
    on the training images; values outside do not count. Units that are constant on the training images have no
    sections, are excluded, and are reported.

    Source: Ma et al. (2018), DeepGauge: Multi-Granularity Testing Criteria for Deep Learning Systems, sec. 3.
    """

    tag = "kmnc"

    k: Annotated[int, "sections of each unit's range", Range(ge=1)] = 1000

    def coverage(self, profile: Arrays, like: Activations) -> CellCoverage:
        varied = np.flatnonzero(profile["high"] > profile["low"])
        units, low, high = like.units(self.counted(like))[varied], profile["low"][varied], profile["high"][varied]
        first = np.arange(len(units)) * self.k

        def hits(seen: Activations) -> Counts:
            values = seen.means[:, units]
            # Divide last, so that a value on the bound of two sections is in the upper one: 49 * (2 / 98) is below 1.
            section = ((values - low) * self.k / (high - low)).astype(np.int64)
            inside = (values >= low) & (values <= high)
            # The upper bound is in the last section.
            return np.where(inside, first + np.minimum(section, self.k - 1), NO_CELL)

        constant = len(profile["low"]) - len(varied)
        out = f"{constant} of {len(profile['low'])} units excluded, which are constant on the training images"
        said = (*([out] if constant else []), *remarks(profile))
        return CellCoverage(len(units) * self.k, hits, remarks=said)
