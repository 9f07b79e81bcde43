"""Images as every stage sees them: float32 (n, height, width, channels) in [0, 1], grey or resized on request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images, Masks
from temper.nn.images import opencv_resize
from temper.nn.images.pixel_range import pixel_problem

Grey = Literal["luma", "luma_bgr"]
Shape = tuple[int, int, int]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue. Source: ITU-R Recommendation BT.601, section 2.5.1."""
_CHUNK = 2048  # images converted at once: intermediate results stay in the processor's cache


class ImageSource(Protocol):
    """Images of any sizes, read one at a time: they need not fit into memory, or are not all needed.

    Masks may be such images too, with one channel, in which 0 is the background.
    """

    def __len__(self) -> int:
        """Return the number of images."""

    def read(self, row: int) -> NDArray[np.uint8]:
        """Return one image, (height, width, channels)."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The preprocessing of a data set's images: grey conversion first, then resizing.

    ``grey`` converts three channels into one, ``luma_bgr`` with the weights of red and blue swapped; ``size`` is the
    new height and width. With ``opencv`` both are done on bytes, as that library does them.
    """

    grey: Grey | None = None
    size: int | None = None
    opencv: bool = False

    def shape(self, source: Shape) -> Shape:
        """Return the output shape for images of a shape."""
        height, width, channels = source
        return self.size or height, self.size or width, 1 if self.grey else channels

    def images(self, x: NDArray[Any] | ImageSource, rows: NDArray[np.int64], source: Shape) -> Images:
        """Return the chosen images, in that order, as float32 (n, h, w, c) in [0, 1].

        ``source`` is the shape of an input image; images may differ from it where they are resized.

        Raises:
            ValueError: see ``apply``.
        """
        out = np.empty((len(rows), *self.shape(source)), np.float32)
        if isinstance(x, np.ndarray):
            for start in range(0, len(rows), _CHUNK):
                out[start : start + _CHUNK] = self.apply(x[rows[start : start + _CHUNK]])
        else:
            for place, row in enumerate(rows):
                out[place] = self.apply(x.read(int(row))[None])[0]
        return out

    def masks(self, x: Masks | ImageSource, rows: NDArray[np.int64], source: Shape) -> Masks:
        """Return the chosen masks, in that order, bool (n, h, w) of the images' size, by nearest neighbour."""
        if isinstance(x, np.ndarray):
            return resize_masks(x[rows], self.shape(source)[:2])
        out = np.empty((len(rows), *self.shape(source)[:2]), bool)
        for place, row in enumerate(rows):
            out[place] = resize_masks(x.read(int(row))[None, ..., 0] > 0, out.shape[1:])[0]
        return out

    def apply(self, x: NDArray[Any]) -> Images:
        """Return images (n, h, w, c), uint8 or float in [0, 1], as float32 in [0, 1].

        Raises:
            ValueError: the pixels are of another type or out of range, or ``grey`` receives images of other than 1 or 3
            channels.
        """
        height, width, channels = x.shape[1:]
        if self.grey and channels not in (1, 3):
            raise ValueError(f"grey: expected images of 1 or 3 channels, received {channels}")
        to_grey = self.grey is not None and channels == 3
        to_size = self.size if self.size and (height, width) != (self.size, self.size) else None
        if self.opencv:
            return self._on_bytes(x, to_grey, to_size)
        images = to_unit(x)
        if to_grey:
            images = (images @ (LUMA if self.grey == "luma" else LUMA[::-1]))[..., None]
        if to_size:
            images = resize(images, to_size)
        # The weights sum to one only up to rounding.
        return np.clip(images, 0.0, 1.0)

    def _on_bytes(self, x: NDArray[Any], to_grey: bool, to_size: int | None) -> Images:
        pixels = x if x.dtype == np.uint8 else opencv_resize.to_bytes(to_unit(x))
        if to_grey:
            pixels = opencv_resize.grey(pixels, bgr=self.grey == "luma_bgr")
        return to_unit(opencv_resize.resize(pixels, to_size) if to_size else pixels)


def to_unit(x: NDArray[Any]) -> Images:
    """Return pixels as float32 in [0, 1]: bytes divided by 255, floats as they are.

    Raises:
        ValueError: the pixels are neither bytes nor floats in [0, 1].
    """
    if x.dtype == np.uint8:
        unit: Images = np.divide(x, np.float32(255), dtype=np.float32)
        return unit
    if not np.issubdtype(x.dtype, np.floating) or (x.size and not (x.min() >= 0 and x.max() <= 1)):
        raise ValueError(pixel_problem(x))
    return x.astype(np.float32)


def resize(x: Images, size: int) -> Images:
    """Return images (n, h, w, c) as ``scaled`` to (n, size, size, c)."""
    return scaled(x, size, size)


def scaled(x: Images, height: int, width: int) -> Images:
    """Return images (n, h, w, c) scaled to (n, height, width, c), bilinearly.

    Where images shrink, the triangle widens accordingly, so every source pixel counts and fine patterns do not alias;
    the weights are those of Pillow's ``BILINEAR``, without its rounding to bytes.
    """
    n, old_height, old_width, channels = x.shape
    rows = _triangle(old_height, height) @ x.reshape(n, old_height, old_width * channels)
    columns = rows.reshape(n, height, old_width, channels).swapaxes(2, 3) @ _triangle(old_width, width).T
    return np.ascontiguousarray(columns.swapaxes(2, 3))


def resize_masks(masks: Masks, size: tuple[int, ...]) -> Masks:
    """Return masks (n, h, w) scaled to (n, *size) by nearest neighbour."""
    # Pixel centres in integers: (2 i + 1) / (2 new) of the old length, without rounding errors.
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, masks.shape[1:], strict=True)
    )
    return masks[:, rows[:, None], columns]


@cache
def _triangle(source: int, target: int) -> NDArray[np.float32]:
    """Return the weight of each source pixel in each target pixel, (target, source); rows sum to one."""
    scale = source / target
    # Where images grow, the triangle keeps the width of one source pixel.
    reach = max(scale, 1.0)
    centres = (np.arange(target)[:, None] + 0.5) * scale
    distances = np.abs(np.arange(source)[None, :] + 0.5 - centres) / reach
    weights = np.maximum(0.0, 1.0 - distances)
    shares: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
