"""Augmenters with known results, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from temper.core.augmenter import Augmented, Augmenter, AugmenterContext, Seeds
from temper.core.component import Range


@dataclass(frozen=True, kw_only=True)
class Lift(Augmenter):
    """Adds ``by`` in each variant to all pixels; refuses images with an odd index.

    Source: none, for tests.
    """

    tag = "lift"

    by: Annotated[float, "what is added for each variant and depth, in input units", Range(ge=0)] = 0.1

    def augment(self, seeds: Seeds, context: AugmenterContext) -> Augmented:
        steps = (1 + seeds.variant)[:, None, None, None] * np.float32(self.by)
        x = np.clip(seeds.x + steps, 0, 1).astype(np.float32)
        return Augmented(x, seeds.y, refused=dict.fromkeys(np.flatnonzero(seeds.index % 2).tolist(), "odd"))


@dataclass(frozen=True, kw_only=True)
class Speckle(Augmenter):
    """Adds uniform noise from each seed's own stream.

    Source: none, for tests.
    """

    tag = "speckle"

    by: Annotated[float, "largest change of a pixel, in input units", Range(gt=0, le=1)] = 0.3

    def augment(self, seeds: Seeds, context: AugmenterContext) -> Augmented:
        noise = np.stack([seeds.rng(row).uniform(-self.by, self.by, seeds.x.shape[1:]) for row in range(len(seeds))])
        return Augmented(np.clip(seeds.x + noise, 0, 1).astype(np.float32), seeds.y)
