"""Structural similarity of a made image to its seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from core.augmenter import Augmented, Bench, Seeds
from core.component import Range
from core.realism import Measures, Realism

_SIGMA, _WINDOW = 1.5, 11


@dataclass(frozen=True, kw_only=True)
class SSIM(Realism):
    """Structural similarity to the seed: windows of 11 x 11 (or as large as fits) weighted by a Gaussian of deviation 1.5.

    Says how much of the seed is left; a perfect image of another class has a low one.

    Source: Wang, Bovik, Sheikh and Simoncelli (2004), Image Quality Assessment: From Error Visibility to Structural Similarity,
    with pixels in [0, 1].
    """

    tag = "ssim"
    higher_is_better = True

    min: Annotated[float, "least similarity, 1 for equal images", Range(ge=-1, le=1)] = 0.6
    over: Annotated[Literal["image", "mask"], "mean over the image, or over the pixels that were made anew"] = "image"

    @property
    def bound(self) -> float:
        return self.min

    def values(self, made: Augmented, seeds: Seeds, bench: Bench) -> Measures:
        from skimage.metrics import structural_similarity

        side = min(seeds.x.shape[1:3])
        window = min(_WINDOW, side - 1 + side % 2)
        values = np.empty(len(seeds))
        for row, (seed, image) in enumerate(zip(seeds.x, made.x, strict=True)):
            mean, everywhere = structural_similarity(
                seed, image, win_size=window, gaussian_weights=True, sigma=_SIGMA, use_sample_covariance=False,
                data_range=1.0, channel_axis=-1, full=True,
            )  # fmt: skip
            masked = made.masks is not None and self.over == "mask"
            values[row] = everywhere[made.masks[row]].mean() if masked and made.masks is not None else mean
        return values
