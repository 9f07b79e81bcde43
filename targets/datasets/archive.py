"""A ``.npz`` file in the layout of ``keras.datasets``: ``x_train``, ``y_train``, ``x_test``, ``y_test``."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from core.data.pixels import channels_seem_first, pixel_fault
from core.dataset import Source
from core.faults import StageError

_LOOKED_AT = 2**22
"""Bytes of each part's images that are looked at before anything runs."""
KEYS = ("x_train", "y_train", "x_test", "y_test")
_DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Header:
    """Shape and type of one array, as its first bytes say."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Archive:
    """One file of images and labels, of which no more is read than asked for."""

    path: Path

    def headers(self) -> dict[str, Header]:
        """Return what each of the arrays is that the layout names, without reading values.

        Raises:
            StageError: the file is missing or no ``.npz``.
        """
        try:
            with zipfile.ZipFile(self.path) as file:
                names = file.namelist()
                if twice := [name for name in set(names) if names.count(name) > 1]:
                    raise ValueError(f"{twice[0].removesuffix('.npy')} twice")
                return {key: _header(file, f"{key}.npy") for key in KEYS if f"{key}.npy" in names}
        except _DAMAGED as error:
            raise StageError(f"{self.path}: expected an .npz file of arrays, received {_said(error)}") from None

    def faults(self) -> Iterator[str]:
        """Yield what keeps the file from being a data set of images, as far as the headers tell."""
        try:
            headers = self.headers()
        except StageError as error:
            yield str(error)
            return
        if missing := [key for key in KEYS if key not in headers]:
            yield f"{self.path} lacks {', '.join(missing)}; expected {', '.join(KEYS)}"
            return
        sound = True
        for part in ("train", "test"):
            for fault in _part_faults(part, headers[f"x_{part}"], headers[f"y_{part}"]):
                sound = False
                yield f"{self.path}: {fault}"
        if sound and (train := headers["x_train"].shape[1:]) != (test := headers["x_test"].shape[1:]):
            yield f"{self.path}: training images are {train}, test images {test}; expected the same"

    def pixel_faults(self) -> Iterator[str]:
        """Yield what is wrong with the first images of each part; the file's headers have no fault."""
        for part in ("train", "test"):
            if fault := pixel_fault(*self._first(part)):
                yield f"{self.path}: x_{part}: {fault}"

    def labels(self) -> NDArray[Any]:
        """Return the labels of both parts.

        Raises:
            StageError: the file is missing, damaged or in another layout.
        """
        arrays = self._read("y_train", "y_test")
        return np.concatenate([array.reshape(-1) for array in arrays])

    def load(self) -> Source:
        """Return both parts; images without a channel axis get one.

        Raises:
            StageError: the file is missing, damaged or in another layout.
        """
        x_train, y_train, x_test, y_test = self._read(*KEYS)
        return (with_channels(x_train), y_train.reshape(-1)), (with_channels(x_test), y_test.reshape(-1))

    def _first(self, part: str) -> tuple[NDArray[Any], bool]:
        """Return the first images of a part, and whether these are all; none where they do not come image by image."""
        try:
            with zipfile.ZipFile(self.path) as file, file.open(f"x_{part}.npy") as stream:
                shape, fortran, dtype = _read_header(stream)  # type: ignore[arg-type]
                size = math.prod(shape[1:]) * dtype.itemsize
                count = 0 if fortran else min(shape[0], max(1, _LOOKED_AT // size))
                pixels = np.frombuffer(stream.read(count * size), dtype)
        except _DAMAGED:  # said by whoever reads the whole
            return np.zeros(0, np.uint8), False
        return pixels.reshape(count, *shape[1:]), count == shape[0]

    def _read(self, *keys: str) -> list[NDArray[Any]]:
        for fault in self.faults():
            raise StageError(fault)
        try:
            with np.load(self.path, allow_pickle=False) as file:
                return [file[key] for key in keys]
        except _DAMAGED as error:
            raise StageError(f"{self.path}: the file is damaged ({_said(error)}); fetch it again") from None


def with_channels(x: NDArray[Any]) -> NDArray[Any]:
    """Return images (n, h, w) or (n, h, w, c) as (n, h, w, c)."""
    return x[..., None] if x.ndim == 3 else x


def _part_faults(part: str, x: Header, y: Header) -> Iterator[str]:
    is_pixels = x.dtype == np.uint8 or np.issubdtype(x.dtype, np.floating)
    if not is_pixels or len(x.shape) not in (3, 4):
        yield f"x_{part} is {x.dtype} {x.shape}; expected uint8 or float (n, h, w) or (n, h, w, c)"
    elif channels_seem_first(x.shape[1:]):
        yield f"x_{part} is {x.shape}, whose channels seem to come first; write x.transpose(0, 2, 3, 1)"
    elif not np.issubdtype(y.dtype, np.integer) or y.shape not in (x.shape[:1], (*x.shape[:1], 1)):
        advice = ""
        if len(y.shape) == 2 and y.shape[0] == x.shape[0] and y.shape[1] > 1:
            advice = "; of one-hot labels write y.argmax(axis=1)"
        elif y.shape in (x.shape[:1], (*x.shape[:1], 1)):
            advice = "; write y.astype(int)"
        yield f"y_{part} is {y.dtype} {y.shape}; expected whole numbers ({x.shape[0]},){advice}"
    elif 0 in x.shape:
        yield f"x_{part} {x.shape} holds no image; expected at least one"


def _header(file: zipfile.ZipFile, name: str) -> Header:
    with file.open(name) as stream:
        shape, _, dtype = _read_header(stream)  # type: ignore[arg-type]
    if dtype.hasobject:
        raise ValueError(f"Python objects in {name}")
    return Header(shape, dtype)


def _read_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether the first axis varies fastest, and type."""
    read = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
    return read(stream)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
