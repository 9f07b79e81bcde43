"""The canvas of a diffusion model, and the conversion of images of any size to it and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from temper.core.artefacts import Images, Masks
from temper.system import backend

Tensor = Any
SMALLEST, LARGEST = 8, 64
"""Smallest and largest default for the longest side of a canvas, in pixels."""


@dataclass(frozen=True)
class Canvas:
    """A canvas of ``rows`` x ``columns`` pixels for images of a shape (height, width, channels).

    Small images are repeated pixel by pixel, so that the inverse, a mean over each pixel's block, is exact; ``smooth``
    interpolates instead. Sides are padded to a multiple of ``multiple`` with the pixels of the border.
    """

    shape: tuple[int, int, int]
    size: int
    multiple: int
    smooth: bool = False

    @classmethod
    def of(cls, shape: tuple[int, int, int], size: int | None, halvings: int) -> Canvas:
        """Return the canvas for images, with ``size`` pixels on its longest side; sides can be halved repeatedly."""
        longest = max(shape[:2])
        if size is None:
            # An integer factor for small images: all pixels become blocks of one size.
            size = longest * -(-SMALLEST // longest) if longest < SMALLEST else min(longest, LARGEST)
        return cls(shape, size, 2**halvings)

    @property
    def inner(self) -> tuple[int, int]:
        """Rows and columns that show the image."""
        height, width, _ = self.shape
        longest = max(height, width)
        return max(1, round(height * self.size / longest)), max(1, round(width * self.size / longest))

    @property
    def rows(self) -> int:
        """Height in pixels."""
        return self.inner[0] + -self.inner[0] % self.multiple

    @property
    def columns(self) -> int:
        """Width in pixels."""
        return self.inner[1] + -self.inner[1] % self.multiple

    def images(self, x: Images) -> Tensor:
        """Return images float32 (n, h, w, c) in [0, 1] as a tensor (n, c, rows, columns) in [-1, 1]."""
        return self._padded(_resized(_tensor(2 * x - 1), self.inner, self.smooth)).clamp(-1, 1)

    def masks(self, masks: Masks) -> Tensor:
        """Return masks bool (n, h, w) as a tensor (n, 1, rows, columns), 1 wherever any pixel below is masked."""
        functional = backend.torch().nn.functional
        tensor = _tensor(masks[..., None].astype(np.float32))
        if max(self.inner) < max(self.shape[:2]):
            # The maximum, so that no masked pixel is lost when the canvas is smaller.
            return self._padded(functional.adaptive_max_pool2d(tensor, self.inner))
        return self._padded(_resized(tensor, self.inner, smooth=False))

    def pixels(self, tensor: Tensor) -> Images:
        """Return the content of the canvas as images float32 (n, h, w, c) in [0, 1]."""
        rows, columns = self.inner
        shown = _resized(tensor[:, :, :rows, :columns], self.shape[:2], smooth=True)
        x: Images = ((shown.cpu().numpy().transpose(0, 2, 3, 1) + 1) / 2).clip(0, 1).astype(np.float32)
        return x

    def _padded(self, tensor: Tensor) -> Tensor:
        rows, columns = self.inner
        surplus = (0, self.columns - columns, 0, self.rows - rows)
        return backend.torch().nn.functional.pad(tensor, surplus, mode="replicate") if any(surplus) else tensor


def _tensor(x: Images) -> Tensor:
    return backend.torch().from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32))


def _resized(tensor: Tensor, size: tuple[int, int], smooth: bool) -> Tensor:
    before = tuple(tensor.shape[2:])
    if before == size:
        return tensor
    resize = backend.torch().nn.functional.interpolate
    if max(size) < max(before):
        # The mean over each block, the inverse of repeating pixels.
        return resize(tensor, size, mode="area")
    return resize(tensor, size, mode="bicubic", align_corners=False) if smooth else resize(tensor, size, mode="nearest")
