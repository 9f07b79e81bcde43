"""Control scores that guidance must beat: the flatness of a layer's activations, and chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from temper.core.component import Range
from temper.evaluation.coverage.nc import scaled_by_layer
from temper.nn.adequacy.reference_data import Arrays
from temper.nn.adequacy.score import Score, Scores
from temper.nn.inspection.activations import Activations


@dataclass(frozen=True, kw_only=True)
class NeuronCoverageScore(Score):
    """Neuron coverage of a single input: the share of a layer's units that are above a threshold.

    s_j = (a_j - low) / (high - low) for the units j of a layer, low and high over all its values for this input, and
    score = |{j : s_j > threshold}| / units; a layer of equal values has none. A map counts by its spatial mean. This
    measures how even the activations are, not what the input would add to a test set, and has few distinct values, so
    that most inputs tie.

    Source: Pei, Cao, Yang and Jana (2017), DeepXplore, section 4.1, applied to one input as in guided retraining.
    """

    tag = "nc_score"
    coarse = True

    threshold: Annotated[float, "scaled value above which a unit counts", Range(ge=0, lt=1)] = 0.2
    layers: Annotated[tuple[str, ...] | None, "names of the layers; default: the last hidden one"] = None

    def values(self, learnt: Arrays, seen: Activations, own: NDArray[np.int64], rng: np.random.Generator) -> Scores:
        layers = self.layers or seen.last_hidden
        share: Scores = (scaled_by_layer(seen, layers) > self.threshold).mean(axis=1)
        # Comparisons with nan are false, which must not become a low score.
        share[~np.isfinite(seen.means[:, seen.units(layers)]).all(axis=1)] = np.nan
        return share


@dataclass(frozen=True, kw_only=True)
class RandomScore(Score):
    """Chance: a number in [0, 1) drawn for each input.

    Source: the baseline of Durán, Martínez-Fernández, Felderer and Franch (2023), Guiding the retraining of convolutional
    neural networks against adversarial inputs.
    """

    tag = "random"

    @property
    def stochastic(self) -> bool:
        return True

    def values(self, learnt: Arrays, seen: Activations, own: NDArray[np.int64], rng: np.random.Generator) -> Scores:
        return rng.random(len(seen))
