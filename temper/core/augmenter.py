"""Augmenters, which derive new test inputs from seeds, and the masks that select where."""

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
    """Images to derive new ones from.

    ``x`` is float32 (n, h, w, c) in [0, 1]; ``y`` int64 (n,), the true labels; ``index`` int64 (n,), the image of the
    data set that each one is or was derived from; ``variant`` int64 (n,), its number among several variants of one
    image, from 0; ``depth`` int64 (n,), the number of earlier augmentations; ``masks`` bool (n, h, w), where the object
    is, if the data set provides masks. ``entropy`` are integers that seed every random choice, along with index,
    variant and depth.
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
        """Return the random stream of one seed; it does not depend on the batch."""
        own = (self.index[row], self.variant[row], self.depth[row])
        # CRC-32 and not hash(), which Python salts in every process.
        return np.random.default_rng([*self.entropy, *map(int, own), crc32(purpose.encode())])

    def take(self, rows: slice | NDArray[Any]) -> Seeds:
        """Return some of the seeds."""
        parts = {name: getattr(self, name)[rows] for name in ("x", "y", "index", "variant", "depth")}
        return replace(self, **parts, masks=None if self.masks is None else self.masks[rows])


@dataclass(frozen=True, eq=False)
class Augmented:
    """The images derived from seeds, row by row.

    ``x`` is float32 (n, h, w, c) in [0, 1]; ``y`` int64 (n,), the labels the images should have; ``masks`` bool (n, h,
    w), the regenerated pixels, all others being the seed's, or ``None`` where every pixel may have changed. ``refused``
    maps rows that could not be augmented to the reason; their image is the seed's and does not count.
    """

    x: Images
    y: Labels
    masks: Masks | None = None
    refused: Mapping[int, str] = field(default_factory=dict)

    def take(self, rows: NDArray[np.int64]) -> Augmented:
        """Return some rows, none of which was refused."""
        return Augmented(self.x[rows], self.y[rows], None if self.masks is None else self.masks[rows])


@dataclass(frozen=True, eq=False)
class AugmenterContext:
    """The inputs of an augmenter: the model under test, its training images, and preparations through ``run``."""

    run: Run
    model: Classifier
    train: Examples
    info: DataInfo


class FittedComponent(Component):
    """A component nested in a stage that may need fitting first; the stage declares its preparations."""

    def preparations(self, model: Ref[Classifier], data: Ref[Examples]) -> Mapping[str, Preparation]:
        """Return the preparations needed, under names that start with the component's type.

        ``model`` is the model under test, ``data`` the training images. ``AugmenterContext.run.prepared`` returns them
        by name.
        """
        return {}


@dataclass(frozen=True, kw_only=True)
class Mask(FittedComponent):
    """Selects the pixels of each image to regenerate."""

    @abstractmethod
    def masks(self, seeds: Seeds, context: AugmenterContext) -> Masks:
        """Return the pixels, bool (n, h, w); none for an image where nothing is found."""


@dataclass(frozen=True, kw_only=True)
class Augmenter(FittedComponent):
    """Derives one new image from each seed."""

    @abstractmethod
    def augment(self, seeds: Seeds, context: AugmenterContext) -> Augmented:
        """Return one image for each seed; must not depend on which other seeds are in the batch."""
