"""Data sets of image files: listed at once, opened one at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Labels
from temper.core.component import Range
from temper.core.data_info import DataInfo
from temper.core.dataset import Dataset, Source
from temper.core.errors import StageError
from temper.nn.images.image_opening import open_image
from temper.nn.images.preprocessing import Shape
from temper.nn.images.stratified_sample import sample
from temper.system.hidden_files import counts

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp")
OTHER_ENDINGS = (".tif", ".tiff", ".gif", ".jp2", ".avif", ".heic", ".jfif", ".npy", ".pgm")
"""Extensions of image files that are not read."""
_WHITE = 255
# Pillow's modes of at most 8 bits per channel.
_EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Labelled image files, all of one shape if one is given."""

    paths: tuple[Path, ...]
    labels: Labels
    shape: Shape | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, row: int) -> NDArray[np.uint8]:
        """Return an image as RGB, uint8 (h, w, 3).

        Raises:
            StageError: the image is corrupted, does not have 8 bits per channel, or has another shape.
        """
        image = read_rgb(self.paths[row], upright=True)
        if self.shape is not None and image.shape != self.shape:
            raise StageError(_other_size(self.paths[row], image.shape, self.shape))
        return image

    def at(self, rows: Labels) -> ImageFiles:
        """Return the files at some positions."""
        return ImageFiles(tuple(self.paths[row] for row in rows), self.labels[rows], self.shape)


@dataclass(frozen=True, kw_only=True)
class FileDataset(Dataset):
    """A data set of image files, which must have one size unless ``resize`` is set.

    Members implement ``names``, ``training_files``, ``test_files`` and ``check_folders``, and ``track`` where several
    images show one object.
    """

    test_share: Annotated[
        float | None,
        "share of the training images held out as the test part, stratified; default: read the test part",
        Range(gt=0, lt=1),
    ] = None

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Return the names of the classes, by label."""

    @abstractmethod
    def training_files(self) -> ImageFiles:
        """List the training images."""

    @abstractmethod
    def test_files(self) -> ImageFiles:
        """List the test part; not called if ``test_share`` is set."""

    @abstractmethod
    def check_folders(self) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for every reason the files cannot be listed."""

    def track(self, path: Path) -> str | None:
        """Return the name of the object that an image shows; ``None`` where images may be split freely."""
        return None

    @property
    def location_field(self) -> str:
        """The field to report for a problem with a file."""
        return "root"

    def check_source(self) -> Iterator[tuple[str, str]]:
        problems = list(self.check_folders())
        yield from problems
        if not problems:
            yield from self._check_images()

    def _check_images(self) -> Iterator[tuple[str, str]]:
        """Open the first image of each class, and look for empty files; the others are checked when they are read."""
        expected, brightest = None, 0
        for part, files in zip(("training", "test"), self._parts(), strict=True):
            if not len(files):
                yield (
                    "test_share" if self.test_share else self.location_field,
                    f"the {part} part has no image; expected at least one",
                )
                return
            if empty := [path for path in files.paths if path.is_file() and not path.stat().st_size]:
                others = f", and so are {len(empty) - 1} more" if empty[1:] else ""
                yield self.location_field, f"{empty[0]} is an empty file{others}; download it again or remove it"
                return
            # One image per class: opening all would take too long before a run.
            for row in np.unique(files.labels, return_index=True)[1]:
                try:
                    image = files.read(row)
                    shape = image.shape
                except StageError as error:
                    yield self.location_field, str(error)
                    return
                brightest = max(brightest, int(image.max()))
                expected = expected or shape
                if shape != expected and self.resize is None:
                    yield "resize", _other_size(files.paths[row], shape, expected)
                    return
        if brightest == 0:
            yield (
                self.location_field,
                "all pixels of the first image of each class are 0; check the program that wrote them",
            )
        if brightest == 1:
            yield self.location_field, "the pixels are 0 and 1 only and would be nearly black; write images of 0 to 255"

    def source_info(self) -> DataInfo:
        height, width, channels = self.training_files().read(0).shape
        return DataInfo((height, width, channels), self.names())

    def source_sizes(self) -> tuple[int, int]:
        train, test = self._parts()
        return len(train), len(test)

    def load(self) -> Source:
        shape = None if self.resize else self.source_info().shape
        train, test = (replace(files, shape=shape) for files in self._parts())
        return (train, train.labels), (test, test.labels)

    def groups(self) -> tuple[Labels, Labels] | None:
        train, test = self._parts()
        numbers = self._tracks((*train.paths, *test.paths))
        return None if numbers is None else (numbers[: len(train)], numbers[len(train) :])

    def _parts(self) -> tuple[ImageFiles, ImageFiles]:
        train = self.training_files()
        if self.test_share is None:
            return train, self.test_files()
        size, rng = round(self.test_share * len(train)), np.random.default_rng([self.split_seed, len(train)])
        test = sample(train.labels, self._tracks(train.paths), size, rng)
        return train.at(np.delete(np.arange(len(train)), test)), train.at(test)

    def _tracks(self, paths: tuple[Path, ...]) -> Labels | None:
        names = [name for name in map(self.track, paths) if name is not None]
        return np.unique(names, return_inverse=True)[1].astype(np.int64) if len(names) == len(paths) else None


def list_class_folders(folder: Path, labels: Mapping[str, int]) -> ImageFiles:
    """List ``folder/<class>/*``, class by class in the order given, sorted by name."""
    found = [(path, label) for name, label in labels.items() for path in images_in(folder / name)]
    return ImageFiles(tuple(path for path, _ in found), np.array([label for _, label in found], np.int64))


def folders_in(folder: Path) -> tuple[str, ...]:
    """Return the names of the folders in a folder, in alphabetical order."""
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and counts(entry.name)))


def images_in(folder: Path) -> list[Path]:
    """Return the images in a folder by name, except hidden files; none if there is no folder."""
    if not folder.is_dir():
        return []
    # Names, because comparing tens of thousands of paths takes seconds.
    names = sorted(filter(counts, (entry.name for entry in folder.iterdir())))
    return [folder / name for name in names if name.lower().endswith(ENDINGS)]


def read_rgb(path: Path, upright: bool = False) -> NDArray[np.uint8]:
    """Return an image as RGB, uint8 (h, w, 3), as its pixels are stored.

    Raises:
        StageError: the image is corrupted, too large, of another format or not of 8 bits per channel, or not
        ``upright``: its EXIF data require a rotation.
    """
    with open_image(path) as image:
        if image.mode not in _EIGHT_BIT:
            raise StageError(f"{path}: expected 8 bits per channel, received mode {image.mode}; convert the image")
        if problem := _conversion_problem(image) or (upright and _exif_problem(image)):
            raise StageError(f"{path}: {problem}")
        return np.asarray(image.convert("RGB"))


def _conversion_problem(image: Any) -> str:
    """Return what reading an image would silently lose; empty if nothing."""
    for codec, _, _, arguments in image.tile:
        # Pillow silently converts 16-bit colour images to 8 bits when opening them.
        deep = ";16" in str(arguments) or (codec.startswith("ppm") and int(arguments[1]) > _WHITE)
        if deep:
            return "expected 8 bits per channel, received 16; convert the image"
    if getattr(image, "n_frames", 1) > 1:
        return f"expected a single image, received {image.n_frames} frames; keep one of them"
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < _WHITE:
        return "it has transparent pixels, whose background is undefined; flatten it onto a colour"
    return ""


def _exif_problem(image: Any) -> str:
    from PIL import ExifTags

    if (orientation := image.getexif().get(ExifTags.Base.Orientation, 1)) in range(2, 9):
        return (
            f"viewers rotate it (EXIF orientation {orientation}) and most training code does not; save it with the "
            "pixels rotated, as by "
            "PIL.ImageOps.exif_transpose, or without the tag"
        )
    return ""


def _other_size(path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> str:
    height, width = shape[:2]
    return (
        f"{path} is {height}x{width}, the first image {expected[0]}x{expected[1]}; set 'resize', or convert all "
        "images to one size"
    )
