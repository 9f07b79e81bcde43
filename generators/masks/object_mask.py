"""The family of masks that follow an object in the image."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal, final

from temper.core.artefacts import Masks
from temper.core.augmenter import AugmenterContext, Mask, Seeds
from temper.core.component import Range
from temper.generators.masks.mask_operations import boxes, dilated


@dataclass(frozen=True, kw_only=True)
class ObjectMask(Mask):
    """A mask of the object, of the box around it, or of all but the object. Members implement ``objects``.

    An object whose share of the image is outside ``min_area`` to ``max_area`` counts as none found.
    """

    region: Annotated[
        Literal["object", "box", "background"],
        "region to repaint: the object, its bounding box (which hides its shape, as a new label needs), or all but "
        "the object",
    ] = "object"
    dilate: Annotated[int, "pixels by which the object or its box is dilated on every side", Range(ge=0)] = 1
    min_area: Annotated[float, "smallest share of the image that counts as an object", Range(ge=0, le=1)] = 0.02
    max_area: Annotated[float, "largest share of the image that counts as an object", Range(ge=0, le=1)] = 0.95

    @abstractmethod
    def objects(self, seeds: Seeds, context: AugmenterContext) -> Masks:
        """Return the pixels of each image's object, bool (n, h, w); none where there is no object."""

    @final
    def masks(self, seeds: Seeds, context: AugmenterContext) -> Masks:
        objects = self.objects(seeds, context)
        share = objects.mean(axis=(1, 2))
        found = ((share > 0) & (share >= self.min_area) & (share <= self.max_area))[:, None, None]
        match self.region:
            case "object":
                return dilated(objects & found, self.dilate)
            case "box":
                return dilated(boxes(objects & found), self.dilate)
            case "background":
                outside: Masks = ~dilated(objects, self.dilate) & found
                return outside
