"""The COCO data set: common objects in context."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from temper.core.component import Range
from temper.core.errors import StageError
from temper.targets.datasets.coco_file import AnnotationFile, Object
from temper.targets.datasets.crops import CropDataset, FoundObject, Part

_ANIMALS = ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")

_PLAN_LIMIT = 2**25
"""Size in bytes of annotations that are read before anything runs (about a second); larger ones are read later."""


@dataclass(frozen=True, kw_only=True)
class COCO(CropDataset):
    """Objects of COCO cut out of their photographs, with their masks: by default ten animals.

    ``root`` holds annotations/instances_<part>.json and the folder <part> of images, for both parts. Each photograph
    contributes its largest object of these categories, so that no two images show one scene; crowds are excluded. Of
    2017's images some 20,000 are for training and 1,000 for the test.

    Source: Lin et al. (2014), Microsoft COCO: Common Objects in Context; the ten animals are GenerativeRepair's.
    """

    tag = "coco"
    requires = ("PIL", "pycocotools")

    categories: Annotated[tuple[str, ...], "names of the categories to keep, in the order of their labels"] = _ANIMALS
    train_part: Annotated[str, "training part: the name of its folder, also in the name of its annotations"] = (
        "train2017"
    )
    test_part: Annotated[str, "test part: the name of its folder, also in the name of its annotations"] = "val2017"
    min_size: Annotated[int, "minimum longer side of an object's box, in pixels of the photograph", Range(ge=1)] = 32

    def names(self) -> tuple[str, ...]:
        return self.categories

    def files(self) -> Iterator[Path]:
        if self.folder:
            for name in (self.train_part, self.test_part):
                yield from (self._annotations(name), self.folder / name)

    def check_folders(self) -> Iterator[tuple[str, str]]:
        if len(self.categories) < 2 or len(set(self.categories)) < len(self.categories):
            yield "categories", f"expected two or more different names, received {list(self.categories)}"
        assert self.folder is not None
        for field, name in (("train_part", self.train_part), ("test_part", self.test_part)):
            if not self._annotations(name).is_file():
                yield field, f"there is no file {self._annotations(name)}; expected the instances of {name}"
            if not (self.folder / name).is_dir():
                yield field, f"there is no folder {self.folder / name}; expected the images of {name}"

    def check_source(self) -> Iterator[tuple[str, str]]:
        problems = list(super().check_source())
        yield from problems
        parts: tuple[tuple[Part, str], ...] = (("train", self.train_part), ("test", self.test_part))
        if problems or sum(self._annotations(name).stat().st_size for _, name in parts) > _PLAN_LIMIT:
            return
        for part, name in parts:
            try:
                crops = self._crops(part)
            except StageError as error:
                yield self.location_field, str(error)
                return
            if missing := [found.path for found in crops.found if not found.path.is_file()]:
                yield (
                    self.location_field,
                    f"there is no photograph {missing[0]}, which {self._annotations(name)} refers to",
                )

    def objects(self, part: Part) -> tuple[FoundObject, ...]:
        name = self.train_part if part == "train" else self.test_part
        assert self.folder is not None  # checked by check_source
        return _objects(self._annotations(name), self.folder / name, self.categories, self.min_size)

    def _annotations(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / "annotations" / f"instances_{name}.json"


def _objects(path: Path, folder: Path, categories: tuple[str, ...], min_size: int) -> tuple[FoundObject, ...]:
    """Return the largest object of each photograph, in the order of the photographs' numbers.

    Raises:
        StageError: the file is in another format, lacks a category, or an annotation is invalid.
    """
    largest: dict[Any, Object] = {}
    for found in AnnotationFile(path).objects(categories):
        known = largest.get(found.image)
        # One object per photograph, so that no two images show one scene.
        if max(found.box[2:]) >= min_size and (known is None or found.area > known.area):
            largest[found.image] = found
    for found in largest.values():
        if problem := found.segmentation_problem():
            raise StageError(f"{found.where}: {problem}")
    return tuple(
        FoundObject(folder / one.file_name, categories.index(one.category), one.box, one.size, one.outline)
        for one in (largest[number] for number in sorted(largest))
    )
