"""Rectangular masks that do not depend on the image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from temper.core.artefacts import Masks
from temper.core.augmenter import AugmenterContext, Mask, Seeds
from temper.core.component import Range
from temper.generators import random_rectangles


@dataclass(frozen=True, kw_only=True)
class Box(Mask):
    """A random rectangle at a random position.

    Its share of the image is uniform, its aspect ratio (height / width) log-uniform.

    Source: Pathak, Krähenbühl, Donahue, Darrell and Efros (2016), Context Encoders: Feature Learning by Inpainting
    (random regions); the shares are Temper's own.
    """

    tag = "box"

    min_area: Annotated[float, "least share of the image", Range(gt=0, le=1)] = 0.16
    max_area: Annotated[float, "largest share of the image", Range(gt=0, le=1)] = 0.42
    max_aspect: Annotated[float, "maximum ratio of the longer side to the shorter", Range(ge=1)] = 2.0

    def check(self) -> Iterator[tuple[str, str]]:
        if self.min_area > self.max_area:
            yield "min_area", f"{self.min_area:g} exceeds max_area, {self.max_area:g}; swap them"

    def masks(self, seeds: Seeds, context: AugmenterContext) -> Masks:
        masks = np.zeros(seeds.x.shape[:3], bool)
        area, aspect = (self.min_area, self.max_area), (1 / self.max_aspect, self.max_aspect)
        for row, mask in enumerate(masks):
            if drawn := random_rectangles.random_rectangle(seeds.rng(row, self.tag), mask.shape, area, aspect):
                mask[drawn] = True
        return masks


@dataclass(frozen=True, kw_only=True)
class Centre(Mask):
    """A rectangle in the middle of the image, of the image's shape.

    Source: Pathak, Krähenbühl, Donahue, Darrell and Efros (2016), Context Encoders: Feature Learning by Inpainting,
    whose central region is a quarter of the image: the default.
    """

    tag = "centre"

    area: Annotated[float, "share of the image", Range(gt=0, le=1)] = 0.25

    def masks(self, seeds: Seeds, context: AugmenterContext) -> Masks:
        masks = np.zeros(seeds.x.shape[:3], bool)
        height, width = seeds.x.shape[1:3]
        masks[:, _middle(height, math.sqrt(self.area)), _middle(width, math.sqrt(self.area))] = True
        return masks


def _middle(side: int, share: float) -> slice:
    # At least one pixel, whatever the share.
    length = max(1, round(side * share))
    return slice((side - length) // 2, (side - length) // 2 + length)
