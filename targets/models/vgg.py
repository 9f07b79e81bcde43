"""VGG-19 for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from core import backend
from core.artefacts import DataInfo
from core.component import Range
from targets.models.widened import WidenedTarget

_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Maps and convolutions of each block."""


@dataclass(frozen=True, kw_only=True)
class VGG19(WidenedTarget):
    """VGG-19 with a small head: sixteen 3x3 ReLU convolutions in five blocks with max pooling, a dense layer of 512.

    The body has the layers and names of ``keras.applications``; half of the dense layer's values are dropped in training.
    20,292,170 parameters for 32x32 colour images of 10 classes.

    Source: Simonyan and Zisserman (2015), Very Deep Convolutional Networks for Large-Scale Image Recognition, configuration E.
    GenerativeRepair names a VGG19 of 32x32 animals and publishes neither head nor training: both are Temper's own.
    """

    tag = "vgg19"

    epochs: Annotated[int, "passes over the training images; 0: keep the initial weights", Range(ge=0)] = 30
    batch_size: Annotated[int, "images per optimiser step", Range(ge=1)] = 128
    learning_rate: Annotated[float, "step size of the optimiser", Range(gt=0)] = 1e-4

    @property
    def smallest_side(self) -> int:
        return int(2 ** len(_BLOCKS))

    def network(self, info: DataInfo) -> Any:
        keras = backend.keras()
        layers = keras.layers
        stack = [keras.Input(info.shape)]
        for block, (maps, count) in enumerate(_BLOCKS, 1):
            stack += [
                layers.Conv2D(self.units(maps), 3, padding="same", activation="relu", name=f"block{block}_conv{i}")
                for i in range(1, count + 1)
            ]
            stack.append(layers.MaxPooling2D(name=f"block{block}_pool"))
        stack += [
            layers.Flatten(name="flatten"),
            layers.Dense(self.units(512), activation="relu", name="fc1"),
            layers.Dropout(0.5, name="fc1_dropout"),
            layers.Dense(info.num_classes, name="logits"),
        ]
        return keras.Sequential(stack)
