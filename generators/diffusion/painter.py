"""The family of painters, which fill holes in images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from temper.core.artefacts import Images, Labels, Masks
from temper.core.augmenter import AugmenterContext, FittedComponent, Seeds


@dataclass(frozen=True, eq=False)
class Holes:
    """Images to paint: the seeds, bool (n, h, w) where, and int64 (n,) as which class."""

    seeds: Seeds
    masks: Masks
    labels: Labels

    def __len__(self) -> int:
        return len(self.seeds)

    def batches(self, size: int) -> Iterator[tuple[slice, Holes]]:
        """Yield the rows of each batch, and the batch."""
        for start in range(0, len(self), size):
            rows = slice(start, min(start + size, len(self)))
            yield rows, Holes(self.seeds.take(rows), self.masks[rows], self.labels[rows])


@dataclass(frozen=True, eq=False)
class Painted:
    """Images float32 (n, h, w, c) in [0, 1], used only inside the holes; ``refused`` maps failed rows to the reason."""

    x: Images
    refused: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Painter(FittedComponent):
    """Fills holes in images."""

    knows_classes: ClassVar[bool] = True
    """Whether it paints the requested class."""

    @abstractmethod
    def paint(self, holes: Holes, context: AugmenterContext) -> Painted:
        """Return the images with their holes filled; each depends on its own seed alone."""
