"""Structural similarity of a generated image to its seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from temper.core.augmenter import Augmented, AugmenterContext, Seeds
from temper.core.component import Range
from temper.core.realism import Measures, Realism
from temper.generators.structural_similarity import Window, similarity, similarity_map

# The paper's window.
_WINDOW = Window(11, sigma=1.5)


@dataclass(frozen=True, kw_only=True)
class SSIM(Realism):
    """Structural similarity to the seed, in windows of 11 x 11 (or as large as fits) with Gaussian weights.

    The Gaussian has a standard deviation of 1.5 pixels.

    It measures how much of the seed is left; a perfect image of another class has a low similarity.

    Source: Wang, Bovik, Sheikh and Simoncelli (2004), Image Quality Assessment: From Error Visibility to Structural
    Similarity, with pixels in [0, 1].
    """

    tag = "ssim"
    higher_is_better = True

    min: Annotated[float, "smallest similarity, 1 for equal images", Range(ge=-1, le=1)] = 0.6
    over: Annotated[Literal["image", "mask"], "mean over the image, or over the repainted pixels"] = "image"

    @property
    def bound(self) -> float:
        return self.min

    def values(self, made: Augmented, seeds: Seeds, context: AugmenterContext) -> Measures:
        if made.masks is None or self.over == "image":
            return similarity(seeds.x, made.x, _WINDOW, 1.0)
        found = similarity_map(seeds.x, made.x, _WINDOW, 1.0)
        return np.array([similarities[mask].mean() for similarities, mask in zip(found, made.masks, strict=True)])
