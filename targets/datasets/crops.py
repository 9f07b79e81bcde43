"""Data sets of objects cut out of photographs, with the masks of the objects."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Masks
from temper.core.component import Range
from temper.core.data_info import DataInfo
from temper.core.dataset import Source
from temper.core.errors import StageError
from temper.nn.images.image_opening import size_problem
from temper.nn.images.preprocessing import ImageSource
from temper.targets.datasets.data_folder import FolderDataset
from temper.targets.datasets.image_files import read_rgb

Part = Literal["train", "test"]


@dataclass(frozen=True, eq=False)
class FoundObject:
    """An object in a photograph.

    ``box`` is left, top, width and height in pixels, ``size`` the photograph's height and width; ``outline`` returns
    the object's pixels, bool of that size.
    """

    path: Path
    label: int
    box: tuple[float, float, float, float]
    size: tuple[int, int]
    outline: Callable[[], Masks]

    @property
    def longer_side(self) -> float:
        """The longer side of the box, in pixels."""
        return max(self.box[2:])

    def side(self, margin: float) -> int:
        """Return the side of the square around the box, in pixels."""
        return max(1, round(self.longer_side * (1 + 2 * margin)))

    def square(self, margin: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows and columns of the square around the box.

        Its side is the longer side of the box plus ``margin`` of that on either side. It is shifted into the photograph
        if it fits; otherwise it extends beyond both edges evenly.
        """
        side = self.side(margin)
        left, top, width, height = self.box
        lines = []
        for middle, whole in zip((top + height / 2, left + width / 2), self.size, strict=True):
            # Shifted into the photograph where it fits, else centred on it.
            start = min(max(round(middle - side / 2), 0), whole - side) if side <= whole else (whole - side) // 2
            lines.append(np.arange(start, start + side))
        return lines[0], lines[1]


@dataclass(frozen=True, eq=False)
class Crops:
    """The squares around objects, read one at a time: uint8 (side, side, 3). The edge is repeated outside the photo."""

    found: tuple[FoundObject, ...]
    margin: float

    def __len__(self) -> int:
        return len(self.found)

    def read(self, row: int) -> NDArray[np.uint8]:
        """Return one.

        Raises:
            StageError: the photograph is corrupted, or its size differs from its annotation.
        """
        found = self.found[row]
        image = read_rgb(found.path)
        if image.shape[:2] != found.size:
            raise StageError(
                f"{found.path} is {image.shape[0]}x{image.shape[1]}, its annotation {found.size[0]}x{found.size[1]}; "
                "check that they belong together"
            )
        rows, columns = (np.clip(at, 0, n - 1) for at, n in zip(found.square(self.margin), found.size, strict=True))
        return image[rows[:, None], columns]


@dataclass(frozen=True, eq=False)
class CropMasks:
    """The masks of ``Crops``: uint8 (side, side, 1), 1 at the object's pixels."""

    crops: Crops

    def __len__(self) -> int:
        return len(self.crops)

    def read(self, row: int) -> NDArray[np.uint8]:
        """Return one."""
        found = self.crops.found[row]
        rows, columns = found.square(self.crops.margin)
        (height, width) = found.size
        inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
        mask = found.outline()[np.clip(rows, 0, height - 1)[:, None], np.clip(columns, 0, width - 1)] & inside
        return mask[..., None].astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class CropDataset(FolderDataset):
    """Objects cut out of photographs as squares, which ``resize`` scales to one size.

    Members implement ``objects``, ``names`` and ``check_folders``, and declare ``min_size``.
    """

    min_size: Annotated[int, "minimum longer side of an object's box, in pixels of the photograph", Range(ge=1)]
    margin: Annotated[
        float, "margin around an object on each side, as a share of its longer side", Range(ge=0, le=2)
    ] = 0.1

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Return the names of the classes, by label."""

    @abstractmethod
    def objects(self, part: Part) -> tuple[FoundObject, ...]:
        """Return the objects of a part that are large enough.

        Raises:
            StageError: files are missing or corrupted.
        """

    @abstractmethod
    def check_folders(self) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for every reason the objects cannot be found."""

    def check_source(self) -> Iterator[tuple[str, str]]:
        yield from self._check_folder()
        if self.folder is not None and self.folder.is_dir():
            yield from self.check_folders()
        if self.resize is None:
            yield "resize", "objects have many sizes; set the height and width of the images, as in resize: 32"

    @cached_property
    def found(self) -> Mapping[Part, tuple[FoundObject, ...]]:
        """The objects of both parts, cached."""
        return {part: self.objects(part) for part in get_args(Part)}

    def source_info(self) -> DataInfo:
        assert self.resize is not None  # checked by check_source
        return DataInfo((self.resize, self.resize, 3), self.names(), masks=True)

    def load(self) -> Source:
        train, test = (self._crops(part) for part in ("train", "test"))
        return (train, _labels(train)), (test, _labels(test))

    def masks(self) -> tuple[Masks | ImageSource, Masks | ImageSource]:
        return CropMasks(self._crops("train")), CropMasks(self._crops("test"))

    def _crops(self, part: Part) -> Crops:
        found = self.found[part]
        if not found:
            raise StageError(
                f"{self.tag}, {part}: no object of {', '.join(self.names())} is {self.min_size} pixels or longer; "
                "lower min_size, or set other categories"
            )
        # Only the largest: all others are within the limit then.
        largest = max(found, key=lambda one: one.side(self.margin))
        if problem := size_problem(largest.side(self.margin), largest.side(self.margin)):
            raise StageError(
                f"{self.tag}, {part}: the square around an object in {largest.path}: {problem}; remove its annotation"
            )
        return Crops(found, self.margin)


def _labels(crops: Crops) -> NDArray[Any]:
    return np.array([found.label for found in crops.found], np.int64)
