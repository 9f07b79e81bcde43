"""Inpainting: part of an image is repainted, as its own class or as another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np

from temper.core.artefacts import Examples, Labels
from temper.core.augmenter import Augmented, Augmenter, AugmenterContext, Mask, Seeds
from temper.core.classifier import Classifier
from temper.core.component import Range, Ref
from temper.core.errors import StageError
from temper.core.stage import Preparation
from temper.generators.diffusion.painter import Holes, Painter


@dataclass(frozen=True, kw_only=True)
class Inpaint(Augmenter):
    """Repaints the masked part of each image and leaves every other pixel unchanged.

    ``label_policy: target`` paints another class and gives the image its label, which is correct only where the mask
    covers the object and the rest does not reveal it: a box around the object, say. The variants of one seed become
    different classes, in a random order per seed, for as many as there are. ``preserve`` paints the seed's own class.

    Source: GenerativeRepair, the fuzzers RInp and KnwInp, which always give the other class's label.
    """

    tag = "inpaint"

    backend: Painter
    mask: Mask
    label_policy: Annotated[
        Literal["target", "preserve"], "paint another class and take its label, or the seed's own"
    ] = "target"
    min_area: Annotated[float, "smallest share of the image to paint; less is refused", Range(ge=0, le=1)] = 0.02
    max_area: Annotated[float, "largest share of the image to paint; more is refused", Range(ge=0, le=1)] = 0.95

    def check(self) -> Iterator[tuple[str, str]]:
        if self.label_policy == "target" and not self.backend.knows_classes:
            message = f"backend {self.backend.tag} cannot paint a class; use label_policy: preserve, or another backend"
            yield "label_policy", message
        if self.min_area > self.max_area:
            yield "min_area", f"expected no more than max_area, {self.max_area:g}, received {self.min_area:g}"

    def preparations(self, model: Ref[Classifier], data: Ref[Examples]) -> Mapping[str, Preparation]:
        return {**self.mask.preparations(model, data), **self.backend.preparations(model, data)}

    def augment(self, seeds: Seeds, context: AugmenterContext) -> Augmented:
        masks = np.array(self.mask.masks(seeds, context))
        refused = self._refused(masks.mean(axis=(1, 2)))
        rows = np.array([row for row in range(len(seeds)) if row not in refused], np.int64)
        x, y = np.array(seeds.x), np.array(seeds.y)
        if len(rows):
            chosen = seeds.take(rows)
            labels = chosen.y if self.label_policy == "preserve" else targets(chosen, np.unique(context.train.y))
            painted = self.backend.paint(Holes(chosen, masks[rows], labels), context)
            x[rows] = np.where(masks[rows][..., None], painted.x, chosen.x)
            y[rows] = labels
            refused |= {int(rows[row]): reason for row, reason in painted.refused.items()}
        # A refused image is returned unchanged, without a mask.
        for row in refused:
            x[row], y[row], masks[row] = seeds.x[row], seeds.y[row], False
        return Augmented(x, y, masks, refused)

    def _refused(self, areas: np.ndarray) -> dict[int, str]:
        return {
            row: f"the mask covers {area:.1%} of the image, not {self.min_area:.0%} to {self.max_area:.0%}"
            for row, area in enumerate(areas.tolist())
            if not self.min_area <= area <= self.max_area
        }


def targets(seeds: Seeds, classes: Labels) -> Labels:
    """Return another class for each seed, int64 (n,): its variants get successive ones, in a random order per seed.

    Raises:
        StageError: there is no other class.
    """
    # Variants of one image share their order, so it is not drawn from a variant's own stream.
    orders = replace(seeds, variant=np.zeros_like(seeds.variant))
    chosen = np.empty_like(seeds.y)
    for row, own in enumerate(seeds.y):
        others = classes[classes != own]
        if not len(others):
            raise StageError("label_policy: target needs training images of more than one class; use preserve")
        chosen[row] = orders.rng(row, "target").permutation(others)[seeds.variant[row] % len(others)]
    return chosen
