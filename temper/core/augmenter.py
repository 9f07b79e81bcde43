"""Augmenters: what makes new test inputs of seeds, and the masks that say where."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples, Images, Labels, Masks
from temper.core.classifier import Classifier
from temper.core.component import Component, Ref
from temper.core.data_info import DataInfo
from temper.core.run import Run
from temper.core.stage import Preparation


@dataclass(frozen=True, eq=False)
class Seeds:
    """Images that new ones are to be made of.

    ``x`` is float32 (n, h, w, c) in [0, 1]; ``y`` int64 (n,), the true labels; ``index`` int64 (n,), which image of the
    data set each one is or was made from; ``variant`` int64 (n,), which of several made of one image, from 0; ``depth`` int64
    (n,), how often it was augmented before; ``masks`` bool (n, h, w), where the object is, if the data set says so.
    ``entropy`` are whole numbers that every random choice derives from, beside index, variant and depth.
    """

    x: Images
    y: Labels
    index: NDArray[np.int64]
    variant: NDArray[np.int64]
    depth: NDArray[np.int64]
    entropy: tuple[int, ...]
    masks: Masks | None = None

    def __len__(self) -> int:
        return len(self.x)

    def rng(self, row: int, purpose: str = "") -> np.random.Generator:
        """Return the random stream of one seed: the same in whatever batch it is augmented."""
        own = (self.index[row], self.variant[row], self.depth[row])
        return np.random.default_rng([*self.entropy, *map(int, own), crc32(purpose.encode())])

    def take(self, rows: slice | NDArray[Any]) -> Seeds:
        """Return some of the seeds."""
        parts = {name: getattr(self, name)[rows] for name in ("x", "y", "index", "variant", "depth")}
        return replace(self, **parts, masks=None if self.masks is None else self.masks[rows])


@dataclass(frozen=True, eq=False)
class Augmented:
    """What was made of seeds, row by row.

    ``x`` is float32 (n, h, w, c) in [0, 1]; ``y`` int64 (n,), the labels the images should have; ``masks`` bool (n, h, w),
    the pixels that were made anew, all others being the seed's, or ``None`` where every pixel may have changed. ``refused``
    says of rows that could not be augmented why; their image is the seed's and counts as none.
    """

    x: Images
    y: Labels
    masks: Masks | None = None
    refused: Mapping[int, str] = field(default_factory=dict)

    def take(self, rows: NDArray[np.int64]) -> Augmented:
        """Return those of some rows, none of them refused."""
        return Augmented(self.x[rows], self.y[rows], None if self.masks is None else self.masks[rows])


@dataclass(frozen=True, eq=False)
class AugmenterContext:
    """What an augmenter may look at: the model under test, the training images of its data, and what it prepared."""

    run: Run
    model: Classifier
    train: Examples
    info: DataInfo


class WithPreparations(Component):
    """A component that stands inside a stage and may need work done before, which the stage passes on."""

    def preparations(self, model: Ref[Classifier], data: Ref[Examples]) -> Mapping[str, Preparation]:
        """Return what has to be done before, under names that start with the component's type.

        ``model`` is the model under test, ``data`` the training images. ``AugmenterContext.run.prepared`` knows the names.
        """
        return {}


@dataclass(frozen=True, kw_only=True)
class Mask(WithPreparations):
    """Says which pixels of each image to make anew."""

    @abstractmethod
    def masks(self, seeds: Seeds, bench: AugmenterContext) -> Masks:
        """Return the pixels, bool (n, h, w); none of an image where there is nothing to be found."""


@dataclass(frozen=True, kw_only=True)
class Augmenter(WithPreparations):
    """Makes one new image of each seed."""

    @abstractmethod
    def augment(self, seeds: Seeds, bench: AugmenterContext) -> Augmented:
        """Return one image for each seed; must not depend on which other seeds are in the batch."""
