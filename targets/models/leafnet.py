"""LeafNet, the network for photographs of leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from temper.core.data_info import DataInfo
from temper.nn.training.training import BatchSize, LearningRate, OptimizerName
from temper.system import backend
from temper.targets.models.trained import Passes
from temper.targets.models.width import WidenedTarget


@dataclass(frozen=True, kw_only=True)
class LeafNet(WidenedTarget):
    """Two blocks of two 3x3 ReLU convolutions of 32 maps, each followed by 8x8 max pooling, and a dense layer of 256.

    103,652 parameters for 256x256 colour images of 4 classes, as published for grape leaves.

    Source: Missaoui, Gerasimou and Matragkas (2024), DeepKnowledge: Generalisation-Driven Deep Learning Testing, its model
    of leaves (RMSprop). A last ReLU, whose inputs are never negative, is omitted; learning rate, epochs and batch are
    Temper's own.
    """

    tag = "leafnet"

    epochs: Passes = 10
    batch_size: BatchSize = 32
    learning_rate: LearningRate = 1e-3
    optimizer: OptimizerName = "rmsprop"

    @property
    def smallest_side(self) -> int:
        return 82

    def network(self, info: DataInfo) -> Any:
        keras = backend.keras()
        layers = keras.layers
        stack = [keras.Input(info.shape)]
        for block in (1, 2):
            stack += [
                layers.Conv2D(self.units(32), 3, padding="same", activation="relu", name=f"block{block}_conv1"),
                layers.Conv2D(self.units(32), 3, activation="relu", name=f"block{block}_conv2"),
                layers.MaxPooling2D(8, name=f"block{block}_pool"),
            ]
        stack += [
            layers.Flatten(name="flatten"),
            layers.Dense(self.units(256), activation="relu", name="dense_1"),
            layers.Dense(info.num_classes, name="logits"),
        ]
        return keras.Sequential(stack)
