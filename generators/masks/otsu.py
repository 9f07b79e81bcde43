"""Object masks by a brightness threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from temper.core.artefacts import Images, Masks
from temper.core.augmenter import AugmenterContext, Seeds
from temper.generators.masks.mask_operations import largest_piece
from temper.generators.masks.object_mask import ObjectMask
from temper.nn.images.preprocessing import LUMA


@dataclass(frozen=True, kw_only=True)
class Otsu(ObjectMask):
    """The object by Otsu's threshold: the brighter or the darker side, whichever has less of the image's border.

    Of that side, with its holes filled, the largest connected piece. An image of one shade has no object.

    Source: Otsu (1979), A Threshold Selection Method from Gray-Level Histograms.
    """

    tag = "otsu"
    requires = ("skimage",)

    def objects(self, seeds: Seeds, context: AugmenterContext) -> Masks:
        objects = np.empty(seeds.x.shape[:3], bool)
        for row, image in enumerate(_brightness(seeds.x)):
            objects[row] = _object(image)
        return objects


def _brightness(x: Images) -> Images:
    return x @ LUMA if x.shape[3] == 3 else x.mean(axis=3)


def _object(image: Images) -> Masks:
    from skimage.filters import threshold_otsu

    # Otsu's threshold is undefined for one grey level.
    if image.min() == image.max():
        return np.zeros(image.shape, bool)
    bright = image > threshold_otsu(image)
    # If both sides have the same share of the border, the smaller one is the object.
    side = min((bright, ~bright), key=lambda side: (_on_border(side), side.sum()))
    return largest_piece(side)


def _on_border(mask: Masks) -> int:
    """Return the number of set pixels at the image's border, with the corners counted twice."""
    return int(mask[[0, -1]].sum() + mask[:, [0, -1]].sum())
