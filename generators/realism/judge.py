"""Another classifier's agreement with the label of a generated image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from temper.core.augmenter import Augmented, AugmenterContext, Seeds
from temper.core.classifier import Classifier
from temper.core.component import Range, Ref
from temper.core.realism import Measures, Realism


@dataclass(frozen=True, kw_only=True)
class Judge(Realism):
    """The probability of an image's intended label by another classifier, never the one under test.

    Source: GenerativeRepair asks CLIP whether an image fits its new caption; a classifier of the same classes in its
    place.
    """

    tag = "judge"
    higher_is_better = True

    model: Annotated[Ref[Classifier], "the judge"]
    min: Annotated[float, "least probability", Range(ge=0, le=1)] = 0.5

    @property
    def bound(self) -> float:
        return self.min

    def values(self, made: Augmented, seeds: Seeds, context: AugmenterContext) -> Measures:
        from scipy.special import softmax

        probabilities = softmax(context.run[self.model].logits(made.x).astype(np.float64), axis=1)
        chosen: Measures = probabilities[np.arange(len(seeds)), made.y]
        return chosen
