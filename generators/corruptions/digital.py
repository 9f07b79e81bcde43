"""Digital corruptions: contrast, saturation, elastic deformation, resolution, compression."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

import numpy as np

from temper.generators.corruptions.pixels import Corrupt, Parameters, Pixels, smoothed
from temper.generators.corruptions.severities import CorruptionName


def contrast(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """Differences from each channel's mean, times p."""
    mean = x.mean(axis=(0, 1))
    flatter: Pixels = mean + p[0] * (x - mean)
    return flatter


def saturate(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """The saturation S of HSV becomes p[0] S + p[1], hue and value kept; the hue of grey is red, as HSV has it."""
    value = x.max(axis=2, keepdims=True)
    below = value - x
    saturation = below.max(axis=2, keepdims=True) / np.where(value > 0, value, 1)
    wanted = np.clip(p[0] * saturation + p[1], 0, 1)
    is_grey = saturation == 0
    coloured = value - below * wanted / np.where(is_grey, 1, saturation)
    red = value * np.concatenate([np.ones_like(value), 1 - wanted, 1 - wanted], axis=2)
    saturated: Pixels = np.where(is_grey, red, coloured)
    return saturated


def elastic_transform(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """A random affine map, then displacements p[0] times uniform noise under a Gaussian filter of p[1]; shares of the side.

    The affine map moves three corners of a square in the centre by up to p[2].
    """
    from scipy.ndimage import affine_transform, map_coordinates

    height, width, channels = x.shape
    side = min(height, width)
    centre, half = np.array([height // 2, width // 2], np.float64), side // 3
    corners = centre + half * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = corners + rng.uniform(-p[2] * side, p[2] * side, corners.shape)
    # Rows of `back` give the original position of a pixel (row, column, 1).
    back = np.linalg.solve(np.column_stack([moved, np.ones(3)]), corners).T
    displacement = [
        smoothed(rng.uniform(-1, 1, (height, width)), p[1] * side, "reflect", 3) * p[0] * side if p[0] else 0.0
        for _ in range(2)
    ]
    places = np.indices((height, width)) + np.stack([np.broadcast_to(d, (height, width)) for d in displacement])
    planes = []
    for channel in range(channels):
        turned = affine_transform(x[..., channel], back[:, :2], back[:, 2], order=1, mode="mirror")
        planes.append(map_coordinates(turned, places, order=1, mode="reflect") if p[0] else turned)
    return np.stack(planes, axis=2)


def pixelate(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """Reduced to a share p of the height and width, by means of areas, and enlarged again."""
    from PIL import Image

    height, width, _ = x.shape
    small = int(width * p[0]), int(height * p[0])

    def resized(plane: Pixels) -> Pixels:
        image = Image.fromarray(plane.astype(np.float32))
        return np.asarray(image.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX))

    return np.stack([resized(plane) for plane in np.moveaxis(x, 2, 0)], axis=2)


def jpeg_compression(x: Pixels, p: Parameters, factor: float, rng: np.random.Generator) -> Pixels:
    """JPEG of quality p."""
    from PIL import Image

    file = BytesIO()
    Image.fromarray(np.round(x.squeeze() * 255).astype(np.uint8)).save(file, "JPEG", quality=int(p[0]))
    with Image.open(file, formats=("JPEG",)) as image:
        return np.asarray(image).reshape(x.shape) / 255


DIGITAL: Mapping[CorruptionName, Corrupt] = {
    "contrast": contrast,
    "saturate": saturate,
    "elastic_transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
}
