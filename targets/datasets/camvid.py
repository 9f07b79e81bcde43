"""The CamVid data set: road users and signs, seen from a car."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Labels, Masks
from temper.core.component import Range
from temper.core.errors import StageError
from temper.nn.images.image_opening import open_image
from temper.targets.datasets.crops import CropDataset, FoundObject, Part
from temper.targets.datasets.image_files import images_in

Region = Literal[
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"
]
REGIONS: tuple[Region, ...] = get_args(Region)
"""Regions by their number in the masks; the next number is void."""
_STRETCH = 30
"""Number of consecutive frames that are never split: neighbours show the same objects."""


@dataclass(frozen=True, kw_only=True)
class CamVid(CropDataset):
    """Road users and signs cut out of the frames of a video from a car, with their masks.

    ``root`` holds <part>/images and <part>/masks; the mask of NAME.jpg or NAME.png is NAME.png or NAME_mask.png, whose
    grey levels are sky 0, building 1, pole 2, road 3, pavement 4, tree 5, sign 6, fence 7, car 8, pedestrian 9,
    bicyclist 10, void 11. Each connected region of a class is one object, so cars that touch are one. At 160x120: 1,089
    training and 456 test images.

    Source: Brostow, Fauqueur and Cipolla (2009), Semantic object classes in video: A high-definition ground truth
    database; its parts and regions are those of Badrinarayanan, Kendall and Cipolla (2017), SegNet.
    """

    tag = "camvid"
    requires = ("PIL", "scipy")

    categories: Annotated[tuple[Region, ...], "regions to cut out, in the order of their labels"] = (
        "sign", "car", "pedestrian", "bicyclist",
    )  # fmt: skip
    train_folder: Annotated[str, "training folder in root"] = "train"
    test_folder: Annotated[str, "test folder in root"] = "test"
    min_size: Annotated[int, "minimum longer side of an object's box, in pixels of the frame", Range(ge=1)] = 16

    def names(self) -> tuple[str, ...]:
        return self.categories

    def files(self) -> Iterator[Path]:
        if self.folder:
            yield from (self.folder / name for name in (self.train_folder, self.test_folder))

    def check_folders(self) -> Iterator[tuple[str, str]]:
        if len(self.categories) < 2 or len(set(self.categories)) < len(self.categories):
            yield "categories", f"expected two or more different names, received {list(self.categories)}"
        for field in ("train_folder", "test_folder"):
            try:
                _pairs(self._folder(getattr(self, field)))
            except StageError as error:
                yield field, str(error)

    def objects(self, part: Part) -> tuple[FoundObject, ...]:
        return tuple(found for image, mask in self._frames(part) for found in self._in_frame(image, mask))

    def groups(self) -> tuple[Labels, Labels]:
        # Stretches are numbered within a part, so that no group spans both.
        keys = [(part, *stretch) for part in ("train", "test") for stretch in self._stretches(part)]
        numbers = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
        first = sum(key[0] == "train" for key in keys)
        return numbers[:first], numbers[first:]

    def _stretches(self, part: Part) -> Iterator[tuple[str, str, str]]:
        """Yield class, film and stretch of frames of each object; a group contains one class only."""
        place: dict[Path, tuple[str, str]] = {}
        seen: dict[str, int] = {}
        for image, _ in self._frames(part):
            film = image.stem.rpartition("_")[0]
            number = seen[film] = seen.get(film, -1) + 1
            place[image] = (film, str(number // _STRETCH))
        for found in self.found[part]:
            yield (str(found.label), *place[found.path])

    def _frames(self, part: Part) -> list[tuple[Path, Path]]:
        return _pairs(self._folder(self.train_folder if part == "train" else self.test_folder))

    def _folder(self, name: str) -> Path:
        assert self.folder is not None  # checked by check_source
        return self.folder / name

    def _in_frame(self, image: Path, mask: Path) -> Iterator[FoundObject]:
        from scipy import ndimage

        regions = _read(mask)
        for label, name in enumerate(self.categories):
            # 3 x 3 neighbours: regions that touch at a corner are one object.
            pieces, _ = ndimage.label(regions == REGIONS.index(name), structure=np.ones((3, 3)))
            for number, (rows, columns) in enumerate(ndimage.find_objects(pieces), 1):
                box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
                if max(box[2:]) >= self.min_size:
                    piece = pieces[rows, columns] == number
                    yield FoundObject(
                        image, label, box, regions.shape, partial(_placed, piece, rows, columns, regions.shape)
                    )


def _placed(piece: Masks, rows: slice, columns: slice, size: tuple[int, int]) -> Masks:
    mask = np.zeros(size, bool)
    mask[rows, columns] = piece
    return mask


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Return the images of a folder, each with its mask.

    Raises:
        StageError: there is none, or one lacks its mask.
    """
    images, masks = images_in(folder / "images"), folder / "masks"
    if not images:
        raise StageError(f"{folder / 'images'} contains no image; expected frames, and their masks in {masks}")
    there = {path.name for path in images_in(masks)}
    pairs = []
    for image in images:
        name = next((name for name in (f"{image.stem}.png", f"{image.stem}_mask.png") if name in there), None)
        if name is None:
            raise StageError(f"{image} has no mask; expected {masks / image.stem}.png or {image.stem}_mask.png")
        pairs.append((image, masks / name))
    return pairs


def _read(path: Path) -> NDArray[np.uint8]:
    """Return the regions of a frame by number, uint8 (h, w).

    Raises:
        StageError: the file is corrupted, or not an image of region numbers.
    """
    with open_image(path, "mask", "replace it") as image:
        regions = np.asarray(image)
    if regions.ndim != 2 or regions.dtype != np.uint8 or regions.max() > len(REGIONS):
        raise StageError(
            f"{path}: expected grey levels 0 to {len(REGIONS)}, one for each kind of region, received {regions.dtype} "
            f"{regions.shape} up to {regions.max()}; convert coloured masks first"
        )
    return regions
