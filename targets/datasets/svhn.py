"""House numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from temper.core.data_info import DataInfo
from temper.core.dataset import Source
from temper.core.errors import StageError
from temper.system.files import regular, unpacks_to_too_much
from temper.targets.datasets.data_folder import FolderDataset

_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class SVHN(FolderDataset):
    """Digits cut out of photographs of house numbers: 73,257 training and 26,032 test images, 32x32, 10 classes.

    ``root`` holds train_32x32.mat and test_32x32.mat, the cropped digits of the official site.

    Source: Netzer, Wang, Coates, Bissacco, Wu and Ng (2011), Reading digits in natural images with unsupervised
    feature learning.
    """

    tag = "svhn"
    requires = ("scipy",)

    def files(self) -> Iterator[Path]:
        if self.folder:
            yield from (self._file("train"), self._file("test"))

    def check_source(self) -> Iterator[tuple[str, str]]:
        yield from self._check_folder()
        if self.folder is None or not self.folder.is_dir():
            return
        for path in self.files():
            if not path.is_file():
                yield self.location_field, f"there is no file {path}; expected train_32x32.mat and test_32x32.mat"
                continue
            try:
                _images_in(path)
            except StageError as error:
                yield self.location_field, str(error)

    def source_info(self) -> DataInfo:
        return DataInfo((_SIDE, _SIDE, 3), tuple("0123456789"))

    def source_sizes(self) -> tuple[int, int]:
        return _images_in(self._file("train")), _images_in(self._file("test"))

    def load(self) -> Source:
        return _read(self._file("train")), _read(self._file("test"))

    def _file(self, part: Literal["train", "test"]) -> Path:
        assert self.folder is not None  # checked by check_source
        return self.folder / f"{part}_32x32.mat"


def _images_in(path: Path) -> int:
    """Return the number of images in a file, from its headers.

    Raises:
        StageError: the file is corrupted or in another layout.
    """
    from scipy.io import whosmat

    with _reading(path):
        shapes = {name: shape for name, shape, _ in whosmat(regular(path))}
    images = shapes.get("X", ())
    if len(images) != 4 or images[:3] != (_SIDE, _SIDE, 3) or shapes.get("y") != (images[3], 1):
        raise StageError(f"{path} contains {shapes}; expected X ({_SIDE}, {_SIDE}, 3, n) and y (n, 1)")
    if problem := unpacks_to_too_much(path.stat().st_size, math.prod(images)):
        raise StageError(f"{path}: {problem}")
    return int(images[3])


def _read(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return images (n, h, w, c) and labels (n,), in which the files' 10 is the digit 0.

    Raises:
        StageError: the file is corrupted or in another layout.
    """
    from scipy.io import loadmat

    _images_in(path)
    with _reading(path):
        arrays = loadmat(path, variable_names=["X", "y"])
    labels = arrays["y"].reshape(-1).astype(np.int64)
    if not ((labels >= 0) & (labels <= 10)).all():
        raise StageError(
            f"{path}: expected labels 1 to 10, received {labels.min()} to {labels.max()}; download it again"
        )
    if {0, 10} <= set(labels.tolist()):
        raise StageError(f"{path}: expected the digit 0 as label 10, or as 0, received both; download it again")
    # MATLAB stores the image number last, and labels from 1, so that 10 is the digit 0.
    return np.moveaxis(arrays["X"], 3, 0), labels % 10


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what SciPy raises for a file it cannot read into a ``StageError``."""
    try:
        yield
    except (StageError, MemoryError):
        raise
    except Exception as error:  # SciPy raises all kinds of errors on a corrupted file
        received = f"{type(error).__name__}: {error}"
        raise StageError(
            f"{path}: expected an intact .mat file of MATLAB 5 to 7, received {received}; download it again"
        ) from error
