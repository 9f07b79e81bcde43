"""Image files in one folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from temper.core.component import File
from temper.system.hidden_files import counts
from temper.targets.datasets.image_files import (
    ENDINGS,
    OTHER_ENDINGS,
    FileDataset,
    ImageFiles,
    folders_in,
    images_in,
    list_class_folders,
)


@dataclass(frozen=True, kw_only=True)
class ImageFolder(FileDataset):
    """Image files as root/train/<class>/*.png and root/test/<class>/*.png; classes in alphabetical order.

    PNG, JPEG, BMP, PPM and WebP files directly in a class's folder are read; hidden files and files that are not images
    are ignored, and images of other formats or in subfolders are refused. Images are read as 8-bit RGB; ``grey``
    converts them to one channel. They must have one size unless ``resize`` is set.

    Source: the layout of ``keras.utils.image_dataset_from_directory``.
    """

    tag = "image_folder"
    requires = ("PIL",)

    root: Annotated[str, "folder that contains the training and test folders", File()]
    train_folder: Annotated[str, "training folder in root; '.' if root itself contains the classes"] = "train"
    test_folder: Annotated[str, "test folder in root; not read if test_share is set"] = "test"

    @property
    def _folders(self) -> dict[str, Path]:
        """The folders to read, by the field that sets them."""
        # By field, so that a problem is reported where it was set.
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
        return list_class_folders(self._folders[field], {name: label for label, name in enumerate(self.names())})

    def check_folders(self) -> Iterator[tuple[str, str]]:
        for field, folder in self._folders.items():
            if not folder.is_dir():
                hint = ", or set test_share" if field == "test_folder" else ""
                if there := folders_in(folder.parent) if folder.parent.is_dir() else ():
                    hint += f"; {folder.parent} holds {', '.join(there[:8])}{', ...' if len(there) > 8 else ''}"
                yield field, f"there is no folder {folder}; expected one with a folder of images per class{hint}"
                return
        names = self.names()
        if not names:
            yield "train_folder", f"{self._folders['train_folder']} contains no folder; expected one per class"
        for field, folder in self._folders.items():
            if unknown := sorted(set(folders_in(folder)) - set(names)):
                yield field, f"{folder / unknown[0]} has no training images; expected the classes {', '.join(names)}"
            for name in names:
                # A class without any image is reported for the training folder only.
                known = field == "train_folder" or images_in(self._folders["train_folder"] / name)
                if not images_in(folder / name) and known and self._is_kept(name):
                    yield field, _without_images(folder / name, field)
                elif other := _unread(folder / name):
                    yield field, other

    def _is_kept(self, name: str) -> bool:
        return not self.classes or self.names().index(name) in self.classes


def _without_images(folder: Path, field: str) -> str:
    hint = "; exclude the class with `classes`, or set test_share" if field == "test_folder" else ""
    return f"{folder} contains no image; expected files that end in {', '.join(ENDINGS)}{hint}"


def _unread(folder: Path) -> str:
    """Return which image of a class is not read, and what to do; empty if all are."""
    there = sorted(path for path in folder.iterdir() if counts(path.name)) if folder.is_dir() else []
    for path in there:
        if path.name.lower().endswith(OTHER_ENDINGS):
            return f"{path} is not read; expected files that end in {', '.join(ENDINGS)}: convert or remove it"
        if path.is_dir() and (images := images_in(path)):
            return f"{images[0]} is not read; expected images directly in {folder}: move or remove it"
    return ""
