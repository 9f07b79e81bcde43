"""All-CNN-C: a network of convolutions only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from temper.core.data_info import DataInfo
from temper.nn.training.training import BatchSize, LearningRate
from temper.system import backend
from temper.targets.models.trained import Passes
from temper.targets.models.width import WidenedTarget

_STAGES = ((96, 96, 96), (192, 192, 192))
"""Feature maps of the 3x3 convolutions; the last of each stage has stride 2 instead of pooling."""


@dataclass(frozen=True, kw_only=True)
class AllConvNet(WidenedTarget):
    """All-CNN-C: nine ReLU convolutions, two of them with stride 2 instead of pooling, and global average pooling.

    Dropout 0.2 of the image and 0.5 after each stride of 2. 1,369,738 parameters for 32x32 colour images of 10 classes.

    Source: Springenberg, Dosovitskiy, Brox and Riedmiller (2015), Striving for Simplicity: The All Convolutional Net,
    model C. Differs: the last convolution has no ReLU, so that logits may be negative; Adam instead of 350 epochs of
    scheduled SGD with weight decay.
    """

    tag = "allconvnet"

    epochs: Passes = 50
    batch_size: BatchSize = 128
    learning_rate: LearningRate = 1e-3

    @property
    def smallest_side(self) -> int:
        return 9

    def network(self, info: DataInfo) -> Any:
        keras = backend.keras()
        layers = keras.layers
        stack = [keras.Input(info.shape), layers.Dropout(0.2, name="input_dropout")]
        for stage, maps in enumerate(_STAGES, 1):
            for i, count in enumerate(maps, 1):
                stack.append(
                    layers.Conv2D(
                        self.units(count),
                        3,
                        strides=2 if i == len(maps) else 1,
                        padding="same",
                        activation="relu",
                        name=f"block{stage}_conv{i}",
                    )
                )
            stack.append(layers.Dropout(0.5, name=f"block{stage}_dropout"))
        last = self.units(_STAGES[-1][-1])
        stack += [
            layers.Conv2D(last, 3, activation="relu", name="block3_conv1"),
            layers.Conv2D(last, 1, activation="relu", name="block3_conv2"),
            layers.Conv2D(info.num_classes, 1, name="class_maps"),
            layers.GlobalAveragePooling2D(name="logits"),
        ]
        return keras.Sequential(stack)
