"""Natural corruptions of images: noise, blur, weather, digital, and MNIST-C's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from temper.core.artefacts import Examples, Images
from temper.core.component import File, Range, Ref
from temper.core.data_info import DataInfo
from temper.core.families import Generator
from temper.core.resumable_batches import fill_in_batches
from temper.core.run import Run
from temper.generators.corruptions.digital import DIGITAL
from temper.generators.corruptions.frost import (
    ENDINGS,
    SHARES,
    frost_crop,
    frost_texture,
    photographs,
    read_photographs,
)
from temper.generators.corruptions.noise_and_blur import NOISE_AND_BLUR
from temper.generators.corruptions.pixels import Pixels
from temper.generators.corruptions.severities import SETS, SMALLEST, CorruptionName, CorruptionSet, SetName, set_for
from temper.generators.corruptions.strokes_and_maps import MNIST_C
from temper.generators.corruptions.weather import WEATHER, frosted
from temper.generators.image_streams import ImageStreams

_ALL = {**NOISE_AND_BLUR, **WEATHER, **DIGITAL}
_WITHOUT_RANDOMNESS = {
    "defocus_blur", "zoom_blur", "gaussian_blur", "brightness", "contrast", "saturate", "pixelate", "jpeg_compression",
    "scale", "stripe", "canny_edges",
}  # fmt: skip
BLOCK = 100
"""Images between two reports of progress and two chances to save a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Corruption(Generator):
    """One of the natural corruptions of ImageNet-C, CIFAR-10-C or MNIST-C, at one of five severities.

    Parameters are the published ones; lengths in pixels are multiplied by the image's shorter side over that of the
    published set (224, 32 or 28 pixels; not below 1 for CIFAR-10-C, whose blurs are below a pixel already). At one
    severity and seed, each image draws the same numbers whatever the batch.

    Source: Hendrycks and Dietterich (2019), Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations; Mu and Gilmer (2019), MNIST-C: A Robustness Benchmark for Computer Vision.
    Differs: images are not rounded to 8 bits, except by jpeg_compression; motion blur follows ImageMagick's kernel in NumPy; the water
    of spatter uses scikit-image's Canny detector for OpenCV's; frost without ``frost_folder`` is a texture, not photographs.
    """

    tag = "corruption"
    framework = False
    requires = ("PIL", "scipy", "skimage")

    data: Annotated[Ref[Examples], "the images to corrupt"]
    name: Annotated[CorruptionName, "the corruption"]
    severity: Annotated[
        int | None,
        "severity; default: the one that MNIST-C was published with, required for the other sets",
        Range(ge=1, le=5),
    ] = None
    set: Annotated[
        Literal["by_size", "imagenet_c", "cifar10_c", "mnist_c"],
        "whose parameters; by_size: CIFAR-10-C's for a shorter side of up to 84 pixels, else ImageNet-C's",
    ] = "by_size"
    frost_folder: Annotated[
        str | None, "folder of photographs for name: frost; default: a generated texture", File()
    ] = None

    def check(self) -> Iterator[tuple[str, str]]:
        names = SETS["imagenet_c" if self.set == "by_size" else self.set].names
        if self.name not in names:
            other = "set: imagenet_c" if self.set == "mnist_c" else "set: mnist_c"
            yield "name", f"{self.name} is not among the corruptions of this set: {', '.join(names)}; for it: {other}"
            return
        if self.set != "mnist_c" and self.severity is None:
            yield "severity", "expected 1 to 5, received none; only MNIST-C has one published severity"
        if self.set == "mnist_c" and self.severity is not None and not SETS["mnist_c"].leveled(self.name):
            yield "severity", f"{self.name} has no severities; remove `severity`"
        if self.frost_folder is not None:
            if self.name != "frost":
                yield "frost_folder", f"{self.name} does not use it; remove it, or set name: frost"
            elif not photographs(self.frost_folder):
                yield (
                    "frost_folder",
                    f"{self.frost_folder} contains no photograph; expected files that end in {', '.join(ENDINGS)}",
                )

    def fits(self, info: DataInfo) -> Iterator[tuple[str, str]]:
        height, width, channels = info.shape
        if min(height, width) < SMALLEST:
            yield "data", f"expected images of at least {SMALLEST} x {SMALLEST} pixels, received {height} x {width}"
        if channels not in (1, 3):
            yield "data", f"expected grey or RGB images (1 or 3 channels), received {channels} channels"
        if channels == 1 and self.name == "saturate":
            yield "name", "saturate does not change grey images; choose another corruption, or colour images"

    @property
    def stochastic(self) -> bool:
        return self.name not in _WITHOUT_RANDOMNESS

    def stream(self, stage: str) -> str:
        # So that stages which differ in severity differ in nothing else.
        return f"{self.tag} {self.name}"

    def produce(self, run: Run) -> Examples:
        clean = run[self.data]
        streams = ImageStreams(run.rng(run.part or ""), len(clean))
        corrupt = self._corrupter(clean.shape)

        def corrupted(rows: slice) -> Images:
            images, numbers = np.asarray(clean.x[rows], np.float64), np.arange(rows.start, rows.stop)
            pairs = zip(images, streams.of(numbers, 0), strict=True)
            return np.stack([np.clip(corrupt(image, rng), 0, 1) for image, rng in pairs]).astype(np.float32)

        x = fill_in_batches(run, np.empty(clean.x.shape, np.float32), BLOCK, corrupted)
        run.images += len(clean)
        if len(clean) and np.array_equal(x, clean.x):
            run.remark(f"{self.name} at severity {self._severity} changes no image of this size.")
        if self.name == "frost" and self.frost_folder is None:
            run.remark(
                "frost is a generated texture, not ImageNet-C's photographs: compare its numbers with published ones "
                "only after setting frost_folder."
            )
        chosen, _ = self._published(min(clean.shape[:2]))
        info = {"attack": self.tag, "corruption": self.name, "severity": self._severity, "set": chosen}
        return Examples(x=x, y=clean.y, index=clean.index, info=info)

    @property
    def _severity(self) -> int:
        published = SETS["mnist_c"].published
        assert published is not None
        return published[self.name] if self.severity is None else self.severity

    def _published(self, side: int) -> tuple[SetName, CorruptionSet]:
        chosen = set_for(side) if self.set == "by_size" else self.set
        return chosen, SETS[chosen]

    def _corrupter(self, shape: tuple[int, ...]) -> Callable[[Pixels, np.random.Generator], Pixels]:
        side, size = min(shape[:2]), (shape[0], shape[1])
        chosen, published = self._published(side)
        parameters, factor = published.parameters[self.name][self._severity - 1], published.factor(side)
        if self.name == "frost":
            if self.frost_folder is None:
                return lambda x, rng: frosted(x, parameters, frost_texture(size, rng))
            photos = read_photographs(self.frost_folder, SHARES[chosen] * factor, size)
            return lambda x, rng: frosted(x, parameters, frost_crop(photos, size, rng))
        function = (MNIST_C if chosen == "mnist_c" else {}).get(self.name) or _ALL[self.name]
        return lambda x, rng: function(x, parameters, factor, rng)
