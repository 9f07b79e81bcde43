"""Unit relevance for a classifier's decisions, by layer-wise relevance propagation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from temper.artefacts.rankings import NeuronRanking
from temper.core.component import Range
from temper.core.families import Localiser
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.localisation.class_relevance import ClassRelevance
from temper.localisation.unit_selection import Scope, most_suspicious_by_class, padded
from temper.nn.inspection.lrp import unit_relevance_batches
from temper.nn.inspection.units import Probe


@dataclass(frozen=True, kw_only=True)
class UnitRelevance(Preparation, ClassRelevance):
    """The mean relevance of every unit to each class, before selection.

    Source: as ``relevant_neurons`` says.
    """

    tag = "unit_relevance"
    produces = NeuronRanking

    def produce(self, run: Run) -> NeuronRanking:
        layers = Probe(run[self.model].model).layers
        means, info = self.means(run, unit_relevance_batches, (sum(layer.units for layer in layers),))
        none_selected, no_spectrum = np.zeros((len(means), 0), np.int64), np.zeros((*means.shape, 0), np.int64)
        return NeuronRanking(layers, means, none_selected, no_spectrum, info)


@dataclass(frozen=True, kw_only=True)
class RelevantNeurons(Localiser, ClassRelevance):
    """The most relevant units of each class: layer-wise relevance propagation, averaged over the images of a class.

    From one logit of an image, relevance is propagated layer by layer as in ``relevance``. A unit gets the relevance of
    its value after its activation function, a feature map the sum over its positions. Where nothing is lost (LRP-0
    without biases), the units of each layer sum to the logit, so units of small layers have more each.

    Source: Bach, Binder, Montavon, Klauschen, Müller and Samek (2015), On Pixel-Wise Explanations for Non-Linear
    Classifier Decisions by Layer-Wise Relevance Propagation; for units, as Gerasimou, Eniser, Sen and Cakan (2020),
    Importance-Driven Deep Learning System Testing.
    """

    tag = "relevant_neurons"
    produces = NeuronRanking

    top: Annotated[int, "units to select for each class", Range(ge=1)]
    scope: Annotated[Scope, "`top` units of the whole network, or of each of its layers"] = "network"

    def preparations(self) -> Mapping[str, Preparation]:
        # Without `top` and `scope`, so that every selection shares one relevance.
        return {"relevance": UnitRelevance.of(self)}

    def produce(self, run: Run) -> NeuronRanking:
        found: NeuronRanking = run.prepared("relevance")
        chosen = most_suspicious_by_class(found.scores, [layer.units for layer in found.layers], self.top, self.scope)
        return replace(found, selected=padded(chosen), info={"localiser": self.tag, **found.info})
