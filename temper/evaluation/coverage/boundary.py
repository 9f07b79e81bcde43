"""Neuron boundary coverage (NBC) and strong neuron activation coverage (SNAC)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from temper.evaluation.coverage.unit_bounds import Crossed
from temper.nn.adequacy.coverage import NO_CELL, CellCoverage, Counts
from temper.nn.adequacy.reference_data import Arrays, remarks
from temper.nn.inspection.activations import Activations


@dataclass(frozen=True, kw_only=True)
class NBC(Crossed):
    """Neuron boundary coverage: the share of the units' bounds that some input exceeds.

    NBC(T) = (|{n : exists x in T, phi_n(x) > high_n}| + |{n : exists x in T, phi_n(x) < low_n}|) / (2 |N|), with the
    bounds of phi_n on the training images.

    Source: Ma et al. (2018), DeepGauge: Multi-Granularity Testing Criteria for Deep Learning Systems, sec. 3.
    """

    tag = "nbc"

    def coverage(self, profile: Arrays, like: Activations) -> CellCoverage:
        units = like.units(self.counted(like))
        lower = np.arange(len(units)) * 2

        def hits(seen: Activations) -> Counts:
            below, above = self.beyond(profile, seen.means[:, units])
            return np.where(above, lower + 1, np.where(below, lower, NO_CELL))

        return CellCoverage(2 * len(units), hits, remarks=tuple(remarks(profile)))


@dataclass(frozen=True, kw_only=True)
class SNAC(Crossed):
    """Strong neuron activation coverage: the share of units that some input drives above their training maximum.

    SNAC(T) = |{n : exists x in T, phi_n(x) > high_n}| / |N|.

    Source: Ma et al. (2018), DeepGauge: Multi-Granularity Testing Criteria for Deep Learning Systems, sec. 3.
    """

    tag = "snac"

    def coverage(self, profile: Arrays, like: Activations) -> CellCoverage:
        units = like.units(self.counted(like))

        def hits(seen: Activations) -> Counts:
            above = self.beyond(profile, seen.means[:, units])[1]
            return np.where(above, np.arange(len(units)), NO_CELL)

        return CellCoverage(len(units), hits, remarks=tuple(remarks(profile)))
