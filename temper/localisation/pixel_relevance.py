"""Which pixels a classifier's decisions rest on, by layer-wise relevance propagation."""

from __future__ import annotations

from dataclasses import dataclass

from temper.artefacts.rankings import PixelRanking
from temper.core.families import Localiser
from temper.core.run import Run
from temper.localisation.class_relevance import ClassRelevance
from temper.nn.inspection.lrp import pixel_relevance


@dataclass(frozen=True, kw_only=True)
class Relevance(Localiser, ClassRelevance):
    """How relevant each pixel is to each class: layer-wise relevance propagation, averaged over the images of a class.

    From one logit of an image, relevance goes down layer by layer to the pixels. Layers with weights hand it down by
    ``rule``; activations pass it on; max pooling gives it to the largest value; average pooling, normalisation and sums
    share it by LRP-0. Dropout is off. With epsilon 0.01 and the data set's test part, the 20 most relevant pixels are
    those DeepCustom publishes.

    Source: Bach, Binder, Montavon, Klauschen, Müller and Samek (2015), On Pixel-Wise Explanations for Non-Linear
    Classifier Decisions by Layer-Wise Relevance Propagation; DeepCustom's relevant pixels.
    """

    tag = "relevance"
    produces = PixelRanking

    def produce(self, run: Run) -> PixelRanking:
        assert self.data is not None  # the graph fills in the model's data set
        return PixelRanking(*self.means(run, pixel_relevance, run[self.data].shape))
