"""The Fashion-MNIST data set: articles of clothing."""

from __future__ import annotations

from dataclasses import dataclass

from temper.targets.datasets.keras_npz import KerasNpz


@dataclass(frozen=True, kw_only=True)
class FashionMNIST(KerasNpz):
    """Articles of clothing: 60,000 training and 10,000 test images, 28x28 grey, 10 classes.

    Source: Xiao, Rasul and Vollgraf (2017), Fashion-MNIST: a novel image dataset for benchmarking.
    """

    tag = "fashion_mnist"
    image_shape = (28, 28, 1)
    class_names = (
        "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    )  # fmt: skip
