"""Occlusion by pasted cut-outs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples, Images, Masks
from temper.core.augmenter import Augmented, Augmenter, AugmenterContext, Mask, Seeds
from temper.core.classifier import Classifier
from temper.core.component import Range, Ref
from temper.core.stage import Preparation
from temper.generators.augmenters.cutouts import ObjectCutouts
from temper.generators.augmenters.occluders import ANY_CLASS, Cutouts, OccluderBank, Occluders
from temper.generators.masks.otsu import Otsu

_TRIES = 10


@dataclass(frozen=True, kw_only=True)
class SyntheticOcclusion(Augmenter):
    """Cut-outs pasted onto the image, at random positions and sizes, with a soft border; the label is kept.

    Between 1 and ``max_count`` cut-outs are tried, each up to ten times until it hides neither too much of the image
    nor too much of the object that ``mask`` finds; one that never fits is skipped.

    Source: Sárándi, Linder, Arras and Leibe (2018), How Robust is 3D Human Pose Estimation to Occlusion?, which
    GenerativeRepair lists as half of SemOcc but does not implement. Differs: the bounds on what is hidden, so that the
    label stays true.
    """

    tag = "synthetic_occlusion"

    occluders: Occluders = field(default_factory=ObjectCutouts)
    mask: Mask = field(default_factory=lambda: Otsu(dilate=0))
    bank: Annotated[int, "cut-outs to draw from", Range(ge=1)] = 200
    max_count: Annotated[int, "maximum number of cut-outs per image", Range(ge=1)] = 7
    min_size: Annotated[
        float, "smallest longer side of a cut-out, per shorter side of the image", Range(gt=0, le=1)
    ] = 0.2
    max_size: Annotated[float, "largest longer side of a cut-out, per shorter side of the image", Range(gt=0, le=1)] = (
        1.0
    )
    max_area: Annotated[float, "share of the image that may be hidden", Range(gt=0, le=1)] = 0.4
    max_covered: Annotated[float, "share of the image's object that may be hidden", Range(ge=0, le=1)] = 0.6

    def check(self) -> Iterator[tuple[str, str]]:
        if self.min_size > self.max_size:
            yield "min_size", f"{self.min_size:g} exceeds max_size, {self.max_size:g}; swap them"

    def preparations(self, model: Ref[Classifier], data: Ref[Examples]) -> Mapping[str, Preparation]:
        bank = OccluderBank(model=model, data=data, occluders=self.occluders, bank=self.bank)
        return {**self.mask.preparations(model, data), self._bank: bank}

    @property
    def _bank(self) -> str:
        """The name of the preparation: two of these in one stage may have different cut-outs."""
        return f"{self.tag}_{crc32(repr((self.occluders, self.bank)).encode()):08x}"

    def augment(self, seeds: Seeds, context: AugmenterContext) -> Augmented:
        bank: Cutouts = context.run.prepared(self._bank)
        objects = self.mask.masks(seeds, context)
        x, masks, refused = seeds.x.copy(), np.zeros(seeds.x.shape[:3], bool), {}
        for row, (image, hidden) in enumerate(zip(x, masks, strict=True)):
            others = np.flatnonzero((bank.y != seeds.y[row]) | (bank.y == ANY_CLASS))
            rng = seeds.rng(row, self.tag)
            for _ in range(rng.integers(1, self.max_count + 1) if len(others) else 0):
                self._paste(image, hidden, objects[row], bank, others, rng)
            if not hidden.any():
                refused[row] = "no cut-out fitted" if len(others) else "the bank has no cut-out of another class"
        return Augmented(x, seeds.y, masks, refused)

    def _paste(
        self,
        image: Images,
        hidden: Masks,
        object_mask: Masks,
        bank: Cutouts,
        others: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> None:
        """Paste one cut-out onto an image (h, w, c) and add it to ``hidden`` (h, w), in place."""
        for _ in range(_TRIES):
            side = max(1, round(rng.uniform(self.min_size, self.max_size) * min(hidden.shape)))
            colours, alpha = bank.scaled(int(others[rng.integers(len(others))]), side)
            spot, part = _overlap(hidden.shape, alpha.shape, rng)
            alpha = alpha[part]
            # Tried on a copy: a cut-out that hides too much is discarded.
            after = hidden.copy()
            after[spot] |= alpha > 0
            covered = (after & object_mask).sum() <= self.max_covered * object_mask.sum()
            if (alpha > 0).any() and after.mean() <= self.max_area and covered:
                image[spot] = np.clip(image[spot] * (1 - alpha[..., None]) + colours[part], 0, 1)
                hidden[:] = after
                return


def _overlap(
    image: tuple[int, ...], cutout: tuple[int, ...], rng: np.random.Generator
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return where a cut-out centred on a random pixel overlaps the image, and the part of it that does."""
    spots, parts = [], []
    for length, size in zip(image, cutout, strict=True):
        start = int(rng.integers(length)) - size // 2
        spots.append(slice(max(start, 0), min(start + size, length)))
        parts.append(slice(max(-start, 0), min(size, length - start)))
    return (spots[0], spots[1]), (parts[0], parts[1])
