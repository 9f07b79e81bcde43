"""Image files in one folder per class."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from core.artefacts import DataInfo
from core.component import File, Range
from core.dataset import Dataset, Source
from core.faults import StageError
from core.images import prepare
from core.stratify import stratified

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp")
_EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """Image files as root/train/<class>/*.png and root/test/<class>/*.png; classes in alphabetical order.

    PNG, JPEG, BMP, PPM and WebP files directly in a class's folder count, others are left alone. Images are read
    as 8-bit RGB; ``grey`` makes them one channel. They must be of one size unless ``resize`` is given.

    Source: the layout of ``keras.utils.image_dataset_from_directory``.
    """

    tag = "image_folder"

    root: Annotated[str, "folder that holds the training and test folders", File()]
    train_folder: Annotated[str, "training folder in root; '.' where root itself holds the classes"] = "train"
    test_folder: Annotated[str, "test folder in root; not read where test_share is given"] = "test"
    test_share: Annotated[
        float | None,
        "share of the training folder's images held out as the test part, stratified; default: read the test folder",
        Range(gt=0, lt=1),
    ] = None

    @property
    def _train(self) -> Path:
        return Path(self.root) / self.train_folder

    @property
    def _folders(self) -> dict[str, Path]:
        """The folders to read, by the field that names them."""
        folders = {"train_folder": self._train}
        return folders if self.test_share else folders | {"test_folder": Path(self.root) / self.test_folder}

    def files(self) -> Iterator[Path]:
        yield from self._folders.values()

    def check_source(self) -> Iterator[tuple[str, str]]:
        for field, folder in self._folders.items():
            if not folder.is_dir():
                hint = ", or give test_share" if field == "test_folder" else ""
                yield field, f"there is no folder {folder}; expected one that holds a folder of images per class{hint}"
                return
        names = _classes(self._train)
        if not names:
            yield "train_folder", f"{self._train} holds no folder; expected one per class"
        for field, folder in self._folders.items():
            if unknown := sorted(set(_classes(folder)) - set(names)):
                yield field, f"{folder / unknown[0]} has no training images; expected the classes {', '.join(names)}"
            for name in names:
                if not _images(folder / name) and field == "train_folder":
                    yield field, f"{folder / name} holds no image; expected files that end in {', '.join(ENDINGS)}"
        if not self.source_sizes()[1]:
            yield (
                "test_share" if self.test_share else "test_folder",
                "the test part has no image; expected at least one",
            )
        yield from self._check_first_images()

    def _check_first_images(self) -> Iterator[tuple[str, str]]:
        """Open the first image of each class; the others are judged when they are read."""
        expected = None
        for folder in self._folders.values():
            for name in _classes(folder):
                for path in _images(folder / name)[:1]:
                    try:
                        shape = self._read_image(path).shape
                    except StageError as error:
                        yield "root", str(error)
                        return
                    expected = expected or shape
                    if shape != expected:
                        yield "resize", _other_size(path, shape, expected)
                        return

    def source_info(self) -> DataInfo:
        names = _classes(self._train)
        height, width, channels = self._read_image(_images(self._train / names[0])[0]).shape
        return DataInfo((height, width, channels), names)

    def source_sizes(self) -> tuple[int, int]:
        counts = [sum(len(_images(folder / name)) for name in _classes(folder)) for folder in self._folders.values()]
        if self.test_share is None:
            return counts[0], counts[1]
        held_out = round(self.test_share * counts[0])
        return counts[0] - held_out, held_out

    def load(self) -> Source:
        x, y = self._read(self._train)
        if self.test_share is None:
            return (x, y), self._read(self._folders["test_folder"])
        test = np.zeros(len(y), bool)
        test[stratified(y, self.source_sizes()[1], np.random.default_rng([self.split_seed, len(y)]))] = True
        return (x[~test], y[~test]), (x[test], y[test])

    def _read(self, folder: Path) -> tuple[NDArray[Any], NDArray[np.int64]]:
        shape, names = self.source_info().shape, _classes(self._train)
        found = [(path, label) for label, name in enumerate(names) for path in _images(folder / name)]
        x = np.empty((len(found), *shape), np.float32 if self.resize else np.uint8)
        for row, (path, _) in enumerate(found):
            image = self._read_image(path)
            if image.shape != shape:
                raise StageError(_other_size(path, image.shape, shape))
            x[row] = image
        return x, np.array([label for _, label in found], np.int64)

    def _read_image(self, path: Path) -> NDArray[Any]:
        """Return an image as uint8 (h, w, 3), or resized as float32 in [0, 1]."""
        image = _rgb(path)
        return prepare(image[None], size=self.resize)[0] if self.resize else image


def _rgb(path: Path) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode not in _EIGHT_BIT:
                raise StageError(f"{path}: expected 8 bits per channel, received mode {image.mode}; convert the image")
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise StageError(f"{path}: the image is damaged ({error}); replace or remove it") from None


def _other_size(path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> str:
    height, width = shape[:2]
    return f"{path} is {height}x{width}, the first image {expected[0]}x{expected[1]}; give 'resize', or one size to all"


def _classes(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    # Names, because comparing tens of thousands of paths takes seconds.
    names = sorted(entry.name for entry in folder.iterdir())
    return [folder / name for name in names if name.lower().endswith(ENDINGS)]
