"""The GTSRB data set: German traffic signs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np

from temper.core.errors import StageError
from temper.system import csv_files
from temper.targets.datasets.data_folder import FolderDataset
from temper.targets.datasets.image_files import FileDataset, ImageFiles, folders_in, images_in, list_class_folders

_TRUTH = "GT-final_test.csv"
_COLUMNS = {"Filename": csv_files.Column(), "ClassId": csv_files.Column("int")}


@dataclass(frozen=True, kw_only=True)
class GTSRB(FolderDataset, FileDataset):
    """Photographs of German traffic signs: 39,209 training and 12,630 test images of 15 to 250 pixels, 43 classes.

    ``root`` holds the official folders, GTSRB/Final_Training/Images/000NN and GTSRB/Final_Test/Images with
    GT-final_test.csv, or train/000NN and test/000NN. The training images of one track (TTTTT_FFFFF.ppm) show one sign
    coming nearer: parts sampled from them keep tracks whole.

    Source: Stallkamp, Schlipsing, Salmen and Igel (2012), Man vs. computer: Benchmarking machine learning algorithms
    for traffic sign recognition. With ``split: images`` the parts leak into each other, as in guided retraining.
    """

    tag = "gtsrb"
    requires = ("PIL",)
    class_names: ClassVar[tuple[str, ...]] = (
        "speed limit 20", "speed limit 30", "speed limit 50", "speed limit 60", "speed limit 70", "speed limit 80",
        "end of speed limit 80", "speed limit 100", "speed limit 120", "no passing", "no passing by lorries",
        "right of way at the next crossing", "priority road", "yield", "stop", "no vehicles", "no lorries", "no entry",
        "danger", "curve to the left", "curve to the right", "double curve", "bumpy road", "slippery road",
        "road narrows", "road works", "traffic lights", "pedestrians", "children", "bicycles", "ice or snow",
        "wild animals", "end of all limits", "turn right", "turn left", "ahead only", "ahead or right",
        "ahead or left", "keep right", "keep left", "roundabout", "end of no passing", "end of no passing by lorries",
    )  # fmt: skip

    split: Annotated[
        Literal["tracks", "images"],
        "unit of sampling for parts of the training images: whole tracks, or single images, which leaks",
    ] = "tracks"

    def names(self) -> tuple[str, ...]:
        return self.class_names

    def files(self) -> Iterator[Path]:
        yield from filter(None, (self._training, *(() if self.test_share else (self._test, self._truth))))

    def training_files(self) -> ImageFiles:
        assert self._training is not None  # checked by check_folders
        return _by_number(self._training)

    def test_files(self) -> ImageFiles:
        assert self._test is not None
        if not self._official_test:
            return _by_number(self._test)
        truth = _read(self._truth) if self._truth else {}
        return ImageFiles(tuple(self._test / name for name in truth), np.array([*truth.values()], np.int64))

    def track(self, path: Path) -> str | None:
        name = path.stem.rpartition("_")[0]
        # Track numbers restart in each class, so the folder is part of the name.
        return None if self.split == "images" else str(path.parent / name if name else path)

    def check_folders(self) -> Iterator[tuple[str, str]]:
        yield from self._check_folder()
        if self.folder is None or not self.folder.is_dir():
            return
        if self._training is None:
            yield (
                self.location_field,
                f"{self.folder} holds neither GTSRB/Final_Training/Images nor train; expected one, with the folders "
                f"00000 to {len(self.class_names) - 1:05d}",
            )
            return
        unknown = list(self._check_class_folders(self._training))
        yield from unknown
        if self.split == "tracks" and not unknown:
            alone = next((path for path in self.training_files().paths if "_" not in path.stem), None)
            if alone:
                yield "split", f"{alone} does not start with its track, as in 00012_00029.ppm; set split: images"
        if self.test_share is None:
            yield from self._check_test()

    def _check_test(self) -> Iterator[tuple[str, str]]:
        if self._test is None:
            yield (
                self.location_field,
                f"{self.folder} holds neither GTSRB/Final_Test/Images nor test; expected one, or set test_share",
            )
        elif not self._official_test:
            yield from self._check_class_folders(self._test)
        elif self._truth is None:
            yield (
                self.location_field,
                f"there is no {_TRUTH} in {self._test}; expected the labels of the test images, or set test_share",
            )
        else:
            try:
                yield from ((self.location_field, problem) for problem in _unmatched(self._truth, self._test))
            except StageError as error:
                yield self.location_field, str(error)

    def _check_class_folders(self, folder: Path) -> Iterator[tuple[str, str]]:
        known = range(len(self.class_names))
        if unknown := [name for name in folders_in(folder) if not (name.isdecimal() and int(name) in known)]:
            yield (
                self.location_field,
                f"{folder / unknown[0]} is not a class; expected the folders 00000 to {known[-1]:05d}",
            )
            return
        numbers = [int(name) for name in folders_in(folder)]
        if twice := [number for number in known if numbers.count(number) > 1]:
            yield self.location_field, f"{folder} holds two folders of class {twice[0]}; keep one"

    @property
    def _training(self) -> Path | None:
        return self._first("GTSRB/Final_Training/Images", "Final_Training/Images", "train")

    @property
    def _test(self) -> Path | None:
        return self._first("GTSRB/Final_Test/Images", "Final_Test/Images", "test")

    @property
    def _official_test(self) -> bool:
        return self._test is not None and self._test.name == "Images"

    @property
    def _truth(self) -> Path | None:
        """The labels of the official test images, which come in a separate archive."""
        return (
            self._first(
                *(f"{place}{_TRUTH}" for place in ("GTSRB/Final_Test/Images/", "Final_Test/Images/", "GTSRB/", ""))
            )
            if self._official_test
            else None
        )

    def _first(self, *places: str) -> Path | None:
        paths = [self.folder / place for place in places] if self.folder else []
        return next((path for path in paths if path.exists()), None)


def _unmatched(truth: Path, folder: Path) -> Iterator[str]:
    """Yield test images without a label, and labels without an image.

    Raises:
        StageError: the labels are in another format.
    """
    labels, images = _read(truth), {path.name for path in images_in(folder)}
    if unknown := [label for label in labels.values() if label not in range(len(GTSRB.class_names))]:
        yield f"{truth}: there is no class {unknown[0]}; expected 0 to {len(GTSRB.class_names) - 1}"
    if missing := [name for name in labels if name not in images]:
        yield (
            f"{truth} has labels of {len(missing)} images that are not in {folder}, such as {missing[0]}; "
            "download both again"
        )
    if unlabelled := sorted(images - set(labels)):
        yield f"{truth} has no label for {len(unlabelled)} images of {folder}, such as {unlabelled[0]}; download both again"


def _by_number(folder: Path) -> ImageFiles:
    """List folders named by their class's number, with any number of leading zeros."""
    return list_class_folders(folder, {name: int(name) for name in folders_in(folder)})


def _read(truth: Path) -> dict[str, int]:
    """Return the label of each test image by its file's name.

    Raises:
        StageError: the file is in another format.
    """
    table = csv_files.read(truth, _COLUMNS)
    found: dict[str, int] = {}
    for row, line in zip(table.rows, table.lines, strict=True):
        if row["Filename"] in found:
            raise csv_files.CsvError(truth, line, f"'{row['Filename']}' occurs twice; download the file again")
        found[row["Filename"]] = row["ClassId"]
    return found
