"""Three sources of cut-outs: other images, drawn shapes, a folder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples, Images, Labels, Masks
from temper.core.augmenter import AugmenterContext, Mask, Seeds
from temper.core.classifier import Classifier
from temper.core.component import File, Ref
from temper.core.errors import StageError
from temper.core.stage import Preparation
from temper.generators.augmenters.occluders import ANY_CLASS, Cutouts, Occluders
from temper.generators.masks.mask_operations import inner
from temper.generators.masks.otsu import Otsu
from temper.nn.images.image_opening import open_image
from temper.nn.images.preprocessing import LUMA, scaled, to_unit
from temper.system.hidden_files import counts

Shape = Literal["ellipse", "blob", "bars"]
_BORDER = np.float32(0.75)
_ENDING = ".png"
_SEARCHED_PER_OBJECT = 4
"""Maximum number of training images searched per object requested, since a mask may find none in some."""


@dataclass(frozen=True, kw_only=True)
class ObjectCutouts(Occluders):
    """Objects cut out of training images by a mask; an image is occluded by objects of other classes only.

    Source: Sárándi, Linder, Arras and Leibe (2018), How Robust is 3D Human Pose Estimation to Occlusion?, whose objects
    are those of Pascal VOC.
    """

    tag = "objects"

    mask: Mask = field(default_factory=lambda: Otsu(dilate=0))

    def preparations(self, model: Ref[Classifier], data: Ref[Examples]) -> Mapping[str, Preparation]:
        return self.mask.preparations(model, data)

    def cutouts(self, count: int, context: AugmenterContext, rng: np.random.Generator) -> Cutouts:
        some = context.train.take(np.sort(rng.permutation(len(context.train))[: _SEARCHED_PER_OBJECT * count]))
        zeros = np.zeros(len(some), np.int64)
        # The bank is a preparation, with a random stream of its own.
        entropy = (context.run.seed, crc32(context.run.stream.encode()))
        found = self.mask.masks(Seeds(some.x, some.y, some.index, zeros, zeros, entropy, some.masks), context)
        rows = rng.permutation(np.flatnonzero(found.any(axis=(1, 2))))[:count]
        if not len(rows):
            raise StageError(
                f"occluders objects: {self.mask.tag} found no object in {len(some)} training images; choose another "
                "mask, "
                "or occluders of another type"
            )
        return _coloured(some.x[rows], _softened(found[rows]), some.y[rows])


@dataclass(frozen=True, kw_only=True)
class ShapeCutouts(Occluders):
    """Drawn shapes, each of one random colour: ellipses, round blobs, parallel bars.

    Source: Sárándi, Linder, Arras and Leibe (2018), How Robust is 3D Human Pose Estimation to Occlusion?, who also
    paste circles, rectangles and bars.
    """

    tag = "shapes"

    shapes: Annotated[tuple[Shape, ...], "shapes to draw, with equal probability"] = ("ellipse", "blob", "bars")

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.shapes:
            yield "shapes", "expected at least one of ellipse, blob and bars, received none"

    def cutouts(self, count: int, context: AugmenterContext, rng: np.random.Generator) -> Cutouts:
        height, width, channels = context.train.shape
        masks = np.stack([_shape(self.shapes[i % len(self.shapes)], height, width, rng) for i in range(count)])
        colours = rng.random((count, 1, 1, channels), np.float32)
        return _coloured(colours, _softened(masks), np.full(count, ANY_CLASS))


@dataclass(frozen=True, kw_only=True)
class FileCutouts(Occluders):
    """User-supplied cut-outs: PNG files in a folder, transparent outside the object.

    Source: Sárándi, Linder, Arras and Leibe (2018), How Robust is 3D Human Pose Estimation to Occlusion?
    """

    tag = "cutouts"
    requires = ("PIL",)

    folder: Annotated[str, "folder of PNG files with an alpha channel", File()]

    def check(self) -> Iterator[tuple[str, str]]:
        if not self._paths:
            yield "folder", f"{self.folder} contains no cut-out; expected files that end in {_ENDING}"

    def cutouts(self, count: int, context: AugmenterContext, rng: np.random.Generator) -> Cutouts:
        paths = [self._paths[i] for i in sorted(rng.permutation(len(self._paths))[:count])]
        layers = np.stack([_fitted(_read(path), context.train.shape[:2]) for path in paths])
        colours, alpha = layers[..., :3], layers[..., 3]
        if context.train.shape[2] == 1:
            colours = (colours @ LUMA)[..., None]
        return Cutouts(np.clip(colours, 0, 1), np.clip(alpha, 0, 1), np.full(len(paths), ANY_CLASS))

    @property
    def _paths(self) -> list[Path]:
        return sorted(path for path in Path(self.folder).glob(f"*{_ENDING}") if counts(path.name))


def _softened(masks: Masks) -> NDArray[np.float32]:
    """Return the opacity of each pixel: 1 inside the masks (n, h, w), three quarters at their border."""
    alpha: NDArray[np.float32] = np.where(masks, np.where(inner(masks), np.float32(1), _BORDER), np.float32(0))
    return alpha


def _coloured(colours: Images, alpha: NDArray[np.float32], y: Labels) -> Cutouts:
    return Cutouts(colours * alpha[..., None], alpha, y)


def _shape(shape: Shape, height: int, width: int, rng: np.random.Generator) -> Masks:
    """Return one randomly rotated shape that fills much of an image."""
    turn = rng.uniform(0, math.pi)
    rows, columns = np.meshgrid(*((np.arange(n) + 0.5) / n * 2 - 1 for n in (height, width)), indexing="ij")
    u = math.cos(turn) * columns + math.sin(turn) * rows
    v = math.cos(turn) * rows - math.sin(turn) * columns
    mask: Masks
    match shape:
        case "ellipse":
            mask = u**2 + (v / rng.uniform(0.4, 1)) ** 2 <= 1
        case "blob":
            angle = np.arctan2(v, u)
            # A circle whose radius varies by a few low frequencies: round, but irregular.
            waves = sum(rng.uniform(0, 0.3 / k) * np.cos(k * angle + rng.uniform(0, 2 * math.pi)) for k in (2, 3, 5))
            mask = np.hypot(u, v) <= 0.75 * (1 + waves)
        case "bars":
            stripes = 2 * int(rng.integers(2, 4)) - 1  # bars and the gaps between them
            mask = (np.abs(u) <= 0.7) & (np.abs(v) <= 0.7) & (np.floor((v + 0.7) / 1.4 * stripes) % 2 == 0)
    return mask


def _read(path: Path) -> Images:
    """Return a file's red, green and blue, times alpha, and alpha, float32 (h, w, 4) in [0, 1].

    Raises:
        StageError: the file is corrupted, has no alpha channel, or is transparent everywhere.
    """
    with open_image(path, "cut-out", formats=("PNG",)) as image:
        if "A" not in image.getbands() and "transparency" not in image.info:
            raise StageError(f"{path}: expected a cut-out with an alpha channel, received mode {image.mode}; add one")
        pixels = to_unit(np.asarray(image.convert("RGBA")))
    if not pixels[..., 3].any():
        raise StageError(f"{path}: the cut-out is transparent everywhere; replace or remove it")
    # Premultiplied, so that resizing does not blend in the transparent background.
    pixels[..., :3] *= pixels[..., 3:]
    return pixels


def _fitted(layers: Images, size: tuple[int, ...]) -> Images:
    """Return an image (h, w, 4) scaled to fit into ``size`` and centred, transparent around it."""
    height, width = layers.shape[:2]
    factor = min(size[0] / height, size[1] / width)
    small = scaled(layers[None], max(1, int(height * factor)), max(1, int(width * factor)))[0]
    top, left = (size[0] - small.shape[0]) // 2, (size[1] - small.shape[1]) // 2
    canvas = np.zeros((*size, 4), np.float32)
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas
