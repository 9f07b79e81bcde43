"""A ``.npz`` file in the layout of ``keras.datasets``: ``x_train``, ``y_train``, ``x_test``, ``y_test``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.dataset import Source
from temper.core.errors import StageError
from temper.nn.images.array_files import ArrayFile, Header
from temper.nn.images.pixel_range import channels_seem_first, pixel_problem

_CHECKED_BYTES = 2**22
"""Size in bytes of the images of each part that are checked before anything runs."""
# Names that look like another part, such as x_val or test_images.
_PART = re.compile(r"[xy]_|(images|labels)$", re.IGNORECASE)
KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class NpzArchive:
    """One file of images and labels, of which only requested parts are read."""

    path: Path

    def headers(self) -> dict[str, Header]:
        """Return the headers of the arrays that the layout names, without reading values.

        Raises:
            StageError: the file is missing or no ``.npz``.
        """
        return self._file.headers(KEYS)

    def unread(self) -> list[str]:
        """Return the names of other arrays of images and labels, such as ``x_val``, which are not read."""
        return sorted(name for name in self._file.names() if name not in KEYS and _PART.match(name))

    def problems(self) -> Iterator[str]:
        """Yield why the file is not a data set of images, as far as the headers show."""
        try:
            headers = self.headers()
        except StageError as error:
            yield str(error)
            return
        if missing := [key for key in KEYS if key not in headers]:
            yield f"{self.path} lacks {', '.join(missing)}; expected {', '.join(KEYS)}"
            return
        intact = True
        for part in ("train", "test"):
            for problem in _part_problems(part, headers[f"x_{part}"], headers[f"y_{part}"]):
                intact = False
                yield f"{self.path}: {problem}"
        if intact and (train := headers["x_train"].shape[1:]) != (test := headers["x_test"].shape[1:]):
            yield f"{self.path}: training images are {train}, test images {test}; expected the same"

    def pixel_problems(self) -> Iterator[str]:
        """Yield what is wrong with the first images of each part; the file's headers must be valid."""
        for part in ("train", "test"):
            if problem := pixel_problem(*self._first(part)):
                yield f"{self.path}: x_{part}: {problem}"

    def labels(self) -> NDArray[Any]:
        """Return the labels of both parts, int64 (n,).

        Raises:
            StageError: the file is missing, corrupted or in another layout.
        """
        return np.concatenate([_labels(array, self.path) for array in self._read("y_train", "y_test")])

    def load(self) -> Source:
        """Return both parts; images without a channel axis get one.

        Raises:
            StageError: the file is missing, corrupted or in another layout.
        """
        x_train, y_train, x_test, y_test = self._read(*KEYS)
        return (
            (with_channels(x_train), _labels(y_train, self.path)),
            (with_channels(x_test), _labels(y_test, self.path)),
        )

    def _first(self, part: str) -> tuple[NDArray[Any], bool]:
        """Return the first images of a part, and whether these are all; none if they are not contiguous."""
        try:
            return self._file.first(f"x_{part}", _CHECKED_BYTES)
        except StageError:  # reported when the whole file is read
            return np.zeros(0, np.uint8), False

    def _read(self, *keys: str) -> list[NDArray[Any]]:
        for problem in self.problems():
            raise StageError(problem)
        arrays = self._file.read(keys)
        return [arrays[key] for key in keys]

    @property
    def _file(self) -> ArrayFile:
        return ArrayFile(self.path)


def with_channels(x: NDArray[Any]) -> NDArray[Any]:
    """Return images (n, h, w) or (n, h, w, c) as (n, h, w, c)."""
    return x[..., None] if x.ndim == 3 else x


def _part_problems(part: str, x: Header, y: Header) -> Iterator[str]:
    is_pixels = x.dtype == np.uint8 or np.issubdtype(x.dtype, np.floating)
    if not is_pixels or len(x.shape) not in (3, 4):
        yield f"x_{part} is {x.dtype} {x.shape}; expected uint8 or float (n, h, w) or (n, h, w, c)"
    elif channels_seem_first(x.shape[1:]):
        yield f"x_{part} is {x.shape}, which looks channels-first; write x.transpose(0, 2, 3, 1)"
    elif not np.issubdtype(y.dtype, np.integer) or y.shape not in (x.shape[:1], (*x.shape[:1], 1)):
        advice = ""
        if len(y.shape) == 2 and y.shape[0] == x.shape[0] and y.shape[1] > 1:
            advice = "; for one-hot labels write y.argmax(axis=1)"
        elif y.shape in (x.shape[:1], (*x.shape[:1], 1)):
            advice = "; write y.astype(int)"
        yield f"y_{part} is {y.dtype} {y.shape}; expected integers ({x.shape[0]},){advice}"
    elif 0 in x.shape:
        yield f"x_{part} {x.shape} contains no image; expected at least one"


def _labels(y: NDArray[Any], path: Path) -> NDArray[np.int64]:
    """Return labels as int64 (n,), which holds them all: mixing uint64 with int64 would give floats."""
    if y.size and int(y.max()) > np.iinfo(np.int64).max:
        raise StageError(f"{path}: the largest label is {y.max()}; expected at most the number of classes minus one")
    return y.reshape(-1).astype(np.int64)
