"""Pixel relevance for a classifier's decisions, by layer-wise relevance propagation."""

from __future__ import annotations

from dataclasses import dataclass

from temper.artefacts.rankings import PixelRanking
from temper.core.families import Localiser
from temper.core.run import Run
from temper.localisation.class_relevance import ClassRelevance
from temper.nn.inspection.lrp import pixel_relevance


@dataclass(frozen=True, kw_only=True)
class Relevance(Localiser, ClassRelevance):
    """The relevance of each pixel to each class: layer-wise relevance propagation, averaged over the class's images.

    From one logit of an image, relevance is propagated layer by layer to the pixels. Layers with weights propagate it
    by ``rule``; activations pass it through; max pooling assigns it to the largest value; average pooling,
    normalisation and sums share it by LRP-0. Dropout is off. With epsilon 0.01 and the data set's test part, the 20
    most relevant pixels are those published by DeepCustom.

    Source: Bach, Binder, Montavon, Klauschen, Müller and Samek (2015), On Pixel-Wise Explanations for Non-Linear
    Classifier Decisions by Layer-Wise Relevance Propagation; DeepCustom's relevant pixels.
    """

    tag = "relevance"
    produces = PixelRanking

    def produce(self, run: Run) -> PixelRanking:
        assert self.data is not None  # the graph fills in the model's data set
        return PixelRanking(*self.means(run, pixel_relevance, run[self.data].shape))
