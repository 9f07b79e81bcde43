"""Frost on a window: crops of photographs, or a texture where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from temper.core.errors import StageError
from temper.generators.corruptions.pixels import Pixels, plasma, smoothed
from temper.nn.images.image_opening import open_image
from temper.system.hidden_files import counts

ENDINGS = (".png", ".jpg", ".jpeg")
_COLOUR, _SPREAD = (0.525, 0.609, 0.653), 0.113
"""Means of red, green and blue and standard deviation of ImageNet-C's six photographs of frost."""
SHARES = {"imagenet_c": 1.0, "cifar10_c": 0.2}
"""What the sets multiply the sides of the photographs by."""


def photographs(folder: str) -> list[Path]:
    """Return the image files in a folder, in order."""
    return sorted(p for p in Path(folder).glob("*") if p.suffix.lower() in ENDINGS and counts(p.name))


def read_photographs(folder: str, share: float, size: tuple[int, int]) -> list[Pixels]:
    """Return the photographs of a folder, float64 (h, w, 3), sides times ``share``, at least as large as ``size``.

    Raises:
        StageError: a file is no image.
    """
    from PIL import Image

    read = []
    for path in photographs(folder):
        with open_image(path, "photograph of frost") as image:
            # A photograph that is too small is enlarged: a crop of it must fill the image.
            grown = max(share, (size[0] + 1) / image.height, (size[1] + 1) / image.width)
            wanted = int(np.ceil(image.width * grown)), int(np.ceil(image.height * grown))
            read.append(np.asarray(image.convert("RGB").resize(wanted, Image.Resampling.BICUBIC)) / 255)
    if not read:
        raise StageError(f"frost_folder: {folder} contains no photograph")
    return read


def frost_crop(photos: Sequence[Pixels], size: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """Return a random crop of a random photograph, (h, w, 3)."""
    photo = photos[int(rng.integers(len(photos)))]
    top, left = (int(rng.integers(photo.shape[axis] - size[axis])) for axis in (0, 1))
    return photo[top : top + size[0], left : left + size[1]]


def frost_texture(size: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """Return a texture of crystals, (h, w, 3), with the mean colour and the contrast of ImageNet-C's photographs.

    Ridges of two fractals, sharpest where they cross 1/2, on a smooth ground.
    """
    side = 1 << (max(size) - 1).bit_length()
    ridges = sum(1 - np.abs(2 * plasma(side, 1.7, rng) - 1) for _ in range(2))
    ground = smoothed(plasma(side, 2.0, rng), side / 16)
    height = (ridges / 2 + ground)[: size[0], : size[1]]
    flat = (height - height.mean()) / max(float(height.std()), 1e-9)
    texture: Pixels = np.clip(np.array(_COLOUR) + _SPREAD * flat[..., None], 0, 1)
    return texture
