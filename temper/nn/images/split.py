"""Splits a data set into images for training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from temper.core.artefacts import Labels
from temper.core.component import PARTS, Part
from temper.nn.images.stratified_sample import sample, stratified


@dataclass(frozen=True, kw_only=True)
class Split:
    """How images are split; every choice is stratified and depends on ``seed`` alone.

    ``resplit`` is the number of training, validation and test images sampled from all images; without it the original
    parts are kept, and ``validation`` is the share of the training images held out. ``train_size`` and ``test_size``
    are the numbers of images of a part that are kept.
    """

    resplit: tuple[int, ...] = ()
    train_size: int | None = None
    test_size: int | None = None
    validation: float = 0.0
    seed: int = 0

    def rows(self, y: Labels, train: Labels, test: Labels, groups: Labels | None = None) -> dict[Part, Labels]:
        """Return the positions in ``y`` (n,) of the images of each part, int64 (k,), in ascending order.

        ``train`` and ``test`` are the positions of the original parts. Held-out images are chosen by whole groups, so
        that sizes are then met only approximately.

        Raises:
            ValueError: there are fewer images than requested, or a part would be empty.
        """
        if self.resplit:
            return self._resplit(y, np.concatenate([train, test]), groups)
        for part, rows in (("train", train), ("test", test)):
            if not len(rows):
                raise ValueError(f"the {part} part has no image; keep other classes")
        train, test = self._thinned("train", y, train), self._thinned("test", y, test)
        validation = train[:0]
        if self.validation:
            train, validation = self._held_out("validation", y, train, round(self.validation * len(train)), groups)
            if not (len(train) and len(validation)):
                raise ValueError(
                    f"validation={self.validation:g} of {len(train) + len(validation)} training images leaves a part "
                    "empty; choose a share that leaves at least one image on each side"
                )
        return {"train": train, "validation": validation, "test": test}

    def _resplit(self, y: Labels, rows: Labels, groups: Labels | None) -> dict[Part, Labels]:
        if sum(self.resplit) > len(rows):
            raise ValueError(f"resplit requests {sum(self.resplit)} images, but there are {len(rows)}; request fewer")
        train_size, validation_size, test_size = self.resplit
        # The test part first, so that its images do not depend on the other sizes.
        rest, test = self._held_out("test", y, rows, test_size, groups)
        rest, validation = self._held_out("validation", y, rest, min(validation_size, len(rest)), groups)
        train = rest[stratified(y[rest], min(train_size, len(rest)), self._rng("train"))]
        return {
            "train": self._thinned("train", y, train),
            "validation": validation,
            "test": self._thinned("test", y, test),
        }

    def _held_out(self, part: Part, y: Labels, rows: Labels, size: int, groups: Labels | None) -> tuple[Labels, Labels]:
        """Return the rows that are kept and those that are held out."""
        places = sample(y[rows], None if groups is None else groups[rows], size, self._rng(part))
        return np.delete(rows, places), rows[places]

    def _thinned(self, part: Part, y: Labels, rows: Labels) -> Labels:
        size = self.train_size if part == "train" else self.test_size
        if size is None:
            return rows
        if size > len(rows):
            raise ValueError(f"{part}_size is {size}, but there are {len(rows)} images; request fewer")
        return rows[stratified(y[rows], size, self._rng(part))]

    def _rng(self, part: Part) -> np.random.Generator:
        # A stream per part: changing one size leaves the other parts unchanged.
        return np.random.default_rng([self.seed, PARTS.index(part)])
