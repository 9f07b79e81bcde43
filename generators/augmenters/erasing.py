"""Erasing of rectangles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from temper.core.artefacts import Images
from temper.core.augmenter import Augmented, Augmenter, AugmenterContext, Seeds
from temper.core.component import Range
from temper.generators import random_rectangles

Fill = Literal["normal_clipped", "uniform", "mean", "zero"]


@dataclass(frozen=True, kw_only=True)
class RandomErasing(Augmenter):
    """A random rectangle filled with noise or one colour; the label is kept.

    The rectangle's share of the image is uniform, its aspect ratio (height / width) log-uniform; up to ten attempts to
    place it.

    Source: Zhong, Zheng, Kang, Li and Yang (2020), Random Erasing Data Augmentation, algorithm 1; the defaults are
    timm's, which GenerativeRepair uses for half of SemOcc. Differs: values drawn from N(0, 1) are clipped to [0, 1].
    """

    tag = "random_erasing"

    min_area: Annotated[float, "least share of the image", Range(gt=0, le=1)] = 0.02
    max_area: Annotated[float, "largest share of the image", Range(gt=0, le=1)] = 1 / 3
    max_aspect: Annotated[float, "maximum ratio of the longer side to the shorter", Range(ge=1)] = 3.3
    fill: Annotated[
        Fill,
        "values of the pixels: N(0, 1) clipped to [0, 1] (half of them 0), U(0, 1), the image's mean colour, or 0",
    ] = "normal_clipped"

    def check(self) -> Iterator[tuple[str, str]]:
        if self.min_area > self.max_area:
            yield "min_area", f"{self.min_area:g} exceeds max_area, {self.max_area:g}; swap them"

    def augment(self, seeds: Seeds, context: AugmenterContext) -> Augmented:
        x, masks, refused = seeds.x.copy(), np.zeros(seeds.x.shape[:3], bool), {}
        # Symmetric on a log scale: upright rectangles are as likely as lying ones.
        area, aspect = (self.min_area, self.max_area), (1 / self.max_aspect, self.max_aspect)
        for row, mask in enumerate(masks):
            rng = seeds.rng(row, self.tag)
            if drawn := random_rectangles.random_rectangle(rng, mask.shape, area, aspect):
                mask[drawn] = True
                x[row][drawn] = self._filling(x[row], x[row][drawn].shape, rng)
            else:
                refused[row] = "no rectangle fitted in ten attempts"
        return Augmented(x, seeds.y, masks, refused)

    def _filling(self, image: Images, shape: tuple[int, ...], rng: np.random.Generator) -> Images:
        match self.fill:
            case "normal_clipped":
                # Pixels must stay in [0, 1]; half of the values become 0.
                return np.clip(rng.standard_normal(shape, np.float32), 0, 1)
            case "uniform":
                return rng.random(shape, np.float32)
            case "mean":
                return np.broadcast_to(image.mean(axis=(0, 1)), shape)
            case "zero":
                return np.zeros(shape, np.float32)
