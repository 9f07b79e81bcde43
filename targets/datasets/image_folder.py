"""Image files in one folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from core.component import File
from targets.datasets.image_files import ENDINGS, FileDataset, ImageFiles, folders_in, images_in, in_class_folders


@dataclass(frozen=True, kw_only=True)
class ImageFolder(FileDataset):
    """Image files as root/train/<class>/*.png and root/test/<class>/*.png; classes in alphabetical order.

    PNG, JPEG, BMP, PPM and WebP files directly in a class's folder count, others are left alone. Images are read
    as 8-bit RGB; ``grey`` makes them one channel. They must be of one size unless ``resize`` is given.

    Source: the layout of ``keras.utils.image_dataset_from_directory``.
    """

    tag = "image_folder"

    root: Annotated[str, "folder that holds the training and test folders", File()]
    train_folder: Annotated[str, "training folder in root; '.' where root itself holds the classes"] = "train"
    test_folder: Annotated[str, "test folder in root; not read where test_share is given"] = "test"

    @property
    def _folders(self) -> dict[str, Path]:
        """The folders to read, by the field that names them."""
        folders = {"train_folder": Path(self.root) / self.train_folder}
        return folders if self.test_share else folders | {"test_folder": Path(self.root) / self.test_folder}

    def files(self) -> Iterator[Path]:
        yield from self._folders.values()

    def names(self) -> tuple[str, ...]:
        return folders_in(self._folders["train_folder"])

    def training_files(self) -> ImageFiles:
        return self._listed("train_folder")

    def test_files(self) -> ImageFiles:
        return self._listed("test_folder")

    def _listed(self, field: str) -> ImageFiles:
        return in_class_folders(self._folders[field], {name: label for label, name in enumerate(self.names())})

    def check_folders(self) -> Iterator[tuple[str, str]]:
        for field, folder in self._folders.items():
            if not folder.is_dir():
                hint = ", or give test_share" if field == "test_folder" else ""
                yield field, f"there is no folder {folder}; expected one that holds a folder of images per class{hint}"
                return
        train, names = self._folders["train_folder"], self.names()
        if not names:
            yield "train_folder", f"{train} holds no folder; expected one per class"
        for name in names:
            if not images_in(train / name):
                yield "train_folder", f"{train / name} holds no image; expected files that end in {', '.join(ENDINGS)}"
        for field, folder in self._folders.items():
            if unknown := sorted(set(folders_in(folder)) - set(names)):
                yield field, f"{folder / unknown[0]} has no training images; expected the classes {', '.join(names)}"
