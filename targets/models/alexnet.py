"""AlexNet for small images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from temper.core.data_info import DataInfo
from temper.nn.training.training import BatchSize, LearningRate
from temper.system import backend
from temper.targets.models.trained import Passes
from temper.targets.models.width import WidenedTarget


@dataclass(frozen=True, kw_only=True)
class AlexNet(WidenedTarget):
    """AlexNet for 28x28 images: five ReLU convolutions with three 2x2 max poolings, and two dense layers of 4096.

    Each dense layer has dropout 0.5. 29,976,778 parameters for grey images of 10 classes.

    Source: Krizhevsky, Sutskever and Hinton (2012), ImageNet Classification with Deep Convolutional Neural Networks.
    DRFuzz names an AlexNet for Fashion-MNIST and publishes neither layers nor training: kernels of 3, 5, 3, 3 and 3 pixels
    without strides, for images too small for the original's, and the training are Temper's own.
    """

    tag = "alexnet"

    epochs: Passes = 20
    batch_size: BatchSize = 128
    learning_rate: LearningRate = 1e-4

    @property
    def smallest_side(self) -> int:
        return 8

    def network(self, info: DataInfo) -> Any:
        keras = backend.keras()
        return keras.Sequential([keras.Input(info.shape), *self._layers(keras.layers, info.num_classes)])

    def _layers(self, layers: Any, num_classes: int) -> Iterator[Any]:
        for i, (maps, kernel, pooled) in enumerate(_CONVOLUTIONS, 1):
            yield layers.Conv2D(self.units(maps), kernel, padding="same", activation="relu", name=f"conv{i}")
            if pooled:
                yield layers.MaxPooling2D(name=f"pool{i}")
        yield layers.Flatten(name="flatten")
        for i in (1, 2):
            yield layers.Dense(self.units(4096), activation="relu", name=f"fc{i}")
            yield layers.Dropout(0.5, name=f"fc{i}_dropout")
        yield layers.Dense(num_classes, name="logits")


_CONVOLUTIONS = ((96, 3, True), (256, 5, True), (384, 3, False), (384, 3, False), (256, 3, True))
"""Feature maps, kernel size, and whether pooling follows."""
