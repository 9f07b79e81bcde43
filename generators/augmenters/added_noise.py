"""Noise on every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from temper.core.augmenter import Augmented, Augmenter, AugmenterContext, Seeds
from temper.core.component import Range


@dataclass(frozen=True, kw_only=True)
class AddedNoise(Augmenter):
    """Gaussian noise on every pixel and channel; the label stays.

    x' = clip(x + g, 0, 1), g_i ~ N(0, std^2) independently.

    Source: GenerativeRepair, fuzzer RN. Differs: it adds N(0, 1) to grey levels from 0 to 255 (std 0.0039, which no
    classifier notices) and keeps a grey image in false colours.
    """

    tag = "gaussian_noise"

    std: Annotated[float, "standard deviation of the noise, in input units", Range(gt=0, le=1)] = 0.1

    def augment(self, seeds: Seeds, context: AugmenterContext) -> Augmented:
        x = np.empty_like(seeds.x)
        for row, image in enumerate(x):
            # Written into the image itself: no second array of the batch's size.
            seeds.rng(row, self.tag).standard_normal(dtype=np.float32, out=image)
        x *= np.float32(self.std)
        x += seeds.x
        return Augmented(np.clip(x, 0, 1, out=x), seeds.y)
