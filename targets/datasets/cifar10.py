"""The CIFAR-10 data set: small colour photographs of ten kinds of objects."""

from __future__ import annotations

from dataclasses import dataclass

from temper.targets.datasets.keras_npz import KerasNpz


@dataclass(frozen=True, kw_only=True)
class CIFAR10(KerasNpz):
    """Colour photographs: 50,000 training and 10,000 test images, 32x32, 10 classes.

    Source: Krizhevsky (2009), Learning multiple layers of features from tiny images.
    """

    tag = "cifar10"
    image_shape = (32, 32, 3)
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
