"""A choice of augmenters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from temper.core.artefacts import Examples
from temper.core.augmenter import Augmented, Augmenter, AugmenterContext, Seeds
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.stage import Preparation


@dataclass(frozen=True, kw_only=True)
class OneOf(Augmenter):
    """One of several augmenters, sampled uniformly for each new image.

    Source: GenerativeRepair, fuzzer SemOcc, which is random erasing or synthetic occlusion.
    """

    tag = "one_of"

    of: Annotated[tuple[Augmenter, ...], "the augmenters to choose from"]

    def check(self) -> Iterator[tuple[str, str]]:
        if len(self.of) < 2:
            yield "of", f"{len(self.of)} augmenters leave no choice; expected two or more, or use the one directly"

    def preparations(self, model: Ref[Classifier], data: Ref[Examples]) -> Mapping[str, Preparation]:
        before: dict[str, Preparation] = {}
        for augmenter in self.of:
            before |= augmenter.preparations(model, data)
        return before

    def augment(self, seeds: Seeds, context: AugmenterContext) -> Augmented:
        drawn = np.array([seeds.rng(row, self.tag).integers(len(self.of)) for row in range(len(seeds))], np.int64)
        x, y = seeds.x.copy(), seeds.y.copy()
        refused: dict[int, str] = {}
        # An augmenter without masks may have changed every pixel.
        masks = np.ones(seeds.x.shape[:3], bool)
        for number, augmenter in enumerate(self.of):
            rows = np.flatnonzero(drawn == number)
            if not len(rows):
                continue
            made = augmenter.augment(seeds.take(rows), context)
            x[rows], y[rows] = made.x, made.y
            if made.masks is not None:
                masks[rows] = made.masks
            refused |= {int(rows[row]): why for row, why in made.refused.items()}
        return Augmented(x, y, masks, refused)
