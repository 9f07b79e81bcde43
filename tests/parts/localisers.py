"""A localiser without a framework, for tests of its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from temper.artefacts.rankings import NO_UNIT, NeuronRanking
from temper.core.artefacts import Examples
from temper.core.component import Ref
from temper.core.families import Localiser
from temper.core.run import Run
from temper.nn.inspection.units import UnitLayer


@dataclass(frozen=True, kw_only=True)
class Blame(Localiser):
    """Selects a unit for each class, and none for the last.

    Source: made up for the tests.
    """

    tag = "blame"
    produces = NeuronRanking
    framework = False

    data: Annotated[Ref[Examples], "labelled images whose classes are counted"]

    @property
    def stochastic(self) -> bool:
        return False

    def produce(self, run: Run) -> NeuronRanking:
        classes = int(run[self.data].y.max()) + 1
        layers = (UnitLayer("conv", 3, 4, 4), UnitLayer("dense", 2, 1, 1))
        scores = np.tile(np.arange(5.0), (classes, 1))
        selected = np.arange(classes)[:, None] % 5
        scores[-1], selected[-1] = np.nan, NO_UNIT
        return NeuronRanking(layers, scores, selected, np.zeros((classes, 5, 0), np.int64))
