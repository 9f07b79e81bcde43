"""DeepCustom's convolutional target for CIFAR-10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from temper.core.data_info import DataInfo
from temper.nn.training.training import BatchSize, LearningRate
from temper.system import backend
from temper.targets.models.trained import Passes, TrainedTarget


@dataclass(frozen=True, kw_only=True)
class ConvNet(TrainedTarget):
    """Three 3x3 ReLU convolutions (32, 64, 64 maps; max pooling after the first two) and a dense layer of 64.

    Source: DeepCustom, target cifar_keras (Adam 1e-3, 10 epochs, batch 32: the defaults).
    """

    tag = "convnet"

    epochs: Passes = 10
    batch_size: BatchSize = 32
    learning_rate: LearningRate = 1e-3

    @property
    def smallest_side(self) -> int:
        return 18

    def network(self, info: DataInfo) -> Any:
        keras = backend.keras()
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input(info.shape),
                layers.Conv2D(32, 3, activation="relu", name="conv2d_1"),
                layers.MaxPooling2D(name="max_pooling2d_1"),
                layers.Conv2D(64, 3, activation="relu", name="conv2d_2"),
                layers.MaxPooling2D(name="max_pooling2d_2"),
                layers.Conv2D(64, 3, activation="relu", name="conv2d_3"),
                layers.Flatten(name="flatten"),
                layers.Dense(64, activation="relu", name="dense_1"),
                layers.Dense(info.num_classes, name="logits"),
            ]
        )
