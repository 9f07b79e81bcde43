"""The five networks of guided retraining."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from temper.core.data_info import DataInfo
from temper.nn.training.training import BatchSize, LearningRate, OptimizerName
from temper.system import backend
from temper.targets.models.trained import Passes, TrainedTarget


@dataclass(frozen=True, kw_only=True)
class Guided(TrainedTarget):
    """Base of the networks of guided retraining: blocks of 3x3 ReLU convolutions, each followed by 2x2 max pooling.

    Convolutions keep the size of their input. Members set the ``maps`` of each convolution of a block, the ``units`` of the
    hidden dense layers, and the dropout rate after each; 0: no dropout.
    """

    maps: ClassVar[tuple[tuple[int, ...], ...]]
    map_dropout: ClassVar[tuple[float, ...]]
    flat_dropout: ClassVar[float] = 0.0
    units: ClassVar[tuple[int, ...]]
    unit_dropout: ClassVar[tuple[float, ...]]

    epochs: Passes = 10
    batch_size: BatchSize = 64
    learning_rate: LearningRate = 1e-3
    optimizer: OptimizerName = "rmsprop"

    @property
    def smallest_side(self) -> int:
        return int(2 ** len(self.maps))

    def network(self, info: DataInfo) -> Any:
        keras = backend.keras()
        logits = keras.layers.Dense(info.num_classes, name="logits")
        return keras.Sequential([keras.Input(info.shape), *self._hidden(keras.layers), logits])

    def _hidden(self, layers: Any) -> Iterator[Any]:
        for block, (maps, share) in enumerate(zip(self.maps, self.map_dropout, strict=True), 1):
            for i, count in enumerate(maps, 1):
                yield layers.Conv2D(count, 3, padding="same", activation="relu", name=f"block{block}_conv{i}")
            yield layers.MaxPooling2D(name=f"block{block}_pool")
            if share:
                yield layers.Dropout(share, name=f"block{block}_dropout")
        yield layers.Flatten(name="flatten")
        if self.flat_dropout:
            yield layers.Dropout(self.flat_dropout, name="flat_dropout")
        for i, (count, share) in enumerate(zip(self.units, self.unit_dropout, strict=True), 1):
            yield layers.Dense(count, activation="relu", name=f"dense_{i}")
            if share:
                yield layers.Dropout(share, name=f"dense_{i}_dropout")


@dataclass(frozen=True, kw_only=True)
class GuidedMNIST(Guided):
    """Guided retraining's network for MNIST: a block of 32 and 64 maps, a dense layer of 128.

    Source: Durán, Martínez-Fernández, Felderer and Franch (2023), Guiding the retraining of convolutional neural
    networks against adversarial inputs: its replication package, whose training the defaults are.
    """

    tag = "guided_mnist"
    maps = ((32, 64),)
    map_dropout = (0.25,)
    units = (128,)
    unit_dropout = (0.5,)


@dataclass(frozen=True, kw_only=True)
class GuidedFashionMNIST(Guided):
    """Guided retraining's network for Fashion-MNIST: two blocks of 64 maps, dense layers of 128 and 64.

    Source: Durán, Martínez-Fernández, Felderer and Franch (2023), Guiding the retraining of convolutional neural
    networks against adversarial inputs: its replication package, whose training the defaults are. Its retraining
    uses rmsprop for this network too.
    """

    tag = "guided_fashion_mnist"
    maps = ((64,), (64,))
    map_dropout = (0.0, 0.25)
    units = (128, 64)
    unit_dropout = (0.5, 0.5)

    optimizer: OptimizerName = "adam"


@dataclass(frozen=True, kw_only=True)
class GuidedCIFAR10(Guided):
    """Guided retraining's network for CIFAR-10: blocks of 16 and 32, twice 64, and 128 maps, dense layers of 256 and 64.

    Source: Durán, Martínez-Fernández, Felderer and Franch (2023), Guiding the retraining of convolutional neural
    networks against adversarial inputs: its replication package, whose training the defaults are (on grey images).
    """

    tag = "guided_cifar10"
    maps = ((16, 32), (64, 64), (128,))
    map_dropout = (0.0, 0.25, 0.25)
    flat_dropout = 0.3
    units = (256, 64)
    unit_dropout = (0.3, 0.0)

    epochs: Passes = 20


@dataclass(frozen=True, kw_only=True)
class GuidedGTSRB(Guided):
    """Guided retraining's network for GTSRB: blocks of twice 32, 64 and 128 maps, dense layers of 512 and 256.

    Source: Durán, Martínez-Fernández, Felderer and Franch (2023), Guiding the retraining of convolutional neural
    networks against adversarial inputs: its replication package, whose training the defaults are (on grey 48x48 images).
    """

    tag = "guided_gtsrb"
    maps = ((32, 32), (64, 64), (128, 128))
    map_dropout = (0.2, 0.2, 0.2)
    units = (512, 256)
    unit_dropout = (0.5, 0.5)


@dataclass(frozen=True, kw_only=True)
class GuidedIntel(Guided):
    """Guided retraining's network for Intel's landscapes: blocks of 32, 64, 128 and 128 maps, dense layers of 512 and 100.

    Source: Durán, Martínez-Fernández, Felderer and Franch (2023), Guiding the retraining of convolutional neural
    networks against adversarial inputs: its replication package, whose training the defaults are (on grey 48x48 images).
    """

    tag = "guided_intel"
    maps = ((32,), (64,), (128,), (128,))
    map_dropout = (0.0, 0.0, 0.3, 0.3)
    flat_dropout = 0.5
    units = (512, 100)
    unit_dropout = (0.5, 0.0)

    epochs: Passes = 20
    batch_size: BatchSize = 128
