"""VGG-16 and VGG-19 for small images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from temper.core.data_info import DataInfo
from temper.nn.training.training import BatchSize, LearningRate
from temper.system import backend
from temper.targets.models.trained import Passes
from temper.targets.models.width import WidenedTarget

_MAPS = (64, 128, 256, 512, 512)
"""Feature maps of each block's convolutions."""


@dataclass(frozen=True, kw_only=True)
class VGG(WidenedTarget):
    """Base of the VGGs: five blocks of 3x3 ReLU convolutions, each followed by max pooling, and a dense layer of 512.

    The body has the layers and names of ``keras.applications``. Members set the number of ``convolutions`` of each
    block, whether each is followed by batch normalisation (``normalised``), and the dropout rate of the dense layer.
    """

    convolutions: ClassVar[tuple[int, int, int, int, int]]
    normalised: ClassVar[bool] = False
    dropout: ClassVar[float] = 0.0

    epochs: Passes = 30
    batch_size: BatchSize = 128
    learning_rate: LearningRate = 1e-4

    @property
    def smallest_side(self) -> int:
        return int(2 ** len(_MAPS))

    def network(self, info: DataInfo) -> Any:
        keras = backend.keras()
        return keras.Sequential([keras.Input(info.shape), *self._layers(keras.layers, info.num_classes)])

    def _layers(self, layers: Any, num_classes: int) -> Iterator[Any]:
        for block, (maps, count) in enumerate(zip(_MAPS, self.convolutions, strict=True), 1):
            for i in range(1, count + 1):
                yield from self._convolution(layers, self.units(maps), f"block{block}", i)
            yield layers.MaxPooling2D(name=f"block{block}_pool")
        yield layers.Flatten(name="flatten")
        yield layers.Dense(self.units(512), activation="relu", name="fc1")
        if self.dropout:
            yield layers.Dropout(self.dropout, name="fc1_dropout")
        yield layers.Dense(num_classes, name="logits")

    def _convolution(self, layers: Any, maps: int, block: str, i: int) -> Iterator[Any]:
        if not self.normalised:
            # With Glorot's initial weights this many layers without normalisation do not start to learn.
            yield layers.Conv2D(
                maps, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=f"{block}_conv{i}"
            )
            return
        yield layers.Conv2D(maps, 3, padding="same", name=f"{block}_conv{i}")
        yield layers.BatchNormalization(name=f"{block}_bn{i}")
        yield layers.ReLU(name=f"{block}_relu{i}")


@dataclass(frozen=True, kw_only=True)
class VGG16(VGG):
    """VGG-16 with batch normalisation: thirteen 3x3 ReLU convolutions in five blocks with max pooling, a dense layer of 512.

    14,999,370 parameters for 32x32 colour images of 10 classes.

    Source: Simonyan and Zisserman (2015), Very Deep Convolutional Networks for Large-Scale Image Recognition, configuration D;
    Ioffe and Szegedy (2015), Batch Normalization. DRFuzz names a VGG16 for CIFAR-10 and publishes neither layers nor training:
    the head and the training are Temper's own.
    """

    tag = "vgg16"
    convolutions = (2, 2, 3, 3, 3)
    normalised = True

    learning_rate: LearningRate = 1e-3


@dataclass(frozen=True, kw_only=True)
class VGG19(VGG):
    """VGG-19 with a small head: sixteen 3x3 ReLU convolutions in five blocks with max pooling, a dense layer of 512.

    Initial weights are He's; the dense layer has dropout 0.5. 20,292,170 parameters for 32x32 colour images of 10
    classes.

    Source: Simonyan and Zisserman (2015), Very Deep Convolutional Networks for Large-Scale Image Recognition, configuration E.
    GenerativeRepair names a VGG19 of 32x32 animals and publishes neither head nor training: both are Temper's own.
    """

    tag = "vgg19"
    convolutions = (2, 2, 4, 4, 4)
    dropout = 0.5
