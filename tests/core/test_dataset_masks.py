"""Object masks of data sets: they are split and resized with their images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from temper.core.artefacts import Masks
from temper.core.data_info import DataInfo
from temper.core.dataset import Dataset, Source
from temper.core.errors import StageError
from temper.nn.images.preprocessing import resize_masks
from tests.targets.datasets.support import produced

N = {"train": 12, "test": 6}


def shades(n: int, first: int) -> NDArray[np.uint8]:
    """Images of 4x4 of one shade, their number."""
    return np.full((n, 4, 4, 1), (first + np.arange(n))[:, None, None, None], np.uint8)


def marked(n: int, first: int) -> Masks:
    """Masks that show the binary digits of the image's number, each on a quarter of the image."""
    bits = (first + np.arange(n))[:, None] >> np.arange(4) & 1
    return bits.astype(bool).reshape(n, 2, 2).repeat(2, axis=1).repeat(2, axis=2)


@dataclass(frozen=True)
class Files:
    """Masks that are read one at a time."""

    masks: Masks

    def __len__(self) -> int:
        return len(self.masks)

    def read(self, row: int) -> NDArray[np.uint8]:
        return np.asarray(self.masks[row, ..., None] * 255, np.uint8)


@dataclass(frozen=True, kw_only=True)
class Marked(Dataset):
    as_files: bool = False
    lost: int = 0

    def source_info(self) -> DataInfo:
        return DataInfo((4, 4, 1), ("even", "odd"))

    def load(self) -> Source:
        (a, b) = N.values()
        return (shades(a, 0), np.arange(a) % 2), (shades(b, a), np.arange(b) % 2)

    def masks(self) -> Any:
        (a, b) = N.values()
        both = marked(a, 0), marked(b - self.lost, a)
        return tuple(map(Files, both)) if self.as_files else both


Marked.tag = "marked"


@pytest.mark.parametrize("as_files", [False, True])
@pytest.mark.parametrize("size", [None, 2, 8])
@pytest.mark.parametrize("split", [{"validation": 0.25}, {"resplit": (8, 4, 4)}, {"classes": (1,), "test_size": 2}])
def test_masks_stay_with_their_images(split: dict[str, Any], size: int | None, as_files: bool) -> None:
    data = produced(Marked(as_files=as_files, resize=size, **split))
    for part in (data.train, data.validation, data.test):
        assert part.masks is not None
        side = size or 4
        number = np.rint(part.x[:, 0, 0, 0] * 255).astype(int)
        quarters = part.masks[:, :: side // 2, :: side // 2].reshape(len(part), 4)
        np.testing.assert_array_equal((quarters << np.arange(4)).sum(axis=1), number & 15)
        assert part.masks.shape == part.x.shape[:3]


def test_masks_of_some_images_only_are_rejected() -> None:
    with pytest.raises(StageError, match=r"masks of \(12, 6\) images, received \(12, 5\)"):
        produced(Marked(lost=1))


def test_masks_are_resized_by_nearest_neighbour() -> None:
    row = np.array([[[True, False, False, True, True, False]]])
    assert resize_masks(row, (1, 3)).tolist() == [[[False, True, False]]]  # centres 1, 3, 5 of 6
    assert resize_masks(row, (1, 12)).tolist() == row.repeat(2, axis=2).tolist()
    assert resize_masks(row, (2, 6)).tolist() == row.repeat(2, axis=1).tolist()
