"""Occluders: cut-outs that images are occluded with, generated or cut beforehand and stored as a bank."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Artefact, Examples, Images, Labels
from temper.core.augmenter import AugmenterContext, FittedComponent
from temper.core.classifier import Classifier
from temper.core.component import Range, Ref
from temper.core.data_info import DataInfo
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.nn.images.preprocessing import scaled

ANY_CLASS = -1


@dataclass(frozen=True, eq=False)
class Cutouts(Artefact):
    """Cut-outs to paste onto images.

    ``alpha`` is float32 (n, h, w), the opacity of each pixel, 0 outside the object; ``x`` float32 (n, h, w, c) its
    colours in [0, 1] times alpha, so that resizing does not blend in the background; ``y`` int64 (n,), the class of the
    object, ``ANY_CLASS`` for one without a class.
    """

    kind: ClassVar[str] = "cutouts"

    x: Images
    alpha: NDArray[np.float32]
    y: Labels

    def scaled(self, row: int, side: int) -> tuple[Images, NDArray[np.float32]]:
        """Return the x (h, w, c) and alpha (h, w) of one, cropped, its longer side scaled to ``side`` pixels."""
        layers = self._cropped[row]
        height, width = layers.shape[:2]
        factor = side / max(height, width)
        small = scaled(layers[None], max(1, round(height * factor)), max(1, round(width * factor)))[0]
        return small[..., :-1], small[..., -1]

    @cached_property
    def _cropped(self) -> tuple[Images, ...]:
        """Colours and alpha of each, stacked (h, w, c + 1), without the empty rows and columns around."""
        layers = np.concatenate([self.x, self.alpha[..., None]], axis=3)
        return tuple(layer[_extent(layer, 1), _extent(layer, 0)] for layer in layers)

    def save(self, folder: Path) -> None:
        for name in ("x", "alpha", "y"):
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(*(np.load(folder / f"{name}.npy") for name in ("x", "alpha", "y")))


def _extent(layer: Images, across: int) -> slice:
    """Return the rows (``across`` 1) or columns (0) that span all pixels whose last value, alpha, is above 0."""
    first, last = np.flatnonzero((layer[..., -1] > 0).any(axis=across))[[0, -1]]
    return slice(first, last + 1)


@dataclass(frozen=True, kw_only=True)
class Occluders(FittedComponent):
    """A source of cut-outs."""

    @abstractmethod
    def cutouts(self, count: int, context: AugmenterContext, rng: np.random.Generator) -> Cutouts:
        """Return at most ``count`` cut-outs of the size and channels of the training images.

        Raises:
            StageError: there are none.
        """


@dataclass(frozen=True, kw_only=True)
class OccluderBank(Preparation):
    """The cut-outs that images are occluded with.

    Source: as ``synthetic_occlusion`` says.
    """

    tag = "occluder_bank"
    produces = Cutouts

    model: Annotated[Ref[Classifier], "the model under test"]
    data: Annotated[Ref[Examples], "the training images"]
    occluders: Occluders
    bank: Annotated[int, "maximum number of cut-outs", Range(ge=1)]

    def preparations(self) -> Mapping[str, Preparation]:
        return self.occluders.preparations(self.model, self.data)

    def produce(self, run: Run) -> Cutouts:
        model, train = run[self.model], run[self.data]
        names = train.info.get("class_names", map(str, range(model.num_classes)))
        return self.occluders.cutouts(
            self.bank, AugmenterContext(run, model, train, DataInfo(train.shape, tuple(names))), run.rng()
        )
