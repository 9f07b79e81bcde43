"""Published parameters of each corruption at severities 1 to 5, and how they follow the size of the images.

Source: Hendrycks and Dietterich (2019), Benchmarking Neural Network Robustness to Common Corruptions and Perturbations,
and the code that made ImageNet-C and CIFAR-10-C; Mu and Gilmer (2019), MNIST-C: A Robustness Benchmark for Computer
Vision, and the code that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np

from temper.generators.corruptions.pixels import Parameters

SetName = Literal["imagenet_c", "cifar10_c", "mnist_c"]
Severities = tuple[Parameters, Parameters, Parameters, Parameters, Parameters]
CorruptionName = Literal[
    "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise",
    "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur",
    "snow", "frost", "fog", "brightness", "spatter",
    "contrast", "saturate", "elastic_transform", "pixelate", "jpeg_compression",
    "shear", "scale", "rotate", "translate", "stripe", "dotted_line", "zigzag", "canny_edges",
]  # fmt: skip
SMALLEST = 8
"""Smallest side of an image: below it, one step of a corruption is a quarter of the image."""


def _numbers(*values: float) -> Severities:
    one, two, three, four, five = ((value,) for value in values)
    return one, two, three, four, five


def _zooms(*values: tuple[float, float]) -> Severities:
    # The published code computes the factors with arange, so that rounding decides whether the last one is included.
    one, two, three, four, five = (tuple(np.arange(1, stop, step).tolist()) for stop, step in values)
    return one, two, three, four, five


_ELASTIC_SIDE = 244 / 224
"""ImageNet-C's lengths of elastic_transform are shares of 244 pixels, though its images have 224."""

_IMAGENET_C: Mapping[CorruptionName, Severities] = {
    "gaussian_noise": _numbers(0.08, 0.12, 0.18, 0.26, 0.38),
    "shot_noise": _numbers(60, 25, 12, 5, 3),
    "impulse_noise": _numbers(0.03, 0.06, 0.09, 0.17, 0.27),
    "speckle_noise": _numbers(0.15, 0.2, 0.35, 0.45, 0.6),
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom_blur": _zooms((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "gaussian_blur": _numbers(1, 2, 3, 4, 6),
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": _numbers(0.1, 0.2, 0.3, 0.4, 0.5),
    "spatter": (
        (0.65, 0.3, 4, 0.69, 0.6, 0),
        (0.65, 0.3, 3, 0.68, 0.6, 0),
        (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1),
        (0.67, 0.4, 1, 0.65, 1.5, 1),
    ),
    "contrast": _numbers(0.4, 0.3, 0.2, 0.1, 0.05),
    "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    "elastic_transform": (
        (2 * _ELASTIC_SIDE, 0.7 * _ELASTIC_SIDE, 0.1 * _ELASTIC_SIDE),
        (2 * _ELASTIC_SIDE, 0.08 * _ELASTIC_SIDE, 0.2 * _ELASTIC_SIDE),
        (0.05 * _ELASTIC_SIDE, 0.01 * _ELASTIC_SIDE, 0.02 * _ELASTIC_SIDE),
        (0.07 * _ELASTIC_SIDE, 0.01 * _ELASTIC_SIDE, 0.02 * _ELASTIC_SIDE),
        (0.12 * _ELASTIC_SIDE, 0.01 * _ELASTIC_SIDE, 0.02 * _ELASTIC_SIDE),
    ),
    "pixelate": _numbers(0.6, 0.5, 0.4, 0.3, 0.25),
    "jpeg_compression": _numbers(25, 18, 15, 10, 7),
}

_CIFAR10_C: Mapping[CorruptionName, Severities] = {
    "gaussian_noise": _numbers(0.04, 0.06, 0.08, 0.09, 0.1),
    "shot_noise": _numbers(500, 250, 100, 75, 50),
    "impulse_noise": _numbers(0.01, 0.02, 0.03, 0.05, 0.07),
    "speckle_noise": _numbers(0.06, 0.1, 0.12, 0.16, 0.2),
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    "zoom_blur": _zooms((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    "gaussian_blur": _numbers(0.4, 0.6, 0.7, 0.8, 1),
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    "brightness": _numbers(0.05, 0.1, 0.15, 0.2, 0.3),
    "spatter": (
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ),
    "contrast": _numbers(0.75, 0.5, 0.4, 0.3, 0.15),
    "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    "elastic_transform": ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    "pixelate": _numbers(0.95, 0.9, 0.85, 0.75, 0.65),
    "jpeg_compression": _numbers(80, 65, 58, 50, 40),
}

_SHARED = ("shot_noise", "impulse_noise", "glass_blur", "motion_blur", "fog", "brightness")
# One severity, so that all five have the same (no) parameters.
_SINGLE: Severities = ((), (), (), (), ())
_MNIST_C: Mapping[CorruptionName, Severities] = {
    **{name: parameters for name, parameters in _IMAGENET_C.items() if name in _SHARED},
    "spatter": (*((*p[:4], p[4], 2) for p in _IMAGENET_C["spatter"]),),  # type: ignore[dict-item]
    "shear": _numbers(0.2, 0.4, 0.6, 0.8, 1),
    "scale": _numbers(0.9, 0.8, 0.7, 0.6, 0.5),
    "rotate": _numbers(0.2, 0.4, 0.6, 0.8, 1),
    "translate": _numbers(1, 2, 3, 4, 5),
    "stripe": _SINGLE,
    "dotted_line": _SINGLE,
    "zigzag": _SINGLE,
    "canny_edges": _SINGLE,
}


@dataclass(frozen=True)
class CorruptionSet:
    """A published set: the side of its images in pixels, its parameters, and the smallest factor of lengths in pixels.

    ``published`` is the severity of each corruption where the set has but one; ``unleveled`` are corruptions without severities.
    """

    side: int
    parameters: Mapping[CorruptionName, Severities]
    smallest_factor: float = 0.0
    published: Mapping[CorruptionName, int] | None = None

    @property
    def names(self) -> tuple[CorruptionName, ...]:
        """The corruptions of the set."""
        return tuple(self.parameters)

    def leveled(self, name: CorruptionName) -> bool:
        """Whether a corruption of the set has severities."""
        return self.parameters[name] is not _SINGLE

    def factor(self, side: int) -> float:
        """Return what lengths in pixels are multiplied by for images with a shorter side of ``side`` pixels."""
        return max(self.smallest_factor, side / self.side)


SETS: Mapping[SetName, CorruptionSet] = {
    "imagenet_c": CorruptionSet(224, _IMAGENET_C),
    # Its blurs are below one pixel already: reduced further, they would change nothing.
    "cifar10_c": CorruptionSet(32, _CIFAR10_C, smallest_factor=1.0),
    "mnist_c": CorruptionSet(
        28,
        _MNIST_C,
        published={
            "shot_noise": 5, "impulse_noise": 4, "glass_blur": 1, "motion_blur": 1, "shear": 2, "scale": 3, "rotate": 2,
            "brightness": 5, "translate": 3, "fog": 5, "spatter": 4, "stripe": 1, "dotted_line": 1, "zigzag": 1,
            "canny_edges": 1,
        },
    ),
}  # fmt: skip


def set_for(side: int) -> SetName:
    """Return the set with severities whose images are nearest in size: CIFAR-10-C up to 84 pixels, else ImageNet-C."""
    return "cifar10_c" if side <= sqrt(SETS["cifar10_c"].side * SETS["imagenet_c"].side) else "imagenet_c"
