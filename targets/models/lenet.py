"""LeNet-1, LeNet-4 and LeNet-5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from temper.core.data_info import DataInfo
from temper.nn.training.training import BatchSize, LearningRate, OptimizerName
from temper.system import backend
from temper.targets.models.trained import Passes, TrainedTarget


@dataclass(frozen=True, kw_only=True)
class LeNet(TrainedTarget):
    """Base of the LeNets: two 5x5 ReLU convolutions, each followed by 2x2 max pooling.

    The defaults are DeepImportance's training: Adadelta 1.0, 10 epochs, batch 256.
    """

    padding: Annotated[
        Literal["valid", "same"], "padding of the convolutions; DeepImportance and DRFuzz use valid, DeepFault same"
    ] = "valid"
    epochs: Passes = 10
    batch_size: BatchSize = 256
    learning_rate: LearningRate = 1.0
    optimizer: OptimizerName = "adadelta"

    @property
    def smallest_side(self) -> int:
        return 16 if self.padding == "valid" else 4

    def _network(self, info: DataInfo, filters: tuple[int, int], units: tuple[int, ...]) -> Any:
        keras = backend.keras()
        stack = [keras.Input(info.shape)]
        for block, count in enumerate(filters, 1):
            stack += [
                keras.layers.Conv2D(count, 5, padding=self.padding, activation="relu", name=f"block{block}_conv1"),
                keras.layers.MaxPooling2D(name=f"block{block}_pool1"),
            ]
        stack.append(keras.layers.Flatten(name="flatten"))
        stack += [keras.layers.Dense(count, activation="relu", name=f"fc{i}") for i, count in enumerate(units, 1)]
        stack.append(keras.layers.Dense(info.num_classes, name="before_softmax"))
        return keras.Sequential(stack)


@dataclass(frozen=True, kw_only=True)
class LeNet1(LeNet):
    """LeNet-1: convolutions of 4 and 12 maps.

    Source: LeCun et al. (1998), Gradient-based learning applied to document recognition, as used by DeepImportance.
    """

    tag = "lenet1"

    def network(self, info: DataInfo) -> Any:
        return self._network(info, (4, 12), ())


@dataclass(frozen=True, kw_only=True)
class LeNet4(LeNet):
    """LeNet-4: convolutions of 6 and 16 maps, a dense layer of 84.

    Source: LeCun et al. (1998), Gradient-based learning applied to document recognition, as used by DeepImportance.
    """

    tag = "lenet4"

    def network(self, info: DataInfo) -> Any:
        return self._network(info, (6, 16), (84,))


@dataclass(frozen=True, kw_only=True)
class LeNet5(LeNet):
    """LeNet-5: convolutions of 6 and 16 maps, dense layers of 120 and 84.

    Source: LeCun et al. (1998), Gradient-based learning applied to document recognition, as used by DeepImportance.
    """

    tag = "lenet5"

    def network(self, info: DataInfo) -> Any:
        return self._network(info, (6, 16), (120, 84))
