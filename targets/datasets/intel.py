"""The Intel data set: photographs of landscapes and streets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from temper.targets.datasets.data_folder import FolderDataset
from temper.targets.datasets.image_files import FileDataset, ImageFiles, folders_in, images_in, list_class_folders


@dataclass(frozen=True, kw_only=True)
class Intel(FolderDataset, FileDataset):
    """Photographs of landscapes and streets: 14,034 training and 3,000 test images, mostly 150x150, 6 classes.

    ``root`` holds seg_train/<class>/*.jpg and seg_test/<class>/*.jpg, each possibly nested in a folder of the same
    name, as the archive unpacks. Some images have other sizes: set ``resize``.

    Source: the Intel Image Classification challenge (2018), as on Kaggle; used by guided retraining.
    """

    tag = "intel"
    requires = ("PIL",)
    class_names: ClassVar[tuple[str, ...]] = ("buildings", "forest", "glacier", "mountain", "sea", "street")

    def names(self) -> tuple[str, ...]:
        return self.class_names

    def files(self) -> Iterator[Path]:
        if self.folder:
            yield from (self._part(name) for name in self._folders)

    def training_files(self) -> ImageFiles:
        return self._listed("seg_train")

    def test_files(self) -> ImageFiles:
        return self._listed("seg_test")

    def check_folders(self) -> Iterator[tuple[str, str]]:
        yield from self._check_folder()
        if self.folder is None or not self.folder.is_dir():
            return
        for name in self._folders:
            for label in self.class_names:
                if not images_in(folder := self._part(name) / label):
                    hint = ", or set test_share" if name == "seg_test" else ""
                    yield (
                        self.location_field,
                        f"{folder} contains no image; expected the folders seg_train and seg_test{hint}",
                    )
                    return
            if unknown := sorted(set(folders_in(self._part(name))) - set(self.class_names)):
                known = ", ".join(self.class_names)
                yield (
                    self.location_field,
                    f"{self._part(name) / unknown[0]} is not a class; expected {known}; use image_folder for others",
                )

    @property
    def _folders(self) -> tuple[str, ...]:
        return ("seg_train",) if self.test_share else ("seg_train", "seg_test")

    def _part(self, name: str) -> Path:
        assert self.folder is not None  # checked by check_folders
        # The archive unpacks to seg_train/seg_train.
        nested = self.folder / name / name
        return nested if nested.is_dir() else self.folder / name

    def _listed(self, name: str) -> ImageFiles:
        return list_class_folders(self._part(name), {label: i for i, label in enumerate(self.class_names)})
