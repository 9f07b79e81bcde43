"""Which neurons and feature maps a classifier's decisions rest on, by layer-wise relevance propagation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from core.component import Range
from core.probe import Probe
from core.rankings import NeuronRanking
from core.relevance import unit_batches
from core.run import Run
from localisation.class_relevance import ClassRelevance
from localisation.selection import Scope, highest, table


@dataclass(frozen=True, kw_only=True)
class RelevantNeurons(ClassRelevance):
    """The units that each class rests on most: layer-wise relevance propagation, averaged over the images of a class.

    From one logit of an image, relevance goes down layer by layer as in ``relevance``. A unit has the relevance of its
    value after its activation function, a feature map the sum over its positions. Where nothing is lost (LRP-0 without
    biases), the units of each layer have the logit in all, so units of small layers have more each.

    Source: Bach, Binder, Montavon, Klauschen, Müller and Samek (2015), On Pixel-Wise Explanations for Non-Linear
    Classifier Decisions by Layer-Wise Relevance Propagation; for units, as Gerasimou, Eniser, Sen and Cakan (2020),
    Importance-Driven Deep Learning System Testing.
    """

    tag = "relevant_neurons"
    produces = NeuronRanking

    top: Annotated[int, "units to select for each class", Range(ge=1)]
    scope: Annotated[Scope, "`top` units of the whole network, or of each of its layers"] = "network"

    def produce(self, run: Run) -> NeuronRanking:
        layers = Probe(run[self.model].model).layers
        sizes = [layer.units for layer in layers]
        scores, info = self.means(run, unit_batches, (sum(sizes),))
        chosen = highest(scores, sizes, self.top, self.scope)
        none = np.zeros((*scores.shape, 0), np.int64)
        return NeuronRanking(layers, scores, table(chosen), none, {"localiser": self.tag, **info})
