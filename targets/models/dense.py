"""Fully connected networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from temper.core.component import Range
from temper.core.data_info import DataInfo
from temper.nn.training.training import BatchSize, LearningRate
from temper.system import backend
from temper.targets.models.trained import Passes, TrainedTarget


@dataclass(frozen=True, kw_only=True)
class Dense(TrainedTarget):
    """Fully connected network of equal hidden layers (5 x 30 by default).

    Flatten, layers x [Dense(units), activation], Dense(classes).

    Source: DeepCustom, target mnist_5x30 (5 x 30 ReLU with bias; Adam 1e-3, 20 epochs, batch 128: the defaults).
    DeepFault's MNIST targets are n x m with leaky_relu and without bias (Adam, 10 epochs, batch 32).
    """

    tag = "dense"

    layers: Annotated[int, "hidden layers", Range(ge=1)] = 5
    units: Annotated[int, "neurons of each hidden layer", Range(ge=1)] = 30
    activation: Annotated[Literal["relu", "leaky_relu"], "of the hidden layers; leaky_relu has slope 0.01"] = "relu"
    bias: Annotated[bool, "whether layers add a bias"] = True
    epochs: Passes = 20
    batch_size: BatchSize = 128
    learning_rate: LearningRate = 1e-3

    def network(self, info: DataInfo) -> Any:
        keras = backend.keras()
        stack = [keras.Input(info.shape), keras.layers.Flatten(name="flatten")]
        for i in range(1, self.layers + 1):
            fused = "relu" if self.activation == "relu" else "linear"
            stack.append(keras.layers.Dense(self.units, activation=fused, use_bias=self.bias, name=f"dense_{i}"))
            if self.activation == "leaky_relu":
                stack.append(keras.layers.LeakyReLU(negative_slope=0.01, name=f"leaky_relu_{i}"))
        stack.append(keras.layers.Dense(info.num_classes, use_bias=self.bias, name="logits"))
        return keras.Sequential(stack)
