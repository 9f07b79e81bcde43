"""ResNet-18 for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from temper.core.data_info import DataInfo
from temper.nn.training.training import BatchSize, LearningRate
from temper.system import backend
from temper.targets.models.trained import Passes
from temper.targets.models.width import WidenedTarget

_STAGES = (64, 128, 256, 512)
"""Feature maps of each stage of two blocks; from the second stage on, the first block halves the resolution."""


@dataclass(frozen=True, kw_only=True)
class ResNet18(WidenedTarget):
    """ResNet-18 with the stem for 32x32 images: a 3x3 convolution, four stages of two residual blocks, average pooling.

    11,183,562 parameters for 32x32 colour images of 10 classes, 9,600 of which are the statistics of batch normalisation.

    Source: He, Zhang, Ren and Sun (2016), Deep Residual Learning for Image Recognition, table 1, with the stem of its section
    4.2 and projections where sizes change (option B). DRFuzz names a ResNet18 for SVHN and publishes neither layers nor
    training: the training is Temper's own.
    """

    tag = "resnet18"

    epochs: Passes = 20
    batch_size: BatchSize = 128
    learning_rate: LearningRate = 1e-3

    def network(self, info: DataInfo) -> Any:
        keras = backend.keras()
        image = keras.Input(info.shape)
        tensor = self._activated(self._normalised(image, _STAGES[0], "stem"), "stem")
        for stage, maps in enumerate(_STAGES, 1):
            for block in (1, 2):
                strides = 2 if stage > 1 and block == 1 else 1
                tensor = self._block(tensor, maps, strides, f"stage{stage}_block{block}")
        tensor = keras.layers.GlobalAveragePooling2D(name="mean")(tensor)
        return keras.Model(image, keras.layers.Dense(info.num_classes, name="logits")(tensor))

    def _block(self, tensor: Any, maps: int, strides: int, name: str) -> Any:
        inner = self._activated(self._normalised(tensor, maps, f"{name}_conv1", strides=strides), f"{name}_conv1")
        inner = self._normalised(inner, maps, f"{name}_conv2")
        if strides > 1:
            tensor = self._normalised(tensor, maps, f"{name}_projection", kernel=1, strides=strides)
        return self._activated(backend.keras().layers.Add(name=f"{name}_add")([inner, tensor]), name)

    def _normalised(self, tensor: Any, maps: int, name: str, *, kernel: int = 3, strides: int = 1) -> Any:
        layers = backend.keras().layers
        convolution = layers.Conv2D(
            self.units(maps), kernel, strides=strides, padding="same", use_bias=False, name=name
        )
        return layers.BatchNormalization(name=f"{name}_bn")(convolution(tensor))

    def _activated(self, tensor: Any, name: str) -> Any:
        return backend.keras().layers.ReLU(name=f"{name}_relu")(tensor)
