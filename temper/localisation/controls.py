"""Controls for suspicious units: random units and the least suspicious ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np

from temper.artefacts.rankings import Indices, Scores
from temper.core.component import Range
from temper.core.errors import UndertrainedModelError
from temper.core.run import Run
from temper.localisation import suspiciousness_measures
from temper.localisation.hit_spectrum import Spectrum
from temper.localisation.spectrum_localiser import SpectrumLocaliser
from temper.localisation.unit_selection import layers_of, most_suspicious


@dataclass(frozen=True, kw_only=True)
class RandomNeurons(SpectrumLocaliser):
    """Random units other than the suspicious ones: the control that a measure must beat.

    Sampled uniformly without replacement for each class, from the layers in which Tarantula, Ochiai and D* find their
    ``top``, except the units that any of them finds. No other localiser needs to run first. Sampled units score 1, the
    others 0.

    Source: Eniser, Gerasimou and Sen (2019), DeepFault, section 5, research question 1. The artefact draws the layer
    first, which favours units of small layers; this one does not.
    """

    tag = "random_neurons"

    star: Annotated[float, "exponent of D*", Range(gt=0)] = 3.0

    @property
    def stochastic(self) -> bool:
        return True

    def select(self, spectrum: Spectrum, run: Run) -> tuple[Scores, list[Indices]]:
        found = [
            self.highest(spectrum, spectrum.scores(measure))
            for measure in (
                suspiciousness_measures.tarantula,
                suspiciousness_measures.ochiai,
                partial(suspiciousness_measures.dstar, star=self.star),
            )
        ]
        chosen = list(
            self._sampled(spectrum, [np.unique(np.concatenate(lists)) for lists in zip(*found, strict=True)], run)
        )
        # nan where a class cannot be localised, as for the measures themselves.
        scores = np.where(np.isnan(spectrum.scores(suspiciousness_measures.ochiai)), np.nan, 0.0)
        for row, units in zip(scores, chosen, strict=True):
            row[units] = 1.0
        return scores, chosen

    def _sampled(self, spectrum: Spectrum, suspicious: list[Indices], run: Run) -> Iterator[Indices]:
        sizes, rng = [layer.units for layer in spectrum.layers], run.rng()
        for label, units in enumerate(suspicious):
            if not len(units):
                yield units
                continue
            # One pool for all layers: sampling the layer first would favour units of small layers.
            pool = np.setdiff1d(layers_of(units.tolist(), sizes), units)
            if len(pool) < self.top:
                raise UndertrainedModelError(
                    f"random_neurons, {run.class_label(self.model, label)}: expected at least {self.top} units "
                    f"besides the {len(units)} suspicious "
                    f"ones in their layers, received {len(pool)}; lower `top`"
                )
            yield rng.choice(pool, self.top, replace=False)


@dataclass(frozen=True, kw_only=True)
class LeastSuspicious(SpectrumLocaliser):
    """The least suspicious units: those of lowest Ochiai score in the layers where the highest are found.

    The lowest comes first, ties in order. Units that no image of the class activates, for which the measure is 0 / 0,
    are excluded.

    Source: the "opposite" control in the result logs that DeepFault kept in October 2018.
    """

    tag = "least_suspicious"

    def select(self, spectrum: Spectrum, run: Run) -> tuple[Scores, list[Indices]]:
        scores = spectrum.scores(suspiciousness_measures.ochiai)
        sizes = [layer.units for layer in spectrum.layers]
        layer_of = np.repeat(np.arange(len(sizes)), sizes)
        chosen = []
        for label, units in enumerate(self.highest(spectrum, scores)):
            if not len(units):
                chosen.append(units)
                continue
            pool = layers_of(units.tolist(), sizes)
            # A unit that is never active scores 0 / 0, not low.
            pool = pool[spectrum.active[label, pool]]
            if len(pool) < self.top:
                raise UndertrainedModelError(
                    f"least_suspicious, {run.class_label(self.model, label)}: expected at least {self.top} units that "
                    "are ever active in the "
                    f"layers of the most suspicious, received {len(pool)}; lower `top`"
                )
            left = np.bincount(layer_of[pool], minlength=len(sizes)).tolist()
            chosen.append(pool[most_suspicious(-scores[label, pool], left, self.top, self.scope, self.as_published)])
        return scores, chosen
