"""Object masks from human annotations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from temper.core.artefacts import Masks
from temper.core.augmenter import AugmenterContext, Seeds
from temper.core.component import PARTS, File
from temper.core.data_info import DataInfo
from temper.core.errors import StageError
from temper.generators.masks.object_mask import ObjectMask
from temper.nn.images.image_opening import open_image
from temper.nn.images.preprocessing import resize_masks

_ENDING = ".png"
_UNMARKED = (
    "the data set has no object masks; use one that has (coco, camvid), or a mask that finds objects by itself "
    "(otsu, saliency)"
)


@dataclass(frozen=True, kw_only=True)
class Annotation(ObjectMask):
    """The object mask of the data set itself: COCO's instances, CamVid's regions.

    Source: Lin et al. (2014), Microsoft COCO: Common Objects in Context; Brostow, Fauqueur and Cipolla (2009), Semantic
    object classes in video.
    """

    tag = "annotation"

    def fits(self, info: DataInfo) -> Iterator[tuple[str, str]]:
        if not info.masks:
            yield "", _UNMARKED

    def objects(self, seeds: Seeds, context: AugmenterContext) -> Masks:
        if seeds.masks is None:
            raise StageError(f"mask annotation: {_UNMARKED}")
        return seeds.masks


@dataclass(frozen=True, kw_only=True)
class MaskFiles(ObjectMask):
    """The object marked in white in black and white PNG files: <index>.png in a folder for each part of the data.

    The index of an image is the one in results: its position in the data set's own training or test part. An image
    without a file has no mask. Files of another size than the images are scaled by nearest neighbour.

    Source: GenerativeRepair, which reads masks drawn beforehand.
    """

    tag = "files"
    requires = ("PIL",)

    train: Annotated[str | None, "folder of the training images' masks", File()] = None
    validation: Annotated[str | None, "folder of the validation images' masks; may be that of train", File()] = None
    test: Annotated[str | None, "folder of the test images' masks", File()] = None

    def check(self) -> Iterator[tuple[str, str]]:
        folders = {part: Path(folder) for part in PARTS if (folder := getattr(self, part))}
        if not folders:
            yield "", f"expected a folder for at least one of {', '.join(PARTS)}, received none"
        for part, folder in folders.items():
            if not any(path.stem.isdecimal() for path in folder.glob(f"*{_ENDING}")):
                yield (
                    part,
                    f"{folder} contains no mask; expected PNG files named by the index of their image, such as 17.png",
                )

    def objects(self, seeds: Seeds, context: AugmenterContext) -> Masks:
        part = context.run.part or "train"  # preparations use the training images
        folder = getattr(self, part)
        if folder is None:
            raise StageError(f"mask files: no folder for the {part} part; set one in `{part}`")
        objects = np.zeros(seeds.x.shape[:3], bool)
        for row, index in enumerate(seeds.index):
            path = Path(folder) / f"{index}{_ENDING}"
            if path.exists():
                objects[row] = resize_masks(_read(path)[None], objects.shape[1:])[0]
        return objects


def _read(path: Path) -> Masks:
    """Return a file's white pixels.

    Raises:
        StageError: the file is corrupted, or has pixels other than black and white.
    """
    with open_image(path, "mask", "draw it again", ("PNG",)) as image:
        pixels = np.asarray(image.convert("L"))
    if grey_levels := set(np.unique(pixels).tolist()) - {0, 255}:
        raise StageError(
            f"{path}: expected black and white pixels only, received grey {min(grey_levels)}; threshold the mask"
        )
    white: Masks = pixels == 255
    return white
