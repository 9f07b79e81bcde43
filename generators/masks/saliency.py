"""Object masks by the saliency of the model under test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from temper.core.artefacts import Masks
from temper.core.augmenter import AugmenterContext, Seeds
from temper.core.component import Range
from temper.generators.masks.mask_operations import largest_piece
from temper.generators.masks.object_mask import ObjectMask
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.compiled_programs import Call, Tensor
from temper.nn.inspection.gradients import value_and_gradient
from temper.system import backend


@dataclass(frozen=True, kw_only=True)
class Saliency(ObjectMask):
    """The salient region of the model under test: where gradient times input of its largest logit is far from 0.

    S = G_smoothing * sum_c |x_c dz/dx_c|; the object is the largest connected piece, holes filled, of the pixels above
    the percentile of S.

    Source: Shrikumar, Greenside and Kundaje (2017), Learning Important Features Through Propagating Activation
    Differences (gradient x input).
    """

    tag = "saliency"

    percentile: Annotated[float, "percentage of an image's pixels that are not salient", Range(ge=0, lt=100)] = 70.0
    smoothing: Annotated[float, "standard deviation of the Gaussian that smooths the map, in pixels", Range(ge=0)] = 1.0

    def objects(self, seeds: Seeds, context: AugmenterContext) -> Masks:
        from scipy import ndimage

        (saliency,) = compiled_programs.run_all(context.model.model, _gradient_times_input, seeds.x)
        smooth = ndimage.gaussian_filter(saliency, (0, self.smoothing, self.smoothing))
        bounds = np.percentile(smooth, self.percentile, axis=(1, 2), keepdims=True)
        objects: Masks = smooth > bounds
        for row, mask in enumerate(objects):
            objects[row] = largest_piece(mask)
        return objects


def _gradient_times_input(call: Call, x: Tensor) -> tuple[Tensor]:
    ops = backend.keras().ops
    gradient = value_and_gradient(lambda images: ops.max(call(images), axis=-1), x)[1]
    # Absolute values: evidence against the class is salient, too.
    return (ops.sum(ops.abs(gradient * x), axis=-1),)
