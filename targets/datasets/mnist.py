"""Handwritten digits."""

from __future__ import annotations

from dataclasses import dataclass

from temper.targets.datasets.keras_npz import KerasNpz


@dataclass(frozen=True, kw_only=True)
class MNIST(KerasNpz):
    """Handwritten digits: 60,000 training and 10,000 test images, 28x28 grey, 10 classes.

    Source: LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to document recognition.
    """

    tag = "mnist"
    image_shape = (28, 28, 1)
    class_names = tuple("0123456789")
